"""Values that cannot be stored are rejected, and no other request ever receives their reply."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import BigInteger, Double, Engine, String, cast, insert, literal, select
from sqlalchemy.orm import Session, sessionmaker

from lambda_app.core.errors import MalformedRequestError
from lambda_app.db.connection import TransactionMode
from lambda_app.db.endpoint import Endpoint
from lambda_app.db.errors import ConnectionLostError
from lambda_app.db.session import create_session_factory, session_scope
from lambda_app.db.transport import Transport
from tests.integration.db.conftest import make_settings
from tests.integration.db.notes import count_notes, note
from tests.support.wire import WireProxy

VICTIMS_PER_VALUE = 8

Scopes = sessionmaker[Session]


def hostile_values() -> Iterator[tuple[Any, Any]]:
    """Yield about 300 values, each with its SQL type."""
    chance = random.Random(20261123)  # the same values in every run
    for code in (0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0):
        for template in ("{0}", "a{0}", "{0}b", "a{0}b", "{0}{0}", "{0}" * 50):
            yield template.format(chr(code)), String
    for _ in range(150):
        length = chance.randrange(1, 200)
        yield "".join(chr(chance.choice((0, 0xD800, 0xDFFF, 0x1F600, 0x202E, 39, 92, 36, 37))) for _ in range(length)), String
    for exponent in (31, 32, 63, 64, 127, 1000, 14_000, 15_000):
        for sign in (1, -1):
            yield sign * 2**exponent, BigInteger
            yield sign * (2**exponent - 1), BigInteger
    for text in ("nan", "inf", "-inf", "1e400", "-0.0"):
        yield float(text), BigInteger
        yield float(text), Double
        yield Decimal(text), BigInteger
    for text in ("'; DROP TABLE note; --", "$1", "%s", "%(x)s", ":x", "\\", "\\x00", "$$", "E'\\'", "\N{REPLACEMENT CHARACTER}"):
        for repeat in (1, 7):
            yield text * repeat, String
            yield text * repeat, BigInteger
    yield "x" * 10_000_000, String


def interrupted(_self: Transport) -> tuple[bytes, bytes]:
    raise KeyboardInterrupt


def send(factory: Scopes, value: Any, sql_type: Any) -> None:
    with session_scope(factory) as session:
        returned = session.execute(select(cast(literal(value, sql_type), sql_type))).scalar_one()
        assert returned == value or value != value or isinstance(value, float | Decimal)  # noqa: PLR0124  # NaN


def assert_victims_are_right(factory: Scopes) -> None:
    for _ in range(VICTIMS_PER_VALUE):
        marker = uuid4().hex
        with session_scope(factory) as session:
            assert session.execute(select(literal(marker, String))).scalar_one() == marker


def test_hostile_value_does_not_affect_later_requests(make_engine: Callable[..., Engine], notes_url: str) -> None:
    factory = create_session_factory(make_engine(notes_url, database_pool_size=1))
    values = list(hostile_values())
    refused = 0

    for value, sql_type in values:
        try:
            send(factory, value, sql_type)
        except MalformedRequestError:
            refused += 1
        assert_victims_are_right(factory)

    assert len(values) >= 250
    assert refused >= 150


def test_hostile_values_do_not_affect_other_threads(make_engine: Callable[..., Engine], notes_url: str) -> None:
    factory = create_session_factory(make_engine(notes_url, database_pool_size=2))

    def attack(value: Any) -> bool:
        try:
            send(factory, value, String)
        except MalformedRequestError:
            return True
        return False

    with ThreadPoolExecutor(8) as threads:
        attacks = [threads.submit(attack, f"x{chr(0xD800 + number)}") for number in range(200)]
        victims = [threads.submit(assert_victims_are_right, factory) for _ in range(200)]

    assert all(attack.result() for attack in attacks)
    assert [victim.result() for victim in victims] == [None] * 200


def test_value_that_cannot_be_encoded_is_rejected_before_sending(engine: Engine, proxy: WireProxy) -> None:
    with (
        proxy.count() as counted,
        pytest.raises(MalformedRequestError),
        session_scope(create_session_factory(engine)) as session,
    ):
        session.execute(insert(note).values(body="\ud800"))

    assert counted.messages == []
    assert counted.connections == 0


def test_value_of_the_wrong_type_only_discards_the_connection(engine: Engine, proxy: WireProxy) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise ZeroDivisionError

    factory = create_session_factory(engine)

    with pytest.raises(ZeroDivisionError), session_scope(factory) as session:
        session.execute(insert(note).values(body=Unprintable()))

    with proxy.count() as counted:
        assert_victims_are_right(factory)
    assert counted.connections == 1


def test_rows_of_an_interrupted_statement_never_reach_the_next_request(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    factory = create_session_factory(engine)
    body = uuid4().hex

    with monkeypatch.context() as patch:
        patch.setattr(Transport, "read_message", interrupted)
        with pytest.raises(KeyboardInterrupt), session_scope(factory) as session:
            session.execute(insert(note).values(body=body))

    assert_victims_are_right(factory)
    assert count_notes(engine, body) == 0


def test_interrupted_connection_can_only_be_closed(notes_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Endpoint.from_settings(make_settings(notes_url)).connect()
    with monkeypatch.context() as patch:
        patch.setattr(Transport, "read_message", interrupted)
        with pytest.raises(KeyboardInterrupt):
            connection.execute_statement("SELECT 'late'", (), TransactionMode.READ)

    for use in (partial(connection.execute_statement, "SELECT 'next'", (), TransactionMode.READ), connection.commit, connection.rollback):
        with pytest.raises(ConnectionLostError, match="interrupted"):
            use()
    assert not connection.is_alive()

    connection.close()
    with pytest.raises(ConnectionLostError):
        connection.commit()


def test_unreadable_row_keeps_the_connection_synchronized(notes_url: str) -> None:
    def unreadable(_text: str) -> None:
        raise ZeroDivisionError

    connection = Endpoint.from_settings(make_settings(notes_url)).connect()
    connection.register_in_adapter(23, unreadable)

    with pytest.raises(ZeroDivisionError):
        connection.execute_statement("SELECT 1", (), TransactionMode.READ)

    assert connection.execute_statement("SELECT 'right'", (), TransactionMode.READ).rows == [["right"]]
    connection.close()
