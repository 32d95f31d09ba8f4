"""The services with a separate database, an object store in memory and a frozen clock that tests move; archives of small parts."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import time_machine
from pydantic import SecretStr
from sqlalchemy import text

from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.services.archives import archives
from lambda_app.services.archives import builds as archive_builds
from tests.support import object_store
from tests.support.archives import SMALL_PART
from tests.support.lifecycle import Lifecycle
from tests.support.object_store import FakeObjectStore


@pytest.fixture(scope="module")
def lifecycle_services(settings: Settings, make_migrated_database: Callable[[], str]) -> Iterator[Services]:
    """The services, with a trash retention of seven days."""
    own = settings.model_copy(update={"database_url": SecretStr(make_migrated_database()), "trash_retention_days": 7})
    built = replace(Services.build(own), store=FakeObjectStore())
    yield built
    built.engine.dispose()


@pytest.fixture
def lifecycle(lifecycle_services: Services) -> Iterator[Lifecycle]:
    """The services, with a frozen clock."""
    with time_machine.travel("2026-01-02T03:04:05Z", tick=False) as traveller:
        yield Lifecycle(lifecycle_services, traveller)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays of the worker's retries, recorded without waiting."""
    delays: list[float] = []
    monkeypatch.setattr(archive_builds, "sleep", delays.append)
    return delays


@pytest.fixture
def small_parts(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives of several small parts, and a database and store without archives."""
    monkeypatch.setattr(archives, "PART_SIZE_BYTES", SMALL_PART)
    monkeypatch.setattr(object_store, "S3_PART_MIN_BYTES", SMALL_PART)
    lifecycle.objects.objects.clear()
    lifecycle.objects.uploads.clear()
    with lifecycle.services.unit_of_work() as session:
        session.execute(text("TRUNCATE archive CASCADE"))


@pytest.fixture
def empty_tables(lifecycle: Lifecycle) -> None:
    """Start the test with an empty store and empty tables."""
    lifecycle.objects.objects.clear()
    lifecycle.objects.uploads.clear()
    with lifecycle.services.unit_of_work() as session:
        session.connection().exec_driver_sql('TRUNCATE file, idempotency_key, "user", sweep_position, tombstone CASCADE')
