"""Fixtures of the API tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import delete

from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.models import MailAllowance, SignInAttempt
from tests.support.gateway import unused_address
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
