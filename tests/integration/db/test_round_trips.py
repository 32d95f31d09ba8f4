"""The number of round trips of a unit of work."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from sqlalchemy import Engine, Executable, bindparam, delete, insert, select, text, update
from sqlalchemy.orm import Session

from lambda_app.db.session import create_session_factory, session_scope
from tests.integration.db.notes import note
from tests.support.wire import Count, WireProxy

Unit = Callable[[Session], object]


def run(engine: Engine, proxy: WireProxy, unit: Unit) -> Count:
    with proxy.count() as counted, session_scope(create_session_factory(engine)) as session:
        unit(session)
    return counted


def verbs(counted: Count) -> list[str]:
    return [statement.split()[0] for statement in counted.statements]


def kinds(counted: Count) -> str:
    return "".join(message.kind for message in counted.messages)


def test_read_is_one_round_trip_without_begin_or_commit(engine: Engine, proxy: WireProxy) -> None:
    counted = run(engine, proxy, lambda session: session.execute(select(note).where(note.c.body == "nothing")).all())

    assert counted.round_trips == 1
    assert verbs(counted) == ["SELECT"]
    assert kinds(counted) == "PBDES"


def test_three_reads_are_three_round_trips(engine: Engine, proxy: WireProxy) -> None:
    counted = run(engine, proxy, lambda session: [session.execute(select(note.c.id)).all() for _ in range(3)])

    assert counted.round_trips == 3
    assert verbs(counted) == ["SELECT"] * 3


def test_write_is_two_round_trips_with_begin_in_the_same_flush(engine: Engine, proxy: WireProxy) -> None:
    counted = run(engine, proxy, lambda session: session.execute(insert(note).values(body=uuid4().hex)))

    assert counted.round_trips == 2
    assert verbs(counted) == ["BEGIN", "INSERT", "COMMIT"]
    assert kinds(counted) == "PBE" + "PBDES" + "Q"


def test_reads_before_and_after_a_write_are_one_round_trip_each(engine: Engine, proxy: WireProxy) -> None:
    def unit(session: Session) -> None:
        session.execute(select(note.c.id).limit(1)).all()
        session.execute(insert(note).values(body=uuid4().hex))
        session.execute(select(note.c.id).limit(1)).all()

    counted = run(engine, proxy, unit)

    assert counted.round_trips == 4
    assert verbs(counted) == ["SELECT", "BEGIN", "INSERT", "SELECT", "COMMIT"]


def test_rolled_back_write_is_two_round_trips(engine: Engine, proxy: WireProxy) -> None:
    def unit(session: Session) -> None:
        session.execute(insert(note).values(body=uuid4().hex))
        raise LookupError

    with proxy.count() as counted, pytest.raises(LookupError):
        run(engine, proxy, unit)

    assert counted.round_trips == 2
    assert verbs(counted) == ["BEGIN", "INSERT", "ROLLBACK"]


def test_rolled_back_read_sends_nothing_more(engine: Engine, proxy: WireProxy) -> None:
    def unit(session: Session) -> None:
        session.execute(select(note.c.id).limit(1)).all()
        raise LookupError

    with proxy.count() as counted, pytest.raises(LookupError):
        run(engine, proxy, unit)

    assert counted.round_trips == 1


def test_unused_session_sends_nothing(engine: Engine, proxy: WireProxy) -> None:
    assert run(engine, proxy, lambda session: session.connection()).messages == []


def test_own_transaction_is_one_round_trip_without_commit(engine: Engine, proxy: WireProxy) -> None:
    statement = insert(note).values(body=uuid4().hex).returning(note.c.id).execution_options(own_transaction=True)

    counted = run(engine, proxy, lambda session: session.execute(statement).scalar_one())

    assert counted.round_trips == 1
    assert verbs(counted) == ["INSERT"]


def test_own_transaction_inside_a_transaction_joins_it(engine: Engine, proxy: WireProxy) -> None:
    def unit(session: Session) -> None:
        session.execute(insert(note).values(body=uuid4().hex))
        session.execute(insert(note).values(body=uuid4().hex), execution_options={"own_transaction": True})

    counted = run(engine, proxy, unit)

    assert verbs(counted) == ["BEGIN", "INSERT", "INSERT", "COMMIT"]


@pytest.mark.parametrize(
    "lock",
    [
        select(note.c.id).with_for_update(),
        select(note.c.id).with_for_update(read=True),
        select(note.c.id).with_for_update(key_share=True),
        select(note.c.id).where(note.c.id.in_(select(note.c.id).with_for_update(skip_locked=True))),
        select(delete(note).where(note.c.id == -1).returning(note.c.id).cte().c.id),
        select(update(note).where(note.c.id == -1).values(body="x").returning(note.c.id).cte().c.id),
        text("SELECT 1"),
        select(text("pg_advisory_xact_lock(1)")),
    ],
    ids=str,
)
def test_select_with_side_effects_begins_a_transaction(engine: Engine, proxy: WireProxy, lock: Executable) -> None:
    counted = run(engine, proxy, lambda session: session.execute(lock).all())

    assert [counted.statements[0], counted.statements[-1]] == ["BEGIN", "COMMIT"]


def test_text_declared_as_plain_read_begins_no_transaction(engine: Engine, proxy: WireProxy) -> None:
    statement = text("SELECT 1").execution_options(plain_read=True)

    assert run(engine, proxy, lambda session: session.execute(statement).scalar_one()).statements == ["SELECT 1"]


def test_300_inserts_share_one_round_trip(engine: Engine, proxy: WireProxy, observer: Engine) -> None:
    rows = [{"body": uuid4().hex} for _ in range(300)]

    counted = run(engine, proxy, lambda session: session.execute(insert(note), rows))

    assert counted.round_trips == 2
    with observer.connect() as connection:
        found = connection.execute(select(note.c.body).where(note.c.body.in_([row["body"] for row in rows]))).all()
    assert len(found) == 300


def test_300_updates_share_two_round_trips(engine: Engine, proxy: WireProxy, observer: Engine) -> None:
    bodies = [uuid4().hex for _ in range(300)]
    run(engine, proxy, lambda session: session.execute(insert(note), [{"body": body} for body in bodies]))
    statement = update(note).where(note.c.body == bindparam("old")).values(body=bindparam("new"))
    changes = [{"old": body, "new": f"{body} again"} for body in bodies]

    with proxy.count() as counted, engine.begin() as connection:
        row_count = connection.execute(statement, changes).rowcount

    assert row_count == 300
    assert counted.round_trips == 3
    with observer.connect() as connection:
        assert connection.execute(select(note.c.id).where(note.c.body == f"{bodies[299]} again")).all()


def test_new_engine_sends_only_sign_in_before_its_first_statement(
    make_engine: Callable[..., Engine], proxy: WireProxy, notes_url: str
) -> None:
    engine = make_engine(proxy.url_for(notes_url))

    with proxy.count() as counted, engine.connect() as connection:
        connection.execute(select(note.c.id).limit(1)).all()

    assert kinds(counted) == "startup" + "pp" + "PBDES"
    assert counted.round_trips == 4


def test_statements_that_pin_rds_proxy_are_never_sent(engine: Engine, proxy: WireProxy) -> None:
    factory = create_session_factory(engine)
    for _ in range(20):
        with session_scope(factory) as session:
            session.execute(select(note).limit(3)).all()
            session.execute(insert(note).values(body=uuid4().hex))
            with session.begin_nested():
                session.execute(update(note).where(note.c.id == -1).values(body="x"))
    engine.dispose()

    assert {message.name for message in proxy.messages} == {""}
    allowed = {"BEGIN", "COMMIT", "SELECT", "INSERT", "UPDATE", "SAVEPOINT", "RELEASE"}
    assert {message.sql.split()[0] for message in proxy.messages if message.sql} == allowed
