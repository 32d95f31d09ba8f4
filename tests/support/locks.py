"""Telling when somebody waits for a lock."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, text

from lambda_app.factory import Services

LONGEST_WAIT_SECONDS = 60.0


def wait_until_blocked(services: Services, *, by: int) -> None:
    """Return once a server process waits for what the one with this id has locked; fail if none ever does."""
    _wait(services, 1, "SELECT count(*) FROM pg_stat_activity WHERE CAST(:pid AS integer) = ANY(pg_blocking_pids(pid))", pid=by)


def wait_until_waiting(services: Services, *, count: int) -> None:
    """Return once so many server processes of this database wait for locks, whoever has them; fail if they never do."""
    _wait(services, count, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def _wait(services: Services, count: int, query: str, **parameters: int) -> None:
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while True:
        # Each time in a transaction of its own, which would see the same activity for as long as it lasts.
        with services.engine.connect() as connection:
            if connection.execute(text(query), parameters).scalar_one() >= count:
                return
        assert time.monotonic() < deadline, "too few wait"
        time.sleep(0.01)


@contextmanager
def piled_up(engine: Engine, lock: str, values: dict[str, Any], *, count: int) -> Iterator[None]:
    """Hold what the statement locks, until `count` others wait behind each other for it: each with a view that is old by then."""
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
