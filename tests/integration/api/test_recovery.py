"""Password reset and e-mail verification."""

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import time_machine
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.core.mail import Mail
from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.factory import Services
from lambda_app.models import MailPurpose
from lambda_app.repositories.accounts.mail_tokens import MailTokenRepository
from tests.support.accounts import Account, make_account
from tests.support.mailing import Mailing
from tests.support.problems import assert_problem, assert_unauthenticated

LOGIN = "/api/v1/login"
NEW = "a better password"


@pytest.fixture
def user(mail: Mailing) -> Account:
    return make_account(mail.services)


def request_reset(mail: Mailing, email: str) -> None:
    response = mail.client.post(f"{LOGIN}/forgot-password", json={"email": email})
    answer = {"detail": "If the address belongs to an account, it receives a mail with a link to reset the password"}
    assert (response.status_code, response.json()) == (202, answer)


def reset(mail: Mailing, token: str, password: str = NEW) -> httpx.Response:
    return mail.client.post(f"{LOGIN}/reset-password", json={"token": token, "password": password})


def verify(mail: Mailing, password: str = NEW) -> httpx.Response:
    return mail.client.post(f"{LOGIN}/verify-email", json={"token": mail.token(), "password": password})


def sign_in(mail: Mailing, email: str, password: str) -> httpx.Response:
    return mail.client.post(f"{LOGIN}/token", data={"username": email, "password": password})


def test_password_reset_by_mail_ends_all_sessions(mail: Mailing, user: Account, capsys: Any) -> None:
    request_reset(mail, user.email.upper())

    printed = capsys.readouterr().out
    assert f"Mail to {user.email}: https://files.test/reset-password#token={mail.token()}" in printed
    assert mail.token() not in re.sub(r"Mail to .*", "", printed)
    assert reset(mail, mail.token()).status_code == 204
    assert_unauthenticated(mail.client.get("/api/v1/users/me", headers=user.headers))
    assert_problem(sign_in(mail, user.email, user.password), 401, "bad_credentials")
    assert sign_in(mail, user.email, NEW).status_code == 200


def test_unknown_and_disabled_users_get_the_same_response_and_no_mail(mail: Mailing, user: Account) -> None:
    with mail.services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET is_active = false WHERE id = :id'), {"id": user.id})

    request_reset(mail, user.email)
    request_reset(mail, f"unknown-{uuid4()}@example.com")

    assert mail.mails() == []


def test_reset_link_works_once(mail: Mailing, user: Account) -> None:
    request_reset(mail, user.email)
    token = mail.token()
    assert reset(mail, token).status_code == 204

    assert_problem(reset(mail, token, "yet another one"), 410, "link_expired")
    assert sign_in(mail, user.email, NEW).status_code == 200


def test_unverified_new_address_is_refused_if_verification_is_required(strict: Mailing, user: Account) -> None:
    with strict.services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET email_verified_at = now() WHERE id = :id'), {"id": user.id})
    assert strict.client.get("/api/v1/users/me", headers=user.headers).status_code == 200

    change = {"email": f"unseen-{uuid4()}@example.com", "current_password": user.password}
    assert strict.client.put("/api/v1/users/me", json=change, headers=user.headers).status_code == 200

    assert_unauthenticated(strict.client.get("/api/v1/users/me", headers=user.headers))
    assert_problem(sign_in(strict, change["email"], user.password), 403)


def test_password_change_invalidates_the_reset_link(mail: Mailing, user: Account) -> None:
    request_reset(mail, user.email)
    proof = {"password": NEW, "current_password": user.password}
    assert mail.client.put("/api/v1/users/me", json=proof, headers=user.headers).status_code == 200

    assert_problem(reset(mail, mail.token(), "a password of an intruder"), 410, "link_expired")
    assert sign_in(mail, user.email, NEW).status_code == 200


def test_link_that_a_concurrent_password_change_ended_cannot_be_redeemed(mail: Mailing, services: Services, user: Account) -> None:
    request_reset(mail, user.email)
    token_hash = hash_secret(mail.token())
    with mail.services.unit_of_work() as session:
        tokens = MailTokenRepository(session)
        assert tokens.get_user(token_hash, MailPurpose.RESET_PASSWORD) is not None
        # Between the check and the redemption, the account ends all its sessions.
        with services.engine.begin() as other:
            other.execute(text('UPDATE "user" SET token_epoch = token_epoch + 1 WHERE id = :id'), {"id": user.id})

        assert tokens.consume(token_hash, MailPurpose.RESET_PASSWORD) is None


def test_reset_link_expires_after_30_minutes(mail: Mailing, user: Account) -> None:
    request_reset(mail, user.email)

    with time_machine.travel(clock.now() + timedelta(minutes=30, seconds=1), tick=False):
        assert_problem(reset(mail, mail.token()), 410, "link_expired")


def test_used_reset_link_invalidates_the_others(mail: Mailing, user: Account) -> None:
    request_reset(mail, user.email)
    first = mail.token()
    request_reset(mail, user.email)
    assert reset(mail, mail.token()).status_code == 204

    assert_problem(reset(mail, first, "yet another one"), 410, "link_expired")


def test_email_change_invalidates_the_reset_link(mail: Mailing, user: Account) -> None:
    request_reset(mail, user.email)
    change = {"email": f"moved-{uuid4()}@example.com", "current_password": user.password}
    assert mail.client.put("/api/v1/users/me", json=change, headers=user.headers).status_code == 200

    assert_problem(reset(mail, mail.token()), 410, "link_expired")


@pytest.mark.parametrize("token", ["x", "x" * 43, "' OR 1=1 --"])
def test_unknown_reset_token_is_refused(mail: Mailing, token: str) -> None:
    assert_problem(reset(mail, token), 410, "link_expired")


