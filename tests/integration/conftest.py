"""The application on real servers, reached through Lambda events.

Commits are real: isolation comes from accounts of each test's own, not from an outer transaction, because what is
tested here includes which statements commit by themselves.
"""

import asyncio
from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI

from infra.local.object_store import ObjectStoreServer
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.main import create_app
from lambda_app.routers.gateway import GatewayHandler
from tests.support.accounts import Account, make_account
from tests.support.gateway import GatewayTransport

ORIGIN = "https://api.test"


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
def make_user(client: httpx.Client, services: Services) -> Callable[..., Account]:
    """Make signed-in users."""
    return lambda **fields: make_account(client, services, **fields)


@pytest.fixture
def owner(make_user: Callable[..., Account]) -> Account:
    """Somebody who owns what the test makes."""
    return make_user()


@pytest.fixture(scope="session")
def stranger(make_user: Callable[..., Account]) -> Account:
    """Somebody else."""
    return make_user()


@pytest.fixture(scope="session")
def admin(make_user: Callable[..., Account]) -> Account:
    """A superuser."""
    return make_user(is_superuser=True)
