"""The SQLAlchemy engine: a pool of WireConnections. Checkout replaces dead connections, without a round trip."""

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
    """Create the engine for `settings.database_url`. It connects on first use.

    `password_source` returns the password for each sign-in, such as an IAM token, and replaces that of the URL.
    Call `dispose()` before a SnapStart snapshot. Raises DatabaseUrlError.
    """
    endpoint = Endpoint.from_settings(settings, password_source=password_source)
    return create_endpoint_engine(endpoint, pool_size=settings.database_pool_size)


def create_endpoint_engine(endpoint: Endpoint, *, pool_size: int) -> Engine:
    """Create an engine with at most `pool_size` connections. The wait for a free one has the endpoint's timeout."""
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
    """Return the endpoint of the engine's connections. Raises TypeError for an engine with another dialect."""
    if not isinstance(engine.dialect, WireDialect):
        raise TypeError("The engine was not created by create_database_engine")
    return engine.dialect.require_endpoint()


def _reconnect(connection: WireConnection, _record: Any, _proxy: Any) -> None:
    # Not by raising DisconnectionError: SQLAlchemy then retries the sign-in at most twice and then raises an error that is no DBAPIError.
    connection.reconnect()


def _discard_interrupted(context: ExceptionContext) -> None:
    # An exception that is not a database error may have left an unread reply. The next request on this connection would receive
    # that reply's rows, so the connection is discarded.
    if not isinstance(context.original_exception, Error):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False
