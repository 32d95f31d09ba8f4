"""Verification of the audit log: every altered, removed, inserted and moved event is named."""

import random
import time

import pytest
from click.testing import CliRunner, Result

from lambda_app.cli import cli
from lambda_app.core.security.log_keys import LogSigner, LogVerifier, log_origin
from lambda_app.repositories.audit import AuditRepository
from tests.support.audit_log import OwnLog

SIZE = 9
"""The event that closes the chain, and eight more. Numbers begin with 1."""


@pytest.fixture
def tampered(log: OwnLog) -> OwnLog:
    """A sealed log whose triggers are disabled, as an attacker who owns the tables could prepare it."""
    log.add(4)
    log.seal()
    log.add(3)
    log.seal()
    log.disable_triggers()
    assert log.faults() == []
    assert log.value("SELECT count(*) FROM audit_event") == SIZE
    return log


COLUMNS = {
    "at": "at + interval '1 microsecond'",
    "action": "'x'",
    "actor_id": "gen_random_uuid()",
    "credential": "'session:x'",
    "subject": "NULL",
    "details": "'{}'",
    "source_address": "'10.0.0.1'",
    "request_id": "'x'",
    "salts": "sha256('x') || substr(salts, 33)",
}


@pytest.mark.parametrize("column", COLUMNS)
def test_altered_field_is_named(tampered: OwnLog, column: str) -> None:
    tampered.run(f"UPDATE audit_event SET {column} = {COLUMNS[column]} WHERE seq = 4")  # noqa: S608  # constants of the tests

    assert tampered.faults() == ["event 4 was altered: its fields do not match its leaf"]


def test_event_altered_with_its_leaf_is_named(tampered: OwnLog) -> None:
    rewrite(tampered, 4)

    assert tampered.faults() == ["event 4 was altered or replaced: position 3 of era 1 has another leaf"]


def test_event_altered_with_leaf_and_tiles_is_found_in_its_checkpoint(tampered: OwnLog) -> None:
    leaf = rewrite(tampered, 4)
    tampered.run(f"UPDATE audit_tile SET hashes = overlay(hashes PLACING '\\x{leaf}'::bytea FROM 97 FOR 32)")  # noqa: S608  # a hash

    assert tampered.faults() == ["era 1: the events at positions 0 to 4 differ from the signed checkpoint"]


def test_removed_event_is_named(tampered: OwnLog) -> None:
    leaf = tampered.value("SELECT encode(leaf, 'hex') FROM audit_event WHERE seq = 4")
    tampered.run("DELETE FROM audit_event WHERE seq = 4")

    assert tampered.faults() == [f"the event at position 3 of era 1 was removed; its leaf is {leaf}"]


def test_removed_end_is_named(tampered: OwnLog) -> None:
    tampered.run("DELETE FROM audit_event WHERE seq > 7")

    assert [fault[:33] for fault in tampered.faults()] == ["the event at position 7 of era 1 ", "the event at position 8 of era 1 "]


def test_inserted_event_is_named(tampered: OwnLog) -> None:
    tampered.run(f"INSERT INTO audit_event {copy_of(4, seq=100)}")

    assert tampered.faults() == [
        "event 100 was altered: its fields do not match its leaf",
        "event 100 was inserted: it has no place in era 1",
    ]


def test_moved_events_are_named(tampered: OwnLog) -> None:
    # The lowest seq of the first transaction comes after all others.
    tampered.run("UPDATE audit_event SET xid = (SELECT xid FROM audit_event WHERE seq = 7) WHERE seq = 3")

    assert tampered.faults() == ["event 3 was moved: its place in era 1 is position 2"]


def test_swapped_events_are_named(tampered: OwnLog) -> None:
    tampered.run(
        "UPDATE audit_event SET xid = CASE seq WHEN 3 THEN (SELECT xid FROM audit_event WHERE seq = 7) "
        "ELSE (SELECT xid FROM audit_event WHERE seq = 3) END WHERE seq IN (3, 7)"
    )

    assert tampered.faults() == [
        "event 7 was moved: its place in era 1 is position 6",
        "event 3 was moved: its place in era 1 is position 2",
    ]


def test_swapped_numbers_are_named(tampered: OwnLog) -> None:
    tampered.run(
        "UPDATE audit_event SET seq = 100 WHERE seq = 3",
        "UPDATE audit_event SET seq = 3 WHERE seq = 6",
        "UPDATE audit_event SET seq = 6 WHERE seq = 100",
    )

    assert [fault.split(":")[0] for fault in tampered.faults()] == ["event 6 was altered", "event 3 was altered"]


