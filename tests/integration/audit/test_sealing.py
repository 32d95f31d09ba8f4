"""The sealer: order, checkpoints, copies, two sealers at once, crashes, long transactions and restored databases."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from lambda_app.core.audit_leaf import FIELDS, event_leaf
from lambda_app.core.merkle import root_of
from lambda_app.core.security.log_keys import LogVerifier, open_checkpoint
from lambda_app.handlers.seal import run_seal
from lambda_app.repositories import audit_log
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.audit_log import AuditLogRepository
from lambda_app.services import audit_sealing, audit_verification
from lambda_app.services.audit_sealing import LogMismatchError
from lambda_app.storage.checkpoint_copies import COPY_PREFIX, CheckpointCopies, CheckpointCopy
from tests.support.audit_log import OwnLog


def test_python_and_the_trigger_compute_the_same_leaf(log: OwnLog) -> None:
    log.run(
        "INSERT INTO audit_event (at, action) VALUES ('2026-01-02 03:04:05+02', 'test.bare')",
        "INSERT INTO audit_event (at, action, actor_id, credential, subject, details, source_address, request_id) "
        "VALUES ('1999-12-31 23:59:59.999999Z', 'test.full', '0A0B0C0D-0000-4000-8000-000000000001', 'session:x', "
        "'q\"\\=\té🔑', '{\"a\":\"b=c\"}', '2001:db8::1', '')",
    )
    with log.services.unit_of_work() as session:
        events = list(AuditLogRepository(session).read_events(1))

    assert [event.values["action"] for event in events] == ["audit.chain_closed", "test.bare", "test.full"]
    for event in events:
        assert event_leaf(event.values, event.salts, {}) == event.leaf
        assert len({event.salts[start : start + 16] for start in range(0, 144, 16)}) == len(FIELDS)


def test_database_ignores_submitted_keys_and_hashes(log: OwnLog) -> None:
    log.run("INSERT INTO audit_event (era, xid, at, action, salts, leaf) VALUES (9, 9, now(), 'x', 'x', 'x')")

    assert log.value("SELECT count(*) FROM audit_event WHERE era = 1 AND xid > 9 AND length(salts) = 144 AND length(leaf) = 32") == 2


def test_checkpoint_covers_all_committed_events_in_order(log: OwnLog) -> None:
    log.add(5)

    first = log.seal()
    log.add(3)
    second = log.seal()
    third = log.seal()

    assert (first.size, first.sealed, second.size, second.sealed, third.sealed) == (6, 6, 10, 4, 0)  # one event for the new key
    with log.services.unit_of_work() as session:
        tree = AuditLogRepository(session)
        leaves = [event.leaf for event in tree.read_events(1)]
        key = LogVerifier.parse(tree.vkeys()[0])
        for stored in tree.read_checkpoints(1):
            checkpoint = open_checkpoint(stored.note, [key])
            assert checkpoint.root == root_of(leaves[: checkpoint.size])
            assert CheckpointCopies(log.services.settings, log.services.aws).get(1, stored.size) == CheckpointCopy(stored.note)
    assert log.faults() == []


def test_tree_of_many_tiles_and_batches_verifies(log: OwnLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_sealing, "BATCH_EVENTS", 40)
    monkeypatch.setattr(audit_log, "READ_ROWS", 30)
    for module in (audit_log, audit_verification):
        monkeypatch.setattr(module, "TILE_HASHES", 4)
    monkeypatch.setattr(audit_log, "TILE_LEVELS", 2)
    # A transaction is sealed as a whole, even if it is larger than a batch.
    for count in (3, 90, 1, 70, 100):
        log.run(f"INSERT INTO audit_event (at, action) SELECT now(), 'test' FROM generate_series(1, {count})")  # noqa: S608  # a number
        log.add(2)
    report = log.seal()

    assert report.size == 1 + 3 + 90 + 1 + 70 + 100 + 10 + 1
    assert log.value("SELECT max(level) FROM audit_tile") == 4
    assert log.faults() == []
    with log.services.unit_of_work() as session:
        tree = AuditLogRepository(session)
        events = list(tree.read_events(1))
        for index in (0, 1, 2, 3, 6, 95, 96, 97, 100, len(events) - 1):
            assert tree.position(events[index]) == index


def test_event_of_an_open_transaction_is_sealed_after_its_end(log: OwnLog) -> None:
    """Its number is lower than those of later events, which wait for it, so that the order never changes."""
    with log.services.engine.connect() as connection:
        connection.execute(text("INSERT INTO audit_event (at, action) VALUES (now() - interval '1 hour', 'test.long')"))
        log.add(2)
        waiting = log.seal()
        assert (waiting.sealed, log.faults()) == (1, [])
        assert 0 < waiting.oldest_unsealed_seconds < 60
        connection.commit()

    report = log.seal()

    assert report.sealed == 4
    assert log.faults() == []


def test_age_of_the_oldest_unsealed_event_is_logged(log: OwnLog) -> None:
    log.seal()
    with log.services.engine.connect() as connection:
        connection.execute(text("INSERT INTO audit_event (at, action) VALUES (now(), 'test.long')"))
        log.run("INSERT INTO audit_event (at, action) VALUES (now() - interval '1 hour', 'test.waiting')")
        assert run_seal(log.services)["oldest_unsealed_seconds"] > 3500


def test_rolled_back_events_leave_no_gap_in_the_tree(log: OwnLog) -> None:
    with log.services.engine.connect() as connection:
        connection.execute(text("INSERT INTO audit_event (at, action) VALUES (now(), 'test.rolled_back')"))
        connection.rollback()
    log.add(2)

    assert log.seal().size == 3
    assert log.faults() == []


def test_concurrent_sealers_and_writers_build_one_tree(log: OwnLog) -> None:
    finished = threading.Event()

    def write(number: int) -> None:
        log.add(25, prefix=f"writer{number}")

    def keep_sealing() -> None:
        while not finished.is_set():
            log.seal()

    with ThreadPoolExecutor(4) as threads:
        sealers = [threads.submit(keep_sealing) for _ in range(2)]
        writers = [threads.submit(write, number) for number in range(2)]
        for writer in writers:
            writer.result(timeout=60)
        finished.set()
        for sealer in sealers:
            sealer.result(timeout=60)
    report = log.seal()

    assert report.size == 52
    assert log.faults() == []


class Killed(BaseException):
    """The end of the process at some step."""


STEPS: dict[str, tuple[Any, str]] = {
    "read the copy": (CheckpointCopies, "get"),
    "list the copies": (CheckpointCopies, "list_after"),
    "find the horizon": (AuditLogRepository, "horizon"),
    "write the tiles": (AuditLogRepository, "append_leaves"),
    "record the key": (AuditLogRepository, "add_key"),
    "write the checkpoint": (AuditLogRepository, "add_checkpoint"),
    "write the copy": (CheckpointCopies, "put"),
}


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_next_run_continues_after_a_sealer_was_killed(log: OwnLog, monkeypatch: pytest.MonkeyPatch, step: str, is_done: bool) -> None:
    log.add(2)
    log.seal()
    log.add(3)
    owner, name = STEPS[step]
    original = getattr(owner, name)

    def kill(*args: Any, **kwargs: Any) -> None:
        if is_done:
            original(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, kill)
        with pytest.raises(Killed):
            log.seal()
    log.add(1)
    log.seal()

    # The closed chain, the key, and six events.
    assert log.value("SELECT max(size) FROM audit_checkpoint") == 8
    assert log.faults() == []
    copies = CheckpointCopies(log.services.settings, log.services.aws)
    assert copies.get(1, 8) == CheckpointCopy(log.note())
    assert copies.list_after(1, 8) == []


def test_sealing_stops_when_the_database_was_set_back(log: OwnLog, log_errors: list[str]) -> None:
    """A restore to an earlier time: S3 has a checkpoint that the database does not know. New events must not take its positions."""
    log.add(2)
    log.seal()
    log.add(2)
    log.seal()
    lost = log.note()
    log.disable_triggers()
    log.run(
        "DELETE FROM audit_checkpoint WHERE size > 3",
        "DELETE FROM audit_event WHERE seq > 3",
        "UPDATE audit_tile SET hashes = substr(hashes, 1, 96)",
    )
    log.enable_triggers()
    log.add(1, prefix="after")

    with pytest.raises(LogMismatchError, match="S3 has a checkpoint of 6 events in era 1"):
        log.seal()
    assert run_seal(log.services) == {}
    with log.services.unit_of_work() as session:
        assert log.services.audit_eras(session).start(reason="restored") == 2
    log.add(1, prefix="later")
    report = log.seal()

    # The event after the restore, the start of the era, the later event.
    assert (report.era, report.size) == (2, 3)
    assert log.value("SELECT count(*) FROM audit_event WHERE era = 2 AND action = 'after.0'") == 1
    recorded = str(log.value("SELECT details FROM audit_event WHERE action = 'audit.era_started'"))
    assert lost.split("\n")[2] in recorded
    assert log.faults() == []
    assert log.faults(checkpoints=[lost]) == ["era 1: positions 3 to 5 of the given checkpoint are missing"]
    assert any("Sealing of the audit log has stopped" in line for line in log_errors)


def test_sealing_stops_when_a_copy_differs(log: OwnLog) -> None:
    log.add(2)
    log.seal()
    key = f"{COPY_PREFIX}{1:08d}/{3:020d}"
    log.services.aws.call("s3", "put_object", Bucket=log.services.settings.s3_bucket_name, Key=key, Body=b"another note")
    log.add(1)

    with pytest.raises(LogMismatchError, match="differs from its copy"):
        log.seal()


def test_sealing_stops_when_transaction_ids_start_again(log: OwnLog) -> None:
    """A restore from a dump into a new server: the transaction ids of its events are in the future."""
    log.add(2)
    log.seal()
    log.disable_triggers()
    log.run("UPDATE audit_checkpoint SET cutoff = cutoff + 1000000", "UPDATE audit_event SET xid = xid + 900000")
    log.enable_triggers()
    log.add(3, prefix="after")

    with pytest.raises(LogMismatchError, match="restored from a dump"):
        log.seal()
    with log.services.unit_of_work() as session:
        log.services.audit_eras(session).start(reason="dump")
    report = log.seal()

    assert (report.era, report.size) == (2, 5)  # three events and two of the new era: its start, and the use of the key
    assert log.faults() == []


def test_event_below_the_last_checkpoint_stops_sealing(log: OwnLog) -> None:
    log.add(2)
    log.seal()
    log.run(
        "ALTER TABLE audit_event DISABLE TRIGGER ALL",
        "INSERT INTO audit_event (era, xid, seq, at, action, salts, leaf) "
        "SELECT 1, min(xid), nextval('audit_event_seq'), now(), 'test.late', '', '' FROM audit_event",
        "ALTER TABLE audit_event ENABLE TRIGGER ALL",
    )

    with pytest.raises(LogMismatchError, match=r"event \d+ was written below the last checkpoint"):
        log.seal()


def test_checkpoints_of_a_replaced_key_stay_valid(log: OwnLog) -> None:
    log.add(1)
    log.seal()
    earlier = log.note()
    rotated = log.with_key("another secret of at least 32 bytes")
    rotated.add(1)
    rotated.seal()

    assert log.faults(checkpoints=[earlier, log.note()]) == []
    assert log.value("SELECT count(*) FROM audit_log_key") == 2
    assert log.value("SELECT count(*) FROM audit_event WHERE action = 'audit.key_used'") == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET action = 'nothing.happened'",
        "UPDATE audit_event SET source_address = NULL, erased = '{}'",
        "UPDATE audit_event SET era = 2",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
        "UPDATE audit_tile SET hashes = substr(hashes, 33)",
        "DELETE FROM audit_tile",
        "TRUNCATE audit_tile",
        "UPDATE audit_checkpoint SET note = 'x'",
        "DELETE FROM audit_checkpoint",
        "TRUNCATE audit_checkpoint",
        "UPDATE audit_log_key SET vkey = 'x'",
        "DELETE FROM audit_era",
        "UPDATE audit_head SET seq = 0",
        "DELETE FROM audit_head",
        "TRUNCATE audit_head",
        "INSERT INTO audit_head VALUES (2, 0, 'x')",
        "INSERT INTO audit_chain_event VALUES (1, now(), 'x', NULL, NULL, NULL, '{}', NULL, NULL, 'x', 'x')",
        "TRUNCATE audit_chain_event",
    ],
)
def test_database_refuses_changes_of_the_log(lasting_log: OwnLog, statement: str) -> None:
    with pytest.raises(Exception, match="append-only"):
        lasting_log.run(statement)

    assert lasting_log.faults() == []


def test_new_era_waits_for_writers_and_takes_their_events(log: OwnLog) -> None:
    log.add(1)
    log.seal()

    def start() -> int:
        with log.services.unit_of_work() as session:
            return log.services.audit_eras(session).start(reason="test")

    with ThreadPoolExecutor(1) as thread, log.services.engine.connect() as writer:
        writer.execute(text("INSERT INTO audit_event (at, action) VALUES (now(), 'test.open')"))
        started = thread.submit(start)
        wait_for_lock(log)
        writer.commit()
        assert started.result(timeout=30) == 2
    log.seal()

    assert log.value("SELECT era FROM audit_event WHERE action = 'test.open'") == 2
    assert log.faults() == []


def test_leaves_of_committed_events_are_known_to_the_request(log: OwnLog) -> None:
    from lambda_app.core.request_context import RequestContext, reset_request_context, set_request_context

    context = RequestContext()
    token = set_request_context(context)
    try:
        with log.services.unit_of_work() as session:
            AuditRepository(session).add("test.kept")
            assert context.audit_leaves == []
        with pytest.raises(Killed):
            roll_back_an_event(log)
        with log.services.unit_of_work() as session:
            AuditRepository(session).add_durably("test.durable")
    finally:
        reset_request_context(token)

    stored = log.value("SELECT string_agg(encode(leaf, 'hex'), ',' ORDER BY seq) FROM audit_event WHERE action LIKE 'test.%'")
    assert ",".join(context.audit_leaves) == stored


def roll_back_an_event(log: OwnLog) -> None:
    with log.services.unit_of_work() as session:
        AuditRepository(session).add("test.rolled_back")
        raise Killed


def wait_for_lock(log: OwnLog) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    for _ in range(500):
        if log.value(query):
            return
        threading.Event().wait(0.02)
    raise AssertionError("no transaction waits for a lock")


@pytest.fixture
def log_errors(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages of the handler's errors."""
    lines: list[str] = []
    monkeypatch.setattr("lambda_app.handlers.seal.logger.error", lambda message, *args: lines.append(message % args))
    return lines
