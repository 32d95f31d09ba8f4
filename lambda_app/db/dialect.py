"""The SQLAlchemy dialect for WireConnection. It selects the transaction mode of each statement and sends no queries of its own."""

import re
import threading
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from pg8000 import dbapi  # type: ignore[import-untyped]  # ships no type information
from sqlalchemy import SelectBase, TextualSelect
from sqlalchemy.dialects.postgresql.base import PGCompiler, PGIdentifierPreparer
from sqlalchemy.dialects.postgresql.pg8000 import PGDialect_pg8000
from sqlalchemy.engine import URL, Connection
from sqlalchemy.engine.interfaces import ConnectArgsType, DBAPIConnection, ExecutionContext, IsolationLevel
from sqlalchemy.util import memoized_property

from lambda_app.db.connection import TransactionMode, WireConnection, WireCursor
from lambda_app.db.endpoint import Endpoint
from lambda_app.db.errors import ConnectionLostError

ISOLATION_LEVEL: IsolationLevel = "READ COMMITTED"

_MAY_WRITE = re.compile(
    r"\b(?:FOR\s+(?:NO\s+KEY\s+)?(?:KEY\s+)?(?:UPDATE|SHARE)\b|INSERT\s+INTO\s|UPDATE\s|DELETE\s+FROM\s|MERGE\s+INTO\s"
    r"|(?:pg_advisory|pg_try_advisory|pg_notify|nextval|setval|set_config)\w*\s*\()",
    re.IGNORECASE,
)
"""What makes a SELECT need a transaction: row locks, data-modifying CTEs, and functions with side effects.

A transaction-level lock taken outside a transaction would be released immediately. A false positive only costs two round trips.
"""


_COMPILING = threading.RLock()
"""Held while a statement is compiled."""


