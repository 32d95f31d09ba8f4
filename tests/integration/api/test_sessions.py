"""Sessions over HTTP: a refresh token has one successor, its reuse ends the session, and an ended session is refused at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pytest
import time_machine
from sqlalchemy import func, select

from lambda_app.application import create_app
from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError, TooManyRequestsError
from lambda_app.core.security.keys import KeyRing, SigningKey, SigningKeys
from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.core.security.tokens import AccessTokens
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.models import AuditEvent, RefreshToken, User
from lambda_app.repositories.accounts.sessions import REFRESH_WINDOW, REFRESHES_PER_WINDOW, REUSE_AUDIT_INTERVAL
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


def session_of(client: httpx.Client, tokens: dict[str, Any]) -> str:
    sessions = client.get(f"{ME}/sessions", headers=bearer(tokens)).json()
    session_id: str = next(item["id"] for item in sessions if item["is_current"])
    return session_id


def events_of(client: httpx.Client, admin: Account, session_id: str) -> list[str]:
    events = client.get("/api/v1/admin/audit", params={"subject": f"user_session:{session_id}"}, headers=admin.headers).json()
    return [event["action"] for event in events]


@pytest.mark.parametrize("seconds", [0, 29])
def test_repeated_refresh_within_the_grace_period_returns_the_same_successor(
    client: httpx.Client, owner: Account, admin: Account, seconds: int
) -> None:
    """A second tab that refreshes at the same time, or a client that lost the answer."""
    first = tokens_of(client, owner)
    session_id = session_of(client, first)
    second = refresh(client, first["refresh_token"]).json()

    with time_machine.travel(clock.now() + timedelta(seconds=seconds), tick=False):
        repeated = [refresh(client, first["refresh_token"]) for _ in range(3)]

    assert [response.status_code for response in repeated] == [200, 200, 200]
    assert {response.json()["refresh_token"] for response in repeated} == {second["refresh_token"]}
    for tokens in (second, repeated[0].json()):
        assert client.get(ME, headers=bearer(tokens)).status_code == 200
    assert refresh(client, second["refresh_token"]).status_code == 200
    assert events_of(client, admin, session_id) == [
        "token.refreshed",
        "token.refresh_repeated",
        "token.refreshed",
        "sign_in.succeeded",
    ]


def reuse_late(client: httpx.Client, first: str, _successor: str) -> httpx.Response:
    with time_machine.travel(clock.now() + timedelta(seconds=31), tick=False):
        return refresh(client, first)


def reuse_after_the_successor_was_used(client: httpx.Client, first: str, successor: str) -> httpx.Response:
    assert refresh(client, successor).status_code == 200
    return refresh(client, first)


@pytest.mark.parametrize(
    ("reuse", "code"), [(reuse_late, "refresh_token_reused"), (reuse_after_the_successor_was_used, "refresh_token_superseded")]
)
def test_reused_refresh_token_ends_the_session_and_is_audited(
    client: httpx.Client, owner: Account, admin: Account, reuse: Callable[..., httpx.Response], code: str
) -> None:
    stolen = tokens_of(client, owner)
    other_session = tokens_of(client, owner)
    successor = refresh(client, stolen["refresh_token"]).json()
    session_id = session_of(client, successor)

    assert_problem(reuse(client, stolen["refresh_token"], successor["refresh_token"]), 401, code)

    assert_unauthenticated(client.get(ME, headers=bearer(successor)))
    assert_unauthenticated(client.get(ME, headers=bearer(stolen)))
    assert refresh(client, successor["refresh_token"]).status_code == 401
    assert client.get(ME, headers=bearer(other_session)).status_code == 200
    assert events_of(client, admin, session_id).count("token.reused") == 1


@pytest.mark.parametrize("is_disabled", [False, True])
def test_replays_of_a_used_token_add_one_audit_event_per_delay(
    client: httpx.Client, owner: Account, admin: Account, is_disabled: bool
) -> None:
    first = tokens_of(client, owner)
    session_id = session_of(client, first)
    refresh(client, first["refresh_token"])
    if is_disabled:
        assert client.put(f"/api/v1/users/{owner.id}", json={"is_active": False}, headers=admin.headers).status_code == 200
    start = clock.now() + timedelta(minutes=1)

    with time_machine.travel(start, tick=False):
        statuses = {refresh(client, first["refresh_token"]).status_code for _ in range(30)}
    assert statuses == {401}
    assert events_of(client, admin, session_id).count("token.reused") == 1

    # The superuser's access token would have expired, so the log is read at the present time.
    with time_machine.travel(start + REUSE_AUDIT_INTERVAL, tick=False):
        for _ in range(5):
            assert_problem(refresh(client, first["refresh_token"]), 401, "refresh_token_reused")
    assert events_of(client, admin, session_id).count("token.reused") == 2


def test_repeated_refresh_of_an_ended_session_is_refused_and_not_a_theft(client: httpx.Client, owner: Account, admin: Account) -> None:
    first = tokens_of(client, owner)
    session_id = session_of(client, first)
    second = refresh(client, first["refresh_token"]).json()
    assert client.post("/api/v1/login/logout", json={"refresh_token": second["refresh_token"]}).status_code == 204

    assert_problem(refresh(client, first["refresh_token"]), 401, "bad_refresh_token")
    assert events_of(client, admin, session_id) == ["session.signed_out", "token.refreshed", "sign_in.succeeded"]


def test_concurrent_refreshes_all_get_the_same_successor(
    settings: Settings, client: httpx.Client, services: Services, owner: Account, admin: Account
) -> None:
    """Twenty callers with the same token, each on its own connection: one exchanges the token, nineteen repeat the exchange."""
    pooled = Services.build(settings.model_copy(update={"database_pool_size": 20}))
    first = tokens_of(client, owner)
    session_id = session_of(client, first)

    def rotate(_: int) -> str:
        with pooled.unit_of_work() as session:
            return pooled.sessions(session).refresh(first["refresh_token"]).refresh_token

    with ThreadPoolExecutor(20) as pool:
        successors = set(pool.map(rotate, range(20)))
    pooled.engine.dispose()

    assert len(successors) == 1
    assert client.get(ME, headers=bearer(first)).status_code == 200
    assert refresh(client, successors.pop()).status_code == 200
    with services.unit_of_work() as session:
        stored = session.execute(select(RefreshToken).where(RefreshToken.session_id == UUID(session_id))).scalars().all()
    assert len(stored) == 3
    assert events_of(client, admin, session_id).count("token.refreshed") == 2


def test_refreshing_in_a_loop_is_limited_and_keeps_the_session(
    client: httpx.Client, services: Services, owner: Account, admin: Account
) -> None:
    tokens = tokens_of(client, owner)
    session_id, start = session_of(client, tokens), clock.now()

    def refresh_often() -> list[httpx.Response]:
        nonlocal tokens
        responses = []
        for _ in range(200):
            responses.append(refresh(client, tokens["refresh_token"]))
            tokens = responses[-1].json() if responses[-1].status_code == 200 else tokens
        return responses

    with time_machine.travel(start, tick=False):
        responses = refresh_often()

    assert [response.status_code for response in responses] == [200] * REFRESHES_PER_WINDOW + [429] * (200 - REFRESHES_PER_WINDOW)
    assert_problem(responses[-1], 429, "too_many_refreshes")
    assert responses[-1].headers["retry-after"] == str(int(REFRESH_WINDOW.total_seconds()))
    with services.unit_of_work() as session:
        stored = session.execute(select(RefreshToken).where(RefreshToken.session_id == UUID(session_id))).scalars().all()
        query = select(func.count()).where(AuditEvent.subject == f"user_session:{session_id}")
        assert session.execute(query).scalar_one() == len(stored) == REFRESHES_PER_WINDOW + 1
    # The session continues: its access token works, and it can be refreshed when the window has ended.
    assert client.get(ME, headers=bearer(tokens)).status_code == 200
    with time_machine.travel(start + REFRESH_WINDOW - timedelta(seconds=1), tick=False):
        assert refresh(client, tokens["refresh_token"]).status_code == 429
    with time_machine.travel(start + REFRESH_WINDOW, tick=False):
        tokens = refresh(client, tokens["refresh_token"]).json()
        assert client.get(ME, headers=bearer(tokens)).status_code == 200


def test_refresh_limit_is_per_session_and_does_not_revive_an_ended_one(
    client: httpx.Client, owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_app.repositories.accounts.sessions.REFRESHES_PER_WINDOW", 1)
    first, other = tokens_of(client, owner), tokens_of(client, owner)
    first = refresh(client, first["refresh_token"]).json()

    assert_problem(refresh(client, first["refresh_token"]), 429, "too_many_refreshes")
    assert refresh(client, other["refresh_token"]).status_code == 200
    assert client.post("/api/v1/login/logout", json={"refresh_token": first["refresh_token"]}).status_code == 204
    assert_problem(refresh(client, first["refresh_token"]), 401, "bad_refresh_token")


class RotatingKeys:
    """A key document that two API instances read, with their caches."""

    def __init__(self, settings: Settings, services: Services) -> None:
        secret = settings.secret_key
        assert secret is not None
        self.ring = KeyRing.parse(secret.get_secret_value())
        self.services = services

    def fetch(self) -> str:
        return self.ring.render()

    def instance(self) -> httpx.Client:
        """Return a client of a new instance that has read no document yet."""
        keys = SigningKeys(self.fetch, min_bytes=0)
        tokens = AccessTokens(keys=keys, lifetime=timedelta(minutes=10))
        app = create_app(self.services.settings, replace(self.services, keys=keys, tokens=tokens))
        return httpx.Client(transport=GatewayTransport(GatewayHandler(app)), base_url="https://api.test")


@pytest.mark.parametrize("rotations", [1, 2, 5])
def test_rotation_of_the_signing_keys_keeps_the_grace_period_and_the_detection_of_theft(
    settings: Settings, services: Services, owner: Account, rotations: int
) -> None:
    keys = RotatingKeys(settings, services)
    before = keys.instance()
    lost, stolen = tokens_of(before, owner), tokens_of(before, owner)
    successors = [refresh(before, tokens["refresh_token"]).json()["refresh_token"] for tokens in (lost, stolen)]

    for _ in range(rotations):
        keys.ring = keys.ring.rotated()
    after = keys.instance()

    repeated = refresh(after, lost["refresh_token"])
    assert (repeated.status_code, repeated.json()["refresh_token"]) == (200, successors[0])
    assert refresh(after, successors[0]).status_code == 200
    assert refresh(after, successors[1]).status_code == 200
    assert_problem(refresh(after, stolen["refresh_token"]), 401, "refresh_token_superseded")
    assert refresh(after, successors[1]).status_code == 401


def test_replaced_refresh_key_refuses_the_repetition_and_keeps_the_session(settings: Settings, services: Services, owner: Account) -> None:
    keys = RotatingKeys(settings, services)
    keys.ring = keys.ring.rotated()
    client = keys.instance()
    first = tokens_of(client, owner)
    second = refresh(client, first["refresh_token"]).json()

    keys.ring = replace(keys.ring, refresh=SigningKey.generate())
    client = keys.instance()

    assert_problem(refresh(client, first["refresh_token"]), 401, "bad_refresh_token")
    assert client.get(ME, headers=bearer(second)).status_code == 200
    assert refresh(client, second["refresh_token"]).status_code == 200


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


def test_sessions_are_paged_by_cursor(client: httpx.Client, owner: Account) -> None:
    for _ in range(4):
        tokens_of(client, owner)
    everything = client.get(f"{ME}/sessions", headers=owner.headers)
    page, pages = client.get(f"{ME}/sessions", params={"limit": 2}, headers=owner.headers), []
    while True:
        pages.append(page.json())
        if "x-next-cursor" not in page.headers:
            break
        page = client.get(f"{ME}/sessions", params={"limit": 2, "cursor": page.headers["x-next-cursor"]}, headers=owner.headers)

    assert [len(rows) for rows in pages] == [2, 2, 1]
    assert [row for rows in pages for row in rows] == everything.json()
    assert "x-next-cursor" not in everything.headers
    assert_problem(client.get(f"{ME}/sessions?cursor=x", headers=owner.headers), 422, "bad_cursor")


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
    assert now is not None
    assert not services.passwords.needs_rehash(now)
    assert sign_in(client, email=owner.email, password=owner.password)


def test_unavailable_signing_keys_return_503(client: httpx.Client, services: Services, owner: Account, monkeypatch: Any) -> None:
    from lambda_app.core.errors import UnavailableError

    def refuse(*_: object) -> None:
        raise UnavailableError

    monkeypatch.setattr(services.keys, "find", refuse)

    assert_problem(client.get(ME, headers=owner.headers), 503, "unavailable")
