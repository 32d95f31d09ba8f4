"""Statements that only read, executed by an event loop without a thread (docs/adr/0051-reads-on-the-event-loop.md).

A worker thread costs 85 µs of processor time per call: two more switches of threads, and the caches of the processor are cold after each.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from pg8000.dbapi import Error  # type: ignore[import-untyped]  # ships no type information
from sqlalchemy import Engine

from lambda_app.core.errors import AppError
from lambda_app.db.compiled import Read, Rows, StatementRunner, Steps, announce, raise_translated
from lambda_app.db.connection import WireConnection
from lambda_app.db.engine import endpoint_of
from lambda_app.db.errors import ConnectionLostError

CONNECTIONS = 2
"""Connections that each process opens in addition to its pool. While both are busy, further statements run in threads."""

T = TypeVar("T")


class RunInThread(Protocol):
    """Runs a function in a thread and returns its result."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]:
        """Call the function in a thread."""


class LoopReader:
    """Executes the statements of `Steps` on connections of its own. The event loop serves other requests while it waits for the replies.

    Calls that could block run in a thread: opening a connection, a statement without a free connection, and one whose connection was
    lost. The steps themselves run in the thread of the loop, so they must not block. It serves the loop that uses it first; under others,
    all statements run in threads.
    """

    def __init__(self, engine: Engine, *, run_in_thread: RunInThread, limit: int = CONNECTIONS) -> None:
        self._engine = engine
        self._run_in_thread = run_in_thread
        self._runner = StatementRunner(engine)
        self._limit = limit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[_LoopConnection] = []
        self._open = 0
        """Connections that are idle, in use, or being opened."""
        self._opening: asyncio.Task[None] | None = None

    async def complete(self, steps: Steps[T]) -> T:
        """Execute the statements that the steps yield, and return their result. Raises the errors of `StatementRunner` and of the steps."""
        try:
            read = next(steps)
            while True:
                try:
                    rows = await self._rows(read)
                except BaseException as error:  # noqa: BLE001 - the steps see the error where they wait for the rows
                    read = steps.throw(error)
                else:
                    read = steps.send(rows)
        except StopIteration as end:
            result: T = end.value
            return result

    async def close(self) -> None:
        """Close all connections, after the last statement."""
        if self._opening is not None:
            await self._opening
        while self._idle:
            self._idle[-1].close()

    async def _rows(self, read: Read) -> list[Rows]:
        calls = read.calls()
        connection = self._take()
        if connection is not None:
            for call in calls:
                announce(self._engine, *call)
            try:
                rows = await connection.read(calls)
            except ConnectionLostError as lost:
                if not lost.peer_is_gone:
                    raise_translated(lost)
                    raise
                # The server closed the connection. A read changes nothing, so it can be repeated, on a connection of the pool.
            except Error as error:
                raise_translated(error)
                raise
            else:
                if connection.is_open:
                    self._idle.append(connection)
                return rows
        return await self._run_in_thread(partial(self._runner.read_each, *read))

    def _take(self) -> "_LoopConnection | None":
        """Return an idle connection of the running loop. Without one, begin to open another and return None."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            return None
        if self._idle:
            return self._idle.pop()
        if self._opening is None and self._open < self._limit:
            self._open += 1
            self._opening = loop.create_task(self._add(loop))
        return None

    async def _add(self, loop: asyncio.AbstractEventLoop) -> None:
        connection: WireConnection | None = None
        try:
            connection = await self._run_in_thread(endpoint_of(self._engine).connect)
        except (Error, AppError):
            # The request that needs a connection runs in a thread meanwhile, and reports the errors of the database.
            return
        finally:
            self._opening = None
            if connection is None:
                self._open -= 1
        self._idle.append(_LoopConnection(connection, loop, on_close=self._forget))

    def _forget(self, connection: "_LoopConnection") -> None:
        self._open -= 1
        if connection in self._idle:
            self._idle.remove(connection)


class _LoopConnection:
    """A connection whose socket the event loop watches for its whole life, so it notices at once when the server closes it."""

    def __init__(
        self, connection: WireConnection, loop: asyncio.AbstractEventLoop, *, on_close: Callable[["_LoopConnection"], None]
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._on_close = on_close
        self._rows: asyncio.Future[list[Rows]] | None = None
        """What the statements wait for; None or done while the connection is idle."""
        self.is_open = True
        loop.add_reader(connection.fileno(), self._receive)

    async def read(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Rows]:
        """Send the statements and return the rows of each. After any error, also when the coroutine is cancelled, the connection is closed.

        Raises ConnectionLostError, and the DBAPI errors of the statements.
        """
        try:
            rows: asyncio.Future[list[Rows]] = self._loop.create_future()
            self._rows = rows
            self._connection.start_reads(calls)
            deadline = self._loop.call_later(self._connection.timeout_seconds, self._time_out)
            try:
                return await rows
            finally:
                deadline.cancel()
        except BaseException:
            # An unread reply may be left: the next statement would receive its rows.
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, in any state. Idempotent."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.remove_reader(self._connection.fileno())
        self._connection.close()
        self._on_close(self)

    def _receive(self) -> None:
        if self._rows is None or self._rows.done():
            # Between statements the server sends only the reason why it closes the connection, and then closes it.
            self.close()
            return
        try:
            if self._connection.receive_available():
                self._rows.set_result(self._connection.finish_reads())
        except Exception as error:  # noqa: BLE001 - the coroutine raises it
            self._rows.set_exception(error)

    def _time_out(self) -> None:
        if self._rows is not None and not self._rows.done():
            self._rows.set_exception(ConnectionLostError("The database did not respond in time"))
