"""The S3 object store satisfies the contract with an S3 emulator that verifies signatures."""

import io
import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from botocore.awsrequest import AWSResponse  # type: ignore[import-untyped]  # botocore ships no types
from urllib3 import HTTPResponse

from infra.local.object_store import ObjectStoreServer
from lambda_app.core.aws import AwsAccess, AwsCredentials
from lambda_app.core.errors import UnavailableError
from lambda_app.storage.keys import object_key
from lambda_app.storage.object_store import ObjectWithheldError
from lambda_app.storage.s3 import S3ObjectStore
from tests.integration.storage.s3_world import S3World, settings_for
from tests.support.loopback import loopback_client
from tests.support.object_store_contract import ObjectStoreContract


@pytest.fixture(scope="module")
def world(s3_server: ObjectStoreServer) -> Iterator[S3World]:
    with loopback_client() as client:
        yield S3World(s3_server, client)


class TestS3ObjectStore(ObjectStoreContract):
    """The shared contract, with S3."""


def test_head_with_wrong_keys_raises_unavailable_and_is_logged(
    s3_server: ObjectStoreServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `configure_logs`, called by earlier tests, has disabled the propagation to pytest's handler.
    monkeypatch.setattr(logging.getLogger("lambda_app"), "propagate", True)
    aws = AwsAccess(settings_for(s3_server), AwsCredentials(s3_server.access_key_id, "not the secret"))

    with pytest.raises(ObjectWithheldError) as refused:
        S3ObjectStore(settings_for(s3_server), aws).head(object_key(uuid4()))

    assert refused.value.status == 503
    assert "s3:ListBucket" in caplog.text


def test_delete_in_a_missing_bucket_raises_unavailable(s3_server: ObjectStoreServer, world: S3World) -> None:
    store = S3ObjectStore(settings_for(s3_server, s3_bucket_name="no-such-bucket-here"), world.aws)

    with pytest.raises(UnavailableError):
        store.delete(object_key(uuid4()))


def test_object_blocked_by_a_policy_raises_object_withheld(s3_server: ObjectStoreServer, world: S3World) -> None:
    """S3 responds like this for an object that the malware scan has not found clean."""
    # A separate AwsAccess, because the test changes its client.
    aws = AwsAccess(settings_for(s3_server), AwsCredentials(s3_server.access_key_id, s3_server.secret_access_key))
    aws.client("s3").meta.events.register("before-send.s3.GetObject", _respond_access_denied)
    wrong = AwsAccess(settings_for(s3_server), AwsCredentials(s3_server.access_key_id, "not the secret"))

    with pytest.raises(ObjectWithheldError):
        S3ObjectStore(settings_for(s3_server), aws).open(object_key(uuid4()), offset=1)
    with pytest.raises(UnavailableError) as refused:
        S3ObjectStore(settings_for(s3_server), wrong).open(object_key(uuid4()), offset=1)
    assert not isinstance(refused.value, ObjectWithheldError)
    assert world.store().open(object_key(uuid4()), offset=1) is None


def _respond_access_denied(request: Any, **_: object) -> AWSResponse:
    raw = HTTPResponse(io.BytesIO(b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"), preload_content=False)
    return AWSResponse(request.url, 403, {}, raw)
