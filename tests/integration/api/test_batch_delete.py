"""Expired rows are deleted in batches, so that many rows in one table do not delay the others."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.repositories import batch_delete as forgetting
from lambda_app.repositories.accounts.sign_in_attempts import RESET_AFTER
from lambda_app.repositories.batch_delete import BATCH_ROWS

REMAINDER = 3


def add_expired_counters(services: Services, count: int) -> None:
    """Replace all counters with `count` expired ones."""
    rows = "SELECT :mark || number, 3, 1, :since FROM generate_series(1, :count) number"
    with services.engine.begin() as connection:
        connection.execute(text("DELETE FROM sign_in_attempt"))
        values = {"mark": f"{uuid4()}-", "since": clock.now() - RESET_AFTER - timedelta(minutes=1), "count": count}
        connection.execute(text(f"INSERT INTO sign_in_attempt (key, kind, failures, since) {rows}"), values)


def count_counters(services: Services) -> int:
    with services.engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM sign_in_attempt")).scalar_one())


def purge(services: Services) -> int:
    with services.unit_of_work() as session:
        return services.maintenance(session).purge()["sign_in_attempts"]


def test_expired_counters_are_deleted_in_batches(services: Services) -> None:
    add_expired_counters(services, 2 * BATCH_ROWS + REMAINDER)

    assert purge(services) == 2 * BATCH_ROWS + REMAINDER
    assert count_counters(services) == 0


def test_one_run_deletes_one_batch_and_the_next_run_the_rest(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "MAX_BATCHES", 1)
    add_expired_counters(services, BATCH_ROWS + REMAINDER)

    assert [purge(services), purge(services)] == [BATCH_ROWS, REMAINDER]


def test_locked_counter_is_skipped_without_waiting(settings: Settings, services: Services) -> None:
    add_expired_counters(services, REMAINDER)
    other = Services.build(settings)
    with other.engine.connect() as blocker:
        blocker.execute(text("UPDATE sign_in_attempt SET since = now() WHERE key = (SELECT min(key) FROM sign_in_attempt)"))

        assert purge(services) == REMAINDER - 1
        blocker.commit()
    other.engine.dispose()

    # The counter was updated, so it is no longer expired.
    assert (purge(services), count_counters(services)) == (0, 1)


def test_locked_table_does_not_stop_the_others(settings: Settings, services: Services) -> None:
    add_expired_counters(services, REMAINDER)
    short_timeout = Services.build(settings.model_copy(update={"database_timeout_seconds": 2.0}))

    with services.engine.connect() as blocker:
        blocker.execute(text("LOCK TABLE user_session IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(UnavailableError):
            purge(short_timeout)
        blocker.rollback()
    short_timeout.engine.dispose()

    assert count_counters(services) == 0
