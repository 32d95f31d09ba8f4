"""The hash chain of earlier versions: the migration keeps it, closes it, and records its end in the log."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from infra.local.object_store import ObjectStoreServer
from lambda_app.core import clock
from lambda_app.core.settings import Settings
from lambda_app.db import migrations
from lambda_app.db.engine import create_database_engine
from lambda_app.repositories.audit import AuditRepository
from lambda_app.schemas.admin import AuditFilter
from lambda_app.services.audit_chain import Anchor
from lambda_app.services.audit_verification import AuditVerification
from tests.support.audit_log import OwnLog

OLD_ROWS = """
INSERT INTO audit_event (at, action, actor_id, subject, details)
SELECT now() - interval '1 day', 'old.' || n, :actor, 'q"\\\t\u2028é🔑\x7f', '{"text": "a \\"b\\" é 🔑"}' FROM generate_series(1, 8) AS n
"""


@pytest.fixture
def migrated(settings: Settings, fresh_database: Callable[[], str]) -> Iterator[OwnLog]:
    """A log that was migrated from a chain of eight events."""
    url = fresh_database()
    engine = create_database_engine(settings.model_copy(update={"database_url": SecretStr(url)}))
    migrations.upgrade(engine, "0022-1")
    with engine.begin() as connection:
        connection.execute(text(OLD_ROWS), {"actor": uuid4()})
    migrations.upgrade(engine)
    engine.dispose()
    log = OwnLog(settings, url)
    yield log
    log.close()


@pytest.fixture(autouse=True)
def _credentials(s3_server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)


def breaks(log: OwnLog, *anchors: Anchor) -> list[int]:
    with log.services.unit_of_work() as session:
        return [found.seq for found in AuditVerification(log=log.services.audit_log(session)).find_chain_breaks(anchors)]


def test_migrated_chain_verifies_and_its_end_is_in_the_log(migrated: OwnLog) -> None:
    migrated.add(2)
    migrated.seal()

    assert migrated.faults() == []
    head = str(migrated.value("SELECT hash FROM audit_head"))
    assert head in str(migrated.value("SELECT details FROM audit_event WHERE action = 'audit.chain_closed'"))
    assert breaks(migrated, Anchor(8, head)) == []
    assert breaks(migrated, Anchor(8, "x" * 64)) == [8]


def test_lists_continue_with_the_events_of_the_chain(migrated: OwnLog) -> None:
    migrated.add(2)
    with migrated.services.unit_of_work() as session:
        audit = AuditRepository(session)
        everything = audit.page(AuditFilter(), limit=100)
        second = audit.page(AuditFilter(before_seq=everything[3].seq), limit=3)
        old = audit.page(AuditFilter(action="old.3"), limit=5)
        recent = audit.page(AuditFilter(since=clock.now() - timedelta(hours=1)), limit=100)

    assert [event.seq for event in everything] == list(range(11, 0, -1))
    assert [event.seq for event in second] == [7, 6, 5]
    assert [(event.action, event.seq) for event in old] == [("old.3", 3)]
    assert [event.seq for event in recent] == [11, 10, 9]
    assert {len(event.hash) for event in everything} == {64}


COLUMNS = "at, action, actor_id, credential, subject, details, source_address, request_id"
CHANGES = {
    "altered": ("UPDATE audit_chain_event SET action = 'x' WHERE seq = 4", 4),
    "removed": ("DELETE FROM audit_chain_event WHERE seq = 4", 4),
    "removed at the end": ("DELETE FROM audit_chain_event WHERE seq > 6", 7),
    "inserted": (f"INSERT INTO audit_chain_event SELECT 9, {COLUMNS}, hash, hash FROM audit_chain_event WHERE seq = 8", 9),  # noqa: S608
    "moved": ("UPDATE audit_chain_event SET seq = 100 - seq WHERE seq = 3", 3),
    "another end": ("UPDATE audit_head SET hash = repeat('0', 64)", 8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_chain_is_named(migrated: OwnLog, change: str) -> None:
    statement, row = CHANGES[change]
    migrated.disable_triggers()
    migrated.run(statement)

    assert row in breaks(migrated)


def test_version_before_the_log_can_write_events_after_the_migration(migrated: OwnLog) -> None:
    """It runs while it is replaced, and again after a rollback. It names exactly these columns."""
    migrated.run(
        "INSERT INTO audit_event (at, action, actor_id, credential, subject, details, source_address, request_id) "
        "VALUES (now(), 'old.version', NULL, NULL, NULL, '{}', NULL, NULL)"
    )

    assert migrated.faults() == []


def test_downgrade_opens_the_chain_again(migrated: OwnLog) -> None:
    migrations.downgrade(migrated.services.engine, "0022-1")
    migrated.run("INSERT INTO audit_event (at, action) VALUES (now(), 'old.again')")
    assert migrated.value("SELECT max(seq) FROM audit_event") == 9

    migrations.upgrade(migrated.services.engine)

    assert migrated.faults() == []
