"""The API under uvicorn on 127.0.0.1."""

from collections.abc import Iterator

import pytest

from infra.local.object_store import ObjectStoreServer
from lambda_app.core.settings import Settings
from tests.support.http_server import serving


@pytest.fixture(scope="session")
def api_url(settings: Settings, s3_server: ObjectStoreServer) -> Iterator[str]:
    """The URL of a running API."""
    with serving(settings, s3_server) as (url, _):
        yield url