@pytest.mark.slow
def test_each_change_among_100_000_events_is_named(log: OwnLog) -> None:
    """Four kinds of changes, each at three random places."""
    rows = "SELECT now(), 'test.event', 'file:' || n, n FROM generate_series(1, 1000) n"
    for _ in range(100):
        log.run(f"INSERT INTO audit_event (at, action, subject, request_id) {rows}")
    log.seal()
    log.disable_triggers()
    begin = time.process_time()
    assert log.faults() == []
    seconds = time.process_time() - begin
    places = random.sample(range(2, 50_000, 40), 12)
    altered, removed, inserted, first = places[:3], places[3:6], places[6:9], places[9:]
    # Events of one transaction would have nothing to swap.
    second = random.sample(range(50_002, 100_000, 40), 3)
    for seq in altered:
        log.run(f"UPDATE audit_event SET subject = 'file:x' WHERE seq = {seq}")  # noqa: S608  # a number
    for seq in removed:
        log.run(f"DELETE FROM audit_event WHERE seq = {seq}")  # noqa: S608  # a number
    for seq in inserted:
        log.run(f"INSERT INTO audit_event {copy_of(seq, seq=seq + 1_000_000)}")
    for pair in zip(first, second, strict=True):
        one, other = (f"(SELECT xid FROM audit_event WHERE seq = {seq})" for seq in reversed(pair))  # noqa: S608  # a number
        log.run(f"UPDATE audit_event SET xid = CASE seq WHEN {pair[0]} THEN {one} ELSE {other} END WHERE seq IN {pair}")  # noqa: S608

    faults = log.faults()

    assert {fault.partition(" of era")[0] for fault in faults if "removed" in fault} == {
        f"the event at position {seq - 1}" for seq in removed
    }
    assert {fault for fault in faults if "its fields" in fault} == {
        *(f"event {seq} was altered: its fields do not match its leaf" for seq in altered),
        *(f"event {seq + 1_000_000} was altered: its fields do not match its leaf" for seq in inserted),
    }
    assert {fault for fault in faults if "inserted" in fault} == {
        f"event {seq + 1_000_000} was inserted: it has no place in era 1" for seq in inserted
    }
    moved = {fault for fault in faults if "was moved" in fault}
    assert moved == {f"event {seq} was moved: its place in era 1 is position {seq - 1}" for seq in (*first, *second)}
    assert len(faults) == 3 + 3 + 6 + 6
    # The processor time of this process: the database and other tests share the machine.
    assert seconds < 10


@pytest.mark.parametrize("number", [0, 1])
def test_altered_checkpoint_is_named(tampered: OwnLog, number: int) -> None:
    size = [5, 9][number]
    tampered.run(f"UPDATE audit_checkpoint SET note = replace(note, 'time 2', 'time 3') WHERE size = {size}")  # noqa: S608  # a constant

    assert tampered.faults() == [f"era 1: the checkpoint of {size} events is invalid: the checkpoint has no valid signature of a known key"]


def test_removed_checkpoint_is_named(tampered: OwnLog) -> None:
    tampered.run("DELETE FROM audit_checkpoint WHERE size = 9")

    faults = tampered.faults()

    assert "era 1: positions 5 to 8 have no checkpoint" in faults


def test_log_rewritten_with_another_key_differs_from_a_kept_checkpoint_and_key(tampered: OwnLog) -> None:
    """An attacker with the database can write another log and sign it with another key; only what is kept elsewhere shows it."""
    kept = tampered.note()
    key = LogVerifier.parse(str(tampered.value("SELECT vkey FROM audit_log_key")))
    tampered.run("UPDATE audit_event SET action = 'nothing.happened' WHERE seq = 4")
    leaf = rewrite(tampered, 4)
    tampered.run(
        f"UPDATE audit_tile SET hashes = overlay(substr(hashes, 1, 160) PLACING '\\x{leaf}'::bytea FROM 97 FOR 32)",  # noqa: S608  # a hash
        "DELETE FROM audit_checkpoint",
        "DELETE FROM audit_tile",
        "DELETE FROM audit_log_key",
    )
    tampered.enable_triggers()
    tampered.delete_copies()
    forger = tampered.with_key("the key of the attacker, who has no other")
    forger.seal()

    assert tampered.faults() == []
    assert "no valid signature" in tampered.faults(checkpoints=[kept])[0]
    assert "era 1: the first 9 events differ from the given checkpoint" in tampered.faults(checkpoints=[kept], keys=[key])
    assert any("is invalid" in fault for fault in tampered.faults(keys=[key]))


def test_erased_fields_leave_the_tree_valid(log: OwnLog) -> None:
    with log.services.unit_of_work() as session:
        AuditRepository(session).add("test.person", subject="user:x", details={"name": "n"})
    log.seal()
    kept = log.note()
    with log.services.unit_of_work() as session:
        tree = log.services.audit_log(session)
        event = tree.find_event("user:x", "test.person")
        assert event is not None
        tree.erase(event, ["source_address", "details"])

    erased = "details IS NULL AND substr(salts, 97, 32) = decode(repeat('00', 32), 'hex') AND erased IS NOT NULL"
    assert log.value(f"SELECT {erased} FROM audit_event WHERE seq = 2") is True  # noqa: S608  # constants of the tests
    assert log.faults(checkpoints=[kept]) == []
    log.seal()
    assert log.faults(checkpoints=[kept]) == []


