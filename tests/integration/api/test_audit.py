"""The audit log: its events, access to it, protection against changes, and detection of tampering."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.core.settings import Settings
from lambda_app.db.engine import create_database_engine
from lambda_app.factory import Services
from lambda_app.models import Base
from tests.support.accounts import Account, make_account, make_file, put_object, start_upload
from tests.support.log_watch import LogWatch
from tests.support.problems import assert_problem, assert_unauthenticated
from tests.support.shares import make_share

AUDIT = "/api/v1/admin/audit"
LOGIN = "/api/v1/login/token"


def events(client: httpx.Client, admin: Account, **query: Any) -> list[dict[str, Any]]:
    response = client.get(AUDIT, params=query, headers=admin.headers)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()
    return found


def test_audit_log_is_for_superusers_only(client: httpx.Client, owner: Account) -> None:
    assert_unauthenticated(client.get(AUDIT))
    assert_problem(client.get(AUDIT, headers=owner.headers), 403, "permission_denied")


def test_event_has_actor_action_source_time_and_request_id(client: httpx.Client, owner: Account, admin: Account) -> None:
    promotion = {"is_superuser": True, "current_password": admin.password}
    response = client.put(f"/api/v1/users/{owner.id}", json=promotion, headers=admin.headers)

    (event,) = events(client, admin, subject=f"user:{owner.id}", action="user.role_changed")

    assert event["actor_id"] == str(admin.id)
    assert event["credential"].startswith("session:")
    assert event["details"] == {"fields": ["is_superuser"], "is_superuser": True}
    assert event["source_address"] == "203.0.113.7"
    assert event["request_id"] == response.headers["x-request-id"]
    assert clock.now().isoformat() > event["at"]
    assert len(event["hash"]) == 64


def test_audited_actions_leave_events(client: httpx.Client, owner: Account, admin: Account) -> None:
    file = make_file(client, owner, status="pending")
    client.post(LOGIN, data={"username": owner.email, "password": "wrong password"})
    key = client.post("/api/v1/users/me/api-keys", json={"name": "n", "scopes": ["shares"]}, headers=owner.headers).json()["id"]
    client.delete(f"/api/v1/users/me/api-keys/{key}", headers=owner.headers)
    client.delete(f"/api/v1/files/{file['id']}", headers=owner.headers)
    client.put(f"/api/v1/users/{owner.id}", json={"is_active": False}, headers=admin.headers)

    by_owner = [event["action"] for event in events(client, admin, actor_id=str(owner.id))]
    on_owner = [event["action"] for event in events(client, admin, subject=f"user:{owner.id}")]

    assert by_owner == ["file.deleted", "api_key.revoked", "api_key.created", "sign_in.succeeded"]
    assert on_owner == ["user.disabled", "sign_in.failed", "user.registered"]
    assert events(client, admin, action="sign_in.failed", limit=1)[0]["actor_id"] is None


@pytest.mark.parametrize("path", ["upload", "multipart"])
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "once"}])
def test_upload_of_a_public_file_is_audited_once(
    client: httpx.Client, owner: Account, admin: Account, path: str, headers: dict[str, str]
) -> None:
    body = {"filename": "a", "content_type": "a/b", "size_bytes": 1}
    public, private = (
        client.post(f"/api/v1/files/{path}", json=body | {"is_public": is_public}, headers=owner.headers | (headers if is_public else {}))
        for is_public in (True, False)
    )
    if headers:
        repeated = client.post(f"/api/v1/files/{path}", json=body | {"is_public": True}, headers=owner.headers | headers)
        assert repeated.json()["file_id"] == public.json()["file_id"]

    (event,) = events(client, admin, subject=f"file:{public.json()['file_id']}")
    assert (event["action"], event["actor_id"]) == ("file.visibility_changed", str(owner.id))
    assert event["details"] == {"is_new": True, "is_public": True}
    assert events(client, admin, subject=f"file:{private.json()['file_id']}") == []


def test_refused_action_leaves_no_event(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    file = make_file(client, owner, status="pending")
    client.delete(f"/api/v1/files/{file['id']}", headers=stranger.headers)
    client.put(f"/api/v1/users/{owner.id}", json={"is_active": False}, headers=stranger.headers)

    assert events(client, admin, subject=f"file:{file['id']}") == []
    assert [event["action"] for event in events(client, admin, subject=f"user:{owner.id}")] == ["user.registered"]


def test_log_is_paged_and_filtered_by_time(client: httpx.Client, owner: Account, admin: Account) -> None:
    first = events(client, admin, limit=2)
    second = events(client, admin, limit=2, before=first[-1]["seq"])

    everything = events(client, admin, limit=4)
    assert [event["seq"] for event in first + second] == [event["seq"] for event in everything]
    assert sorted((event["seq"] for event in everything), reverse=True) == [event["seq"] for event in everything]
    assert events(client, admin, since=(clock.now() + timedelta(days=3650)).isoformat()) == []
    assert events(client, admin, until="2020-01-01T00:00:00Z") == []
    for query in ({"before": "0"}, {"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}, {"actor_id": "x"}, {"action": "\x00"}):
        assert_problem(client.get(AUDIT, params=query, headers=admin.headers), 422, "malformed_request")


class Things:
    """What the actions act on."""

    def __init__(self, client: httpx.Client, services: Services, owner: Account) -> None:
        self.pending = start_upload(client, owner)
        assert put_object(self.pending, b"hello").status_code == 200
        self.file = f"/api/v1/files/{make_file(client, owner)['id']}"
        self.link = make_share(client, owner, self.file.rpartition("/")[2])
        self.key = client.post("/api/v1/users/me/api-keys", json={"name": "n", "scopes": ["admin"]}, headers=owner.headers).json()["id"]
        self.request = client.post("/api/v1/file-requests", json={"title": "t"}, headers=owner.headers).json()
        self.friend = make_account(services)


FILE = {"filename": "a", "content_type": "a/b", "size_bytes": 7}
ACTIONS: dict[str, Callable[[httpx.Client, Account, Things], httpx.Response]] = {
    "complete an upload": lambda client, owner, its: client.post(f"/api/v1/files/{its.pending['file_id']}/complete", headers=owner.headers),
    "delete a file": lambda client, owner, its: client.delete(its.file, headers=owner.headers),
    "make a file public": lambda client, owner, its: client.patch(its.file, json={"is_public": True}, headers=owner.headers),
    "make a public file": lambda client, owner, _: client.post(
        "/api/v1/files/upload", json={**FILE, "is_public": True}, headers=owner.headers
    ),
    "share a file": lambda client, owner, its: client.post(f"{its.file}/shares", json={}, headers=owner.headers),
    "take a slug": lambda client, owner, its: client.post(f"{its.file}/shares", json={"slug": "a-slug-of-mine"}, headers=owner.headers),
    "change a link": lambda client, owner, its: client.patch(
        f"/api/v1/shares/{its.link['id']}", json={"audience": "named", "recipients": [str(its.friend.id)]}, headers=owner.headers
    ),
    "revoke a link": lambda client, owner, its: client.delete(f"/api/v1/shares/{its.link['id']}", headers=owner.headers),
    "open a link": lambda client, _, its: client.get(its.link["url"]),
    "download by a link": lambda client, _, its: client.get(f"{its.link['url']}/files/{its.file.rpartition('/')[2]}"),
    "grant a file": lambda client, owner, its: client.put(
        f"{its.file}/grants", json={"user_id": str(its.friend.id)}, headers=owner.headers
    ),
    "create a file request": lambda client, owner, _: client.post("/api/v1/file-requests", json={"title": "t"}, headers=owner.headers),
    "start an upload of a guest": lambda client, _, its: client.post(f"/r/{its.request['token']}/files", json=FILE),
    "close a file request": lambda client, owner, its: client.delete(f"/api/v1/file-requests/{its.request['id']}", headers=owner.headers),
    "request an archive": lambda client, owner, its: client.post(
        "/api/v1/archives", json={"file_ids": [its.file.rpartition("/")[2]]}, headers=owner.headers
    ),
    "sign in": lambda client, owner, _: client.post(LOGIN, data={"username": owner.email, "password": owner.password}),
    "refresh": lambda client, owner, _: client.post("/api/v1/login/refresh", json={"refresh_token": owner.refresh_token}),
    "make a key": lambda client, owner, _: client.post(
        "/api/v1/users/me/api-keys", json={"name": "n", "scopes": ["admin"]}, headers=owner.headers
    ),
    "revoke a key": lambda client, owner, its: client.delete(f"/api/v1/users/me/api-keys/{its.key}", headers=owner.headers),
    "change the password": lambda client, owner, _: client.put(
        "/api/v1/users/me", json={"password": "a new password", "current_password": owner.password}, headers=owner.headers
    ),
    "register": lambda client, *_: client.post("/api/v1/users", json={"email": f"{uuid4()}@example.com", "password": "a good password"}),
    "sign out everywhere": lambda client, owner, _: client.post("/api/v1/login/logout-everywhere", headers=owner.headers),
    "sign out": lambda client, owner, _: client.post("/api/v1/login/logout", headers=owner.headers),
}


COUNTERS = {"sign_in_attempt", "mail_allowance"}
"""Tables of throttles: they count refused and failed attempts too."""


DIGEST = """SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM "{}" AS t"""


def snapshot(services: Services) -> dict[str, str]:
    """Return a digest of each table."""
    with services.engine.connect() as connection:
        return {
            table.name: str(connection.execute(text(DIGEST.format(table.name))).scalar())
            for table in Base.metadata.sorted_tables
            if table.name not in COUNTERS
        }


@pytest.mark.parametrize("action", ACTIONS)
def test_action_is_rolled_back_when_its_event_cannot_be_written(
    client: httpx.Client, services: Services, owner: Account, action: str
) -> None:
    """No audited action is committed without its event: no table changes."""
    things = Things(client, services, owner)
    before = snapshot(services)
    with services.engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_event ADD CONSTRAINT broken CHECK (false) NOT VALID"))
    try:
        response = ACTIONS[action](client, owner, things)
    finally:
        with services.engine.begin() as connection:
            connection.execute(text("ALTER TABLE audit_event DROP CONSTRAINT broken"))

    assert response.status_code == 500
    assert snapshot(services) == before


def test_audited_actions_of_concurrent_transactions_do_not_wait_for_each_other(
    client: httpx.Client, settings: Settings, owner: Account
) -> None:
    """The event of one transaction must not lock anything that the event of another needs."""
    engine = create_database_engine(settings)
    with engine.connect() as holder:
        holder.execute(text("INSERT INTO audit_event (at, action) VALUES (now(), 'test.held')"))

        response = client.post(LOGIN, data={"username": owner.email, "password": owner.password})

        holder.rollback()
    engine.dispose()
    assert response.status_code == 200


def test_leaf_of_the_event_is_in_the_log_line_of_its_request(
    client: httpx.Client, owner: Account, admin: Account, log_watch: LogWatch
) -> None:
    """The leaf leaves the database at once, before the event is sealed."""
    client.post(LOGIN, data={"username": owner.email, "password": owner.password})

    lines = [json.loads(line) for line in log_watch.lines]
    (event,) = events(client, admin, actor_id=str(owner.id), limit=1)
    assert lines[-1]["audit_leaves"] == [event["hash"]]


def test_events_are_paged_by_cursor(client: httpx.Client, admin: Account, owner: Account) -> None:
    for _ in range(3):
        client.post("/api/v1/login/token", data={"username": owner.email, "password": owner.password})
    every = events(client, admin, actor_id=str(owner.id))

    paged, address = [], f"{AUDIT}?limit=2&actor_id={owner.id}"
    while address:
        response = client.get(address, headers=admin.headers)
        paged += response.json()
        address = f"{AUDIT}{response.links['next']['url']}" if "next" in response.links else ""
        assert ("x-next-cursor" in response.headers) == bool(address)

    assert len(every) >= 3
    assert paged == every
    assert_problem(client.get(AUDIT, params={"before": 5, "cursor": "x"}, headers=admin.headers), 422, "before_with_cursor")
    for cursor in ("x", "WzFd", "WyJzZXEiLCB0cnVlXQ", "W10"):
        assert_problem(client.get(AUDIT, params={"cursor": cursor}, headers=admin.headers), 422, "bad_cursor")
