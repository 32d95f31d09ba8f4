"""The SQLAlchemy dialect over WireConnection: it decides what each statement needs, and asks the server nothing by itself."""

import re
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

_MORE_THAN_A_READ = re.compile(
    r"\b(?:FOR\s+(?:NO\s+KEY\s+)?(?:KEY\s+)?(?:UPDATE|SHARE)\b|INSERT\s+INTO\s|UPDATE\s|DELETE\s+FROM\s|MERGE\s+INTO\s"
    r"|(?:pg_advisory|pg_try_advisory|pg_notify|nextval|setval|set_config)\w*\s*\()",
    re.IGNORECASE,
)
"""What makes a SELECT more than a read: row locks, data-modifying CTEs, and functions with an effect (a transaction-level lock
that is taken without a transaction is gone at once). A false alarm costs two round trips, never a wrong answer."""


class WireCompiler(PGCompiler):
    """The PostgreSQL compiler; it also knows whether a statement only reads."""

    @memoized_property
    def is_plain_read(self) -> bool:
        """Whether the statement is a SELECT, not made of text, that locks no row, writes nothing and calls nothing with an effect."""
        is_select = isinstance(self.statement, SelectBase) and not isinstance(self.statement, TextualSelect)
        return is_select and not _MORE_THAN_A_READ.search(self.string)


class WireDialect(PGDialect_pg8000):
    """PostgreSQL 15 or newer, without session state.

    Two execution options say what compiling cannot tell: `own_transaction=True` commits the statement by itself,
    `plain_read=True` or `False` overrules what the statement looks like (text counts as a write).
    """

    driver = "wire"
    supports_statement_cache = True
    default_paramstyle = "numeric_dollar"
    # pg8000's own ones double every percent sign, for the sake of a parameter style that is not ours.
    statement_compiler = WireCompiler  # type: ignore[assignment]  # a sibling of the base's class
    preparer = PGIdentifierPreparer  # type: ignore[assignment]  # the base of the base's class
    supports_server_side_cursors = False
    use_insertmanyvalues_wo_returning = True
    # What SQLAlchemy would ask a new server with four queries.
    server_version_info = (15,)
    default_schema_name = "public"
    default_isolation_level = ISOLATION_LEVEL
    supports_virtual_generated_columns = False

    def __init__(self, endpoint: Endpoint | None = None, **kwargs: Any) -> None:
        super().__init__(**(kwargs | {"paramstyle": "numeric_dollar"}))  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
        self.endpoint = endpoint

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """Return pg8000's DBAPI module, whose exceptions ours are."""
        return dbapi  # type: ignore[no-any-return]  # it ships no type information

    def create_connect_args(self, url: URL) -> ConnectArgsType:  # noqa: ARG002  # the endpoint holds all of it
        """Leave the URL aside."""
        return ([], {})

    def connect(self, *cargs: Any, **cparams: Any) -> DBAPIConnection:  # noqa: ARG002  # the endpoint holds all of it
        """Sign in at the endpoint."""
        return self.require_endpoint().connect()

    def require_endpoint(self) -> Endpoint:
        """Return where connections go."""
        if self.endpoint is None:
            raise ValueError("Engines are made by create_database_engine")
        return self.endpoint

    def initialize(self, connection: Connection) -> None:
        """Ask nothing: what SQLAlchemy needs to know stands above."""

    def on_connect(self) -> None:
        """Set nothing up."""

    def get_isolation_level_values(self, dbapi_connection: DBAPIConnection) -> Sequence[IsolationLevel]:  # noqa: ARG002
        """Offer the default only: any other is session state."""
        return (ISOLATION_LEVEL,)

    def get_isolation_level(self, dbapi_connection: DBAPIConnection) -> IsolationLevel:  # noqa: ARG002
        """Return the default."""
        return ISOLATION_LEVEL

    def set_isolation_level(self, dbapi_connection: DBAPIConnection, level: str) -> None:
        """Send nothing; only the default can be chosen."""

    def set_readonly(self, connection: DBAPIConnection, value: bool) -> NoReturn:
        """Refuse session state."""
        raise NotImplementedError("A session setting would pin the proxy's connection")

    def set_deferrable(self, connection: DBAPIConnection, value: bool) -> NoReturn:
        """Refuse session state."""
        raise NotImplementedError("A session setting would pin the proxy's connection")

    def do_ping(self, dbapi_connection: DBAPIConnection) -> bool:
        """Ask for a sign of transitions: one round trip, no transaction."""
        require_wire_connection(dbapi_connection).execute_statement("SELECT 1", (), TransactionMode.READ)
        return True

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: ExecutionContext | None = None) -> None:
        """Execute with the intent of the statement."""
        require_wire_cursor(cursor).execute_as(_transaction_mode(context), statement, parameters)

    def do_execute_no_params(self, cursor: Any, statement: str, context: ExecutionContext | None = None) -> None:
        """Execute with the intent of the statement."""
        require_wire_cursor(cursor).execute_as(_transaction_mode(context), statement)

    def do_executemany(self, cursor: Any, statement: str, parameters: Any, context: ExecutionContext | None = None) -> None:
        """Execute all sets of values in one flush."""
        require_wire_cursor(cursor).executemany_as(_transaction_mode(context), statement, parameters)

    def is_disconnect(self, e: Exception, connection: Any, cursor: Any) -> bool:  # noqa: ARG002  # SQLAlchemy's signature
        """Whether the connection is of no more use."""
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
    """Return the connection itself from what SQLAlchemy's hooks hand over."""
    found = getattr(connection, "dbapi_connection", connection)
    if not isinstance(found, WireConnection):
        raise TypeError(f"Not one of our connections: {found!r}")
    return found


def require_wire_cursor(cursor: Any) -> WireCursor:
    """Return the cursor as what it is."""
    if not isinstance(cursor, WireCursor):
        raise TypeError(f"Not one of our cursors: {cursor!r}")
    return cursor
