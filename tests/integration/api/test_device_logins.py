"""Device sign-in: a program without a browser gets a session that a user approves at a browser."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
import time_machine
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.factory import Services
from lambda_app.repositories.accounts.sign_in_attempts import FREE_ATTEMPTS_PER_ADDRESS, FREE_ATTEMPTS_PER_PAIR
from lambda_app.services.accounts.device_logins import OPEN_PER_NETWORK
from tests.support.accounts import Account
from tests.support.problems import assert_problem

API = "/api/v1"
CLIENT = "we-upload 1.0 on workstation"


@pytest.fixture
def program(client_from: Callable[[str], httpx.Client]) -> httpx.Client:
    """A client in a network of its own, because the requests of a network are limited."""
    return client_from(f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}::1")


def start(program: httpx.Client) -> dict[str, Any]:
    answer = program.post(f"{API}/login/device", json={"client": CLIENT})
    assert answer.status_code == 200, answer.text
    started: dict[str, Any] = answer.json()
    return started


def redeem(program: httpx.Client, started: dict[str, Any]) -> httpx.Response:
    return program.post(f"{API}/login/device/token", json={"device_code": started["device_code"]})


def decide(client: httpx.Client, account: Account, user_code: str, decision: str = "approve") -> httpx.Response:
    return client.post(f"{API}/users/me/device-logins/{user_code}", json={"decision": decision}, headers=account.headers)


def test_approved_program_gets_a_session_once(program: httpx.Client, client: httpx.Client, owner: Account) -> None:
    started = start(program)
    assert_problem(redeem(program, started), 400, "authorization_pending")
    shown = client.get(f"{API}/users/me/device-logins/{started['user_code']}", headers=owner.headers).json()

    assert decide(client, owner, started["user_code"]).status_code == 204
    tokens = redeem(program, started)

    assert shown["client"] == CLIENT
    assert shown["source_address"].startswith("2001:db8:")
    assert started["verification_uri_complete"].endswith(f"/settings#connect={started['user_code']}")
    assert tokens.headers["Cache-Control"] == "no-store"
    bearer = {"Authorization": f"Bearer {tokens.json()['access_token']}"}
    assert program.get(f"{API}/users/me", headers=bearer).json()["id"] == str(owner.id)
    assert program.post(f"{API}/login/refresh", json={"refresh_token": tokens.json()["refresh_token"]}).status_code == 200
    assert_problem(redeem(program, started), 400, "expired_token")


def test_code_is_accepted_as_people_type_it(program: httpx.Client, client: httpx.Client, owner: Account) -> None:
    started = start(program)

    assert decide(client, owner, started["user_code"].replace("-", " ").lower()).status_code == 204


def test_denied_program_gets_no_session(program: httpx.Client, client: httpx.Client, owner: Account) -> None:
    started = start(program)

    assert decide(client, owner, started["user_code"], "deny").status_code == 204

    assert_problem(redeem(program, started), 400, "access_denied")
    assert_problem(decide(client, owner, started["user_code"]), 404, "device_login_not_found")


def test_second_user_cannot_change_the_decision(program: httpx.Client, client: httpx.Client, owner: Account, stranger: Account) -> None:
    started = start(program)
    decide(client, owner, started["user_code"])

    assert_problem(decide(client, stranger, started["user_code"]), 404, "device_login_not_found")

    bearer = {"Authorization": f"Bearer {redeem(program, started).json()['access_token']}"}
    assert program.get(f"{API}/users/me", headers=bearer).json()["id"] == str(owner.id)


def test_expired_code_cannot_be_approved_or_redeemed(
    program: httpx.Client, client: httpx.Client, owner: Account, services: Services
) -> None:
    approved, pending = start(program), start(program)
    decide(client, owner, approved["user_code"])
    with services.unit_of_work() as session:
        codes = [approved["user_code"], pending["user_code"]]
        statement = text("UPDATE device_login SET expires_at = now() - interval '1 second' WHERE user_code = ANY(:codes)")
        session.execute(statement, {"codes": codes})

    assert_problem(redeem(program, approved), 400, "expired_token")
    assert_problem(decide(client, owner, pending["user_code"]), 404, "device_login_not_found")


def test_approval_ends_with_all_sessions(program: httpx.Client, client: httpx.Client, owner: Account) -> None:
    started = start(program)
    decide(client, owner, started["user_code"])

    assert client.post(f"{API}/login/logout-everywhere", headers=owner.headers).status_code == 204

    assert_problem(redeem(program, started), 400, "access_denied")


def test_api_key_cannot_approve_a_program(program: httpx.Client, client: httpx.Client, owner: Account) -> None:
    """A key with limited life would create a session that outlives it."""
    created = client.post(f"{API}/users/me/api-keys", json={"name": "n", "scopes": ["admin"]}, headers=owner.headers).json()
    bearer = {"Authorization": f"Bearer {created['key']}"}
    started = start(program)

    path = f"{API}/users/me/device-logins/{started['user_code']}"

    assert_problem(client.get(path, headers=bearer), 403, "permission_denied")
    assert_problem(client.post(path, json={"decision": "approve"}, headers=bearer), 403, "permission_denied")
    assert_problem(redeem(program, started), 400, "authorization_pending")


def test_open_requests_of_a_network_are_limited(program: httpx.Client, client_from: Callable[[str], httpx.Client]) -> None:
    for _ in range(OPEN_PER_NETWORK):
        start(program)

    refused = program.post(f"{API}/login/device", json={"client": CLIENT})

    assert_problem(refused, 429, "too_many_device_logins")
    assert "Retry-After" in refused.headers
    assert start(client_from(f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}::1"))["user_code"]


def test_guessing_user_codes_is_throttled(
    program: httpx.Client, client: httpx.Client, owner: Account, make_user: Callable[..., Account], services: Services
) -> None:
    guesser = make_user()
    code = start(program)["user_code"]
    with time_machine.travel(clock.now(), tick=False):
        # A code that the guesser started does not make room for more than the free attempts of an hour.
        own = start(program)["user_code"]
        guesses = [decide(client, guesser, "BCDF-GHJK") for _ in range(FREE_ATTEMPTS_PER_PAIR + 2)]
        assert [guess.status_code for guess in guesses] == [404] * (FREE_ATTEMPTS_PER_PAIR + 1) + [429]
        assert guesses[-1].headers["retry-after"] == "1"
        for path in (code, own):
            assert_problem(client.get(f"{API}/users/me/device-logins/{path}", headers=guesser.headers), 429, "too_many_attempts")
        assert_problem(decide(client, guesser, code), 429, "too_many_attempts")
        assert decide(client, owner, code).status_code == 204
    with services.engine.connect() as connection:
        query = text("SELECT action FROM audit_event WHERE subject = :subject AND action LIKE 'device_login.%'")
        actions = list(connection.execute(query, {"subject": f"user:{guesser.id}"}).scalars())
    assert sorted(actions) == ["device_login.failed"] * (FREE_ATTEMPTS_PER_PAIR + 1) + ["device_login.throttled"]


def test_successful_codes_do_not_reset_the_limit_of_guesses(
    program: httpx.Client, client: httpx.Client, make_user: Callable[..., Account]
) -> None:
    guesser = make_user()
    own = start(program)["user_code"]
    statuses = []
    with time_machine.travel(clock.now(), tick=False):
        for _ in range(FREE_ATTEMPTS_PER_ADDRESS // FREE_ATTEMPTS_PER_PAIR + 1):
            statuses += [decide(client, guesser, "BCDF-GHJK").status_code for _ in range(FREE_ATTEMPTS_PER_PAIR)]
            statuses.append(client.get(f"{API}/users/me/device-logins/{own}", headers=guesser.headers).status_code)

    assert statuses[-1] == 429
    assert statuses.count(404) == FREE_ATTEMPTS_PER_ADDRESS + 1


def test_approval_and_denial_are_audited(program: httpx.Client, client: httpx.Client, owner: Account, services: Services) -> None:
    for decision in ("approve", "deny"):
        decide(client, owner, start(program)["user_code"], decision)

    with services.unit_of_work() as session:
        query = text("SELECT action FROM audit_event WHERE actor_id = :id AND action LIKE 'device_login.%' ORDER BY action")
        assert [row.action for row in session.execute(query, {"id": owner.id})] == ["device_login.approved", "device_login.denied"]
