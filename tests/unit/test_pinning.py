"""`make test-pooler` detects the statements that pin a client of RDS Proxy."""

import pytest

from tests.support.pinning import STATEMENT_MAX_BYTES, assert_nothing_pins, why_pinned
from tests.support.wire import Message

PINNING = [
    "SET search_path = x",
    "set local statement_timeout = 1",
    " RESET ALL",
    "SELECT set_config('a.b', $1, false)",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "DEALLOCATE ALL",
    "DISCARD ALL",
    "CREATE TEMP TABLE t (id int)",
    "CREATE UNLOGGED TEMPORARY SEQUENCE s",
    "SELECT 1 INTO TEMP t",
    "DECLARE c CURSOR FOR SELECT 1",
    "LISTEN news",
    "LOAD 'auto_explain'",
    "SELECT nextval('s')",
    "INSERT INTO t VALUES (setval('s', 1))",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_lock_shared(1, 2)",
    "COPY t FROM STDIN",
    "SELECT '" + "x" * STATEMENT_MAX_BYTES + "'",
]
NOT_PINNING = [
    "BEGIN",
    "COMMIT",
    "SELECT 1",
    'UPDATE "user" SET email = $1 WHERE id = $2',
    "INSERT INTO t VALUES ($1) ON CONFLICT DO UPDATE SET a = excluded.a",
    "SELECT pg_advisory_xact_lock(1)",
    "SELECT * FROM t WHERE name = 'SET x; nextval(1)'",
    "DELETE FROM t USING temperature",
]


@pytest.mark.parametrize("sql", PINNING)
def test_statement_that_pins_is_found(sql: str) -> None:
    assert why_pinned(Message("P", sql=sql)) is not None
    with pytest.raises(AssertionError):
        assert_nothing_pins([Message("P", sql="SELECT 1"), Message("P", sql=sql)])


@pytest.mark.parametrize("sql", NOT_PINNING)
def test_statement_that_does_not_pin_is_accepted(sql: str) -> None:
    assert_nothing_pins([Message("P", sql=sql), Message("Q", sql=sql)])


def test_named_statement_and_unknown_message_are_found() -> None:
    assert why_pinned(Message("P", sql="SELECT 1", name="s1")) is not None
    assert why_pinned(Message("F")) is not None
    assert why_pinned(Message("d")) is not None
