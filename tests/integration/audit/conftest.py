"""An audit log in a database and a bucket of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from infra.local.object_store import ObjectStoreServer
from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.audit_log import OwnLog
from tests.support.gateway import GatewayTransport


@contextmanager
def opened_log(settings: Settings, database_url: str, s3_server: ObjectStoreServer) -> Iterator[OwnLog]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
        environment.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
        own = OwnLog(settings, database_url)
        yield own
        own.close()


@pytest.fixture
def log(settings: Settings, make_migrated_database: Callable[[], str], s3_server: ObjectStoreServer) -> Iterator[OwnLog]:
    """A log whose only event is the one that closed the chain."""
    with opened_log(settings, make_migrated_database(), s3_server) as own:
        yield own


@pytest.fixture(scope="module")
def lasting_log(settings: Settings, make_migrated_database: Callable[[], str], s3_server: ObjectStoreServer) -> Iterator[OwnLog]:
    """A sealed log for the tests of a module that do not change it."""
    with opened_log(settings, make_migrated_database(), s3_server) as own:
        own.add(1)
        own.seal()
        yield own


@pytest.fixture
def api(log: OwnLog) -> Iterator[httpx.Client]:
    """A client of the API with this log."""
    handler = GatewayHandler(create_app(log.services.settings, log.services))
    with httpx.Client(transport=GatewayTransport(handler), base_url="https://api.test") as client:
        yield client
