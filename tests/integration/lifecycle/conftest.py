"""The services with a separate database, an object store in memory and a frozen clock that tests move."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import time_machine
from pydantic import SecretStr

from lambda_app.core.settings import Settings
from lambda_app.factory import Services
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
