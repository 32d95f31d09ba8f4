"""The S3 emulator, an HTTP client and real time, for the object store contract."""

import time
from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import SecretStr

from infra.local.object_store import ObjectStoreServer
from lambda_app.core.aws import AwsAccess, AwsCredentials
from lambda_app.core.settings import Environment, Settings
from lambda_app.storage.s3 import S3ObjectStore
from tests.support.object_store import StoreResponse

GRACE_SECONDS = 0.2
"""The emulator has the same clock, so a URL is invalid immediately after its expiry."""


def settings_for(s3_server: ObjectStoreServer, **changes: Any) -> Settings:
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

    demands_signatures = True
    checks_parts = False
    checks_size = False
    pages_uploads = False

    def __init__(self, s3_server: ObjectStoreServer, client: httpx.Client) -> None:
        self._server = s3_server
        self._client = client
        self.aws = AwsAccess(settings_for(s3_server), AwsCredentials(s3_server.access_key_id, s3_server.secret_access_key))

    def store(self, *, lifetime_seconds: int = 900) -> S3ObjectStore:
        return S3ObjectStore(settings_for(self._server, presigned_url_expiration=lifetime_seconds), self.aws)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> StoreResponse:
        # As in every HTTP client, Content-Length is the actual length of the body.
        sent = {name: value for name, value in headers.items() if name != "Content-Length"}
        response = self._client.request(method, url, headers=sent, content=body)
        return StoreResponse(response.status_code, dict(response.headers), response.content)

    def wait(self, seconds: float) -> None:
        time.sleep(seconds + GRACE_SECONDS)
