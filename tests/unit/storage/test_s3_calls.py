"""The handling of S3 responses and connection errors, with the real boto3 client and a fake transport."""

import io
import logging
from collections.abc import Callable
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse  # type: ignore[import-untyped]  # ships no types
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError  # type: ignore[import-untyped]  # ships no types
from pydantic import SecretStr

from lambda_app.core.aws import MAX_ATTEMPTS, AwsAccess, AwsCredentials, AwsResponseError
from lambda_app.core.errors import StoreUnavailableError, UnavailableError
from lambda_app.core.settings import Environment, Settings
from lambda_app.storage.object_store import ObjectWithheldError, StoredObject
from lambda_app.storage.s3 import S3ObjectStore

KEY = "uploads/0f8fad5b-d9cb-469f-a165-70867728950e"
SHA256 = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
SHA256_BASE64 = "LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE="
HEAD_HEADERS = {"content-length": "1", "content-type": "image/png", "etag": '"9dd4e461268c8034f5c8564e155c67a6"'}


class _Body(io.BytesIO):
    def stream(self) -> Any:
        yield self.read()


class Transport:
    """Responds to the store's requests with `respond`, and records them."""

    def __init__(self, respond: Callable[[Any], Any]) -> None:
        self.requests: list[Any] = []
        self._respond = respond
        settings = Settings(
            environment=Environment.LOCAL,
            database_url=SecretStr("postgresql://nobody@127.0.0.1/none"),
            secret_key=SecretStr("unused"),
            s3_bucket_name="we-upload-files",
        )
        self.aws = AwsAccess(settings, AwsCredentials("AKIDEXAMPLE", "secret", "session"))
        self.aws.client("s3").meta.events.register("before-send.s3", self._send)
        self.store = S3ObjectStore(settings, self.aws)

    def _send(self, request: Any, **_: Any) -> Any:
        self.requests.append(request)
        return self._respond(request)


def _responding(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Transport:
    return Transport(lambda request: AWSResponse(request.url, status, headers or {}, _Body(body)))


def _failing(error: Exception) -> Transport:
    def fail(_: Any) -> None:
        raise error

    return Transport(fail)


@pytest.fixture(autouse=True)
def no_pause_between_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)


@pytest.fixture(autouse=True)
def our_log_reaches_caplog(monkeypatch: pytest.MonkeyPatch) -> None:
    # `configure_logs`, called by earlier tests, has disabled the propagation to pytest's handler.
    monkeypatch.setattr(logging.getLogger("lambda_app"), "propagate", True)


