"""Statements that are compiled once: their values, their round trips, and the connection after an error."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sqlalchemy import Engine, Integer, String, cast, func, insert, literal, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from lambda_app.core.errors import DatabaseUnavailableError, MalformedRequestError
from lambda_app.db.compiled import CompiledStatement, StatementRunner, parameter
from tests.integration.db.notes import note
from tests.support.wire import WireProxy

ECHO = CompiledStatement(lambda: select(parameter("text", String()).label("text")))
ADD = CompiledStatement(lambda: insert(note).values(body=parameter("body", String())).returning(note.c.body))
COUNT = CompiledStatement(lambda: select(func.count()).where(note.c.body == parameter("body", String())))
DIVIDE = CompiledStatement(lambda: select(literal(1, Integer) / cast(parameter("by", Integer()), Integer)))
NO_NUMBER = CompiledStatement(lambda: select(cast(parameter("text", String()), Integer)))


@pytest.fixture
def runner(engine: Engine) -> StatementRunner:
    return StatementRunner(engine)


def test_text_is_a_value_and_never_sql(runner: StatementRunner) -> None:
    for text in ("", "'", "$1", "\\", "a'); DROP TABLE note; --", "🙂", "%s %% :x"):
        assert runner.run(ECHO, {"text": text}) == [[text]]


def test_constants_are_literals_and_parameters_are_numbered_without_gaps() -> None:
    statement = CompiledStatement(
        lambda: select(note.c.id).where(note.c.body.in_(["it's", "$2"]), note.c.id > parameter("a", Integer()), note.c.id < 7)
    )

    assert statement.sql.names == ("a",)
    assert "'it''s'::VARCHAR" in statement.sql.text
    assert "'$2'::VARCHAR" in statement.sql.text
    assert "note.id > $1::INTEGER" in statement.sql.text


def test_constant_without_a_literal_is_refused() -> None:
    with pytest.raises(TypeError):
        assert CompiledStatement(lambda: select(literal(uuid4()))).sql


def test_missing_parameter_is_refused(runner: StatementRunner) -> None:
    with pytest.raises(KeyError):
        runner.run(ECHO, {})


def test_read_and_write_take_one_round_trip_and_commit(engine: Engine, runner: StatementRunner, proxy: WireProxy) -> None:
    body = uuid4().hex
    with proxy.count() as counted:
        assert runner.run(ADD, {"body": body}) == [[body]]
        assert runner.run(COUNT, {"body": body}) == [[1]]

    assert counted.round_trips == 2
    assert "".join(message.kind for message in counted.messages) == "PBDES" * 2
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).where(note.c.body == body)).scalar_one() == 1


def test_several_reads_take_one_flush(runner: StatementRunner, proxy: WireProxy) -> None:
    with proxy.count() as counted:
        texts, counts, rest = runner.read_each([ECHO, COUNT, ECHO], {"text": "x", "body": "nothing"})

    assert (texts, counts, rest) == ([["x"]], [[0]], [["x"]])
    assert counted.round_trips == 1
    assert "".join(message.kind for message in counted.messages) == "PBDE" * 3 + "S"


def test_statement_that_writes_is_never_part_of_a_flush_of_reads(runner: StatementRunner, proxy: WireProxy) -> None:
    with proxy.count() as counted, pytest.raises(ValueError, match="read"):
        runner.read_each([ECHO, ADD], {"text": "x", "body": "y"})

    assert counted.messages == []


@pytest.mark.parametrize("position", [0, 1, 2])
def test_error_in_a_flush_leaves_the_connection_in_step(runner: StatementRunner, position: int) -> None:
    statements = [ECHO, COUNT]
    statements.insert(position, NO_NUMBER)

    with pytest.raises(MalformedRequestError):
        runner.read_each(statements, {"text": "no number", "body": "b"})

    assert runner.read_each([COUNT, ECHO], {"text": "next", "body": "b"}) == [[[0]], [["next"]]]


def test_value_that_cannot_be_encoded_leaves_the_connection_in_step(runner: StatementRunner) -> None:
    with pytest.raises(MalformedRequestError):
        runner.run(ECHO, {"text": "\ud800"})

    assert runner.run(ECHO, {"text": "next"}) == [["next"]]


def test_error_names_the_constraint_and_shows_no_values(engine: Engine, runner: StatementRunner) -> None:
    with engine.begin() as connection:
        first = connection.execute(insert(note).values(body=uuid4().hex).returning(note.c.id)).scalar_one()
    again = CompiledStatement(lambda: insert(note).values(id=parameter("id", note.c.id.type), body=parameter("body", String())))

    with pytest.raises(IntegrityError) as caught:
        runner.run(again, {"id": first, "body": "a secret"})

    assert isinstance(caught.value, DBAPIError)
    assert "a secret" not in str(caught.value)


def test_lost_connection_is_replaced_for_a_read(runner: StatementRunner, proxy: WireProxy) -> None:
    runner.run(ECHO, {"text": "first"})
    proxy.kill_all()

    assert runner.run(ECHO, {"text": "second"}) == [["second"]]


def test_refused_connections_are_reported_as_an_outage(runner: StatementRunner, proxy: WireProxy) -> None:
    proxy.kill_all()
    proxy.is_refusing = True

    with pytest.raises(DatabaseUnavailableError):
        runner.run(ECHO, {"text": "x"})

    proxy.is_refusing = False
    assert runner.run(ECHO, {"text": "x"}) == [["x"]]


def test_concurrent_threads_get_their_own_rows(runner: StatementRunner) -> None:
    texts = [uuid4().hex for _ in range(200)]

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda text: runner.run(ECHO, {"text": text}), texts))

    assert found == [[[text]] for text in texts]
