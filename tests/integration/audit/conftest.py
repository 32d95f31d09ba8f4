"""An audit log in a database and a bucket of its own."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from infra.local.object_store import ObjectStoreServer
from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.audit_log import OwnLog
from tests.support.gateway import GatewayTransport


@pytest.fixture
def log(
    settings: Settings, make_migrated_database: Callable[[], str], s3_server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OwnLog]:
    """A log whose only event is the one that closed the chain."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
    own = OwnLog(settings, make_migrated_database())
    yield own
    own.close()


@pytest.fixture
def api(log: OwnLog) -> Iterator[httpx.Client]:
    """A client of the API with this log."""
    handler = GatewayHandler(create_app(log.services.settings, log.services))
    with httpx.Client(transport=GatewayTransport(handler), base_url="https://api.test") as client:
        yield client
