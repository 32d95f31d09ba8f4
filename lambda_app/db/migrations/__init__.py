"""The schema's history, run by the package itself; Alembic is imported only when it is needed, not at cold start."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, text

from lambda_app.db.engine import create_endpoint_engine, endpoint_of

if TYPE_CHECKING:
    from alembic.config import Config

ANSWER_TIMEOUT_SECONDS = 600.0
"""Longest wait for one statement of a migration, or for another migrator; a Lambda invocation ends after 900."""

LOCK_KEY = 0x57655570
"""What migrators agree to lock ("WeUp"); any number would do."""


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the schema up to `revision` in one transaction. Migrators that run at the same time take turns."""
    from alembic import command

    with _migrating(engine) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the schema back to `revision`, `base` being an empty one, in one transaction."""
    from alembic import command

    with _migrating(engine) as connection:
        command.downgrade(_config(connection), revision)


def current_revision(engine: Engine) -> str | None:
    """Return the revision the database is at; None before the first migration."""
    from alembic.runtime.migration import MigrationContext

    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str | None:
    """Return the newest revision this package knows."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config()).get_current_head()


def is_known(revision: str) -> bool:
    """Whether this package has the revision; it does not know those that a newer version brought."""
    from alembic.script import ScriptDirectory  # costs 150 ms that no request should pay
    from alembic.util import CommandError  # costs 150 ms that no request should pay

    try:
        ScriptDirectory.from_config(_config()).get_revision(revision)
    except CommandError:
        return False
    return True


@contextmanager
def _migrating(engine: Engine) -> Iterator[Connection]:
    # A pool of its own: a request's timeout is too short to wait for a table to be rewritten.
    own = create_endpoint_engine(replace(endpoint_of(engine), timeout_seconds=ANSWER_TIMEOUT_SECONDS), pool_size=1)
    try:
        with own.begin() as connection:
            # The transaction holds this lock, not the session: it ends with COMMIT and pins no proxy connection.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
            yield connection
    finally:
        own.dispose()


def _config(connection: Connection | None = None) -> "Config":
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
