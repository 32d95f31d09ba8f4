"""A PostgreSQL of the test session's own, and empty databases in it."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.postgres import FAST_AND_UNSAFE, Postgres, start_postgres


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start PostgreSQL in a temporary folder; it and its data are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="we-upload-postgres-") as name:
        folder = Path(name)
        # Under root the server runs as somebody else, who has to pass through.
        folder.chmod(0o711)
        postgres = start_postgres(folder / "data", log=folder / "log", password=secrets.token_hex(16), options=FAST_AND_UNSAFE)
        try:
            yield postgres
        finally:
            postgres.stop()


@contextmanager
def fresh_databases(postgres: Postgres) -> Iterator["DatabaseFactory"]:
    """Yield a maker of empty databases, which are all dropped afterwards."""
    factory = DatabaseFactory(postgres)
    try:
        yield factory
    finally:
        factory.drop_all()


class DatabaseFactory:
    """Called, it makes an empty database and returns its address."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._names: list[str] = []

    def __call__(self) -> str:
        """Return the address of a new empty database."""
        name = f"test_{secrets.token_hex(8)}"
        self._names.append(name)
        return self._postgres.create_database(name)

    def drop_all(self) -> None:
        """Drop what was made, whoever is still connected."""
        while self._names:
            self._postgres.drop_database(self._names.pop())
