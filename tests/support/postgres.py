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
            postgres.server.kill()


def create_fresh_database(postgres: Postgres) -> str:
    """Return the address of a new empty database; it goes with the server."""
    return postgres.create_database(f"test_{secrets.token_hex(8)}")
