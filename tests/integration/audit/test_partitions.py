"""The partitions of the audit log: the migration, what the sealer creates, what the application's role may not, lists across borders."""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from infra.local.object_store import ObjectStoreServer
from lambda_app.core.settings import Settings
from lambda_app.db import migrations, roles
from lambda_app.db.engine import create_database_engine
from lambda_app.handlers.seal import run_seal
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.audit_log import AuditLogRepository
from lambda_app.schemas.admin import AuditFilter
from tests.support.audit_log import OwnLog, end_first_partition, own_log

PARTITIONS = """
SELECT relname, pg_get_expr(relpartbound, pg_class.oid) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'audit_event'::regclass ORDER BY length(relname), relname
"""
ROWS = "SELECT tableoid::regclass::text AS name, min(seq), max(seq), count(*) FROM audit_event GROUP BY 1 ORDER BY 2"
SMALL = 8
"""Numbers of one partition in these tests."""


def partitions(log: OwnLog) -> dict[str, str]:
    """Return the bounds of each partition."""
    with log.services.engine.connect() as connection:
        return {name: bounds.removeprefix("FOR VALUES ") for name, bounds in connection.execute(text(PARTITIONS))}


def rows(log: OwnLog) -> list[tuple[Any, ...]]:
    """Return the name, the first and the last number, and the number of events of each partition with events."""
    with log.services.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(ROWS))]


def extend(log: OwnLog, *, size: int = SMALL, most_to_read: int = 1_000_000) -> int:
    """Extend the log as its owner, with partitions of another size."""
    with log.services.engine.begin() as connection:
        return int(connection.execute(text(f"SELECT audit_event_extend({size}, {most_to_read})")).scalar_one())


def start_small_partitions(log: OwnLog) -> None:
    """Let the open partition start at 8."""
    with log.services.engine.begin() as connection:
        end_first_partition(connection, SMALL)


@contextmanager
def direct_log(settings: Settings, url: str, s3_server: ObjectStoreServer, *, revision: str = "head") -> Iterator[OwnLog]:
    """Yield a log whose connections never go through a pooler: roles and sequences belong to one connection here."""
    engine = create_database_engine(settings.model_copy(update={"database_url": SecretStr(url)}))
    migrations.upgrade(engine, revision)
    engine.dispose()
    with own_log(settings, url, s3_server) as log:
        if revision == "head":
            wait_for_locks(log, "1min")
        yield log


def wait_for_locks(log: OwnLog, time: str) -> None:
    """Change how long the extension waits: autovacuum can use a partition at any time."""
    log.run(f"ALTER FUNCTION audit_event_extend(bigint, bigint) SET lock_timeout = '{time}'")


@pytest.fixture
def log(settings: Settings, fresh_database: Callable[[], str], s3_server: ObjectStoreServer) -> Iterator[OwnLog]:
    """A log in its own database."""
    with direct_log(settings, fresh_database(), s3_server) as own:
        yield own


@pytest.fixture(scope="module")
def lasting_log(settings: Settings, fresh_database: Callable[[], str], s3_server: ObjectStoreServer) -> Iterator[OwnLog]:
    """A sealed log for the tests that do not change it."""
    with direct_log(settings, fresh_database(), s3_server) as own:
        own.add(1)
        own.seal()
        yield own


@pytest.fixture
def small(log: OwnLog) -> OwnLog:
    """A log whose first partition ends at 8, before an open one."""
    start_small_partitions(log)
    return log


# The migration


@pytest.fixture
def earlier(settings: Settings, fresh_database: Callable[[], str], s3_server: ObjectStoreServer) -> Iterator[OwnLog]:
    """A log as the version before partitions left it."""
    with direct_log(settings, fresh_database(), s3_server, revision="0032") as log:
        yield log


FILE_OF_TABLE = "SELECT pg_relation_filenode(CAST(:name AS regclass))"
INDEX_FILES = (
    "SELECT array_agg(pg_relation_filenode(indexrelid) ORDER BY indexrelid) FROM pg_index WHERE indrelid = CAST(:name AS regclass)"
)


