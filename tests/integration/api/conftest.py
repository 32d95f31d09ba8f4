"""Fixtures of the API tests."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import delete

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.models import MailAllowance, SignInAttempt
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account
from tests.support.gateway import GatewayTransport, unused_address
from tests.support.mailing import Mailing, mailing
from tests.support.shares import BROWSER


@pytest.fixture(autouse=True)
def _reset_rate_limits(services: Services) -> None:
    """Delete the counters of failed sign-ins and mails. Nearly all tests use one address, which would be throttled."""
    with services.engine.begin() as connection:
        connection.execute(delete(SignInAttempt))
        connection.execute(delete(MailAllowance))


@pytest.fixture
def mail(settings: Settings, tmp_path: Path) -> Iterator[Mailing]:
    """An API that writes its mail to a directory."""
    with mailing(settings, tmp_path) as made:
        yield made


@pytest.fixture
def strict(settings: Settings, tmp_path: Path) -> Iterator[Mailing]:
    """An API that requires verified e-mail addresses."""
    with mailing(settings, tmp_path, require_verified_email=True) as made:
        yield made


@pytest.fixture
def browser(client_from: Callable[[str], httpx.Client]) -> Iterator[httpx.Client]:
    """A client that accepts HTML and keeps cookies, with its own source address."""
    with client_from(unused_address()) as client:
        client.headers.update(BROWSER)
        yield client


@pytest.fixture
def make_key(client: httpx.Client) -> Callable[..., Account]:
    """A function that creates an API key with these scopes, and returns the account with the key as its token."""

    def make(account: Account, *scopes: str) -> Account:
        body = {"name": "n", "scopes": list(scopes)}
        return replace(account, token=client.post("/api/v1/users/me/api-keys", json=body, headers=account.headers).json()["key"])

    return make


@pytest.fixture
def with_trash(settings: Settings, services: Services) -> httpx.Client:
    """A client of an API with a trash."""
    with_retention = settings.model_copy(update={"trash_retention_days": 7})
    trash_services = replace(services, settings=with_retention)
    return httpx.Client(transport=GatewayTransport(GatewayHandler(create_app(with_retention, trash_services))), base_url="https://api.test")
