"""Lost connections: no commit is reported falsely, no write is executed twice, and the next request succeeds."""

import time
from collections.abc import Callable
from uuid import uuid4

import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from lambda_app.core.errors import UnavailableError
from lambda_app.db.connection import TransactionMode
from lambda_app.db.engine import endpoint_of
from lambda_app.db.session import create_session_factory, session_scope
from lambda_app.db.transport import Transport
from tests.integration.db.notes import count_notes, note
from tests.support.wire import Cut, WireProxy

EVERY_CUT = pytest.mark.parametrize("where", Cut)


def write(engine: Engine, body: str, *, own_transaction: bool = False, then: Callable[[Session], object] = lambda _session: None) -> None:
    with session_scope(create_session_factory(engine)) as session:
        session.execute(insert(note).values(body=body), execution_options={"own_transaction": own_transaction})
        then(session)


def read(engine: Engine) -> str:
    marker = uuid4().hex
    with session_scope(create_session_factory(engine)) as session:
        found = session.execute(select(text(f"'{marker}'"))).scalar_one()
    assert found == marker
    return marker


def kill_backends(observer: Engine) -> None:
    """Terminate all other connections to this database and wait until they have ended."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    # Outside a transaction, because pg_stat_activity is a snapshot within one.
    with observer.connect().execution_options(plain_read=True) as connection:
        killed = connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}")).all()
        assert killed
        while connection.execute(text(f"SELECT 1 {others}")).all():
            time.sleep(0.01)


def test_reads_and_writes_succeed_after_the_server_closed_the_idle_connection(
    make_engine: Callable[..., Engine], notes_url: str, observer: Engine
) -> None:
    engine = make_engine(notes_url)
    body = uuid4().hex
    read(engine)

    kill_backends(observer)
    read(engine)
    kill_backends(observer)
    write(engine, body)
    kill_backends(observer)
    write(engine, f"{body} alone", own_transaction=True)

    assert [count_notes(observer, body), count_notes(observer, f"{body} alone")] == [1, 1]


def test_every_connection_of_a_pool_is_replaced_after_a_restart(
    make_engine: Callable[..., Engine], notes_url: str, observer: Engine
) -> None:
    engine = make_engine(notes_url, database_pool_size=3)
    held = [engine.connect() for _ in range(3)]
    for connection in held:
        connection.execute(select(note.c.id).limit(1)).all()
        connection.close()

    kill_backends(observer)

    for _ in range(4):
        read(engine)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("own_transaction", [False, True], ids=["begun", "own transaction"])
def test_connection_that_died_while_idle_is_replaced(
    engine: Engine, proxy: WireProxy, observer: Engine, reset: bool, own_transaction: bool
) -> None:
    body = uuid4().hex
    read(engine)

    proxy.kill_all(reset=reset)
    with proxy.count() as counted:
        write(engine, body, own_transaction=own_transaction)

    assert counted.connections == 1
    assert count_notes(observer, body) == 1


def test_own_transaction_that_could_not_be_sent_is_retried(
    engine: Engine, proxy: WireProxy, observer: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = uuid4().hex
    read(engine)
    proxy.kill_all(reset=True)
    # The reset arrives after the connection was checked.
    monkeypatch.setattr(Transport, "has_unread_data", lambda _self: False)

    with proxy.count() as counted:
        write(engine, body, own_transaction=True)

    assert (counted.connections, len(counted.statements)) == (1, 1)
    assert count_notes(observer, body) == 1


@EVERY_CUT
def test_read_is_retried_when_the_connection_is_lost_in_its_first_statement(engine: Engine, proxy: WireProxy, where: Cut) -> None:
    proxy.cut(where)

    with proxy.count() as counted:
        read(engine)

    assert counted.connections == 1


@EVERY_CUT
def test_write_is_retried_when_the_connection_is_lost_in_its_first_statement(
    engine: Engine, proxy: WireProxy, observer: Engine, where: Cut
) -> None:
    body = uuid4().hex
    proxy.cut(where)

    write(engine, body)

    assert count_notes(observer, body) == 1


@EVERY_CUT
def test_read_after_an_own_transaction_is_retried_without_repeating_it(
    engine: Engine, proxy: WireProxy, observer: Engine, where: Cut
) -> None:
    body = uuid4().hex
    proxy.cut(where, at_flush=2)

    write(engine, body, own_transaction=True, then=lambda session: session.execute(select(note.c.id).limit(1)).all())

    assert count_notes(observer, body) == 1


@EVERY_CUT
def test_connection_loss_in_a_later_statement_raises_and_undoes_the_write(
    engine: Engine, proxy: WireProxy, observer: Engine, where: Cut
) -> None:
    body = uuid4().hex
    proxy.cut(where, at_flush=2)

    with pytest.raises(UnavailableError) as caught:
        write(engine, body, then=lambda session: session.execute(select(note.c.id).limit(1)).all())

    assert isinstance(caught.value.__cause__, OperationalError)
    assert caught.value.__cause__.connection_invalidated
    read(engine)
    assert count_notes(observer, body) == 0


@pytest.mark.parametrize(("where", "committed"), [(Cut.BEFORE, 0), (Cut.AFTER, 1), (Cut.MID_REPLY, 1)])
def test_connection_loss_during_commit_is_never_reported_as_success(
    engine: Engine, proxy: WireProxy, observer: Engine, where: Cut, committed: int
) -> None:
    body = uuid4().hex
    proxy.cut(where, at_flush=2)

    with pytest.raises(UnavailableError):
        write(engine, body)

    read(engine)
    assert count_notes(observer, body) == committed


@pytest.mark.parametrize(("where", "committed"), [(Cut.BEFORE, 0), (Cut.AFTER, 1), (Cut.MID_REPLY, 1)])
def test_connection_loss_in_an_own_transaction_raises_without_retry(
    engine: Engine, proxy: WireProxy, observer: Engine, where: Cut, committed: int
) -> None:
    body = uuid4().hex
    proxy.cut(where)

    with proxy.count() as counted, pytest.raises(UnavailableError):
        write(engine, body, own_transaction=True)

    assert len(counted.statements) == 1
    read(engine)
    assert count_notes(observer, body) == committed


def test_connection_loss_during_rollback_keeps_the_original_error(engine: Engine, proxy: WireProxy, observer: Engine) -> None:
    body = uuid4().hex
    proxy.cut(Cut.BEFORE, at_flush=2)

    def fail(_session: Session) -> None:
        raise LookupError("the real cause")

    with pytest.raises(LookupError, match="the real cause"):
        write(engine, body, then=fail)

    read(engine)
    assert count_notes(observer, body) == 0


def test_stopped_server_raises_and_is_used_again_after_its_return(engine: Engine, proxy: WireProxy) -> None:
    proxy.kill_all()
    proxy.is_refusing = True

    for _ in range(3):
        with pytest.raises(UnavailableError):
            read(engine)

    proxy.is_refusing = False
    read(engine)


def receive_fatal_error_once(monkeypatch: pytest.MonkeyPatch, sqlstate: str) -> None:
    """Replace the next message from the server by a FATAL error."""
    errors = iter([(b"E", f"SFATAL\0VFATAL\0C{sqlstate}\0Mgoodbye\0\0".encode())])
    read_message = Transport.read_message
    monkeypatch.setattr(Transport, "read_message", lambda transport: next(errors, None) or read_message(transport))


@pytest.mark.parametrize("sqlstate", ["57P01", "57P02", "57P05"])
def test_statement_is_retried_while_the_server_restarts(
    engine: Engine, proxy: WireProxy, monkeypatch: pytest.MonkeyPatch, sqlstate: str
) -> None:
    receive_fatal_error_once(monkeypatch, sqlstate)

    with proxy.count() as counted:
        read(engine)

    assert counted.connections == 1


@pytest.mark.parametrize("sqlstate", ["08P01", "25P03", "53300"])
def test_statement_is_not_retried_after_another_fatal_error(
    engine: Engine, proxy: WireProxy, monkeypatch: pytest.MonkeyPatch, sqlstate: str
) -> None:
    receive_fatal_error_once(monkeypatch, sqlstate)

    with proxy.count() as counted, pytest.raises(UnavailableError) as caught:
        read(engine)

    assert counted.connections == 0
    assert "goodbye" in str(caught.value.__cause__)
    read(engine)


@pytest.mark.timing
def test_unresponsive_server_times_out_without_retry(make_engine: Callable[..., Engine], proxy: WireProxy, notes_url: str) -> None:
    engine = make_engine(proxy.url_for(notes_url), database_timeout_seconds=0.5)
    read(engine)
    proxy.delay_seconds = 2.0

    started = time.monotonic()
    with proxy.count() as counted, pytest.raises(UnavailableError):
        read(engine)

    assert time.monotonic() - started < 1.0
    assert len(counted.statements) == 1
    proxy.delay_seconds = 0.0
    read(engine)


def test_late_rows_of_a_timed_out_statement_are_discarded(make_engine: Callable[..., Engine], notes_url: str) -> None:
    engine = make_engine(notes_url, database_timeout_seconds=0.3)

    with pytest.raises(UnavailableError), session_scope(create_session_factory(engine)) as session:
        session.execute(text("SELECT 'late', pg_sleep(0.6)"))

    for _ in range(5):
        read(engine)
        time.sleep(0.1)


def test_copy_only_discards_the_connection(engine: Engine, proxy: WireProxy) -> None:
    with pytest.raises(InterfaceError) as caught, session_scope(create_session_factory(engine)) as session:
        session.execute(text("COPY note FROM STDIN"))

    assert caught.value.connection_invalidated
    with proxy.count() as counted:
        read(engine)
    assert counted.connections == 1


def test_backend_killed_during_a_transaction_raises(make_engine: Callable[..., Engine], notes_url: str, observer: Engine) -> None:
    engine = make_engine(notes_url)
    body = uuid4().hex

    with pytest.raises(UnavailableError):
        write(engine, body, then=lambda _session: kill_backends(observer))

    read(engine)
    assert count_notes(observer, body) == 0


def test_notices_and_parameter_changes_in_a_reply_are_accepted(engine: Engine) -> None:
    connection = endpoint_of(engine).connect()
    connection.execute_statement("DO $$ BEGIN RAISE NOTICE 'look'; END $$", (), TransactionMode.READ)
    connection.execute_statement("SET SESSION TimeZone TO 'Asia/Kathmandu'", (), TransactionMode.READ)

    answer = connection.execute_statement("SELECT TIMESTAMPTZ '2026-11-23 12:00:00+00', 'next'", (), TransactionMode.READ)

    assert [row[1] for row in answer.rows] == ["next"]
    assert answer.rows[0][0].isoformat() == "2026-11-23T12:00:00+00:00"
    # Only the leaves of audit events are collected.
    assert list(connection.notices) == []
    connection.close()
