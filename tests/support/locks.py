"""Telling when somebody waits for a lock."""

import time

from sqlalchemy import text

from lambda_app.factory import Services

LONGEST_WAIT_SECONDS = 10


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
