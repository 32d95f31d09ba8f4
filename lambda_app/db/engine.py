"""The SQLAlchemy engine: a pool of WireConnections that are checked, without a round trip, before they are lent."""

from collections.abc import Callable
from typing import Any

from pg8000.dbapi import Error  # type: ignore[import-untyped]  # ships no type information
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.pool import QueuePool

from lambda_app.core.settings import Settings
from lambda_app.db.connection import WireConnection
from lambda_app.db.dialect import WireDialect
from lambda_app.db.endpoint import Endpoint

registry.register("postgresql.wire", "lambda_app.db.dialect", "WireDialect")


def create_database_engine(settings: Settings, *, password_source: Callable[[], str] | None = None) -> Engine:
    """Build the engine for `settings.database_url`; it connects when it is first used.

    `password_source` gives the password of each sign-in, such as an IAM token, instead of the URL.
    Call `dispose()` before the process is frozen into a snapshot. Raises DatabaseUrlError.
    """
    endpoint = Endpoint.from_settings(settings, password_source=password_source)
    return create_endpoint_engine(endpoint, pool_size=settings.database_pool_size)


def create_endpoint_engine(endpoint: Endpoint, *, pool_size: int) -> Engine:
    """Build an engine of at most `pool_size` connections, a free one of which is waited for as long as for an answer."""
    engine = create_engine(
        URL.create("postgresql+wire", username=endpoint.user, host=endpoint.address.host or None, database=endpoint.database),
        endpoint=endpoint,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=endpoint.timeout_seconds,
        hide_parameters=True,
    )
    event.listen(engine, "checkout", _reconnect)
    event.listen(engine, "handle_error", _discard_interrupted)
    return engine


def endpoint_of(engine: Engine) -> Endpoint:
    """Return where the engine's connections go."""
    if not isinstance(engine.dialect, WireDialect):
        raise TypeError("The engine was not made by create_database_engine")
    return engine.dialect.require_endpoint()


def _reconnect(connection: WireConnection, _record: Any, _proxy: Any) -> None:
    # Not by DisconnectionError: SQLAlchemy answers it by signing in twice at most, and its last word is no database error.
    connection.reconnect()


def _discard_interrupted(context: ExceptionContext) -> None:
    # Whatever was raised outside the database's own errors may have left an answer unread; were the connection
    # kept, the next request would be given this one's rows.
    if not isinstance(context.original_exception, Error):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False
