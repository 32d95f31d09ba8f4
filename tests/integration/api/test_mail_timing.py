"""Neither the response nor its time reveals whether mail was sent. A test double of SES adds the delay."""

import os
import time
from pathlib import Path
from uuid import uuid4

import pytest

from lambda_app.core.settings import Settings
from lambda_app.dependencies import mail as outgoing
from lambda_app.factory import Services
from tests.support.accounts import make_account
from tests.support.mailing import Mailing, SesDouble, mailing

pytestmark = pytest.mark.timing

FORGOT = "/api/v1/login/forgot-password"
SCALE = 0.4 if os.environ.get("CI") else 1.0
"""Scales all durations. CI uses shorter ones."""
MAX_DIFFERENCE_SECONDS = 0.3
"""Leaves room for other work on the machine. A response that waited for SES would be seconds slower."""


@pytest.fixture(autouse=True)
def _scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "EQUALIZED_RESPONSE_SECONDS", outgoing.EQUALIZED_RESPONSE_SECONDS * SCALE)


def request_reset(mail: Mailing, email: str) -> float:
    started_at = time.monotonic()
    response = mail.client.post(FORGOT, json={"email": email})
    seconds = time.monotonic() - started_at
    assert (response.status_code, list(response.json())) == (202, ["detail"])
    return seconds


@pytest.mark.parametrize("delay", [0.7, 3.0])
def test_slow_ses_does_not_make_known_addresses_slower(settings: Settings, services: Services, tmp_path: Path, delay: float) -> None:
    with (
        SesDouble(delay * SCALE) as ses,
        mailing(settings, tmp_path, mail_folder=None, mail_from="no-reply@example.com", aws_endpoint_url=ses.url) as mail,
    ):
        user = make_account(mail.client, mail.services)
        known, unknown = request_reset(mail, user.email), request_reset(mail, f"unknown-{uuid4()}@example.com")
        # The mail is still sent, exactly once.
        assert ses.answered.acquire(timeout=10)
        time.sleep(0.1)

    print(f"SES takes {delay} s: known {known:.3f} s, unknown {unknown:.3f} s")
    assert min(known, unknown) >= outgoing.EQUALIZED_RESPONSE_SECONDS
    assert abs(known - unknown) < MAX_DIFFERENCE_SECONDS
    assert [message["Destination"] for message in ses.received] == [{"ToAddresses": [user.email]}]


@pytest.mark.parametrize("status", [403, None])
def test_unavailable_ses_changes_neither_response_nor_time(
    settings: Settings, services: Services, tmp_path: Path, status: int | None
) -> None:
    with SesDouble(0.0, status or 200) as ses:
        url = ses.url if status else "http://127.0.0.1:9"
        with mailing(settings, tmp_path, mail_folder=None, mail_from="no-reply@example.com", aws_endpoint_url=url) as mail:
            user = make_account(mail.client, mail.services)
            known, unknown = request_reset(mail, user.email), request_reset(mail, f"unknown-{uuid4()}@example.com")

    assert abs(known - unknown) < MAX_DIFFERENCE_SECONDS


def test_registration_and_email_change_succeed_without_ses(settings: Settings, services: Services, tmp_path: Path) -> None:
    with (
        SesDouble(0.0, 500) as ses,
        mailing(settings, tmp_path, mail_folder=None, mail_from="no-reply@example.com", aws_endpoint_url=ses.url) as mail,
    ):
        user = make_account(mail.client, mail.services)
        body = {"email": f"moved-{uuid4()}@example.com", "current_password": user.password}

        response = mail.client.put("/api/v1/users/me", json=body, headers=user.headers)

    assert response.status_code == 200
    assert {message["Destination"]["ToAddresses"][0] for message in ses.received} == {user.email, body["email"]}
