"""Audit events of failed sign-ins and failed password checks."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import time_machine
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.core.errors import TooManyRequestsError
from lambda_app.core.request_context import RequestContext, reset_request_context, set_request_context
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from tests.support.accounts import Account, make_account
from tests.support.gateway import unused_address
from tests.support.mailing import Mailing
from tests.support.problems import assert_problem

LOGIN = "/api/v1/login/token"
ME = "/api/v1/users/me"
WRONG = "wrong password"
ClientFrom = Callable[[str], httpx.Client]


def sign_in(client: httpx.Client, email: str, password: str = WRONG) -> httpx.Response:
    return client.post(LOGIN, data={"username": email, "password": password})


def events_from(services: Services, address: str) -> list[dict[str, Any]]:
    """Return the audit events of one source address, oldest first. Each test uses its own address."""
    query = text("SELECT action, actor_id, credential, subject, details FROM audit_event WHERE source_address = :address ORDER BY seq")
    with services.engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(query, {"address": address})]


def test_failed_sign_in_records_the_account_if_it_exists(client_from: ClientFrom, services: Services, owner: Account) -> None:
    source, unregistered = unused_address(), f"unknown-{uuid4()}@example.com"
    with client_from(source) as client:
        known, unknown, nonsense = (sign_in(client, typed) for typed in (owner.email.upper(), unregistered, "my secret password"))

    found = events_from(services, source)
    assert [event["action"] for event in found] == ["sign_in.failed"] * 3
    assert [event["subject"] for event in found] == [f"user:{owner.id}", None, None]
    assert {(event["actor_id"], event["credential"], event["details"]) for event in found} == {(None, None, '{"reason": "password"}')}
    bodies = [response.json() | {"request_id": ""} for response in (known, unknown, nonsense)]
    assert bodies[0] == bodies[1] == bodies[2]


def test_only_the_audit_log_distinguishes_a_disabled_account(client_from: ClientFrom, services: Services, owner: Account) -> None:
    with services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET is_active = false WHERE id = :id'), {"id": owner.id})
    source = unused_address()
    with client_from(source) as client, time_machine.travel(clock.now(), tick=False):
        responses = [sign_in(client, owner.email, password) for password in ("wrong password", *[owner.password] * 6)]

    assert [response.status_code for response in responses] == [401] * 6 + [429]
    assert responses[0].json() | {"request_id": ""} == responses[1].json() | {"request_id": ""}
    reasons = [event["details"] for event in events_from(services, source)]
    assert reasons[:2] == ['{"reason": "password"}', '{"reason": "disabled"}']


def test_wrong_current_password_is_audited(client_from: ClientFrom, services: Services, owner: Account) -> None:
    source = unused_address()
    with client_from(source) as client:
        change = {"password": "a replacement password", "current_password": "wrong password"}
        assert_problem(client.put(ME, json=change, headers=owner.headers), 403, "current_password_required")
        assert_problem(client.put(ME, json=change | {"current_password": None}, headers=owner.headers), 403, "current_password_required")

    (event,) = events_from(services, source)
    assert (event["action"], event["actor_id"], event["subject"]) == ("password_proof.failed", owner.id, f"user:{owner.id}")
    assert event["credential"].startswith("session:")


def test_throttled_attempts_record_one_event_per_delay(client_from: ClientFrom, services: Services, owner: Account) -> None:
    source = unused_address()
    with client_from(source) as client, time_machine.travel(clock.now(), tick=False) as traveller:
        for _ in range(6):
            sign_in(client, owner.email)
        for delay in (1, 2, 4):
            responses = [sign_in(client, owner.email) for _ in range(10)]
            assert {(response.status_code, response.headers["retry-after"]) for response in responses} == {(429, str(delay))}
            traveller.shift(timedelta(seconds=delay))
            assert sign_in(client, owner.email).status_code == 401

    found = events_from(services, source)
    assert [event["action"] for event in found] == ["sign_in.failed"] * 6 + ["sign_in.throttled", "sign_in.failed"] * 3
    assert {event["subject"] for event in found} == {f"user:{owner.id}"}


def test_throttled_guesses_of_the_current_password_are_audited(client_from: ClientFrom, services: Services, owner: Account) -> None:
    source = unused_address()
    change = {"password": "a replacement password", "current_password": "wrong password"}
    with client_from(source) as thief, time_machine.travel(clock.now(), tick=False):
        statuses = [thief.put(ME, json=change, headers=owner.headers).status_code for _ in range(9)]

    assert statuses == [403] * 6 + [429] * 3
    assert [event["action"] for event in events_from(services, source)] == ["password_proof.failed"] * 6 + ["password_proof.throttled"]


def test_concurrent_throttled_attempts_record_one_event(settings: Settings, client_from: ClientFrom, owner: Account) -> None:
    pooled = Services.build(settings.model_copy(update={"database_pool_size": 10}))
    source = unused_address()

    def attempt(_: int) -> int:
        token = set_request_context(RequestContext(source_address=source))
        try:
            with pooled.unit_of_work() as session:
                pooled.sessions(session).sign_in(email=owner.email, password="wrong password")
        except TooManyRequestsError as error:
            return error.status
        finally:
            reset_request_context(token)
        return 200

    with time_machine.travel(clock.now(), tick=False):
        with client_from(source) as client:
            for _ in range(6):
                sign_in(client, owner.email)
        with ThreadPoolExecutor(10) as pool:
            statuses = list(pool.map(attempt, range(50)))
    actions = [event["action"] for event in events_from(pooled, source)]
    pooled.engine.dispose()

    assert statuses == [429] * 50
    assert actions == ["sign_in.failed"] * 6 + ["sign_in.throttled"]


def test_right_password_of_an_unverified_address_is_audited_and_throttled(strict: Mailing) -> None:
    account = {"email": f"new-{uuid4()}@example.com", "password": "a good password"}
    source = unused_address()
    with strict.client_from(source) as client, time_machine.travel(clock.now(), tick=False):
        user_id = client.post("/api/v1/users/", json=account).json()["id"]
        responses = [sign_in(client, account["email"], account["password"]) for _ in range(9)]

    codes = [(response.status_code, response.json()["code"]) for response in responses]
    assert codes == [(403, "email_not_verified")] * 6 + [(429, "too_many_attempts")] * 3
    events = [event for event in events_from(strict.services, source) if event["action"].startswith("sign_in.")]
    assert [event["action"] for event in events] == ["sign_in.failed"] * 6 + ["sign_in.throttled"]
    assert {event["subject"] for event in events} == {f"user:{user_id}"}
    assert {event["details"] for event in events[:6]} == {'{"reason": "email_not_verified"}'}


@pytest.mark.parametrize("password", ["right", "wrong"])
def test_failed_sign_in_returns_500_when_it_cannot_be_audited(strict: Mailing, password: str) -> None:
    account = make_account(strict.services, is_superuser=True)
    with strict.services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET email_verified_at = NULL WHERE id = :id'), {"id": account.id})
        connection.execute(text("ALTER TABLE audit_event ADD CONSTRAINT broken CHECK (false) NOT VALID"))
    try:
        response = sign_in(strict.client, account.email, account.password if password == "right" else "wrong password")
    finally:
        with strict.services.engine.begin() as connection:
            connection.execute(text("ALTER TABLE audit_event DROP CONSTRAINT broken"))

    assert_problem(response, 500, "internal_error")
