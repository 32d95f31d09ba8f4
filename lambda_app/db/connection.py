"""A pg8000 connection that sends each statement in one flush, and BEGIN along with the first that writes.

docs/adr/0001-single-flush-database-transport.md says why and what was rejected. Longer than other modules: each half would reach into the other's state.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Self

from pg8000.core import IDLE, IN_FAILED_TRANSACTION, Context  # type: ignore[import-untyped]  # ships no type information
from pg8000.dbapi import (  # type: ignore[import-untyped]  # ships no type information
    Connection,
    Cursor,
    Error,
    InterfaceError,
    InternalError,
    NotSupportedError,
    ProgrammingError,
)
from scramp import ScramException  # type: ignore[import-untyped]  # ships no type information

from lambda_app.db.errors import CANNOT_CONNECT, FAILED_TRANSACTION, SERVER_WENT_AWAY, ConnectionLostError, error_field, server_error
from lambda_app.db.messages import BEGIN, COMMIT, DESCRIBE_PORTAL, EXECUTE, ROLLBACK, SYNC, TERMINATE, bind, parse
from lambda_app.db.rows import FAST_READERS, decode_rows
from lambda_app.db.transport import Transport

PIPELINE_MAX_STATEMENTS = 256
"""How many value sets of one executemany share a flush: few enough for their answers to fit the socket's buffer."""

DESCRIPTIONS_MAX = 256
"""How many descriptions of rows a connection remembers; pg8000 takes them apart anew with every answer, for 40 µs."""


class TransactionMode(Enum):
    """What a statement needs around it."""

    READ = "read"
    """Nothing: without a transaction it sees what a transaction would."""
    WRITE = "write"
    """A transaction; BEGIN is sent along if none is open."""
    OWN_TRANSACTION = "own_transaction"
    """To be committed by its own end, unless a transaction is open already."""


class Reply(Context):  # type: ignore[misc]  # its base is untyped
    """What the server answered to one flush."""

    def __init__(self) -> None:
        super().__init__(None)
        self.tag = b""
        self.payloads: list[bytes] = []