class WireCompiler(PGCompiler):
    """The PostgreSQL compiler, extended to detect statements that only read. One thread compiles at a time.

    Statements are built once and shared by all threads. When two threads compiled the same one at the same time, SQLAlchemy 2.1 lost
    columns of an aliased entity (`aliased(File, cte)`): the SQL read them from the table, without a join, and stayed in the cache.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        with _COMPILING:
            super().__init__(*arguments, **keywords)

    @memoized_property
    def is_plain_read(self) -> bool:
        """Whether the statement is a SELECT without row locks, data-modifying CTEs and side effects. Textual SQL counts as a write."""
        is_select = isinstance(self.statement, SelectBase) and not isinstance(self.statement, TextualSelect)
        return is_select and not _MAY_WRITE.search(self.string)


class WireDialect(PGDialect_pg8000):
    """PostgreSQL 15 or newer, without session state.

    Two execution options set what the compiler cannot detect: `own_transaction=True` commits the statement by itself, and
    `plain_read=True` or `False` overrides the detection of reads (textual SQL counts as a write).
    """

    driver = "wire"
    supports_statement_cache = True
    default_paramstyle = "numeric_dollar"
    # pg8000's compiler and preparer double each percent sign for a parameter style that this dialect does not use.
    statement_compiler = WireCompiler  # type: ignore[assignment]  # a sibling of the base's class
    preparer = PGIdentifierPreparer  # type: ignore[assignment]  # the base of the base's class
    supports_server_side_cursors = False
    use_insertmanyvalues_wo_returning = True
    # Fixed values, which save the four queries that SQLAlchemy would send to a new server.
    server_version_info = (15,)
    default_schema_name = "public"
    default_isolation_level = ISOLATION_LEVEL
    supports_virtual_generated_columns = False

    def __init__(self, endpoint: Endpoint | None = None, **kwargs: Any) -> None:
        super().__init__(**(kwargs | {"paramstyle": "numeric_dollar"}))  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy
        self.endpoint = endpoint

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """Return pg8000's DBAPI module, whose exception classes this package uses."""
        return dbapi  # type: ignore[no-any-return]  # it ships no type information

    def create_connect_args(self, url: URL) -> ConnectArgsType:  # noqa: ARG002  # the endpoint has all parameters
        """Return nothing: the endpoint, not the URL, has the connection parameters."""
        return ([], {})

    def connect(self, *cargs: Any, **cparams: Any) -> DBAPIConnection:  # noqa: ARG002  # the endpoint has all parameters
        """Open a connection to the endpoint."""
        return self.require_endpoint().connect()

    def require_endpoint(self) -> Endpoint:
        """Return the endpoint of new connections."""
        if self.endpoint is None:
            raise ValueError("The dialect has no endpoint; create engines with create_database_engine")
        return self.endpoint

    def initialize(self, connection: Connection) -> None:
        """Send no queries: the class attributes have the values that SQLAlchemy would query."""

    def on_connect(self) -> None:
        """Configure nothing on a new connection."""

    def get_isolation_level_values(self, dbapi_connection: DBAPIConnection) -> Sequence[IsolationLevel]:  # noqa: ARG002
        """Return only the default: any other level would be session state."""
        return (ISOLATION_LEVEL,)

    def get_isolation_level(self, dbapi_connection: DBAPIConnection) -> IsolationLevel:  # noqa: ARG002
        """Return the default."""
        return ISOLATION_LEVEL

    def set_isolation_level(self, dbapi_connection: DBAPIConnection, level: str) -> None:
        """Send nothing: only the default level is supported."""

    def set_readonly(self, connection: DBAPIConnection, value: bool) -> NoReturn:
        """Reject session state."""
        raise NotImplementedError("Not supported: a session setting would pin the connection of RDS Proxy")

    def set_deferrable(self, connection: DBAPIConnection, value: bool) -> NoReturn:
        """Reject session state."""
        raise NotImplementedError("Not supported: a session setting would pin the connection of RDS Proxy")

    def do_ping(self, dbapi_connection: DBAPIConnection) -> bool:
        """Check the connection with one round trip and no transaction."""
        require_wire_connection(dbapi_connection).execute_statement("SELECT 1", (), TransactionMode.READ)
        return True

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: ExecutionContext | None = None) -> None:
        """Execute in the transaction mode of the statement."""
        require_wire_cursor(cursor).execute_as(_transaction_mode(context), statement, parameters)

    def do_execute_no_params(self, cursor: Any, statement: str, context: ExecutionContext | None = None) -> None:
        """Execute in the transaction mode of the statement."""
        require_wire_cursor(cursor).execute_as(_transaction_mode(context), statement)

    def do_executemany(self, cursor: Any, statement: str, parameters: Any, context: ExecutionContext | None = None) -> None:
        """Execute all value sets in few flushes."""
        require_wire_cursor(cursor).executemany_as(_transaction_mode(context), statement, parameters)

    def is_disconnect(self, e: Exception, connection: Any, cursor: Any) -> bool:  # noqa: ARG002  # SQLAlchemy's signature
        """Whether the connection is unusable after this error."""
        return isinstance(e, ConnectionLostError) or (connection is not None and not connection.is_synchronized)


def _transaction_mode(context: ExecutionContext | None) -> TransactionMode:
    if context is None:
        return TransactionMode.WRITE
    options = context.execution_options
    if options.get("own_transaction"):
        return TransactionMode.OWN_TRANSACTION
    plain_read = options.get("plain_read")
    if plain_read is None:
        plain_read = isinstance(context.compiled, WireCompiler) and context.compiled.is_plain_read
    return TransactionMode.READ if plain_read else TransactionMode.WRITE


def require_wire_connection(connection: Any) -> WireConnection:
    """Return the WireConnection inside a connection object of SQLAlchemy. Raises TypeError for another driver's connection."""
    found = getattr(connection, "dbapi_connection", connection)
    if not isinstance(found, WireConnection):
        raise TypeError(f"Not a WireConnection: {found!r}")
    return found


def require_wire_cursor(cursor: Any) -> WireCursor:
    """Return the cursor, typed. Raises TypeError for another driver's cursor."""
    if not isinstance(cursor, WireCursor):
        raise TypeError(f"Not a WireCursor: {cursor!r}")
    return cursor
