"""A pg8000 connection that sends each statement in one flush, and BEGIN in the same flush as the first write.

docs/adr/0001-single-flush-database-transport.md gives the reasons and the rejected alternatives. The module is over 300 lines because its
two classes share state.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from time import monotonic, sleep
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

from lambda_app.core.request_context import request_context
from lambda_app.db.errors import (
    CANNOT_CONNECT,
    CANNOT_CONNECT_NOW,
    CONNECTION_FAILURE,
    FAILED_TRANSACTION,
    SERVER_WENT_AWAY,
    ConnectionLostError,
    error_field,
    server_error,
)
from lambda_app.db.messages import BEGIN, COMMIT, DESCRIBE_PORTAL, EXECUTE, ROLLBACK, SYNC, TERMINATE, bind, parse
from lambda_app.db.rows import FAST_READERS, decode_rows
from lambda_app.db.transport import Transport

PIPELINE_MAX_STATEMENTS = 256
"""Value sets of one executemany per flush. Their responses must fit the socket buffer, or client and server would block each other."""

DESCRIPTIONS_MAX = 256
"""Row descriptions that a connection caches. pg8000 would parse the description in every response, which takes 40 µs."""


RETRY_SECONDS = 0.5
"""Pause between two attempts to sign in to a server that starts."""

AUDIT_LEAF = b"CWU001"
"""Code field of the notice that the trigger `audit_event_fill` sends for each event: its message is the leaf."""


class TransactionMode(Enum):
    """Whether a statement needs a transaction."""

    READ = "read"
    """No transaction needed."""
    WRITE = "write"
    """Needs a transaction; BEGIN is sent in the same flush if none is open."""
    OWN_TRANSACTION = "own_transaction"
    """Commits by itself (autocommit), unless a transaction is already open."""


def _may_be_starting(error: Error) -> bool:
    """Whether a failed sign-in is that to a server that starts.

    A wrong password, or a certificate that cannot be verified (a ValueError), does not become right by waiting.
    """
    if isinstance(error, ConnectionLostError):
        return not isinstance(error.__cause__, (ScramException, LookupError, ValueError))
    return error_field(error, "C") == CANNOT_CONNECT_NOW


class Reply(Context):  # type: ignore[misc]  # its base is untyped
    """The server's response to one flush."""

    def __init__(self) -> None:
        super().__init__(None)
        self.tag = b""
        self.payloads: list[bytes] = []
        self.results: list[tuple[list[bytes], list[Any]]] = []
        """The rows of each statement of the flush that has completed, and the readers of their columns."""