class WireConnection(Connection):  # type: ignore[misc]  # its base is untyped
    """One flush and one wait for each statement, no state in the session, and never one reply off.

    `open_wire` and `password` are called at every sign-in, which can also be a second one in place of a connection
    that died unnoticed. `is_synchronized` is False while an answer is awaited, and for ever after if the wait was cut short.
    """

    def __init__(
        self,
        *,
        open_wire: Callable[[], Transport],
        user: str,
        password: Callable[[], str],
        database: str,
        application_name: str,
    ) -> None:
        self._open_wire = open_wire
        self._get_password = password
        self._sign_in_as = {"user": user, "database": database, "application_name": application_name}
        self._usock: Transport | None = None
        self._descriptions: dict[bytes, tuple[Any, Any]] = {}
        self._sign_in()

    def _sign_in(self) -> None:
        self.is_synchronized = False
        password = self._get_password()
        wire = self._open_wire()
        try:
            super().__init__(password=password, sock=wire, ssl_context=False, **self._sign_in_as)
        except (ScramException, LookupError, ValueError) as error:  # a server that does not know the password, or no PostgreSQL at all
            wire.close()
            raise ConnectionLostError(f"Signing in to the database failed: {error}", sqlstate=CANNOT_CONNECT) from error
        except Error:
            wire.close()
            raise
        self.pg_types.update(FAST_READERS)
        self.autocommit = True  # keeps pg8000 from sending a BEGIN of its own
        self._transaction_status = IDLE
        self.is_synchronized = True

    def cursor(self) -> "WireCursor":
        """Return a cursor."""
        return WireCursor(self)

    @property
    def is_in_transaction(self) -> bool:
        """Whether a BEGIN was sent, and no COMMIT or ROLLBACK since."""
        return bool(self._transaction_status != IDLE)

    def is_alive(self) -> bool:
        """Whether the idle connection can be used, as far as can be seen without a round trip."""
        return self.is_synchronized and self._usock is not None and self._usock.is_quiet()

    def reconnect(self) -> None:
        """Sign in anew if the idle connection has died, which takes no round trip to see. Raises ConnectionLostError."""
        if not self.is_alive():
            self._replace()

    def set_timeout(self, seconds: float) -> None:
        """Wait at most `seconds` for each answer from now on."""
        self._require_wire().timeout_seconds = seconds

    def execute_statement(self, statement: str, values: Sequence[Any], intent: TransactionMode) -> Reply:
        """Send the statement and return its rows and count.

        Raises the DBAPI's errors; DataError when a value cannot be encoded, in which case nothing was sent.
        """
        return self._send(parse(statement) + bind(values, self.py_types) + DESCRIBE_PORTAL + EXECUTE, intent)

    def execute_pipeline(self, statement: str, value_sets: Sequence[Sequence[Any]], intent: TransactionMode) -> Reply:
        """Send the statement once for each set of values, in one flush, and return the sum of their counts."""
        return self._send(parse(statement) + b"".join(bind(values, self.py_types) + EXECUTE for values in value_sets), intent)

    def execute_unnamed(self, statement: str, vals: Sequence[Any] = (), oids: Sequence[int] = (), stream: Any = None) -> Reply:
        """Take the place of pg8000's way of sending, which waits three times."""
        if oids or stream is not None:
            raise NotSupportedError("Declared value types and COPY are not offered")
        return self.execute_statement(statement, vals, TransactionMode.WRITE)

    def execute_simple(self, statement: str) -> Reply:
        """Take the place of pg8000's way of sending a statement without values."""
        return self.execute_statement(statement, (), TransactionMode.WRITE)

    def commit(self) -> None:
        """Commit what was begun; sends nothing if nothing was.

        Raises an error whenever the transaction did not commit, or is not known to have.
        """
        self._require_synchronized()
        if self._transaction_status == IDLE:
            return
        if self._transaction_status == IN_FAILED_TRANSACTION:
            self.rollback()
            raise _not_committed()
        if self._exchange(COMMIT).tag != b"COMMIT":
            raise _not_committed()

    def rollback(self) -> None:
        """Undo what was begun; sends nothing if nothing was."""
        self._require_synchronized()
        if self._transaction_status != IDLE:
            self._exchange(ROLLBACK)

    def close(self) -> None:
        """Close the connection, with a farewell if the server still listens."""
        wire, self._usock, self._sock = self._usock, None, None
        if wire is None:
            return
        try:
            if self.is_synchronized:
                wire.send(TERMINATE)
        except ConnectionLostError:
            return
        finally:
            self.is_synchronized = False
            wire.close()

    def _send(self, messages: bytes, intent: TransactionMode) -> Reply:
        self._require_synchronized()
        is_idle = self._transaction_status == IDLE
        flush = (BEGIN if is_idle and intent is TransactionMode.WRITE else b"") + messages + SYNC
        # Lost with the connection, a read changed nothing and a transaction that had only begun is undone.
        may_repeat = is_idle and intent is not TransactionMode.OWN_TRANSACTION
        try:
            return self._exchange(flush)
        except ConnectionLostError as lost:
            if not (may_repeat and lost.peer_is_gone):
                raise
            self._replace()
        return self._exchange(flush)

    def _replace(self) -> None:
        self.close()
        try:
            self._sign_in()
        except Error as error:
            raise ConnectionLostError(f"The database went away and cannot be reached again: {error}") from error

    def _exchange(self, flush: bytes) -> Reply:
        wire = self._require_wire()
        reply = Reply()
        # Until the server is ready again, whatever stops us leaves replies unread: nobody may use the connection then.
        self.is_synchronized = False
        wire.send(flush)
        self._read_until_ready(wire, reply)
        self.is_synchronized = True
        if reply.error is not None:
            raise reply.error
        if reply.columns is not None:
            reply.rows = decode_rows(reply.payloads, reply.input_funcs)
        return reply

    def _read_until_ready(self, wire: Transport, reply: Reply) -> None:
        code = b""
        while code != b"Z":
            code, payload = wire.read_message()
            if code == b"D":
                reply.payloads.append(payload)
                continue
            handler = self.message_types.get(code)
            if handler is None:
                raise ConnectionLostError(f"The server sent a message that is not in the protocol: {code!r}")
            handler(payload, reply)
            if code == b"E":
                _raise_if_fatal(reply.error)

    def handle_ERROR_RESPONSE(self, data: bytes, context: Reply) -> None:  # noqa: N802  # pg8000's name
        """Keep the server's error, as the DBAPI class of its SQLSTATE."""
        fields = (field.decode(errors="replace") for field in data.split(b"\0") if field)
        context.error = server_error({field[0]: field[1:] for field in fields})

    def handle_ROW_DESCRIPTION(self, data: bytes, context: Reply) -> None:  # noqa: N802  # pg8000's name
        """Read the description of the rows; a statement that was sent before has the same one again."""
        known = self._descriptions.get(data)
        if known is None:
            super().handle_ROW_DESCRIPTION(data, context)
            if len(self._descriptions) >= DESCRIPTIONS_MAX:
                self._descriptions.clear()
            known = self._descriptions[data] = (context.columns, context.input_funcs)
        context.columns, context.input_funcs = known
        context.rows = context.rows or []

    def handle_COMMAND_COMPLETE(self, data: bytes, context: Reply) -> None:  # noqa: N802  # pg8000's name
        """Keep the command's tag and add up its count."""
        context.tag = data[:-1]
        count = context.tag.rpartition(b" ")[2]
        if count.isdigit():
            context.row_count = max(context.row_count, 0) + int(count)

    def _require_wire(self) -> Transport:
        if self._usock is None:
            raise ConnectionLostError("The connection is closed")
        return self._usock

    def _require_synchronized(self) -> None:
        if not self.is_synchronized:
            raise ConnectionLostError("The connection was interrupted while it waited for an answer")