def test_erasure_without_its_event_is_named(tampered: OwnLog) -> None:
    tampered.enable_triggers()
    with tampered.services.unit_of_work() as session:
        tree = tampered.services.audit_log(session)
        event = tree.get_event(4)
        assert event is not None
        tree.erase(event, ["details"])
    tampered.disable_triggers()
    tampered.run("DELETE FROM audit_event WHERE action = 'audit.erased'")

    assert tampered.faults() == ["event 4: details was erased without an event that records it"]


def test_database_refuses_an_erasure_without_its_event(log: OwnLog) -> None:
    log.add(1)

    with pytest.raises(Exception, match="append-only"):
        log.run("UPDATE audit_event SET details = NULL WHERE seq = 2")


def test_unsealed_event_that_was_altered_is_named(log: OwnLog) -> None:
    log.add(2)
    log.run("ALTER TABLE audit_event DISABLE TRIGGER ALL", "UPDATE audit_event SET action = 'x' WHERE seq = 3")

    assert log.faults() == ["event 3 was altered: its fields do not match its leaf"]


def test_altered_chain_of_an_earlier_version_is_named(tampered: OwnLog) -> None:
    tampered.run("UPDATE audit_head SET seq = 5, hash = repeat('1', 64)")

    assert tampered.faults() == [
        "row 1 rows 1 to 5 are missing at the end",
        "row 5 is not the end of the chain that the log recorded",
    ]


def test_commands_verify_the_log(log: OwnLog, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("checkpoints")
    log.add(3)
    assert run(log, "seal-audit").output == "sealed 4 events; era 1 has 4\n"
    (folder / "old").write_text(log.note())
    log.add(5)
    assert run(log, "seal-audit").exit_code == 0
    (folder / "new").write_text(log.note())
    log.add(1)

    valid = run(log, "verify-audit", "--checkpoint", str(folder / "old"), "--checkpoint", str(folder / "new"))
    proven = run(log, "prove-consistency", str(folder / "old"), str(folder / "new"))
    backwards = run(log, "prove-consistency", str(folder / "new"), str(folder / "old"))
    erased = run(log, "erase-audit", "--event", "2", "--field", "subject")
    still_valid = run(log, "verify-audit")
    log.disable_triggers()
    log.run("UPDATE audit_event SET action = 'x' WHERE seq = 5")
    invalid = run(log, "verify-audit")

    assert valid.exit_code == 0, valid.output
    assert valid.output.startswith(f"era 1 is valid: 10 sealed events, 1 not sealed yet\n{log.note()}")
    assert proven.exit_code == 0, proven.output
    assert all(len(line) == 44 for line in proven.output.splitlines())
    assert backwards.exit_code == 1
    assert erased.output == "erased 1 fields of event 2\n"
    assert still_valid.exit_code == 0, still_valid.output
    assert invalid.exit_code == 1
    assert "event 5 was altered" in invalid.output
    assert run(log, "verify-audit", "--key", "nonsense").exit_code == 1
    assert run(log, "verify-audit", "--anchor", "nonsense").exit_code == 1
    wrong = LogSigner.from_secret("other").verifier(log_origin("b", 1)).render()
    assert run(log, "verify-audit", "--key", wrong).exit_code == 1
    assert run(log, "erase-audit", "--event", "999", "--field", "subject").exit_code == 1


def test_new_era_command_starts_an_era(log: OwnLog) -> None:
    log.add(1)
    log.seal()

    assert run(log, "new-era", "--reason", "restored the backup of Monday").output == "started era 2\n"
    assert run(log, "seal-audit").output == "sealed 2 events; era 2 has 2\n"
    assert "era 2 is valid: 2 sealed events" in run(log, "verify-audit").output


def rewrite(log: OwnLog, seq: int) -> str:
    """Change an event and give it the leaf that fits, as the trigger would; return the leaf in hex."""
    log.run(f"UPDATE audit_event SET action = 'nothing.happened' WHERE seq = {seq}")  # noqa: S608  # a number
    with log.services.unit_of_work() as session:
        event = log.services.audit_log(session).get_event(seq)
    assert event is not None
    leaf = event.recomputed_leaf().hex()
    log.run(f"UPDATE audit_event SET leaf = '\\x{leaf}' WHERE seq = {seq}")  # noqa: S608  # a number
    return leaf


def copy_of(source: int, *, seq: int) -> str:
    columns = "at, action, actor_id, credential, subject, details, source_address, request_id, salts, erased"
    return f"SELECT era, xid, {seq}, {columns}, sha256('x') FROM audit_event WHERE seq = {source}"  # noqa: S608  # numbers


def run(log: OwnLog, *arguments: str) -> Result:
    settings = log.services.settings
    assert settings.secret_key is not None
    assert settings.log_signing_key is not None
    environment = {
        "ENVIRONMENT": "local",
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "LOG_SIGNING_KEY": settings.log_signing_key.get_secret_value(),
        "S3_BUCKET_NAME": settings.s3_bucket_name,
        "AWS_ENDPOINT_URL": settings.aws_endpoint_url,
        "AWS_REGION": settings.aws_region,
    }
    return CliRunner().invoke(cli, list(arguments), env=environment)
