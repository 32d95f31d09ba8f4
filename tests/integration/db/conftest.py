"""Engines for a database with the table of notes, directly or through a proxy that records the traffic."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from lambda_app.core.settings import Environment, Settings
from lambda_app.db.engine import create_database_engine
from tests.integration.db.notes import metadata
from tests.support.pooler import Line
from tests.support.wire import WireProxy


def make_settings(url: str, **fields: Any) -> Settings:
    """Return local settings for the database at `url`."""
    defaults: dict[str, Any] = {"environment": Environment.LOCAL, "s3_bucket_name": "unused", "secret_key": SecretStr("x" * 32)}
    return Settings(**(defaults | {"database_url": SecretStr(url)} | fields))


@pytest.fixture
def make_engine() -> Iterator[Callable[..., Engine]]:
    """A function that creates engines, which are disposed of after the test."""
    engines = []

    def make(url: str, *, password_source: Callable[[], str] | None = None, **fields: Any) -> Engine:
        engine = create_database_engine(make_settings(url, **fields), password_source=password_source)
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture(scope="session")
def notes_url(fresh_database: Callable[[], str], line: Line) -> str:
    """URL of a database with the table of notes."""
    url = fresh_database()
    engine = create_database_engine(make_settings(url))
    metadata.create_all(engine)
    engine.dispose()
    return line.url_for(url)


@pytest.fixture
def proxy(notes_url: str) -> Iterator[WireProxy]:
    """A proxy in front of the database with the notes."""
    with WireProxy(notes_url) as proxy:
        yield proxy


@pytest.fixture
def engine(make_engine: Callable[..., Engine], proxy: WireProxy, notes_url: str) -> Engine:
    """An engine with one connection through the proxy, already signed in."""
    engine = make_engine(proxy.url_for(notes_url))
    engine.connect().close()
    return engine


@pytest.fixture
def observer(make_engine: Callable[..., Engine], notes_url: str) -> Engine:
    """An engine with a separate, direct connection to the notes."""
    return make_engine(notes_url)
