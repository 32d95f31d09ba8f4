"""Neither the response nor its time reveals whether mail was sent. A test double of SES adds the delay."""

import os
import time
from pathlib import Path
from uuid import uuid4

import pytest

from lambda_app.core.mail import PLACEHOLDER
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.repositories.accounts.mail_allowances import MAILS_FOR_ADDRESS_BY_REQUESTER
from tests.support.accounts import make_account
from tests.support.gateway import unused_address
from tests.support.mailing import Mailing, SesDouble, mailing

pytestmark = pytest.mark.timing

SCALE = 0.4 if os.environ.get("CI") else 1.0
"""Scales all durations. CI uses shorter ones."""
MAX_DIFFERENCE_SECONDS = 0.3
"""Leaves room for other work on the machine. A response that waited for SES alone would be seconds slower."""

ROUTES = ("forgot-password", "verification")


def request_mail(mail: Mailing, route: str, email: str, *, source: str | None = None) -> float:
    with mail.client_from(source or unused_address()) as client:
        started_at = time.monotonic()
        response = client.post(f"/api/v1/login/{route}", json={"email": email})
        seconds = time.monotonic() - started_at
    assert (response.status_code, list(response.json())) == (202, ["detail"])
    return seconds


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("delay", [0.0, 2.0])
def test_response_waits_for_ses_whether_or_not_the_address_has_an_account(
    settings: Settings, services: Services, tmp_path: Path, route: str, delay: float
) -> None:
    with (
        SesDouble(delay * SCALE) as ses,
        mailing(settings, tmp_path, mail_folder=None, mail_from="no-reply@example.com", aws_endpoint_url=ses.url) as mail,
    ):
        user = make_account(mail.services, is_verified=False)
        confirmed = make_account(mail.services)
        request_mail(mail, route, user.email)
        ses.received.clear()
        known, unknown = request_mail(mail, route, user.email), request_mail(mail, route, f"unknown-{uuid4()}@example.com")
        needless = request_mail(mail, "verification", confirmed.email)

    print(f"{route}, SES takes {delay * SCALE} s: known {known:.3f} s, unknown {unknown:.3f} s, already confirmed {needless:.3f} s")
    assert min(known, unknown, needless) >= delay * SCALE
    assert max(known, unknown, needless) < delay * SCALE + MAX_DIFFERENCE_SECONDS
    recipients = [message["Destination"]["ToAddresses"] for message in ses.received]
    assert recipients == [[user.email], [PLACEHOLDER.to], [PLACEHOLDER.to]]
    sizes = [len(str(message["Content"])) for message in ses.received]
    assert max(sizes) - min(sizes) < 500


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
def test_refused_request_is_answered_at_once(settings: Settings, services: Services, tmp_path: Path, route: str) -> None:
    delay = 2.0 * SCALE
    with (
        SesDouble(delay) as ses,
        mailing(settings, tmp_path, mail_folder=None, mail_from="no-reply@example.com", aws_endpoint_url=ses.url) as mail,
    ):
        known, unknown = make_account(mail.services, is_verified=False).email, f"unknown-{uuid4()}@example.com"
        for email in (known, unknown):
            source = unused_address()
            for _ in range(MAILS_FOR_ADDRESS_BY_REQUESTER):
                assert request_mail(mail, route, email, source=source) >= delay
            sent = len(ses.received)
            assert request_mail(mail, route, email, source=source) < MAX_DIFFERENCE_SECONDS
            assert len(ses.received) == sent


@pytest.mark.slow
@pytest.mark.parametrize("status", [403, None])
def test_unavailable_ses_changes_neither_response_nor_time(
    settings: Settings, services: Services, tmp_path: Path, status: int | None
) -> None:
    with SesDouble(0.0, status or 200) as ses:
        url = ses.url if status else "http://127.0.0.1:9"
        with mailing(settings, tmp_path, mail_folder=None, mail_from="no-reply@example.com", aws_endpoint_url=url) as mail:
            user = make_account(mail.services)
            request_mail(mail, "forgot-password", user.email)
            known = request_mail(mail, "forgot-password", user.email)
            unknown = request_mail(mail, "forgot-password", f"unknown-{uuid4()}@example.com")

    assert abs(known - unknown) < MAX_DIFFERENCE_SECONDS


def test_placeholder_is_not_written_to_the_mail_folder(mail: Mailing) -> None:
    request_mail(mail, "forgot-password", f"unknown-{uuid4()}@example.com")

    assert mail.mails() == []


def test_registration_and_email_change_succeed_without_ses(settings: Settings, services: Services, tmp_path: Path) -> None:
    with (
        SesDouble(0.0, 500) as ses,
        mailing(settings, tmp_path, mail_folder=None, mail_from="no-reply@example.com", aws_endpoint_url=ses.url) as mail,
    ):
        user = make_account(mail.services)
        body = {"email": f"moved-{uuid4()}@example.com", "current_password": user.password}

        response = mail.client.put("/api/v1/users/me", json=body, headers=user.headers)

    assert response.status_code == 200
    assert {message["Destination"]["ToAddresses"][0] for message in ses.received} == {user.email, body["email"]}