def files(engine: Engine, table: str) -> tuple[Any, ...]:
    """Return the files of a table and of its indexes. A table that is rewritten gets new ones."""
    with engine.connect() as connection:
        return tuple(connection.execute(text(query), {"name": table}).scalar_one() for query in (FILE_OF_TABLE, INDEX_FILES))


def content(engine: Engine) -> object:
    """Return a digest of all events."""
    with engine.connect() as connection:
        return connection.execute(text("SELECT md5(string_agg(audit_event::text, ';' ORDER BY seq)) FROM audit_event")).scalar_one()


def seal_before_partitions(log: OwnLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seal as the earlier version, which does not extend the log."""
    with monkeypatch.context() as patch:
        patch.setattr(AuditLogRepository, "extend_partitions", lambda _: 0)
        log.seal()


def test_existing_events_become_the_first_partition_and_stay_verified(earlier: OwnLog, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = earlier.services.engine
    earlier.add(5)
    seal_before_partitions(earlier, monkeypatch)
    earlier.add(2)
    note, before, table = earlier.note(), content(engine), files(engine, "audit_event")

    migrations.upgrade(engine)

    assert (content(engine), files(engine, "audit_event_from_0")) == (before, table)
    assert partitions(earlier) == {
        "audit_event_from_0": "FROM (MINVALUE) TO ('10000000')",
        "audit_event_from_10000000": "FROM ('10000000') TO (MAXVALUE)",
    }
    assert earlier.value("SELECT count(*) FROM pg_constraint WHERE conname = 'audit_event_below'") == 0
    earlier.add(1)
    earlier.seal()
    assert earlier.faults(checkpoints=[note]) == []


def test_downgrade_joins_all_partitions(earlier: OwnLog, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = earlier.services.engine
    migrations.upgrade(engine, "0033")
    start_small_partitions(earlier)
    earlier.add(7)
    assert extend(earlier) > SMALL // 2
    earlier.add(7)
    earlier.seal()
    note, before = earlier.note(), content(engine)
    assert len(rows(earlier)) == 3

    migrations.downgrade(engine, "0032")

    assert content(engine) == before
    earlier.add(2)
    seal_before_partitions(earlier, monkeypatch)
    for statement in ("TRUNCATE audit_event", "DELETE FROM audit_event"):
        with pytest.raises(DBAPIError, match="append-only"):
            earlier.run(statement)
    migrations.upgrade(engine)
    earlier.add(1)
    earlier.seal()
    assert earlier.faults(checkpoints=[note]) == []


def test_role_of_the_application_keeps_its_access_during_the_migration(earlier: OwnLog, app_role: Callable[[Engine], str]) -> None:
    """The privileges are granted again after the migration. The earlier version writes events until then."""
    engine = earlier.services.engine
    role = app_role(engine)

    migrations.upgrade(engine)

    with acting_as(engine, role) as connection:
        connection.execute(text("INSERT INTO audit_event (at, action) VALUES (now(), 'test')"))
        assert connection.execute(text("SELECT count(*) FROM audit_event WHERE action = 'test'")).scalar_one() == 1
    for statement in ("DELETE FROM audit_event", "SELECT FROM audit_event_from_0"):
        with acting_as(engine, role) as connection, pytest.raises(DBAPIError, match="permission denied"):
            connection.execute(text(statement))
    migrations.downgrade(engine, "0032")
    with acting_as(engine, role) as connection:
        connection.execute(text("INSERT INTO audit_event (at, action) VALUES (now(), 'test')"))


def test_failed_migration_leaves_no_bound_behind(earlier: OwnLog) -> None:
    """Later events would be above the bound some day, and be refused."""
    engine = earlier.services.engine
    earlier.run("CREATE TABLE audit_event_from_10000000 (in_the_way integer)")

    with pytest.raises(DBAPIError, match="already exists"):
        migrations.upgrade(engine)

    assert migrations.current_revision(engine) == "0032"
    assert earlier.value("SELECT count(*) FROM pg_constraint WHERE conname = 'audit_event_below'") == 0


def test_migration_that_was_killed_can_run_again(earlier: OwnLog) -> None:
    """The bound that it left behind may be too near by now."""
    earlier.run("ALTER TABLE audit_event ADD CONSTRAINT audit_event_below CHECK (seq < 10)", "SELECT setval('audit_event_seq', 15000000)")

    migrations.upgrade(earlier.services.engine)

    assert list(partitions(earlier).values()) == ["FROM (MINVALUE) TO ('30000000')", "FROM ('30000000') TO (MAXVALUE)"]
    earlier.add(1)


def test_writers_go_on_while_the_migration_reads_the_rows(earlier: OwnLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """VALIDATE CONSTRAINT is the only step that takes long, and is a transaction of its own."""
    engine = earlier.services.engine
    modes = """
        SELECT string_agg(DISTINCT mode, ',') FROM pg_locks
        WHERE relation = 'audit_event'::regclass AND mode IN ('ShareUpdateExclusiveLock', 'AccessExclusiveLock')"""
    held: list[object] = []
    original = Connection.execute

    def execute(connection: Connection, statement: Any, *arguments: Any, **options: Any) -> Any:
        result = original(connection, statement, *arguments, **options)
        if "VALIDATE" in str(statement):
            held.append(earlier.value(modes))
            earlier.add(1, prefix="meanwhile")
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "execute", execute)
        migrations.upgrade(engine)

    assert held == ["ShareUpdateExclusiveLock"]
    assert earlier.value("SELECT count(*) FROM audit_event WHERE action = 'meanwhile.0'") == 1


# New partitions


def test_sealer_creates_the_next_partition_when_half_of_one_is_used(log: OwnLog) -> None:
    log.run("SELECT setval('audit_event_seq', 4999998)")
    log.add(1)
    assert log.seal().partition_room == 5_000_001
    log.add(1)

    report = log.seal()

    assert report.partition_room > 14_000_000
    assert partitions(log) == {
        "audit_event_from_0": "FROM (MINVALUE) TO ('10000000')",
        "audit_event_from_10000000": "FROM ('10000000') TO ('20000000')",
        "audit_event_from_20000000": "FROM ('20000000') TO (MAXVALUE)",
    }
    assert log.faults() == []


def test_partitions_have_the_indexes_and_triggers_of_the_log(extended_log: OwnLog) -> None:
    found = """
        SELECT string_agg(tgname, ',' ORDER BY tgname) AS triggers,
            (SELECT string_agg(CAST(indkey AS text), ',' ORDER BY CAST(indkey AS text)) FROM pg_index WHERE indrelid = tgrelid) AS indexes
        FROM pg_trigger JOIN pg_inherits ON inhrelid = tgrelid WHERE inhparent = 'audit_event'::regclass GROUP BY tgrelid"""

    with extended_log.services.engine.connect() as connection:
        described = [tuple(row) for row in connection.execute(text(found))]

    # The primary key, and the indexes by number, actor, subject, action and time.
    assert described == [("audit_event_fill,audit_event_guard,audit_event_keep", "1 2 3,3,4 3,5 3,6 3,8 3")] * 3


def test_events_are_written_while_no_partition_is_made(small: OwnLog) -> None:
    """The sealer did not run for long: the open partition takes the events, and the next run gives it a bound above them."""
    before = partitions(small)
    small.add(21)
    assert rows(small) == [("audit_event_from_0", 1, 7, 7), ("audit_event_from_8", 8, 22, 15)]
    # The sealer leaves many events to the owner: it would have to read them while writers wait.
    assert extend(small, most_to_read=10) == -14
    assert partitions(small) == before

    assert extend(small) > SMALL // 2

    assert partitions(small) == {
        "audit_event_from_0": "FROM (MINVALUE) TO ('8')",
        "audit_event_from_8": "FROM ('8') TO ('24')",
        "audit_event_from_24": "FROM ('24') TO ('32')",
        "audit_event_from_32": "FROM ('32') TO (MAXVALUE)",
    }
    small.add(6)
    small.seal()
    assert [name for name, *_ in rows(small)] == ["audit_event_from_0", "audit_event_from_8", "audit_event_from_24"]
    assert small.faults() == []


def test_events_in_the_open_partition_are_logged_as_an_error(lasting_log: OwnLog, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr("lambda_app.handlers.seal.logger.error", lambda message, *args: lines.append(message % args))
    run_seal(lasting_log.services)
    assert lines == []
    monkeypatch.setattr(AuditLogRepository, "extend_partitions", lambda _: -1)

    run_seal(lasting_log.services)

    assert len(lines) == 1
    assert "docs/runbook.md#auditpartitions" in lines[0]


def test_sealing_goes_on_while_another_transaction_uses_the_log(small: OwnLog) -> None:
    small.add(5)
    wait_for_locks(small, "200ms")
    with small.services.engine.connect() as reader:
        reader.execute(text("SELECT count(*) FROM audit_event"))
        room = extend(small)
        small.add(1)
        report = small.seal()
    assert room == 2
    assert report.sealed > 0
    assert len(partitions(small)) == 2

    wait_for_locks(small, "1min")
    assert extend(small) > SMALL // 2
    assert len(partitions(small)) == 3


def test_no_event_is_refused_or_lost_while_partitions_are_created(small: OwnLog) -> None:
    with ThreadPoolExecutor(2) as threads:
        writers = [threads.submit(small.add, 20, prefix=f"writer{number}") for number in range(2)]
        while not all(writer.done() for writer in writers):
            extend(small, size=4)
        for writer in writers:
            writer.result()
    small.seal()

    assert small.value("SELECT count(*) FROM audit_event WHERE action LIKE 'writer%'") == 40
    assert small.faults() == []


def test_migrate_function_extends_the_log_as_the_owner(small: OwnLog) -> None:
    small.add(9)

    migrations.extend_audit_log(small.services.engine)

    assert "audit_event_from_10000008" in partitions(small)


# What the application's role may not


@pytest.fixture
def app_role() -> Iterator[Callable[[Engine], str]]:
    """A function that creates the application's role in a database."""
    made: list[tuple[Engine, str]] = []

    def make(engine: Engine) -> str:
        name = f"app_{secrets.token_hex(4)}"
        roles.grant_application(engine, name)
        made.append((engine, name))
        return name

    yield make
    for engine, name in made:
        with engine.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {name}"))
            connection.execute(text(f"DROP ROLE {name}"))


@contextmanager
def acting_as(engine: Engine, role: str) -> Iterator[Connection]:
    """Yield a connection with the privileges of the role, whose transaction is rolled back."""
    with engine.connect() as connection:
        connection.execute(text(f"SET LOCAL ROLE {role}"))
        yield connection


ATTACKS = {
    "chosen number": ("INSERT INTO audit_event (seq, at, action) VALUES (1, now(), 'x')", "comes from its sequence|not yet defined"),
    "number of another partition": (
        "INSERT INTO audit_event (seq, at, action) VALUES (nextval('audit_event_seq') + 100000000, now(), 'x')",
        "comes from its sequence",
    ),
    "number in use": (
        """
        WITH first AS (INSERT INTO audit_event (at, action) VALUES (now(), 'x') RETURNING seq)
        INSERT INTO audit_event (seq, at, action) SELECT seq, now(), 'x' FROM first
        """,
        "duplicate key",
    ),
    "no number": ("INSERT INTO audit_event (seq, at, action) VALUES (NULL, now(), 'x')", "no partition|null value"),
    "sequence set back": ("SELECT setval('audit_event_seq', 1)", "permission denied"),
    "row in a partition": ("INSERT INTO audit_event_from_0 (seq, at, action) VALUES (1, now(), 'x')", "permission denied"),
    "row read in a partition": ("SELECT FROM audit_event_from_0", "permission denied"),
    "update of a partition": ("UPDATE audit_event_from_0 SET action = 'x'", "permission denied"),
    "deletion from a partition": ("DELETE FROM audit_event_from_0", "permission denied"),
    "emptied partition": ("TRUNCATE audit_event_from_0", "permission denied"),
    "dropped partition": ("DROP TABLE audit_event_from_0", "must be owner"),
    "detached partition": ("ALTER TABLE audit_event DETACH PARTITION audit_event_from_0", "must be owner"),
    "own partition": ("CREATE TABLE mine PARTITION OF audit_event FOR VALUES FROM (-10) TO (-5)", "permission denied|must be owner"),
    "own default": ("ALTER TABLE audit_event ALTER seq SET DEFAULT 1", "must be owner"),
    "disabled trigger": ("ALTER TABLE audit_event DISABLE TRIGGER audit_event_fill", "must be owner"),
    "partitions of a chosen size": ("SELECT audit_event_extend(1, 1)", "permission denied"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_application_role_cannot_write_around_the_log(attacked: tuple[OwnLog, str], attack: str) -> None:
    log, role = attacked
    statement, message = ATTACKS[attack]

    with acting_as(log.services.engine, role) as connection, pytest.raises(DBAPIError, match=message):
        connection.execute(text(statement))


@pytest.fixture(scope="module")
def attacked(lasting_log: OwnLog) -> Iterator[tuple[OwnLog, str]]:
    """A log and the role of the application."""
    name = f"app_{secrets.token_hex(4)}"
    engine = lasting_log.services.engine
    roles.grant_application(engine, name)
    yield lasting_log, name
    with engine.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {name}"))
        connection.execute(text(f"DROP ROLE {name}"))


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE audit_event_from_0",
        "TRUNCATE audit_event_from_8",
        "TRUNCATE audit_event_from_10000008",
        "UPDATE audit_event_from_8 SET action = 'x'",
        "DELETE FROM audit_event_from_8",
    ],
)
def test_triggers_protect_single_partitions_against_their_owner(extended_log: OwnLog, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"):
        extended_log.run(statement)


@pytest.fixture(scope="module")
def extended_log(settings: Settings, fresh_database: Callable[[], str], s3_server: ObjectStoreServer) -> Iterator[OwnLog]:
    """A log with a partition that the sealer created."""
    with direct_log(settings, fresh_database(), s3_server) as own:
        start_small_partitions(own)
        own.add(9)
        own.seal()
        yield own


def test_number_that_was_kept_does_not_change_the_place_in_the_tree(log: OwnLog) -> None:
    """A session can take a number and use it after later ones were sealed. The event still follows all sealed ones in the tree."""
    with log.services.engine.connect() as connection:
        kept = connection.execute(text("SELECT nextval('audit_event_seq')")).scalar_one()
        connection.rollback()
        log.add(2)
        log.seal()
        note = log.note()
        connection.execute(text("INSERT INTO audit_event (seq, at, action) VALUES (:seq, now(), 'test.kept')"), {"seq": kept})
        connection.commit()

    log.add(1)
    log.seal()

    assert log.faults(checkpoints=[note]) == []
    with log.services.unit_of_work() as session:
        tree = AuditLogRepository(session)
        events = list(tree.read_events(1))
        place = next(index for index, event in enumerate(events) if event.seq == kept)
        assert place >= int(note.split("\n")[1])
        assert tree.position(events[place]) == place


def test_application_role_extends_the_log_and_gets_no_access_to_the_partition(small: OwnLog, app_role: Callable[[Engine], str]) -> None:
    engine = small.services.engine
    role = app_role(engine)
    small.add(9)
    with engine.begin() as connection:
        connection.execute(text(f"SET LOCAL ROLE {role}"))
        connection.execute(text("CREATE TEMPORARY TABLE pg_inherits (inhrelid oid, inhparent oid) ON COMMIT DROP"))
        assert connection.execute(text("SELECT audit_event_extend()")).scalar_one() > 5_000_000
        assert connection.execute(text("SELECT audit_event_extend()")).scalar_one() > 5_000_000

    assert list(partitions(small)) == ["audit_event_from_0", "audit_event_from_8", "audit_event_from_10000008"]
    roles.grant_application(engine, role)
    with acting_as(engine, role) as connection, pytest.raises(DBAPIError, match="permission denied"):
        connection.execute(text("INSERT INTO audit_event_from_10000008 (at, action) VALUES (now(), 'x')"))


# Lists


def test_lists_continue_across_the_border_of_partitions(partitioned: OwnLog) -> None:
    assert len(rows(partitioned)) >= 6
    with partitioned.services.unit_of_work() as session:
        audit = AuditRepository(session)
        pages: list[int] = []
        while page := audit.page(AuditFilter(before_seq=pages[-1] if pages else None), limit=700):
            pages += [event.seq for event in page]
        about = [event.seq for event in audit.page(AuditFilter(subject="file:3"), limit=500)]

    assert pages == sorted(set(pages), reverse=True)
    assert len(pages) == 6001
    assert about == sorted(set(about), reverse=True)
    assert len(about) == 500


READS = {
    "all": AuditFilter(),
    "subject": AuditFilter(subject="file:3"),
    "action": AuditFilter(action="test.3"),
}


@pytest.mark.parametrize("filters", READS)
def test_newest_page_is_read_from_the_newest_partition(partitioned: OwnLog, filters: str) -> None:
    """PostgreSQL reads the partitions in their order and stops at the limit. With a DEFAULT partition it would read all of them."""
    statements: list[tuple[str, Any]] = []
    engine = partitioned.services.engine
    with recorded(engine, statements), partitioned.services.unit_of_work() as session:
        AuditRepository(session).page(READS[filters], limit=5)
    (read,) = [found for found in statements if "audit_event" in found[0]]

    with engine.connect() as connection:
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF) {read[0]}", read[1]).scalars())

    scanned = {
        line.split(" on ")[1].split(" ")[0] for line in plan.splitlines() if " on audit_event" in line and "never executed" not in line
    }
    newest = list(partitions(partitioned))[-3:]
    assert scanned <= set(newest), plan
    assert plan.count("never executed") >= 3, plan


def test_age_of_unsealed_events_is_read_by_transaction(partitioned: OwnLog) -> None:
    """For the smallest time PostgreSQL would read the index by time from its start, up to the first unsealed event of each partition."""
    statements: list[tuple[str, Any]] = []
    engine = partitioned.services.engine
    since = partitioned.value("SELECT max(xid) FROM audit_event")
    assert isinstance(since, int)
    with recorded(engine, statements), partitioned.services.unit_of_work() as session:
        AuditLogRepository(session).oldest_unsealed_seconds(1, since=since)
    ((statement, values),) = [found for found in statements if "audit_event" in found[0]]

    with engine.connect() as connection:
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", values).scalars())

    assert "_at_seq_idx" not in plan, plan


@pytest.fixture(scope="module")
def partitioned(settings: Settings, fresh_database: Callable[[], str], s3_server: ObjectStoreServer) -> Iterator[OwnLog]:
    """A log of six partitions with a thousand events each, with statistics."""
    with direct_log(settings, fresh_database(), s3_server) as log:
        start_small_partitions(log)
        for _ in range(6):
            log.run(
                "INSERT INTO audit_event (at, action, subject) "
                "SELECT now(), 'test.' || n % 10, 'file:' || n % 10 FROM generate_series(1, 1000) AS n"
            )
            extend(log, size=1000)
        log.run("ANALYZE audit_event")
        yield log


@contextmanager
def recorded(engine: Engine, statements: list[tuple[str, Any]]) -> Iterator[None]:
    """Record the statements of an engine and their parameters."""

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", record)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", record)
