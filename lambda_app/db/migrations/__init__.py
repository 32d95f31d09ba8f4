"""The schema migrations and their runner. Alembic is imported on first use, not at cold start."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, text

from lambda_app.db.engine import create_endpoint_engine, endpoint_of

if TYPE_CHECKING:
    from alembic.config import Config

STATEMENT_TIMEOUT_SECONDS = 600.0
"""Longest wait for one statement of a migration, or for a concurrent migration. A Lambda invocation ends after 900 seconds."""

LOCK_KEY = 0x57655570
"""Key of the advisory lock that serialises migrations: "WeUp" in ASCII."""


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Upgrade the schema to `revision` in one transaction. Concurrent migrations run one after the other."""
    from alembic import command

    with _migrating(engine) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Downgrade the schema to `revision` in one transaction; `base` is the empty schema."""
    from alembic import command

    with _migrating(engine) as connection:
        command.downgrade(_config(connection), revision)


def current_revision(engine: Engine) -> str | None:
    """Return the revision of the database; None before the first migration."""
    from alembic.runtime.migration import MigrationContext

    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str | None:
    """Return the newest revision in this package."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config()).get_current_head()


def is_known(revision: str) -> bool:
    """Whether this package contains the revision. A revision of a newer version is unknown."""
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        ScriptDirectory.from_config(_config()).get_revision(revision)
    except CommandError:
        return False
    return True


@contextmanager
def _migrating(engine: Engine) -> Iterator[Connection]:
    # A separate engine: the timeout of a request is too short for a statement that rewrites a table.
    own = create_endpoint_engine(replace(endpoint_of(engine), timeout_seconds=STATEMENT_TIMEOUT_SECONDS), pool_size=1)
    try:
        with own.begin() as connection:
            # A transaction-level lock: it is released at COMMIT and does not pin the connection of RDS Proxy.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
            yield connection
    finally:
        own.dispose()


def _config(connection: Connection | None = None) -> "Config":
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
