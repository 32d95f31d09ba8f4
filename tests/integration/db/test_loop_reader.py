"""Statements that an event loop executes without a thread: their rows, their errors, and connections that are lost meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop
from sqlalchemy import Engine, Integer, String, cast, func, literal, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from lambda_app.core.errors import DatabaseUnavailableError, MalformedRequestError
from lambda_app.db.compiled import CompiledStatement, Read, Rows, StatementRunner, Steps, parameter
from lambda_app.db.loop_reader import CONNECTIONS, LoopReader
from lambda_app.dependencies.worker_threads import WorkerThreads
from tests.integration.db.entry_points import make_authority, tls_server
from tests.integration.db.notes import note
from tests.support.wire import Cut, WireProxy

ECHO = CompiledStatement(lambda: select(parameter("text", String()).label("text")))
COUNT = CompiledStatement(lambda: select(func.count()).where(note.c.body == parameter("body", String())))
DIVIDE = CompiledStatement(lambda: select(literal(1, Integer) / cast(parameter("by", Integer()), Integer)))
NO_FUNCTION = CompiledStatement(lambda: select(func.no_such_function(parameter("text", String()))))
REPEAT = CompiledStatement(lambda: select(func.repeat(parameter("text", String()), parameter("times", Integer()))))

T = TypeVar("T")
LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


class Threads:
    """Worker threads that count the statements that they execute. Opening a connection is not counted."""

    def __init__(self) -> None:
        self._threads = WorkerThreads(4)
        self.statements = 0

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]:
        if getattr(function, "__name__", "") != "connect":
            self.statements += 1
        return self._threads.run(function)


class Setting:
    """A reader with open connections, and its threads."""

    def __init__(self, engine: Engine, *, limit: int = CONNECTIONS) -> None:
        self.threads = Threads()
        self.reader = LoopReader(engine, run_in_thread=self.threads, limit=limit)

    async def rows(self, statement: CompiledStatement, **parameters: Any) -> Rows:
        """Execute one statement."""
        return await self.reader.complete(one_read(statement, **parameters))

    async def open(self) -> None:
        """Execute a statement, and wait for the connection that the reader opens for the next one."""
        await self.rows(ECHO, text="first")
        await settled()
        self.threads.statements = 0


async def settled() -> None:
    """Wait for all other tasks, whether they succeed or fail."""
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)


@asynccontextmanager
async def opened(engine: Engine, *, limit: int = CONNECTIONS) -> AsyncIterator[Setting]:
    """Yield a reader with an open connection, and close it at the end."""
    setting = Setting(engine, limit=limit)
    try:
        await setting.open()
        yield setting
    finally:
        await setting.reader.close()


def one_read(statement: CompiledStatement, **parameters: Any) -> Steps[Rows]:
    (rows,) = yield Read([statement], parameters)
    return rows


def run(coroutine: Coroutine[Any, Any, T], new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> T:
    """Run a coroutine in another thread, with a new loop."""

    def run_there() -> T:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(coroutine)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run_there).result()


@contextmanager
def locked_notes(observer: Engine) -> Iterator[Callable[[], None]]:
    """Lock the table of notes, so that statements on it wait. Yields the function that unlocks it."""
    with observer.connect() as connection:
        connection.execute(text("LOCK TABLE note IN ACCESS EXCLUSIVE MODE"))
        yield connection.rollback


@LOOPS
def test_read_takes_one_round_trip_and_no_thread(
    engine: Engine, proxy: WireProxy, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def body() -> None:
        async with opened(engine) as setting:
            with proxy.count() as counted:
                for value in ("", "'", "a'); DROP TABLE note; --", "🙂"):
                    assert await setting.rows(ECHO, text=value) == [[value]]
                # Many times the size of one chunk, and of the buffers of the sockets.
                assert await setting.rows(REPEAT, text="ab", times=2_000_000) == [["ab" * 2_000_000]]
            assert counted.round_trips == 5
            assert "".join(message.kind for message in counted.messages) == "PBDES" * 5
            assert counted.connections == 0
            assert setting.threads.statements == 0

    run(body(), new_loop)


@LOOPS
def test_encrypted_connection_returns_the_same_rows(
    make_engine: Callable[..., Engine], notes_url: str, tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    authority = make_authority()
    identity = authority.write_server_identity(tmp_path / "server.pem", "127.0.0.1")
    trusted = authority.write_certificate(tmp_path / "authority.pem")

    async def body(engine: Engine) -> None:
        async with opened(engine) as setting:
            for times in (1, 20_000, 500_000):
                assert await setting.rows(REPEAT, text="ab", times=times) == [["ab" * times]]
            assert setting.threads.statements == 0

    with tls_server(notes_url, identity=identity) as port:
        base, _, name = notes_url.rpartition("/")
        credentials = base.rpartition("@")[0]
        engine = make_engine(f"{credentials}@127.0.0.1:{port}/{name.partition('?')[0]}?sslmode=verify-full&sslrootcert={trusted}")
        run(body(engine), new_loop)
        engine.dispose()


def test_statement_that_waits_does_not_stop_other_requests(engine: Engine, observer: Engine) -> None:
    async def body() -> None:
        async with opened(engine) as setting:
            with locked_notes(observer) as unlock:
                waiting = asyncio.create_task(setting.rows(COUNT, body="none"))
                await asyncio.sleep(0)
                for value in ("a", "b", "c"):
                    assert await setting.rows(ECHO, text=value) == [[value]]
                assert not waiting.done()
                unlock()
            assert await waiting == [[0]]

    run(body())


def test_statements_without_a_free_connection_run_in_threads(make_engine: Callable[..., Engine], notes_url: str) -> None:
    async def body() -> None:
        async with opened(make_engine(notes_url), limit=1) as setting:
            values = [str(number) for number in range(20)]

            assert await asyncio.gather(*(setting.rows(ECHO, text=value) for value in values)) == [[[value]] for value in values]

            assert setting.threads.statements == 19

    run(body())


@pytest.mark.parametrize("where", Cut)
def test_read_is_repeated_when_the_connection_is_lost(engine: Engine, proxy: WireProxy, where: Cut) -> None:
    async def body() -> None:
        async with opened(engine) as setting:
            proxy.cut(where)

            assert await setting.rows(ECHO, text="once") == [["once"]]

            assert setting.threads.statements == 1
            await setting.open()
            assert await setting.rows(ECHO, text="again") == [["again"]]
            assert setting.threads.statements == 0

    run(body())


@pytest.mark.parametrize("is_reset", [False, True])
def test_connection_that_the_server_closed_between_statements_is_replaced(engine: Engine, proxy: WireProxy, is_reset: bool) -> None:
    async def body() -> None:
        async with opened(engine, limit=1) as setting:
            proxy.kill_all(reset=is_reset)

            assert await setting.rows(ECHO, text="after") == [["after"]]

            await setting.open()
            assert await setting.rows(ECHO, text="again") == [["again"]]
            assert setting.threads.statements == 0

    run(body())


@pytest.mark.parametrize(
    ("statement", "parameters", "error"),
    [
        pytest.param(DIVIDE, {"by": 0}, MalformedRequestError, id="bad value"),
        pytest.param(NO_FUNCTION, {"text": ""}, DBAPIError, id="bad statement"),
        pytest.param(ECHO, {"text": "\0"}, MalformedRequestError, id="value that cannot be sent"),
        pytest.param(ECHO, {}, KeyError, id="missing parameter"),
    ],
)
def test_error_is_that_of_the_statement_runner_and_the_next_read_succeeds(
    engine: Engine, statement: CompiledStatement, parameters: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        StatementRunner(engine).run(statement, parameters)

    async def body() -> None:
        async with opened(engine) as setting:
            with pytest.raises(error):
                await setting.rows(statement, **parameters)
            assert setting.threads.statements == 0
            assert await setting.rows(ECHO, text="after") == [["after"]]

    run(body())


def test_read_that_takes_too_long_fails_and_its_connection_is_not_used_again(
    make_engine: Callable[..., Engine], notes_url: str, observer: Engine
) -> None:
    async def body() -> None:
        async with opened(make_engine(notes_url, database_timeout_seconds=1)) as setting:
            with locked_notes(observer):
                with pytest.raises(DatabaseUnavailableError):
                    await setting.rows(COUNT, body="none")
                assert setting.threads.statements == 0
            for value in ("a", "b"):
                assert await setting.rows(ECHO, text=value) == [[value]]

    run(body())


def test_connection_of_a_cancelled_read_is_not_used_again(engine: Engine, observer: Engine) -> None:
    async def body() -> None:
        async with opened(engine, limit=1) as setting:
            with locked_notes(observer):
                waiting = asyncio.create_task(setting.rows(COUNT, body="none"))
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            await setting.open()
            for value in ("a", "b"):
                assert await setting.rows(ECHO, text=value) == [[value]]
            assert setting.threads.statements == 0

    run(body())


def test_several_statements_take_one_flush(engine: Engine, proxy: WireProxy) -> None:
    def steps() -> Steps[list[Rows]]:
        return (yield Read([ECHO, COUNT, ECHO], {"text": "x", "body": "nothing"}))

    async def body() -> None:
        async with opened(engine) as setting:
            with proxy.count() as counted:
                assert await setting.reader.complete(steps()) == [[["x"]], [[0]], [["x"]]]
            assert counted.round_trips == 1
            assert "".join(message.kind for message in counted.messages) == "PBDEPBDEPBDES"

    run(body())


def test_another_loop_uses_threads(engine: Engine) -> None:
    async def body() -> None:
        async with opened(engine) as setting:
            assert await asyncio.to_thread(run, setting.rows(ECHO, text="other")) == [["other"]]
            assert setting.threads.statements == 1

    run(body())


def test_unreachable_database_is_reported_and_later_used_again(
    make_engine: Callable[..., Engine], proxy: WireProxy, notes_url: str
) -> None:
    async def body() -> None:
        setting = Setting(make_engine(proxy.url_for(notes_url)), limit=1)
        proxy.is_refusing = True
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError):
                await setting.rows(ECHO, text="refused")
            await settled()
        proxy.is_refusing = False
        await setting.open()
        assert await setting.rows(ECHO, text="later") == [["later"]]
        assert setting.threads.statements == 0
        await setting.reader.close()

    run(body())


def test_unexpected_error_while_a_connection_opens_does_not_stop_later_ones(make_engine: Callable[..., Engine], notes_url: str) -> None:
    password = make_url(notes_url).password
    assert password is not None
    is_broken = True

    def password_source() -> str:
        if is_broken:
            raise RuntimeError("no password")
        return password

    async def body() -> None:
        nonlocal is_broken
        setting = Setting(make_engine(notes_url, password_source=password_source), limit=1)
        with pytest.raises(RuntimeError, match="no password"):
            await setting.rows(ECHO, text="broken")
        await settled()
        is_broken = False
        await setting.open()
        assert await setting.rows(ECHO, text="later") == [["later"]]
        assert setting.threads.statements == 0
        await setting.reader.close()

    run(body())


def test_steps_receive_the_error_of_their_statement(engine: Engine) -> None:
    def steps() -> Steps[Rows]:
        try:
            yield Read([DIVIDE], {"by": 0})
        except MalformedRequestError:
            (rows,) = yield Read([ECHO], {"text": "instead"})
            return rows
        return []

    async def body() -> None:
        async with opened(engine) as setting:
            assert await setting.reader.complete(steps()) == [["instead"]]

    run(body())