class WireConnection(Connection):  # type: ignore[misc]  # its base is untyped
    """Sends one flush and waits once per statement. Keeps no session state on the server, and never assigns a reply to the wrong statement.

    `open_transport` and `password` are called at every sign-in, including the one that replaces a connection that has died.
    `starting_seconds` is for a server that pauses: how long a sign-in is tried again. After that time it is reported as starting (57P03).
    `is_synchronized` is False while a reply is awaited. It stays False when the wait is interrupted, and the connection is then unusable.
    """

    def __init__(
        self,
        *,
        open_transport: Callable[[], Transport],
        user: str,
        password: Callable[[], str],
        database: str,
        application_name: str,
        starting_seconds: float | None = None,
    ) -> None:
        self._open_transport = open_transport
        self._starting_seconds = starting_seconds
        self._get_password = password
        self._sign_in_parameters = {"user": user, "database": database, "application_name": application_name}
        self._usock: Transport | None = None
        self._descriptions: dict[bytes, tuple[Any, Any]] = {}
        self._uncommitted_leaves: list[str] = []
        self._sign_in()

    def _sign_in(self) -> None:
        started_at = monotonic()
        while True:
            try:
                self._attempt_sign_in()
            except Error as error:
                if self._starting_seconds is None or not _may_be_starting(error):
                    raise
                if monotonic() - started_at + RETRY_SECONDS >= self._starting_seconds:
                    raise ConnectionLostError(f"The database is starting: {error}", sqlstate=CANNOT_CONNECT_NOW) from error
                sleep(RETRY_SECONDS)
            else:
                return

    def _attempt_sign_in(self) -> None:
        self.is_synchronized = False
        self._uncommitted_leaves = []
        password = self._get_password()
        transport = self._open_transport()
        try:
            super().__init__(password=password, sock=transport, ssl_context=False, **self._sign_in_parameters)
        except (ScramException, LookupError, ValueError) as error:  # the server does not know the password, or is not PostgreSQL
            transport.close()
            raise ConnectionLostError(f"Signing in to the database failed: {error}", sqlstate=CANNOT_CONNECT) from error
        except Error:
            transport.close()
            raise
        self.pg_types.update(FAST_READERS)
        self.autocommit = True  # stops pg8000 from sending its own BEGIN
        self._transaction_status = IDLE
        self.is_synchronized = True

    def cursor(self) -> "WireCursor":
        """Return a cursor."""
        return WireCursor(self)

    @property
    def is_in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return bool(self._transaction_status != IDLE)

    def is_alive(self) -> bool:
        """Whether the idle connection appears usable. Makes no round trip."""
        return self.is_synchronized and self._usock is not None and not self._usock.has_unread_data()

    def reconnect(self) -> None:
        """Sign in again if the idle connection has died. Checks this without a round trip. Raises ConnectionLostError."""
        if not self.is_alive():
            self._replace()

    def set_timeout(self, seconds: float) -> None:
        """Set the longest wait for each following reply."""
        self._require_transport().timeout_seconds = seconds

    def execute_statement(self, statement: str, values: Sequence[Any], mode: TransactionMode) -> Reply:
        """Send the statement and return its rows and row count.

        Raises DBAPI errors. DataError: a value cannot be encoded, and nothing was sent.
        """
        return self._send(parse(statement) + bind(values, self.py_types) + DESCRIBE_PORTAL + EXECUTE, mode)

    def start_reads(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Do as `read_each`, without waiting for the reply. Once `receive_available` returns True, call `finish_reads`.

        The flush is not repeated on a new connection. After any error the connection must be closed. Raises ConnectionLostError, DataError.
        """
        flush = self._read_messages(statements) + SYNC
        self._require_synchronized()
        self.is_synchronized = False
        self._require_transport().send(flush)

    def receive_available(self) -> bool:
        """Receive what has arrived, without waiting, and return whether the reply is complete. Raises ConnectionLostError."""
        return self._require_transport().receive_available()

    def finish_reads(self) -> list[list[list[Any]]]:
        """Return the rows of each statement that `start_reads` sent. Raises DBAPI errors."""
        return _rows_of_each(self._read_reply(self._require_transport()))

    def fileno(self) -> int:
        """Return the file descriptor of the connection, for an event loop that waits for a reply."""
        return self._require_transport().fileno()

    @property
    def timeout_seconds(self) -> float:
        """The longest wait for a reply."""
        return self._require_transport().timeout_seconds

    def execute_pipeline(self, statement: str, value_sets: Sequence[Sequence[Any]], mode: TransactionMode) -> Reply:
        """Send the statement once per value set, all in one flush, and return the sum of the row counts."""
        return self._send(parse(statement) + b"".join(bind(values, self.py_types) + EXECUTE for values in value_sets), mode)

    def read_each(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[list[list[Any]]]:
        """Send several statements that only read in one flush, and return the rows of each.

        The server runs them one after the other. After an error it skips the rest; the error is raised.
        """
        return _rows_of_each(self._send(self._read_messages(statements), TransactionMode.READ))

    def _read_messages(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> bytes:
        return b"".join(parse(sql) + bind(values, self.py_types) + DESCRIBE_PORTAL + EXECUTE for sql, values in statements)

    def execute_unnamed(self, statement: str, vals: Sequence[Any] = (), oids: Sequence[int] = (), stream: Any = None) -> Reply:
        """Override pg8000's implementation, which waits for three replies."""
        if oids or stream is not None:
            raise NotSupportedError("Declared value types and COPY are not supported")
        return self.execute_statement(statement, vals, TransactionMode.WRITE)

    def execute_simple(self, statement: str) -> Reply:
        """Override pg8000's implementation for statements without values."""
        return self.execute_statement(statement, (), TransactionMode.WRITE)

    def commit(self) -> None:
        """Commit the open transaction. Sends nothing when none is open.

        Raises an error when the transaction did not commit, or when its outcome is unknown.
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
        """Roll back the open transaction. Sends nothing when none is open."""
        self._require_synchronized()
        if self._transaction_status != IDLE:
            self._exchange(ROLLBACK)

    def close(self) -> None:
        """Close the connection, and send Terminate if the connection is usable."""
        transport, self._usock, self._sock = self._usock, None, None
        if transport is None:
            return
        try:
            if self.is_synchronized:
                transport.send(TERMINATE)
        except ConnectionLostError:
            return
        finally:
            self.is_synchronized = False
            transport.close()

    def _send(self, messages: bytes, mode: TransactionMode) -> Reply:
        self._require_synchronized()
        is_idle = self._transaction_status == IDLE
        flush = (BEGIN if is_idle and mode is TransactionMode.WRITE else b"") + messages + SYNC
        try:
            return self._exchange(flush)
        except ConnectionLostError as lost:
            # Safe to retry: a read changes nothing, and the server rolls back the first write of a transaction. It commits an own
            # transaction at the Sync message, the end of the flush, which it has not received if the flush could not be sent.
            may_retry = mode is not TransactionMode.OWN_TRANSACTION or lost.is_unsent
            if not (is_idle and may_retry and lost.peer_is_gone):
                raise
            self._replace()
        return self._exchange(flush)

    def _replace(self) -> None:
        self.close()
        try:
            self._sign_in()
        except Error as error:
            # Nothing was executed, and a server that starts is no outage.
            state = CANNOT_CONNECT_NOW if error_field(error, "C") == CANNOT_CONNECT_NOW else CONNECTION_FAILURE
            raise ConnectionLostError(
                f"The connection to the database was lost and reconnecting failed: {error}", sqlstate=state
            ) from error

    def _exchange(self, flush: bytes) -> Reply:
        transport = self._require_transport()
        # Any exception before ReadyForQuery leaves unread replies in the stream, so the connection must not be used afterwards.
        self.is_synchronized = False
        transport.send(flush)
        return self._read_reply(transport)

    def _read_reply(self, transport: Transport) -> Reply:
        reply = Reply()
        self._read_until_ready(transport, reply)
        self.is_synchronized = True
        if self._uncommitted_leaves and self._transaction_status == IDLE:
            self._end_leaves(is_committed=reply.error is None and reply.tag != b"ROLLBACK")
        if reply.error is not None:
            raise reply.error
        if reply.columns is not None:
            reply.rows = decode_rows(*reply.results[-1])
        return reply

    def _end_leaves(self, *, is_committed: bool) -> None:
        if is_committed:
            request_context().audit_leaves.extend(self._uncommitted_leaves)
        self._uncommitted_leaves = []

    def _read_until_ready(self, transport: Transport, reply: Reply) -> None:
        code = b""
        while code != b"Z":
            code, payload = transport.read_message()
            if code == b"D":
                reply.payloads.append(payload)
                continue
            handler = self.message_types.get(code)
            if handler is None:
                raise ConnectionLostError(f"The server sent a message of an unknown type: {code!r}")
            handler(payload, reply)
            if code == b"E":
                _raise_if_fatal(reply.error)

    def handle_ERROR_RESPONSE(self, data: bytes, context: Reply) -> None:  # noqa: N802  # pg8000's name
        """Store the server's error as an exception of the DBAPI class for its SQLSTATE."""
        fields = (field.decode(errors="replace") for field in data.split(b"\0") if field)
        context.error = server_error({field[0]: field[1:] for field in fields})

    def handle_NOTICE_RESPONSE(self, data: bytes, context: Reply) -> None:  # noqa: ARG002, N802  # pg8000's name and signature
        """Collect the leaves of audit events. Other notices are ignored."""
        fields = data.split(b"\0")
        if AUDIT_LEAF in fields:
            self._uncommitted_leaves += [part[1:].decode() for part in fields if part[:1] == b"M"]

    def handle_ROW_DESCRIPTION(self, data: bytes, context: Reply) -> None:  # noqa: N802  # pg8000's name
        """Parse the row description, or take it from the cache: a repeated statement has the same description."""
        cached = self._descriptions.get(data)
        if cached is None:
            super().handle_ROW_DESCRIPTION(data, context)
            if len(self._descriptions) >= DESCRIPTIONS_MAX:
                self._descriptions.clear()
            cached = self._descriptions[data] = (context.columns, context.input_funcs)
        context.columns, context.input_funcs = cached
        context.rows = context.rows or []

    def handle_COMMAND_COMPLETE(self, data: bytes, context: Reply) -> None:  # noqa: N802  # pg8000's name
        """Store the command tag and add its row count to the total."""
        context.tag = data[:-1]
        context.results.append((context.payloads, context.input_funcs))
        context.payloads = []
        count = context.tag.rpartition(b" ")[2]
        if count.isdigit():
            context.row_count = max(context.row_count, 0) + int(count)

    def _require_transport(self) -> Transport:
        if self._usock is None:
            raise ConnectionLostError("The connection is closed")
        return self._usock

    def _require_synchronized(self) -> None:
        if not self.is_synchronized:
            raise ConnectionLostError("The connection was interrupted while it waited for a reply")


class WireCursor(Cursor):  # type: ignore[misc]  # its base is untyped
    """A cursor whose statements use PostgreSQL's parameter style (`$1`) and have a transaction mode."""

    def execute(self, operation: str, args: Sequence[Any] = (), stream: Any = None) -> Self:
        """Execute a statement that may write."""
        if stream is not None:
            raise NotSupportedError("COPY is not supported")
        return self.execute_as(TransactionMode.WRITE, operation, args)

    def executemany(self, operation: str, param_sets: Sequence[Sequence[Any]]) -> Self:
        """Execute a statement that may write, once per value set."""
        return self.executemany_as(TransactionMode.WRITE, operation, param_sets)

    def execute_as(self, mode: TransactionMode, operation: str, args: Sequence[Any] = ()) -> Self:
        """Execute a statement in the given transaction mode."""
        self._context = self._require_connection().execute_statement(operation, args, mode)
        self._row_iter = None if self._context.rows is None else iter(self._context.rows)
        return self

    def executemany_as(self, mode: TransactionMode, operation: str, param_sets: Sequence[Sequence[Any]]) -> Self:
        """Execute a statement once per value set, PIPELINE_MAX_STATEMENTS sets per round trip. Rows are not returned."""
        total = Reply()
        for start in range(0, len(param_sets), PIPELINE_MAX_STATEMENTS):
            batch = param_sets[start : start + PIPELINE_MAX_STATEMENTS]
            reply = self._require_connection().execute_pipeline(operation, batch, mode)
            total.row_count = max(total.row_count, 0) + max(reply.row_count, 0)
        self._context = total
        self._row_iter = None
        return self

    def fetchall(self) -> tuple[Any, ...]:
        """Return all remaining rows."""
        if self._row_iter is None:
            raise ProgrammingError("The statement returned no rows")
        return tuple(self._row_iter)

    def _require_connection(self) -> WireConnection:
        if self._c is None:
            raise InterfaceError("The cursor is closed")
        connection: WireConnection = self._c
        return connection


def _rows_of_each(reply: Reply) -> list[list[list[Any]]]:
    return [*(decode_rows(*result) for result in reply.results[:-1]), reply.rows]


def _raise_if_fatal(error: Exception) -> None:
    if (error_field(error, "V") or error_field(error, "S")) not in ("FATAL", "PANIC"):
        return
    sqlstate = error_field(error, "C") or ""
    message = f"The server ended the connection: {error_field(error, 'M')}"
    raise ConnectionLostError(message, sqlstate=sqlstate, peer_is_gone=sqlstate in SERVER_WENT_AWAY) from error


def _not_committed() -> InternalError:
    return InternalError({"C": FAILED_TRANSACTION, "M": "The transaction failed and was rolled back instead of committed"})
