"""The application with real servers, called with Lambda events.

Tests commit. They are isolated by separate accounts, not by an outer transaction, because they also verify which statements
commit on their own.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial

import httpx
import pytest
from fastapi import FastAPI

from infra.local.object_store import ObjectStoreServer
from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account, make_account
from tests.support.gateway import GatewayTransport, payload_v2

ORIGIN = "https://api.test"
SHARED_USER_SECONDS = 300


@pytest.fixture(scope="session")
def services(settings: Settings, s3_server: ObjectStoreServer) -> Iterator[Services]:
    """The services of the application under test, with AWS credentials from the environment, as in Lambda."""
    built = Services.build(settings)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
        environment.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
        yield built
    built.engine.dispose()


@pytest.fixture(scope="session")
def app(settings: Settings, services: Services) -> FastAPI:
    """The application under test."""
    return create_app(settings, services)


@pytest.fixture(scope="session", autouse=True)
def event_loop() -> Iterator[None]:
    """The current event loop for Mangum. Lambda never closes it; the test session does."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.run_until_complete(loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture(scope="session")
def handler(app: FastAPI) -> GatewayHandler:
    """The Lambda entry point of the application."""
    return GatewayHandler(app)


@pytest.fixture(scope="session")
def client(handler: GatewayHandler) -> Iterator[httpx.Client]:
    """A client whose requests become HTTP API events."""
    with httpx.Client(transport=GatewayTransport(handler), base_url=ORIGIN) as client:
        yield client


@pytest.fixture(scope="session")
def client_from(handler: GatewayHandler) -> Callable[[str], httpx.Client]:
    """A function that returns clients with another source address."""
    return lambda address: httpx.Client(transport=GatewayTransport(handler, partial(payload_v2, source_ip=address)), base_url=ORIGIN)


@pytest.fixture(scope="session")
def make_user(client: httpx.Client, services: Services) -> Callable[..., Account]:
    """A function that creates and signs in users."""
    return lambda **fields: make_account(services, **fields)


@pytest.fixture
def owner(make_user: Callable[..., Account]) -> Account:
    """A new user, who owns what the test creates."""
    return make_user()


@pytest.fixture(scope="session")
def lasting_user(make_user: Callable[..., Account]) -> Callable[[bool], Account]:
    """Users that tests share, replaced before their access tokens expire after ten minutes."""
    accounts: dict[bool, tuple[float, Account]] = {}

    def get(is_superuser: bool) -> Account:
        now = time.monotonic()
        if is_superuser not in accounts or now - accounts[is_superuser][0] > SHARED_USER_SECONDS:
            accounts[is_superuser] = now, make_user(is_superuser=is_superuser)
        return accounts[is_superuser][1]

    return get


@pytest.fixture
def stranger(lasting_user: Callable[[bool], Account]) -> Account:
    """Another user."""
    return lasting_user(False)


@pytest.fixture
def admin(lasting_user: Callable[[bool], Account]) -> Account:
    """A superuser."""
    return lasting_user(True)
