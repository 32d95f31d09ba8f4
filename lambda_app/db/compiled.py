"""Statements that are compiled to SQL once per process and executed without SQLAlchemy's session (docs/adr/0030-one-trip-requests.md)."""

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias, TypeVar

from pg8000.dbapi import Error  # type: ignore[import-untyped]  # ships no type information
from sqlalchemy import BindParameter, Engine, Executable, bindparam
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection  # noqa: TC002 - importing it only for type checks saves nothing
from sqlalchemy.types import TypeEngine

from lambda_app.db.connection import TransactionMode, WireConnection
from lambda_app.db.dialect import WireDialect, require_wire_connection
from lambda_app.db.errors import ConnectionLostError
from lambda_app.db.messages import parse
from lambda_app.db.session import translate_database_error

STATEMENT_MAX_BYTES = 16 * 1024
"""RDS Proxy pins a connection for a longer statement."""

T = TypeVar("T")
Rows = list[list[Any]]

_DIALECT = WireDialect()
_PARAMETER = re.compile(r"\$([0-9]+)")


_AT_EXECUTION = object()


def parameter(name: str, kind: TypeEngine[T]) -> BindParameter[T]:
    """Return a parameter whose value is given at each execution."""
    return bindparam(name, _AT_EXECUTION, type_=kind)


class Sql(NamedTuple):
    """The text of a statement, the names of its parameters in their order, and whether it only reads."""

    text: str
    names: tuple[str, ...]
    mode: TransactionMode


class CompiledStatement:
    """A statement whose SQL is built and compiled on first use. Each `parameter` in it has a value at each execution.

    A statement that writes commits by itself.
    """

    def __init__(self, build: Callable[[], Executable]) -> None:
        self._build = build

    @cached_property
    def sql(self) -> Sql:
        """The compiled statement, in which values that never change are literals."""
        statement: Any = self._build()
        compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        names = compiled.positiontup
        values = compiled.params
        numbers: dict[str, int] = {}

        def rendered(match: re.Match[str]) -> str:
            name = names[int(match[1]) - 1]
            if values[name] is _AT_EXECUTION:
                return f"${numbers.setdefault(name, len(numbers) + 1)}"
            return _literal(values[name])

        text = _PARAMETER.sub(rendered, str(compiled))
        return Sql(text, tuple(numbers), TransactionMode.READ if compiled.is_plain_read else TransactionMode.OWN_TRANSACTION)

    def prepare(self) -> None:
        """Compile the statement and encode its text, before it is needed."""
        parse(self.sql.text)

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the values in the order of the SQL text. Raises KeyError when a parameter is missing."""
        return [parameters[name] for name in self.sql.names]


class Read(NamedTuple):
    """Statements that only read and are sent in one flush, and the values of their parameters."""

    statements: Sequence[CompiledStatement]
    parameters: Mapping[str, Any]

    def calls(self) -> list[tuple[str, list[Any]]]:
        """Return the SQL text and the values of each statement. Raises KeyError when a parameter is missing, ValueError for a write."""
        if any(statement.sql.mode is not TransactionMode.READ for statement in self.statements):
            # It may be sent twice: a flush of reads is repeated when the connection is lost.
            raise ValueError("Only statements that read can be sent together")
        return [(statement.sql.text, statement.values(self.parameters)) for statement in self.statements]


Steps: TypeAlias = Generator[Read, list[Rows], T]
"""A function of a service that yields its statements, gets the rows of each, and returns a T.

So the caller decides how the statement is executed: in its own thread (`StatementRunner.complete`) or by an event loop (`LoopReader`).
"""


class StatementRunner:
    """Executes compiled statements on connections of the pool, each in one round trip.

    Database errors become the AppErrors that `translate_database_error` returns, or DBAPIErrors.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(self, statement: CompiledStatement, parameters: Mapping[str, Any]) -> Rows:
        """Execute the statement and return its rows."""
        sql, values = statement.sql, statement.values(parameters)
        with self._connection() as connection:
            announce(self._engine, sql.text, values)
            rows: Rows = connection.execute_statement(sql.text, values, sql.mode).rows
            return rows

    def complete(self, steps: Steps[T]) -> T:
        """Execute the statements that the steps yield, and return their result."""
        try:
            read = next(steps)
            while True:
                try:
                    rows = self.read_each(*read)
                except BaseException as error:  # noqa: BLE001 - the steps see the error where they wait for the rows
                    read = steps.throw(error)
                else:
                    read = steps.send(rows)
        except StopIteration as end:
            result: T = end.value
            return result

    def read_each(self, statements: Sequence[CompiledStatement], parameters: Mapping[str, Any]) -> list[Rows]:
        """Execute several statements that only read in one flush, and return the rows of each."""
        calls = Read(statements, parameters).calls()
        with self._connection() as connection:
            for text, values in calls:
                announce(self._engine, text, values)
            return connection.read_each(calls)

    @contextmanager
    def _connection(self) -> Iterator[WireConnection]:
        pooled: PoolProxiedConnection | None = None
        try:
            pooled = self._engine.raw_connection()
            yield require_wire_connection(pooled)
        except BaseException as error:
            is_lost = not isinstance(error, Error) or isinstance(error, ConnectionLostError)
            if pooled is not None and (is_lost or not require_wire_connection(pooled).is_synchronized):
                # An unread reply may be left: the next request on this connection would receive its rows.
                pooled.invalidate(error)
            raise_translated(error)
            raise
        finally:
            if pooled is not None:
                pooled.close()


def announce(engine: Engine, sql: str, values: Sequence[Any]) -> None:
    """Report the statement to the listeners of the engine, so that tools which listen to it see these statements too."""
    if engine.dispatch.before_cursor_execute:
        engine.dispatch.before_cursor_execute(None, None, sql, tuple(values), None, False)


def raise_translated(error: BaseException) -> None:
    """Raise the AppError that `translate_database_error` returns, else a DBAPIError for an error of the driver. Return for all others."""
    wrapped = _as_database_error(error) if isinstance(error, Error) else error
    translated = translate_database_error(wrapped)
    if translated is not None:
        raise translated from wrapped
    if wrapped is not error:
        raise wrapped from error


def _as_database_error(error: BaseException) -> BaseException:
    # The statement and its values are left out: values may be secrets.
    return DBAPIError.instance(None, None, error, Error, hide_parameters=True)


def _literal(value: Any) -> str:
    """Return the literal of a value that never changes. Raises TypeError for a type that no statement needs."""
    if isinstance(value, bool) or value is None:
        return "NULL" if value is None else str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return "'" + str(value).replace("'", "''") + "'"
    raise TypeError(f"A constant of a compiled statement cannot be a {type(value).__name__}")
