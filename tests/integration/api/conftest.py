"""What the tests of the API share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from lambda_app.core.mail import Mailer
from lambda_app.core.settings import Settings
from lambda_app.dependencies import mail as outgoing
from lambda_app.factory import Services
from lambda_app.models import MailAllowance, SignInAttempt
from tests.support.mailing import Mailing, mailing


@pytest.fixture(autouse=True)
def _forgotten_attempts(services: Services) -> None:
    """Forget the failed sign-ins and the mails of earlier tests: nearly all of them come from one address, which would be throttled."""
    with services.engine.begin() as connection:
        connection.execute(delete(SignInAttempt))
        connection.execute(delete(MailAllowance))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let answers that hide whether mail was sent come at once, and send it before them."""

    def send(mails: outgoing.OutgoingMail, post: Mailer) -> None:
        mails._send_all(post)

    monkeypatch.setattr(outgoing.OutgoingMail, "send", send)


@pytest.fixture
def mail(settings: Settings, tmp_path: Path, quick: None) -> Iterator[Mailing]:
    """An API that writes its mail to a folder."""
    with mailing(settings, tmp_path) as made:
        yield made


@pytest.fixture
def strict(settings: Settings, tmp_path: Path, quick: None) -> Iterator[Mailing]:
    """An API that wants addresses confirmed."""
    with mailing(settings, tmp_path, require_verified_email=True) as made:
        yield made