def test_weak_password_is_refused_and_the_link_stays_valid(mail: Mailing, user: Account) -> None:
    request_reset(mail, user.email)

    assert_problem(reset(mail, mail.token(), "Password123"), 422, "weak_password")
    assert_problem(reset(mail, mail.token(), user.email), 422, "weak_password")
    assert reset(mail, mail.token()).status_code == 204


def test_mail_token_is_stored_as_a_hash(mail: Mailing, user: Account) -> None:
    request_reset(mail, user.email)
    with mail.services.engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM mail_token WHERE user_id = :id"), {"id": user.id}).all()
    assert len(rows) == 1
    assert mail.token() not in str(rows)


def test_failure_to_send_mail_does_not_change_the_response(mail: Mailing, user: Account, monkeypatch: Any) -> None:
    class Broken:
        def send(self, mail: Mail) -> None:
            raise UnavailableError

    object.__setattr__(mail.services, "mailer", Broken())

    request_reset(mail, user.email)


def test_no_mail_is_sent_when_the_token_is_not_committed(mail: Mailing, user: Account, monkeypatch: Any) -> None:
    from sqlalchemy.orm import Session

    def refuse(_: Session) -> None:
        raise UnavailableError

    monkeypatch.setattr(Session, "commit", refuse)

    assert_problem(mail.client.post(f"{LOGIN}/forgot-password", json={"email": user.email}), 503)
    assert mail.mails() == []


@pytest.mark.parametrize("path", ["forgot-password", "verification"])
def test_requests_for_mail_return_503_without_a_mailer(client: httpx.Client, owner: Account, path: str) -> None:
    for email in (owner.email, "unknown@example.com"):
        assert_problem(client.post(f"{LOGIN}/{path}", json={"email": email}), 503, "mail_not_configured")


@pytest.mark.parametrize(
    "password", ["password", "Password123", "QWERTYUIOP", "12345678", "iloveyou", "letmein2024", "correcthorsebatterystaple"]
)
def test_common_password_is_refused(client: httpx.Client, owner: Account, password: str) -> None:
    new = {"email": f"new-{uuid4()}@example.com", "password": password}
    assert_problem(client.post("/api/v1/users/", json=new), 422, "weak_password")
    change = {"password": password, "current_password": owner.password}
    assert_problem(client.put("/api/v1/users/me", json=change, headers=owner.headers), 422, "weak_password")


def test_password_equal_to_the_email_is_refused(client: httpx.Client) -> None:
    email = f"someone-{uuid4()}@example.com"
    for password in (email, email.upper(), email.partition("@")[0]):
        assert_problem(client.post("/api/v1/users/", json={"email": email, "password": password}), 422, "weak_password")


@pytest.mark.parametrize("password", ["  spaces kept  ", "ünïcödé 🔑 pass", "x1" * 512, "nul\x00inside it"])
def test_password_is_compared_exactly_as_typed(client: httpx.Client, password: str) -> None:
    email = f"exact-{uuid4()}@example.com"
    assert client.post("/api/v1/users/", json={"email": email, "password": password}).status_code == 201

    assert client.post(f"{LOGIN}/token", data={"username": email, "password": password}).status_code == 200
    assert_problem(client.post(f"{LOGIN}/token", data={"username": email, "password": password.strip() + " "}), 401, "bad_credentials")


@pytest.mark.parametrize("length", [7, 1025])
def test_password_of_the_wrong_length_is_refused(client: httpx.Client, length: int) -> None:
    new = {"email": f"new-{uuid4()}@example.com", "password": "x1" * 513}
    assert_problem(client.post("/api/v1/users/", json=new | {"password": new["password"][:length]}), 422, "malformed_request")


def test_sign_in_requires_a_verified_address_if_configured(strict: Mailing) -> None:
    new = {"email": f"new-{uuid4()}@example.com", "password": NEW}
    assert strict.client.post("/api/v1/users/", json=new).status_code == 201

    assert_problem(sign_in(strict, new["email"], NEW), 403, "email_not_verified")
    assert_problem(sign_in(strict, new["email"], "wrong password"), 401, "bad_credentials")
    assert "/verify-email#token=" in strict.mails()[0]
    assert_problem(reset(strict, strict.token()), 410, "link_expired")
    assert verify(strict).status_code == 204
    assert sign_in(strict, new["email"], NEW).status_code == 200
    assert_problem(verify(strict), 410, "link_expired")


def test_verification_mail_can_be_requested_until_the_address_is_verified(strict: Mailing) -> None:
    new = {"email": f"new-{uuid4()}@example.com", "password": NEW}
    strict.client.post("/api/v1/users/", json=new)
    for email in (new["email"], f"unknown-{uuid4()}@example.com"):
        response = strict.client.post(f"{LOGIN}/verification", json={"email": email})
        assert response.status_code == 202
    assert len(strict.mails()) == 2
    assert verify(strict).status_code == 204
    assert_problem(verify(strict), 410, "link_expired")

    strict.client.post(f"{LOGIN}/verification", json={"email": new["email"]})

    assert len(strict.mails()) == 2


def test_new_address_must_be_verified_again(strict: Mailing) -> None:
    new = {"email": f"new-{uuid4()}@example.com", "password": NEW}
    strict.client.post("/api/v1/users/", json=new)
    verify(strict)
    token = sign_in(strict, new["email"], NEW).json()["access_token"]
    moved = {"email": f"moved-{uuid4()}@example.com", "current_password": NEW}

    strict.client.put("/api/v1/users/me", json=moved, headers={"Authorization": f"Bearer {token}"})

    assert_problem(sign_in(strict, moved["email"], NEW), 403, "email_not_verified")
