"""The schema migrations and their runner. Alembic is imported on first use, not at cold start."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
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

AUDIT_PARTITION_SIZE = 10_000_000
"""Numbers of events in a partition of the audit log, as `audit_event_extend()` has it."""


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Upgrade the schema to `revision` in one transaction. Concurrent migrations run one after the other.

    A migration may have a context manager `prepared(engine)`: it does what takes long, in transactions of its own and under weak locks, and
    undoes it when the migration fails.
    """
    from alembic import command

    with _own_engine(engine) as own, ExitStack() as prepared, _migrating(own) as connection:
        for prepare in _preparations(connection, revision):
            prepared.enter_context(prepare(own))
        command.upgrade(_config(connection), revision)


def extend_audit_log(engine: Engine) -> None:
    """Create the next partition of the audit log if half of the newest one is used, also if the open one has many events."""
    with _own_engine(engine) as own, own.begin() as connection:
        connection.execute(text("SELECT audit_event_extend(:size, :most)"), {"size": AUDIT_PARTITION_SIZE, "most": 2**63 - 1})


def downgrade(engine: Engine, revision: str) -> None:
    """Downgrade the schema to `revision` in one transaction; `base` is the empty schema."""
    from alembic import command

    with _own_engine(engine) as own, _migrating(own) as connection:
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
def _own_engine(engine: Engine) -> Iterator[Engine]:
    """Yield a separate engine: the timeout of a request is too short for a statement that rewrites or reads a table."""
    own = create_endpoint_engine(replace(endpoint_of(engine), timeout_seconds=STATEMENT_TIMEOUT_SECONDS), pool_size=2)
    try:
        yield own
    finally:
        own.dispose()


@contextmanager
def _migrating(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        # A transaction-level lock: it is released at COMMIT and does not pin the connection of RDS Proxy.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        yield connection


def _preparations(connection: Connection, revision: str) -> list[Callable[[Engine], AbstractContextManager[None]]]:
    """Return those of the migrations up to `revision` that have not run, the oldest first. An empty database needs none."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    current = MigrationContext.configure(connection).get_current_revision()
    if current is None or not is_known(current):
        return []
    steps = ScriptDirectory.from_config(_config()).iterate_revisions(revision, current)
    found = [getattr(step.module, "prepared", None) for step in steps]
    return [prepare for prepare in reversed(found) if prepare is not None]


def _config(connection: Connection | None = None) -> "Config":
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
