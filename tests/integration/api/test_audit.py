"""The audit log: its events, access to it, protection against changes, and detection of tampering."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from lambda_app.cli import cli
from lambda_app.core import clock
from lambda_app.core.settings import Settings
from lambda_app.db import migrations
from lambda_app.factory import Services
from lambda_app.repositories.audit import AuditRepository
from lambda_app.services.audit_chain import Anchor, find_breaks
from tests.support.accounts import Account, make_file
from tests.support.problems import assert_problem, assert_unauthenticated

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

    assert [event["seq"] for event in second] == [first[-1]["seq"] - 1, first[-1]["seq"] - 2]
    assert events(client, admin, since=(clock.now() + timedelta(days=3650)).isoformat()) == []
    assert events(client, admin, until="2020-01-01T00:00:00Z") == []
    for query in ({"before": "0"}, {"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}, {"actor_id": "x"}, {"action": "\x00"}):
        assert_problem(client.get(AUDIT, params=query, headers=admin.headers), 422, "malformed_request")


ACTIONS: dict[str, Callable[[httpx.Client, Account, str], httpx.Response]] = {
    "delete a file": lambda client, owner, file: client.delete(f"/api/v1/files/{file}", headers=owner.headers),
    "sign in": lambda client, owner, _: client.post(LOGIN, data={"username": owner.email, "password": owner.password}),
    "make a key": lambda client, owner, _: client.post(
        "/api/v1/users/me/api-keys", json={"name": "n", "scopes": ["admin"]}, headers=owner.headers
    ),
    "change the password": lambda client, owner, _: client.put(
        "/api/v1/users/me", json={"password": "a new password", "current_password": owner.password}, headers=owner.headers
    ),
    "sign out everywhere": lambda client, owner, _: client.post("/api/v1/login/logout-everywhere", headers=owner.headers),
    "make a public file": lambda client, owner, _: client.post(
        "/api/v1/files/upload", json={"filename": "a", "content_type": "a/b", "size_bytes": 7, "is_public": True}, headers=owner.headers
    ),
    "sign out": lambda client, owner, _: client.post("/api/v1/login/logout", headers=owner.headers),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_action_is_rolled_back_when_its_event_cannot_be_written(
    client: httpx.Client, services: Services, owner: Account, action: str
) -> None:
    file = make_file(client, owner, status="pending")["id"]
    before = client.get("/api/v1/users/me/sessions", headers=owner.headers).json()
    usage = client.get("/api/v1/users/me/usage", headers=owner.headers).json()
    with services.engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_event ADD CONSTRAINT broken CHECK (false) NOT VALID"))
    try:
        response = ACTIONS[action](client, owner, file)
    finally:
        with services.engine.begin() as connection:
            connection.execute(text("ALTER TABLE audit_event DROP CONSTRAINT broken"))

    assert response.status_code == 500
    assert client.get("/api/v1/users/me/sessions", headers=owner.headers).json() == before
    assert client.get(f"/api/v1/files/{file}", headers=owner.headers).json()["status"] == "pending"
    assert client.get("/api/v1/users/me/api-keys", headers=owner.headers).json() == []
    assert client.get("/api/v1/users/me/usage", headers=owner.headers).json() == usage
    assert client.post(LOGIN, data={"username": owner.email, "password": owner.password}).status_code == 200


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET action = 'nothing.happened'",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
        "UPDATE audit_head SET seq = 0",
        "DELETE FROM audit_head",
        "TRUNCATE audit_head",
        "INSERT INTO audit_head VALUES (2, 0, 'x')",
    ],
)
def test_database_refuses_changes_of_events(services: Services, client: httpx.Client, admin: Account, statement: str) -> None:
    before = events(client, admin)

    with pytest.raises(DBAPIError, match="append-only"), services.engine.begin() as connection:
        connection.execute(text(statement))

    assert [event["seq"] for event in events(client, admin)] == [event["seq"] for event in before]


def test_database_ignores_submitted_seq_and_hash(services: Services) -> None:
    with services.engine.begin() as connection:
        written = connection.execute(
            text("INSERT INTO audit_event (seq, at, action, previous_hash, hash) VALUES (1, now(), 'x', 'x', 'x') RETURNING seq, hash")
        ).one()
        head = connection.execute(text("SELECT seq, hash FROM audit_head")).one()

    assert tuple(written) == tuple(head)


class Tampered:
    """A separate database with a log of eight events and disabled triggers, as an attacker with server access could prepare it."""

    def __init__(self, services: Services) -> None:
        self.services = services
        with services.unit_of_work() as session:
            audit = AuditRepository(session)
            for number in range(8):
                audit.add(
                    f"test.{number}",
                    actor_id=uuid4(),
                    subject='q"\\\t\u2028é🔑\x7f',
                    details={"n": number, "text": 'a "b" \\ é 🔑', "none": None},
                )
        with services.engine.begin() as connection:
            for table in ("audit_event", "audit_head"):
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))

    def run(self, *statements: str) -> None:
        with self.services.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def breaks(self, *anchors: Anchor) -> list[int]:
        with self.services.unit_of_work() as session:
            audit = AuditRepository(session)
            head = audit.head()
            return [found.seq for found in find_breaks(audit.read_chain(), head=Anchor(head.seq, head.hash), anchors=anchors)]


@pytest.fixture
def tampered(settings: Settings, fresh_database: Callable[[], str]) -> Iterator[Tampered]:
    from pydantic import SecretStr

    services = Services.build(settings.model_copy(update={"database_url": SecretStr(fresh_database())}))
    migrations.upgrade(services.engine)
    yield Tampered(services)
    services.engine.dispose()


# Python and the trigger compute the same hash, also for quotes, control characters and emoji.
def test_unmodified_chain_verifies(tampered: Tampered) -> None:
    assert tampered.breaks() == []


COLUMNS = {
    "at": "at + interval '1 microsecond'",
    "action": "'x'",
    "actor_id": "gen_random_uuid()",
    "credential": "'session:x'",
    "subject": "NULL",
    "details": "'{}'",
    "source_address": "'10.0.0.1'",
    "request_id": "'x'",
    "hash": "repeat('0', 64)",
}


@pytest.mark.parametrize("column", COLUMNS)
def test_verification_names_an_altered_row(tampered: Tampered, column: str) -> None:
    tampered.run(f"UPDATE audit_event SET {column} = {COLUMNS[column]} WHERE seq = 4")  # noqa: S608  # constants of the tests

    assert tampered.breaks()[0] == 4


def test_verification_names_a_removed_row(tampered: Tampered) -> None:
    tampered.run("DELETE FROM audit_event WHERE seq = 4")
    assert tampered.breaks() == [4]


def test_verification_names_a_removed_row_after_renumbering(tampered: Tampered) -> None:
    tampered.run(
        "DELETE FROM audit_event WHERE seq = 4", "UPDATE audit_event SET seq = seq - 1 WHERE seq > 4", "UPDATE audit_head SET seq = 7"
    )
    assert tampered.breaks()[0] == 4


def test_verification_names_a_removed_end(tampered: Tampered) -> None:
    tampered.run("DELETE FROM audit_event WHERE seq > 6")
    assert tampered.breaks() == [7]


def test_verification_names_an_inserted_row(tampered: Tampered) -> None:
    columns = "at, action, actor_id, credential, subject, details, source_address, request_id, hash, hash"
    tampered.run(
        "UPDATE audit_event SET seq = seq + 100 WHERE seq > 4",
        "UPDATE audit_event SET seq = seq - 99 WHERE seq > 4",
        f"INSERT INTO audit_event SELECT 5, {columns} FROM audit_event WHERE seq = 4",  # noqa: S608  # constants of the tests
        "UPDATE audit_head SET seq = 9",
    )
    assert tampered.breaks()[0] == 5


def test_verification_names_a_row_appended_without_the_trigger(tampered: Tampered) -> None:
    columns = "at, action, actor_id, credential, subject, details, source_address, request_id, hash, hash"
    tampered.run(f"INSERT INTO audit_event SELECT 9, {columns} FROM audit_event WHERE seq = 8")  # noqa: S608  # constants of the tests
    assert 9 in tampered.breaks()


def test_verification_names_reordered_rows(tampered: Tampered) -> None:
    tampered.run(
        "UPDATE audit_event SET seq = 100 WHERE seq = 3",
        "UPDATE audit_event SET seq = 3 WHERE seq = 6",
        "UPDATE audit_event SET seq = 6 WHERE seq = 100",
    )
    found = tampered.breaks()
    assert found[0] == 3
    assert 6 in found


def test_anchor_reveals_a_rewritten_chain(tampered: Tampered) -> None:
    """An attacker with server access can recompute all hashes, but the application log contains the previous ones."""
    with tampered.services.unit_of_work() as session:
        anchor = AuditRepository(session).head()
    exported = Anchor(anchor.seq, anchor.hash)
    columns = "at, action, actor_id, credential, subject, details, source_address, request_id"
    rewrite = (
        "CREATE TEMP TABLE copied AS SELECT * FROM audit_event ORDER BY seq",
        "UPDATE copied SET action = 'nothing.happened' WHERE seq = 4",
        "DELETE FROM audit_event",
        "UPDATE audit_head SET seq = 0, hash = repeat('0', 64)",
        "ALTER TABLE audit_event ENABLE TRIGGER audit_event_chain",
        f"INSERT INTO audit_event ({columns}) SELECT {columns} FROM copied ORDER BY seq",  # noqa: S608  # constants of the tests
    )
    tampered.run(*rewrite)

    assert tampered.breaks() == []
    assert tampered.breaks(exported) == [8]
    assert tampered.breaks(Anchor(9, "x" * 64)) == [9]


def test_command_verifies_the_chain_and_names_the_row(tampered: Tampered, settings: Settings) -> None:
    assert settings.secret_key is not None
    environment = {
        "ENVIRONMENT": "local",
        "DATABASE_URL": tampered.services.settings.database_url.get_secret_value(),
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "S3_BUCKET_NAME": "unused",
    }
    intact = CliRunner().invoke(cli, ["verify-audit"], env=environment)
    tampered.run("UPDATE audit_event SET action = 'x' WHERE seq = 5")
    broken_chain = CliRunner().invoke(cli, ["verify-audit"], env=environment)

    assert intact.exit_code == 0, intact.output
    assert intact.output.startswith("the audit log is valid: 8 events, head 8:")
    assert broken_chain.exit_code == 1
    assert "row 5 was altered" in broken_chain.output
    printed_anchor = intact.output.rsplit(" ", 1)[1].strip()
    assert CliRunner().invoke(cli, ["verify-audit", "--anchor", printed_anchor], env=environment).exit_code == 1


def test_hundred_concurrent_writers_form_one_chain(settings: Settings, client: httpx.Client, admin: Account) -> None:
    from concurrent.futures import ThreadPoolExecutor

    pooled = Services.build(settings.model_copy(update={"database_pool_size": 10}))

    def write(number: int) -> None:
        with pooled.unit_of_work() as session:
            AuditRepository(session).add(f"test.parallel.{number}")

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(write, range(100)))
    with pooled.unit_of_work() as session:
        audit = AuditRepository(session)
        head = audit.head()
        broken = list(find_breaks(audit.read_chain(), head=Anchor(head.seq, head.hash)))
    pooled.engine.dispose()

    assert broken == []


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
