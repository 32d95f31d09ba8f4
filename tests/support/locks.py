"""Telling when somebody waits for a lock."""

import time

from sqlalchemy import text

from lambda_app.factory import Services

LONGEST_WAIT_SECONDS = 10


def wait_until_blocked(services: Services, *, by: int) -> None:
    """Return once a server process waits for what the one with this id has locked; fail if none ever does."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE CAST(:pid AS integer) = ANY(pg_blocking_pids(pid))")
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while True:
        # Each time in a transaction of its own, which would see the same activity for as long as it lasts.
        with services.engine.connect() as connection:
            if connection.execute(waiting, {"pid": by}).scalar_one():
                return
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.01)
