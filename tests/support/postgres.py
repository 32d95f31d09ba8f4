"""A PostgreSQL server for the test session, and empty databases in it."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.postgres import FAST_AND_UNSAFE, Postgres, start_postgres


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run PostgreSQL in a temporary folder; both are deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="we-upload-postgres-") as name:
        folder = Path(name)
        # If the tests run as root, the server runs as another user, who must be able to traverse the folder.
        folder.chmod(0o711)
        postgres = start_postgres(folder / "data", log=folder / "log", password=secrets.token_hex(16), options=FAST_AND_UNSAFE)
        try:
            yield postgres
        finally:
            postgres.server.kill()


def create_fresh_database(postgres: Postgres) -> str:
    """Return the URL of a new empty database."""
    return postgres.create_database(f"test_{secrets.token_hex(8)}")
