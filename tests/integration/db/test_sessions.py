"""The errors for callers while the database is unavailable, and the health probe."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
from sqlalchemy import Engine, exc, insert, select, text
from sqlalchemy.engine import make_url

from lambda_app.core.errors import DatabaseStartingError, DatabaseUnavailableError, MalformedRequestError, UnavailableError
from lambda_app.db.health import DatabaseProbe
from lambda_app.db.session import create_session_factory, session_scope, translate_database_error
from tests.integration.db.notes import note
from tests.support.wire import WireProxy

PROBE_SECONDS = 0.5


@pytest.fixture
def silent_url(notes_url: str) -> Iterator[str]:
    """A host that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield at_port(notes_url, listener.getsockname()[1])


@pytest.fixture
def full_backlog_url(notes_url: str) -> Iterator[str]:
    """A host that drops all packets, because its queue of new connections is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(address)
        time.sleep(0.05)
        yield at_port(notes_url, address[1])


@pytest.fixture
def trickling_url(notes_url: str) -> Iterator[str]:
    """A host that sends one byte at a time and never completes its reply."""
    stopped = threading.Event()

    def trickle(listener: socket.socket) -> None:
        with suppress(OSError):
            client, _ = listener.accept()
            with client:
                while not stopped.wait(0.05):
                    client.sendall(b"N")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, args=(listener,), daemon=True)
        thread.start()
        yield at_port(notes_url, listener.getsockname()[1])
        stopped.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=5)


def at_port(url: str, port: int) -> str:
    return make_url(url).set(port=port).render_as_string(hide_password=False)


def test_exhausted_pool_raises_unavailable_until_a_connection_is_free(make_engine: Callable[..., Engine], notes_url: str) -> None:
    engine = make_engine(notes_url, database_pool_size=1, database_timeout_seconds=0.3)
    factory = create_session_factory(engine)

    with session_scope(factory) as holder:
        holder.execute(select(note.c.id).limit(1)).all()
        with pytest.raises(UnavailableError), session_scope(factory) as session:
            session.execute(select(note.c.id).limit(1)).all()

    with session_scope(factory) as session:
        session.execute(select(note.c.id).limit(1)).all()


def test_more_threads_than_connections_share_the_pool(make_engine: Callable[..., Engine], notes_url: str) -> None:
    factory = create_session_factory(make_engine(notes_url, database_pool_size=2))

    def query_number(number: int) -> int:
        with session_scope(factory) as session:
            return int(session.execute(text("SELECT :number"), {"number": number}).scalar_one())

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(query_number, range(400))) == list(range(400))


@pytest.mark.timing
@pytest.mark.parametrize("host", ["silent_url", "full_backlog_url", "trickling_url"])
def test_probe_returns_in_time_when_the_host_does_not_respond(
    make_engine: Callable[..., Engine], request: pytest.FixtureRequest, host: str
) -> None:
    engine = make_engine(request.getfixturevalue(host), database_timeout_seconds=30)

    started = time.monotonic()
    assert not DatabaseProbe(engine, timeout_seconds=PROBE_SECONDS).is_reachable()

    assert time.monotonic() - started < PROBE_SECONDS + 0.3


def test_host_that_rejects_connections_is_not_reachable(make_engine: Callable[..., Engine], notes_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed_port = listener.getsockname()[1]

    assert not DatabaseProbe(make_engine(at_port(notes_url, closed_port)), timeout_seconds=PROBE_SECONDS).is_reachable()


@pytest.mark.timing
def test_database_that_accepts_sign_in_but_no_query_is_not_reachable(
    make_engine: Callable[..., Engine], proxy: WireProxy, notes_url: str
) -> None:
    engine = make_engine(proxy.url_for(notes_url))
    proxy.delay_seconds = 0.15

    started = time.monotonic()
    assert not DatabaseProbe(engine, timeout_seconds=PROBE_SECONDS).is_reachable()

    assert time.monotonic() - started < PROBE_SECONDS + 0.3


def test_database_is_reachable_while_the_pool_is_exhausted(make_engine: Callable[..., Engine], notes_url: str) -> None:
    engine = make_engine(notes_url, database_pool_size=1)

    with engine.connect():
        assert DatabaseProbe(engine, timeout_seconds=PROBE_SECONDS).is_reachable()


def test_probe_closes_its_connection(make_engine: Callable[..., Engine], proxy: WireProxy, notes_url: str) -> None:
    assert DatabaseProbe(make_engine(proxy.url_for(notes_url)), timeout_seconds=PROBE_SECONDS).is_reachable()

    deadline = time.monotonic() + 5
    while proxy.messages[-1].kind != "X":
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("sqlstate", "expected", "code"),
    [
        ("40001", UnavailableError, "serialization_conflict"),
        ("40P01", UnavailableError, "serialization_conflict"),
        ("57014", DatabaseUnavailableError, "database_unavailable"),
        ("53300", DatabaseUnavailableError, "database_unavailable"),
        ("57P03", DatabaseStartingError, "database_starting"),
        ("08P01", DatabaseUnavailableError, "database_unavailable"),
        ("22001", MalformedRequestError, "malformed_request"),
        ("22P02", MalformedRequestError, "malformed_request"),
    ],
)
def test_server_errors_are_translated(engine: Engine, sqlstate: str, expected: type[Exception], code: str) -> None:
    with pytest.raises(expected) as caught, session_scope(create_session_factory(engine)) as session:
        session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END $$"))

    assert caught.value.code == code  # type: ignore[attr-defined]  # both are AppErrors


def test_defects_are_not_translated(engine: Engine) -> None:
    with pytest.raises(exc.ProgrammingError) as caught, session_scope(create_session_factory(engine)) as session:
        session.execute(text("SELECT no_such_column"))

    assert translate_database_error(caught.value) is None
    assert translate_database_error(ValueError("not ours")) is None


def test_deadlock_is_a_conflict_for_one_transaction(make_engine: Callable[..., Engine], notes_url: str) -> None:
    factory = create_session_factory(make_engine(notes_url, database_pool_size=2))
    with session_scope(factory) as session:
        first, second = session.execute(insert(note).values([{"body": None}, {"body": None}]).returning(note.c.id)).scalars()
    barrier = threading.Barrier(2)

    def lock(*ids: int) -> str:
        try:
            with session_scope(factory) as session:
                for number, note_id in enumerate(ids):
                    session.execute(select(note.c.id).where(note.c.id == note_id).with_for_update())
                    if number == 0:
                        barrier.wait(timeout=5)
        except UnavailableError as error:
            return error.code
        return "committed"

    with ThreadPoolExecutor(2) as threads:
        outcomes = [threads.submit(lock, first, second), threads.submit(lock, second, first)]

    assert sorted(outcome.result() for outcome in outcomes) == ["committed", "serialization_conflict"]