def test_head_sends_a_signed_request_for_checksums_to_the_regional_host() -> None:
    transport = _responding(200, HEAD_HEADERS)

    transport.store.head(KEY)

    (request,) = transport.requests
    assert (request.method, request.url) == ("HEAD", f"https://we-upload-files.s3.us-east-1.amazonaws.com/{KEY}")
    assert request.headers["x-amz-checksum-mode"] == b"ENABLED"
    assert request.headers["Authorization"].startswith(b"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert request.headers["X-Amz-Security-Token"] == b"session"


@pytest.mark.parametrize(
    ("headers", "sha256"),
    [
        ({}, None),
        ({"x-amz-checksum-sha256": SHA256_BASE64, "x-amz-checksum-type": "FULL_OBJECT"}, SHA256),
        ({"x-amz-checksum-sha256": SHA256_BASE64}, SHA256),
        ({"x-amz-checksum-sha256": f"{SHA256_BASE64}-3", "x-amz-checksum-type": "COMPOSITE"}, None),
        ({"x-amz-checksum-sha256": SHA256_BASE64, "x-amz-checksum-type": "COMPOSITE"}, None),
        ({"x-amz-checksum-sha256": f"{SHA256_BASE64}-3"}, None),
        ({"x-amz-checksum-sha256": "AAAA", "x-amz-checksum-type": "FULL_OBJECT"}, None),
        ({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-type": "FULL_OBJECT"}, None),
    ],
)
def test_composite_checksums_are_ignored(headers: dict[str, str], sha256: str | None) -> None:
    stored = _responding(200, HEAD_HEADERS | headers).store.head(KEY)

    assert stored == StoredObject(1, "image/png", "9dd4e461268c8034f5c8564e155c67a6", sha256)


@pytest.mark.parametrize(
    ("headers", "crc64nvme"),
    [
        ({"x-amz-checksum-crc64nvme": "rosUhgp5mIg=", "x-amz-checksum-type": "FULL_OBJECT"}, "rosUhgp5mIg="),
        ({"x-amz-checksum-crc64nvme": "rosUhgp5mIg=", "x-amz-checksum-type": "COMPOSITE"}, None),
        ({"x-amz-checksum-sha256": SHA256_BASE64, "x-amz-checksum-type": "FULL_OBJECT"}, None),
    ],
)
def test_crc64nvme_computed_by_s3_is_returned(headers: dict[str, str], crc64nvme: str | None) -> None:
    stored = _responding(200, HEAD_HEADERS | headers).store.head(KEY)

    assert stored is not None
    assert stored.crc64nvme == crc64nvme


def test_head_of_missing_object_returns_none_without_logging(caplog: pytest.LogCaptureFixture) -> None:
    assert _responding(404).store.head(KEY) is None
    assert [record for record in caplog.records if record.name.startswith("lambda_app")] == []


@pytest.mark.parametrize("read", [lambda store: store.head(KEY), lambda store: store.read_small(KEY, 10)], ids=["head", "get"])
def test_forbidden_read_raises_unavailable_and_logs_the_required_permissions(
    caplog: pytest.LogCaptureFixture, read: Callable[[S3ObjectStore], object]
) -> None:
    with pytest.raises(ObjectWithheldError) as refused:
        read(_responding(403).store)

    assert refused.value.status == 503
    assert "s3:ListBucket" in caplog.text


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("operation", ["head", "delete"])
def test_failing_store_raises_unavailable_after_the_maximum_of_attempts(operation: str, status: int) -> None:
    transport = _responding(status)

    with pytest.raises(UnavailableError) as unavailable:
        getattr(transport.store, operation)(KEY)
    assert (unavailable.value.code, unavailable.value.message) == (StoreUnavailableError.code, StoreUnavailableError.message)
    assert len(transport.requests) == MAX_ATTEMPTS


@pytest.mark.parametrize("operation", ["head", "delete"])
@pytest.mark.parametrize(
    "error",
    [
        ConnectTimeoutError(endpoint_url="https://s3"),
        ReadTimeoutError(endpoint_url="https://s3"),
        EndpointConnectionError(endpoint_url="https://s3"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_unreachable_store_raises_unavailable_with_its_cause(operation: str, error: Exception) -> None:
    with pytest.raises(UnavailableError) as unavailable:
        getattr(_failing(error).store, operation)(KEY)

    assert unavailable.value.code == "store_unavailable"
    assert unavailable.value.__cause__ is error


def test_response_that_is_not_xml_raises_unavailable() -> None:
    with pytest.raises(UnavailableError):
        _responding(400, body=b"<html><p>proxy").store.delete(KEY)
    with pytest.raises(UnavailableError):
        _responding(200, body=b"<html><p>proxy").aws.call("s3", "list_objects_v2", Bucket="we-upload-files")


def test_delete_of_missing_object_succeeds() -> None:
    _responding(204).store.delete(KEY)
    _responding(404, body=b"<Error><Code>NoSuchKey</Code></Error>").store.delete(KEY)


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (404, "NoSuchBucket")])
def test_rejected_delete_raises_unavailable_with_the_error_code(status: int, code: str) -> None:
    with pytest.raises(AwsResponseError) as refused:
        _responding(status, body=f"<Error><Code>{code}</Code></Error>".encode()).store.delete(KEY)

    assert (refused.value.http_status, refused.value.aws_code) == (status, code)


def test_keys_that_the_response_does_not_list_as_deleted_are_returned() -> None:
    other, third = f"{KEY}-2", f"{KEY}-3"
    error = f"<Error><Key>{other}</Key><Code>InternalError</Code></Error>"
    body = f"<DeleteResult><Deleted><Key>{KEY}</Key></Deleted>{error}</DeleteResult>".encode()

    assert _responding(200, body=body).store.delete_many([KEY, other, third]) == {other, third}
    assert _responding(200, body=b"<DeleteResult/>").store.delete_many([KEY]) == {KEY}
    with pytest.raises(AwsResponseError):
        _responding(403, body=b"<Error><Code>AccessDenied</Code></Error>").store.delete_many([KEY])


def test_unsafe_key_is_rejected_before_any_request() -> None:
    transport = _responding(204)

    for call in (transport.store.head, transport.store.delete):
        with pytest.raises(ValueError, match="unsafe object key"):
            call("../secrets")
    assert transport.requests == []
