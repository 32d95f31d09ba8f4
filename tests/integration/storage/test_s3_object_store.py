"""The real store keeps the contract, against an S3 emulator that checks signatures."""

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from infra.local.object_store import ObjectStoreServer
from lambda_app.core.aws import AwsAccess, AwsCredentials, AwsRefusedError
from lambda_app.core.errors import UnavailableError
from lambda_app.core.settings import Environment, Settings
from lambda_app.storage.keys import object_key
from lambda_app.storage.s3 import S3ObjectStore
from tests.support.object_store import StoreResponse
from tests.support.object_store_contract import ObjectStoreContract

GRACE_SECONDS = 0.2
"""The emulator reads the same clock; a URL is dead once it is past."""


def _settings(s3_server: ObjectStoreServer, **changes: Any) -> Settings:
    values = {
        "environment": Environment.LOCAL,
        "database_url": SecretStr("postgresql://nobody@127.0.0.1/none"),
        "secret_key": SecretStr("unused"),
        "s3_bucket_name": s3_server.bucket,
        "aws_region": s3_server.region,
        "aws_endpoint_url": s3_server.endpoint_url,
    }
    return Settings(**(values | changes))


class S3World:
    """The emulator, an HTTP client and real time."""

    def __init__(self, s3_server: ObjectStoreServer, client: httpx.Client) -> None:
        self._server = s3_server
        self._client = client
        self.aws = AwsAccess(_settings(s3_server), AwsCredentials(s3_server.access_key_id, s3_server.secret_access_key))

    def store(self, *, lifetime_seconds: int = 900) -> S3ObjectStore:
        return S3ObjectStore(_settings(self._server, presigned_url_expiration=lifetime_seconds), self.aws)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> StoreResponse:
        # As in every HTTP client the length is that of the body, whatever a caller says.
        sent = {name: value for name, value in headers.items() if name != "Content-Length"}
        response = self._client.request(method, url, headers=sent, content=body)
        return StoreResponse(response.status_code, dict(response.headers), response.content)

    def wait(self, seconds: float) -> None:
        time.sleep(seconds + GRACE_SECONDS)


@pytest.fixture(scope="module")
def world(s3_server: ObjectStoreServer) -> Iterator[S3World]:
    with httpx.Client(trust_env=False) as client:
        yield S3World(s3_server, client)


class TestS3ObjectStore(ObjectStoreContract):
    """The shared contract, on S3."""


def test_head_with_wrong_keys_is_unavailable_and_logged(
    s3_server: ObjectStoreServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The application of the tests before has cut our loggers off from pytest's.
    monkeypatch.setattr(logging.getLogger("lambda_app"), "propagate", True)
    aws = AwsAccess(_settings(s3_server), AwsCredentials(s3_server.access_key_id, "not the secret"))

    with pytest.raises(AwsRefusedError) as refused:
        S3ObjectStore(_settings(s3_server), aws).head(object_key(uuid4()))

    assert (refused.value.http_status, refused.value.status) == (403, 503)
    assert "s3:ListBucket" in caplog.text


def test_delete_in_a_bucket_that_does_not_exist_is_unavailable(s3_server: ObjectStoreServer, world: S3World) -> None:
    store = S3ObjectStore(_settings(s3_server, s3_bucket_name="no-such-bucket-here"), world.aws)

    with pytest.raises(UnavailableError):
        store.delete(object_key(uuid4()))
