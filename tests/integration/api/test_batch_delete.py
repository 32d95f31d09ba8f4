"""What is over is forgotten in small steps, so that a flood in one table holds up nothing else."""

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

SPARE = 3


def flood(services: Services, count: int) -> None:
    """Leave so many counters that begin anew anyway, and nothing else that could be forgotten."""
    rows = "SELECT :mark || number, 3, 1, :since FROM generate_series(1, :count) number"
    with services.engine.begin() as connection:
        connection.execute(text("DELETE FROM sign_in_attempt"))
        values = {"mark": f"{uuid4()}-", "since": clock.now() - RESET_AFTER - timedelta(minutes=1), "count": count}
        connection.execute(text(f"INSERT INTO sign_in_attempt (key, kind, failures, since) {rows}"), values)


def left(services: Services) -> int:
    with services.engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM sign_in_attempt")).scalar_one())


def purge(services: Services) -> int:
    with services.unit_of_work() as session:
        return services.maintenance(session).purge()["sign_in_attempts"]


def test_expired_counters_are_deleted_in_batches(services: Services) -> None:
    flood(services, 2 * BATCH_ROWS + SPARE)

    assert purge(services) == 2 * BATCH_ROWS + SPARE
    assert left(services) == 0


def test_one_run_deletes_one_batch_and_the_next_run_the_rest(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "MAX_BATCHES", 1)
    flood(services, BATCH_ROWS + SPARE)

    assert [purge(services), purge(services)] == [BATCH_ROWS, SPARE]


def test_locked_counter_is_skipped_without_waiting(settings: Settings, services: Services) -> None:
    flood(services, SPARE)
    other = Services.build(settings)
    with other.engine.connect() as holder:
        holder.execute(text("UPDATE sign_in_attempt SET since = now() WHERE key = (SELECT min(key) FROM sign_in_attempt)"))

        assert purge(services) == SPARE - 1
        holder.commit()
    other.engine.dispose()

    # It begins anew, and stays.
    assert (purge(services), left(services)) == (0, 1)


def test_locked_table_does_not_stop_the_others(settings: Settings, services: Services) -> None:
    flood(services, SPARE)
    hasty = Services.build(settings.model_copy(update={"database_timeout_seconds": 2.0}))

    with services.engine.connect() as holder:
        holder.execute(text("LOCK TABLE user_session IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(UnavailableError):
            purge(hasty)
        holder.rollback()
    hasty.engine.dispose()

    assert left(services) == 0
