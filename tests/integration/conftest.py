"""The application on real servers, reached through Lambda events.

Commits are real: isolation comes from accounts of each test's own, not from an outer transaction, because what is
tested here includes which statements commit by themselves.
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
    """The services of the application under test; their AWS credentials come from the environment, as in Lambda."""
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
    """The current event loop, which Mangum uses and Lambda never closes; a test run does."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.run_until_complete(loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture(scope="session")
def handler(app: FastAPI) -> GatewayHandler:
    """Its Lambda entry point."""
    return GatewayHandler(app)


@pytest.fixture(scope="session")
def client(handler: GatewayHandler) -> Iterator[httpx.Client]:
    """A caller whose requests arrive as HTTP API events."""
    with httpx.Client(transport=GatewayTransport(handler), base_url=ORIGIN) as client:
        yield client


@pytest.fixture(scope="session")
def client_from(handler: GatewayHandler) -> Callable[[str], httpx.Client]:
    """Make callers who sit at another address."""
    return lambda address: httpx.Client(transport=GatewayTransport(handler, partial(payload_v2, source_ip=address)), base_url=ORIGIN)


@pytest.fixture(scope="session")
def make_user(client: httpx.Client, services: Services) -> Callable[..., Account]:
    """Make signed-in users."""
    return lambda **fields: make_account(client, services, **fields)


@pytest.fixture
def owner(make_user: Callable[..., Account]) -> Account:
    """Somebody who owns what the test makes."""
    return make_user()


@pytest.fixture(scope="session")
def lasting_user(make_user: Callable[..., Account]) -> Callable[[bool], Account]:
    """Users that many tests share, replaced well before the ten minutes of their access token are over."""
    made: dict[bool, tuple[float, Account]] = {}

    def get(is_superuser: bool) -> Account:
        now = time.monotonic()
        if is_superuser not in made or now - made[is_superuser][0] > SHARED_USER_SECONDS:
            made[is_superuser] = now, make_user(is_superuser=is_superuser)
        return made[is_superuser][1]

    return get


@pytest.fixture
def stranger(lasting_user: Callable[[bool], Account]) -> Account:
    """Somebody else."""
    return lasting_user(False)


@pytest.fixture
def admin(lasting_user: Callable[[bool], Account]) -> Account:
    """A superuser."""
    return lasting_user(True)
