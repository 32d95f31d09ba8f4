"""Sessions over HTTP: a refresh token works once, and an ended session is refused on the next request."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
import time_machine
from sqlalchemy import select

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError, TooManyRequestsError
from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.models import RefreshToken, User
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.schemas.accounts.users import UserSelfUpdate
from tests.support.accounts import Account, sign_in
from tests.support.gateway import GatewayTransport, payload_v1, payload_v2
from tests.support.problems import assert_problem, assert_unauthenticated

ME = "/api/v1/users/me"


def tokens_of(client: httpx.Client, account: Account) -> dict[str, Any]:
    response = client.post("/api/v1/login/token", data={"username": account.email, "password": account.password})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def refresh(client: httpx.Client, token: str) -> httpx.Response:
    return client.post("/api/v1/login/refresh", json={"refresh_token": token})


def test_refresh_returns_a_new_pair_and_keeps_the_old_access_token_valid(client: httpx.Client, owner: Account) -> None:
    first = tokens_of(client, owner)

    response = refresh(client, first["refresh_token"])

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    second = response.json()
    assert set(second) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert second["refresh_token"] != first["refresh_token"]
    assert client.get(ME, headers=bearer(second)).json()["id"] == str(owner.id)
    assert client.get(ME, headers=bearer(first)).status_code == 200


def test_reused_refresh_token_ends_the_session_and_is_audited(client: httpx.Client, owner: Account, admin: Account) -> None:
    stolen = tokens_of(client, owner)
    other_session = tokens_of(client, owner)
    successor = refresh(client, stolen["refresh_token"]).json()
    session = next(item["id"] for item in client.get(f"{ME}/sessions", headers=bearer(successor)).json() if item["is_current"])

    assert_problem(refresh(client, stolen["refresh_token"]), 401, "bad_refresh_token")

    assert_unauthenticated(client.get(ME, headers=bearer(successor)))
    assert_unauthenticated(client.get(ME, headers=bearer(stolen)))
    assert_problem(refresh(client, successor["refresh_token"]), 401, "bad_refresh_token")
    assert client.get(ME, headers=bearer(other_session)).status_code == 200
    events = client.get("/api/v1/admin/audit", params={"subject": f"user_session:{session}"}, headers=admin.headers).json()
    assert [event["action"] for event in events] == ["token.reused", "token.refreshed", "sign_in.succeeded"]


def test_one_of_many_concurrent_refreshes_succeeds_and_the_session_ends(settings: Settings, client: httpx.Client, owner: Account) -> None:
    """Of twenty callers with the same token, each on its own connection, nineteen count as reuse."""
    pooled = Services.build(settings.model_copy(update={"database_pool_size": 20}))
    first = tokens_of(client, owner)

    def rotate(_: int) -> str | None:
        with pooled.unit_of_work() as session:
            try:
                return pooled.sessions(session).refresh(first["refresh_token"]).refresh_token
            except NotAuthenticatedError:
                return None

    with ThreadPoolExecutor(20) as pool:
        successors = [token for token in pool.map(rotate, range(20)) if token]
    pooled.engine.dispose()

    assert len(successors) == 1
    assert_problem(refresh(client, successors[0]), 401, "bad_refresh_token")
    assert_unauthenticated(client.get(ME, headers=bearer(first)))


def test_concurrent_session_changes_do_not_deadlock(settings: Settings, client: httpx.Client, owner: Account) -> None:
    """Each locks its own rows and then the head of the audit log. A deadlock would raise an error that fails this test."""
    pooled = Services.build(settings.model_copy(update={"database_pool_size": 8}))
    pairs = [tokens_of(client, owner) for _ in range(10)]

    def refresh_one(token: str) -> None:
        with pooled.unit_of_work() as session:
            pooled.sessions(session).refresh(token)

    def sign_out(token: str) -> None:
        with pooled.unit_of_work() as session:
            pooled.sessions(session).sign_out(token)

    def sign_in_again(_: str) -> None:
        with pooled.unit_of_work() as session:
            pooled.sessions(session).sign_in(email=owner.email, password=owner.password)

    def change_password(_: str) -> None:
        with pooled.unit_of_work() as session:
            user = pooled.authentication(session).authenticate(owner.token, scope=None)
            update = UserSelfUpdate(email=owner.email, current_password=owner.password)
            pooled.users(session).update_user(user, owner.id, update)

    def attempt(operation: Callable[[str], None], token: str) -> str:
        try:
            operation(token)
        except (NotAuthenticatedError, TooManyRequestsError) as error:
            return type(error).__name__
        return "done"

    jobs = [
        (operation, pair["refresh_token"])
        for pair in pairs
        for operation in (refresh_one, sign_out, refresh_one, sign_in_again, change_password)
    ]
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda job: attempt(*job), jobs))
    pooled.engine.dispose()

    assert len(outcomes) == 50
    assert "done" in outcomes


def test_refresh_token_is_stored_as_a_hash(client: httpx.Client, services: Services, owner: Account) -> None:
    token = tokens_of(client, owner)["refresh_token"]

    with services.unit_of_work() as session:
        stored = session.execute(select(RefreshToken.token_hash).where(RefreshToken.token_hash == hash_secret(token))).scalar_one()

    assert token not in stored
    assert len(token) >= 43


@pytest.mark.parametrize("body", [{}, {"refresh_token": ""}, {"refresh_token": "\x00"}, {"refresh_token": "x" * 200}, {"refresh_token": 1}])
def test_malformed_refresh_is_refused(client: httpx.Client, body: dict[str, Any]) -> None:
    assert_problem(client.post("/api/v1/login/refresh", json=body), 422, "malformed_request")


def test_unknown_refresh_token_and_access_token_are_refused(client: httpx.Client, owner: Account) -> None:
    assert_problem(refresh(client, "x" * 43), 401, "bad_refresh_token")
    assert_problem(client.post("/api/v1/login/refresh", json={"refresh_token": owner.token[:128]}), 401, "bad_refresh_token")
    assert_unauthenticated(client.get(ME, headers={"Authorization": f"Bearer {tokens_of(client, owner)['refresh_token']}"}))


def test_unused_session_expires_and_a_used_one_does_not(client: httpx.Client, owner: Account) -> None:
    idle = tokens_of(client, owner)["refresh_token"]
    used = tokens_of(client, owner)["refresh_token"]
    with time_machine.travel(clock.now() + timedelta(days=13), tick=False):
        used = refresh(client, used).json()["refresh_token"]
    with time_machine.travel(clock.now() + timedelta(days=14, minutes=1), tick=False):
        assert_problem(refresh(client, idle), 401, "bad_refresh_token")
        assert refresh(client, used).status_code == 200


def test_session_expires_at_its_maximum_age_despite_refreshes(client: httpx.Client, owner: Account) -> None:
    token = tokens_of(client, owner)["refresh_token"]
    start = clock.now()
    for day in range(10, 90, 10):
        with time_machine.travel(start + timedelta(days=day), tick=False):
            token = refresh(client, token).json()["refresh_token"]
    with time_machine.travel(start + timedelta(days=90, seconds=1), tick=False):
        assert_problem(refresh(client, token), 401, "bad_refresh_token")


@pytest.mark.parametrize("with_body", [True, False])
def test_sign_out_ends_only_this_session(client: httpx.Client, owner: Account, with_body: bool) -> None:
    this, other = tokens_of(client, owner), tokens_of(client, owner)

    if with_body:
        response = client.post("/api/v1/login/logout", json={"refresh_token": this["refresh_token"]})
    else:
        response = client.post("/api/v1/login/logout", headers=bearer(this))

    assert response.status_code == 204
    assert_unauthenticated(client.get(ME, headers=bearer(this)))
    assert_problem(refresh(client, this["refresh_token"]), 401, "bad_refresh_token")
    assert client.get(ME, headers=bearer(other)).status_code == 200


def test_sign_out_works_with_an_invalid_access_token(client: httpx.Client, owner: Account) -> None:
    this = tokens_of(client, owner)

    response = client.post("/api/v1/login/logout", json={"refresh_token": this["refresh_token"]}, headers={"Authorization": "Bearer x.y.z"})

    assert response.status_code == 204
    assert_problem(refresh(client, this["refresh_token"]), 401, "bad_refresh_token")


def test_sign_out_with_an_unknown_token_succeeds_and_ends_nothing(client: httpx.Client, owner: Account) -> None:
    assert client.post("/api/v1/login/logout", json={"refresh_token": "x" * 43}).status_code == 204
    assert_unauthenticated(client.post("/api/v1/login/logout"))
    assert client.get(ME, headers=owner.headers).status_code == 200


def sign_out_everywhere(client: httpx.Client, owner: Account, _admin: Account) -> httpx.Response:
    return client.post("/api/v1/login/logout-everywhere", headers=owner.headers)


def change_password(client: httpx.Client, owner: Account, _admin: Account) -> httpx.Response:
    change = {"password": "another good one", "current_password": owner.password}
    return client.put(ME, json=change, headers=owner.headers)


def admin_sets_password(client: httpx.Client, owner: Account, admin: Account) -> httpx.Response:
    change = {"password": "set by an admin", "current_password": admin.password}
    return client.put(f"/api/v1/users/{owner.id}", json=change, headers=admin.headers)


def admin_revokes_sessions(client: httpx.Client, owner: Account, admin: Account) -> httpx.Response:
    return client.delete(f"/api/v1/users/{owner.id}/sessions", headers=admin.headers)


def admin_disables_and_enables(client: httpx.Client, owner: Account, admin: Account) -> httpx.Response:
    path = f"/api/v1/users/{owner.id}"
    assert client.put(path, json={"is_active": False}, headers=admin.headers).status_code == 200
    assert_unauthenticated(client.get(ME, headers=owner.headers))
    return client.put(path, json={"is_active": True}, headers=admin.headers)


ENDINGS: list[Callable[..., httpx.Response]] = [
    sign_out_everywhere,
    change_password,
    admin_sets_password,
    admin_revokes_sessions,
    admin_disables_and_enables,
]


@pytest.mark.parametrize("end", ENDINGS)
def test_every_credential_is_refused_on_the_next_request(client: httpx.Client, owner: Account, admin: Account, end: Any) -> None:
    other = tokens_of(client, owner)
    key = client.post(f"{ME}/api-keys", json={"name": "n", "scopes": ["files:read"]}, headers=owner.headers).json()["key"]

    assert end(client, owner, admin).is_success

    assert_unauthenticated(client.get(ME, headers=owner.headers))
    assert_unauthenticated(client.get(ME, headers=bearer(other)))
    assert_unauthenticated(client.get(ME, headers={"Authorization": f"Bearer {key}"}))
    assert_problem(refresh(client, other["refresh_token"]), 401, "bad_refresh_token")


def test_sessions_are_listed_and_one_can_be_revoked(client: httpx.Client, owner: Account, stranger: Account) -> None:
    phone = client.post(
        "/api/v1/login/token", data={"username": owner.email, "password": owner.password}, headers={"User-Agent": "Phone/1.0"}
    ).json()

    listed = client.get(f"{ME}/sessions", headers=owner.headers).json()

    assert len(listed) == 2
    assert [item["is_current"] for item in listed] == [False, True]
    assert (listed[0]["user_agent"], listed[0]["source_address"]) == ("Phone/1.0", "203.0.113.7")
    path = f"{ME}/sessions/{listed[0]['id']}"
    assert_problem(client.delete(path, headers=stranger.headers), 404, "session_not_found")
    assert client.get(ME, headers=bearer(phone)).status_code == 200
    assert client.delete(path, headers=owner.headers).status_code == 204
    assert_unauthenticated(client.get(ME, headers=bearer(phone)))
    assert_problem(client.delete(path, headers=owner.headers), 404, "session_not_found")
    assert len(client.get(f"{ME}/sessions", headers=owner.headers).json()) == 1


@pytest.mark.parametrize("make_event", [payload_v1, payload_v2])
@pytest.mark.parametrize("source", ["198.51.100.9", "2001:db8::1"])
def test_session_records_the_source_address_of_the_gateway(handler: GatewayHandler, owner: Account, make_event: Any, source: str) -> None:
    headers = {"X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1", "X-Real-IP": "10.0.0.1"}
    transport = GatewayTransport(handler, partial(make_event, source_ip=source))
    with httpx.Client(transport=transport, base_url="https://api.test", headers=headers) as client:
        tokens = tokens_of(client, owner)
        sessions = client.get(f"{ME}/sessions", headers=bearer(tokens)).json()

    assert next(item["source_address"] for item in sessions if item["is_current"]) == source


def test_sign_in_rehashes_a_password_with_weaker_parameters(client: httpx.Client, services: Services, owner: Account) -> None:
    from argon2 import PasswordHasher as Argon2

    weak = Argon2(memory_cost=8192, time_cost=1, parallelism=1).hash(owner.password)
    with services.unit_of_work() as session:
        session.get_one(User, owner.id).hashed_password = weak

    assert sign_in(client, email=owner.email, password=owner.password)

    with services.unit_of_work() as session:
        now = session.get_one(User, owner.id).hashed_password
    assert now != weak
    assert not services.passwords.needs_rehash(now)
    assert sign_in(client, email=owner.email, password=owner.password)


def test_unavailable_signing_keys_return_503(client: httpx.Client, services: Services, owner: Account, monkeypatch: Any) -> None:
    from lambda_app.core.errors import UnavailableError

    def refuse(*_: object) -> None:
        raise UnavailableError

    monkeypatch.setattr(services.keys, "find", refuse)

    assert_problem(client.get(ME, headers=owner.headers), 503, "unavailable")
