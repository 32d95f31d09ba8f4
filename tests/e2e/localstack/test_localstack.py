"""The stacks that `make localstack-deploy` deployed; run by `make localstack-test`."""

import os
import secrets
import time
from http import HTTPStatus
from typing import Any

import boto3  # type: ignore[import-untyped]  # ships no type information
import httpx
import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # ships no type information

from lambda_app.core.aws import AwsAccess, AwsCredentials
from lambda_app.core.settings import Settings
from lambda_app.storage.s3 import S3ObjectStore
from tests.e2e.deploy.walk import walk
from tests.support.loopback import loopback_client

URL = os.environ.get("LOCALSTACK_URL", "")
KEY = "test"
EVENT_SECONDS = 20

pytestmark = pytest.mark.skipif(not URL, reason="LOCALSTACK_URL is not set; run: make localstack-test")


def client(service: str) -> Any:
    return boto3.Session(KEY, KEY, region_name="us-east-1").client(service, endpoint_url=URL)


def outputs(stack: str) -> dict[str, str]:
    (described,) = client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}


def has_api() -> bool:
    try:
        return bool(outputs("WeUpload-local-Api"))
    except ClientError:
        return False


@pytest.fixture
def store() -> S3ObjectStore:
    """The application's object store, with the deployed bucket."""
    settings = Settings.model_validate(
        {
            "environment": "local",
            "database_url": "postgresql://unused@127.0.0.1/unused",
            "secret_key": "unused",
            "s3_bucket_name": outputs("WeUpload-local-Data")["Bucket"],
            "aws_endpoint_url": URL,
        }
    )
    return S3ObjectStore(settings, AwsAccess(settings, AwsCredentials(KEY, KEY)))


def test_upload_is_stored_once_and_its_event_reaches_the_queue(store: S3ObjectStore) -> None:
    key, content = f"uploads/{secrets.token_hex(8)}", secrets.token_bytes(10_000)
    signed = store.presign_upload(key=key, size_bytes=len(content), content_type="application/octet-stream", sha256=None)

    with loopback_client() as s3:
        assert s3.put(signed.url, headers=signed.headers, content=content).status_code == HTTPStatus.OK
        assert s3.put(signed.url, headers=signed.headers, content=content).status_code == HTTPStatus.PRECONDITION_FAILED
        forged = signed.url[:-1] + ("0" if signed.url[-1] != "0" else "1")
        assert s3.put(forged, headers=signed.headers, content=content).status_code == HTTPStatus.FORBIDDEN
    stored = store.head(key)
    assert stored
    assert stored.size_bytes == len(content)
    if not has_api():
        # The worker, if deployed, receives the message before the test can.
        assert key in _received(outputs("WeUpload-local-Data")["Queue"], key)


def _received(queue: str, key: str) -> str:
    sqs, deadline = client("sqs"), time.monotonic() + EVENT_SECONDS
    while time.monotonic() < deadline:
        bodies = "".join(message["Body"] for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []))
        if key in bodies:
            return bodies
    return ""


@pytest.mark.parametrize("output", ["SigningKeyArn", "LinkKeyArn"])
def test_key_was_generated(output: str) -> None:
    secret = client("secretsmanager").get_secret_value(SecretId=outputs("WeUpload-local-Data")[output])

    assert len(secret["SecretString"]) == 64
    assert secret["SecretString"].isalnum()


def test_whole_product_works_through_the_rest_api() -> None:
    if not has_api():
        pytest.skip("the API is not deployed: LocalStack runs functions only with Docker")
    api_id = outputs("WeUpload-local-Api")["ApiId"]

    with httpx.Client(base_url=f"{URL}/_aws/execute-api/{api_id}/local", timeout=60, trust_env=False) as api:
        walk(api, bucket=outputs("WeUpload-local-Data")["Bucket"])
