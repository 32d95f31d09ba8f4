"""A server whose webhooks may have addresses of the own host, in a database of its own."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from sqlalchemy import update

from infra.local.object_store import ObjectStoreServer
from lambda_app.core.settings import Settings
from lambda_app.models import Webhook
from tests.support.accounts import Account, make_account
from tests.support.audit_log import OwnLog, own_log


@pytest.fixture(scope="module")
def log(settings: Settings, make_migrated_database: Callable[[], str], s3_server: ObjectStoreServer) -> Iterator[OwnLog]:
    """The services, with a log of their own."""
    with own_log(settings, make_migrated_database(), s3_server, webhook_allow_loopback=True, database_pool_size=10) as own:
        yield own


@pytest.fixture(scope="module")
def api(log: OwnLog) -> Iterator[httpx.Client]:
    """A client of the API."""
    with log.client() as client:
        yield client


@pytest.fixture(autouse=True)
def _disable_webhooks_of_earlier_tests(log: OwnLog) -> None:
    with log.services.engine.begin() as connection:
        connection.execute(update(Webhook).values(is_enabled=False))


@pytest.fixture
def owner(log: OwnLog) -> Account:
    """A user."""
    return make_account(log.services)