class WireCursor(Cursor):  # type: ignore[misc]  # its base is untyped
    """A cursor whose statements are in PostgreSQL's own style (`$1`) and say what they need around them."""

    def execute(self, operation: str, args: Sequence[Any] = (), stream: Any = None) -> Self:
        """Execute a statement that may write."""
        if stream is not None:
            raise NotSupportedError("COPY is not offered")
        return self.execute_as(TransactionMode.WRITE, operation, args)

    def executemany(self, operation: str, param_sets: Sequence[Sequence[Any]]) -> Self:
        """Execute a writing statement once for each set of values."""
        return self.executemany_as(TransactionMode.WRITE, operation, param_sets)

    def execute_as(self, intent: TransactionMode, operation: str, args: Sequence[Any] = ()) -> Self:
        """Execute a statement."""
        self._context = self._require_connection().execute_statement(operation, args, intent)
        self._row_iter = None if self._context.rows is None else iter(self._context.rows)
        return self

    def executemany_as(self, intent: TransactionMode, operation: str, param_sets: Sequence[Sequence[Any]]) -> Self:
        """Execute a statement once for each set of values, hundreds of them in one round trip. Rows are not returned."""
        total = Reply()
        for start in range(0, len(param_sets), PIPELINE_MAX_STATEMENTS):
            batch = param_sets[start : start + PIPELINE_MAX_STATEMENTS]
            reply = self._require_connection().execute_pipeline(operation, batch, intent)
            total.row_count = max(total.row_count, 0) + max(reply.row_count, 0)
        self._context = total
        self._row_iter = None
        return self

    def fetchall(self) -> tuple[Any, ...]:
        """Return all rows that are left."""
        if self._row_iter is None:
            raise ProgrammingError("The statement returned no rows")
        return tuple(self._row_iter)

    def _require_connection(self) -> WireConnection:
        if self._c is None:
            raise InterfaceError("The cursor is closed")
        connection: WireConnection = self._c
        return connection


def _raise_if_fatal(error: Exception) -> None:
    if (error_field(error, "V") or error_field(error, "S")) not in ("FATAL", "PANIC"):
        return
    sqlstate = error_field(error, "C") or ""
    message = f"The server ended the connection: {error_field(error, 'M')}"
    raise ConnectionLostError(message, sqlstate=sqlstate, peer_is_gone=sqlstate in SERVER_WENT_AWAY) from error


def _not_committed() -> InternalError:
    return InternalError({"C": FAILED_TRANSACTION, "M": "The transaction had failed and was rolled back instead of committed"})
