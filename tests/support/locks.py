"""Waiting until database sessions wait for locks."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, text

from lambda_app.factory import Services

LONGEST_WAIT_SECONDS = 60.0


def wait_until_blocked(services: Services, *, by: int) -> None:
    """Wait until a server process waits for a lock of the process with the id `by`; fail after a timeout."""
    _wait(services, 1, "SELECT count(*) FROM pg_stat_activity WHERE CAST(:pid AS integer) = ANY(pg_blocking_pids(pid))", pid=by)


def wait_until_waiting(services: Services, *, count: int) -> None:
    """Wait until `count` server processes of this database wait for any locks; fail after a timeout."""
    _wait(services, count, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def _wait(services: Services, count: int, query: str, **parameters: int) -> None:
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while True:
        # A new transaction for each query: within one, pg_stat_activity returns the same snapshot.
        with services.engine.connect() as connection:
            if connection.execute(text(query), parameters).scalar_one() >= count:
                return
        assert time.monotonic() < deadline, "too few wait"
        time.sleep(0.01)


EVENT_BARRIER = "SELECT pg_advisory_xact_lock(4711)"
"""While a transaction holds this lock, all others wait when they write their audit event, within `events_wait`."""
_WAITING_TRIGGER = """
CREATE FUNCTION test_wait() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4711);
    RETURN NEW;
END $$
"""


@contextmanager
def events_wait(engine: Engine) -> Iterator[None]:
    """Let every audit event wait for the holder of `EVENT_BARRIER`: after the checks of its transaction, and before its commit."""
    with engine.begin() as connection:
        connection.execute(text(_WAITING_TRIGGER))
        connection.execute(text("CREATE TRIGGER a_test_wait BEFORE INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION test_wait()"))
    try:
        yield
    finally:
        with engine.begin() as connection:
            # Writers lock the table before its partition; the drop alone locks them in another order.
            connection.execute(text("LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE"))
            connection.execute(text("DROP FUNCTION test_wait() CASCADE"))


@contextmanager
def hold_until_blocked(engine: Engine, lock: str, values: dict[str, Any], *, count: int) -> Iterator[None]:
    """Hold the locks of a statement until `count` other transactions wait, so that each of them runs with an outdated snapshot."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
    with engine.connect() as holder:
        holder.execute(text(lock), values)
        yield
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        while time.monotonic() < deadline:
            with engine.connect() as connection:
                if connection.execute(waiting).scalar_one() >= count:
                    break
            time.sleep(0.01)
        else:
            raise AssertionError("fewer wait")
        holder.rollback()
