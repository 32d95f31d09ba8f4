"""A successful commit is durable, errors roll back, and SQLAlchemy's transaction features work with the lazy BEGIN."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, exc, insert, select, text, update
from sqlalchemy.orm import Session

from lambda_app.db import migrations
from lambda_app.db.connection import TransactionMode
from lambda_app.db.dialect import require_wire_connection
from lambda_app.db.session import create_session_factory, own_transaction, release_connection, session_scope, violated_constraint
from lambda_app.models import User
from tests.integration.db.notes import count_notes, note
from tests.support.wire import WireProxy


@pytest.fixture(scope="session")
def users_url(fresh_database: Callable[[], str]) -> str:
    """URL of a migrated database."""
    return fresh_database()


@pytest.fixture
def users(make_engine: Callable[..., Engine], users_url: str) -> Engine:
    """An engine for the migrated database."""
    engine = make_engine(users_url)
    migrations.upgrade(engine)
    return engine


def make_user(email: str) -> User:
    return User(id=uuid4(), email=email, hashed_password="x")


def test_deferred_constraint_violation_is_raised_at_commit_with_its_name(engine: Engine, observer: Engine) -> None:
    body = uuid4().hex

    with pytest.raises(exc.IntegrityError) as caught, session_scope(create_session_factory(engine)) as session:
        session.execute(insert(note).values(body=body, parent_id=-1))

    assert violated_constraint(caught.value) == "note_parent"
    assert count_notes(observer, body) == 0


def test_commit_of_a_failed_transaction_raises(engine: Engine, proxy: WireProxy, observer: Engine) -> None:
    body = uuid4().hex

    with engine.connect() as connection:
        connection.execute(insert(note).values(body=body))
        with pytest.raises(exc.ProgrammingError):
            connection.execute(text("SELECT no_such_column"))
        with pytest.raises(exc.InternalError, match="rolled back instead of committed"):
            connection.commit()

    assert count_notes(observer, body) == 0
    assert count_notes(engine, body) == 0


def test_commit_answered_with_rollback_raises(engine: Engine, observer: Engine) -> None:
    body = uuid4().hex

    with engine.connect() as connection:
        connection.execute(insert(note).values(body=body))
        wire = require_wire_connection(connection.connection)
        with pytest.raises(Exception, match="division by zero"):
            wire.execute_statement("SELECT 1 / 0", (), TransactionMode.READ)
        wire._transaction_status = b"T"  # simulates an unnoticed failure
        with pytest.raises(exc.InternalError, match="rolled back instead of committed"):
            connection.commit()

    assert count_notes(observer, body) == 0


def test_connection_works_after_the_first_statement_of_a_transaction_fails(engine: Engine, proxy: WireProxy) -> None:
    for _ in range(3):
        with proxy.count() as counted, pytest.raises(exc.ProgrammingError), engine.begin() as connection:
            connection.execute(text("INSERT INTO nowhere VALUES (1)"))
        assert counted.statements == ["BEGIN", "INSERT INTO nowhere VALUES (1)", "ROLLBACK"]

    with engine.connect() as connection:
        assert connection.execute(select(text("'right'"))).scalar_one() == "right"


def test_own_transaction_survives_rollback_of_the_unit_of_work(engine: Engine, observer: Engine) -> None:
    body = uuid4().hex

    def unit() -> None:
        with session_scope(create_session_factory(engine)) as session:
            session.execute(select(note.c.id).limit(1)).all()
            session.execute(insert(note).values(body=body), execution_options={"own_transaction": True})
            assert count_notes(observer, body) == 1
            raise LookupError

    with pytest.raises(LookupError):
        unit()

    assert count_notes(observer, body) == 1


def test_savepoint_rollback_undoes_only_its_own_writes(engine: Engine, observer: Engine) -> None:
    kept, undone = uuid4().hex, uuid4().hex

    with session_scope(create_session_factory(engine)) as session:
        with pytest.raises(exc.IntegrityError), session.begin_nested():
            session.execute(insert(note).values([{"body": undone}, {"body": undone}]))
        with session.begin_nested():
            session.execute(insert(note).values(body=kept))

    assert [count_notes(observer, kept), count_notes(observer, undone)] == [1, 0]


def test_sessions_can_join_an_outer_transaction(engine: Engine, observer: Engine) -> None:
    body = uuid4().hex

    with engine.connect() as connection:
        outer = connection.begin()
        for number in range(2):
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                session.execute(insert(note).values(body=f"{body}{number}"), execution_options={"own_transaction": True})
                session.commit()
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                session.execute(insert(note).values(body=f"{body} undone"))
                session.rollback()
        seen = connection.execute(select(note.c.body).where(note.c.body.startswith(body))).scalars().all()
        outer.rollback()

    assert sorted(seen) == [f"{body}0", f"{body}1"]
    assert count_notes(observer, f"{body}0") == 0


def test_objects_are_inserted_in_batches_with_server_defaults(users: Engine) -> None:
    made = [make_user(f"{uuid4()}@example.com") for _ in range(50)]
    factory = create_session_factory(users)

    with session_scope(factory) as session:
        session.add_all(made)
    with session_scope(factory) as session:
        found = session.execute(select(User).where(User.id.in_([user.id for user in made]))).scalars().all()

    assert {user.email for user in found} == {user.email for user in made}
    assert all(user.is_active and not user.is_superuser for user in found)
    assert all(user.created_at.tzinfo is UTC and abs((datetime.now(UTC) - user.created_at).total_seconds()) < 60 for user in found)
    assert all(isinstance(user.id, UUID) for user in found)
    assert made[0].created_at == next(user.created_at for user in found if user.id == made[0].id)


def test_update_returns_the_changed_object(users: Engine) -> None:
    user = make_user(f"{uuid4()}@example.com")
    factory = create_session_factory(users)
    with session_scope(factory) as session:
        session.add(user)

    with session_scope(factory) as session:
        statement = update(User).where(User.id == user.id).values(is_active=False).returning(User)
        changed = session.execute(statement.execution_options(own_transaction=True)).scalar_one()

    assert changed.is_active is False


def test_connection_is_not_released_with_unflushed_changes(users: Engine) -> None:
    user = make_user(f"{uuid4()}@example.com")
    factory = create_session_factory(users)
    with session_scope(factory) as session:
        session.add(user)

    with factory() as session:
        found = session.execute(select(User).where(User.id == user.id)).scalar_one()
        release_connection(session)
        assert users.pool.checkedout() == 0  # type: ignore[attr-defined]  # QueuePool counts its connections
        session.refresh(found)
        found.is_active = False
        with pytest.raises(RuntimeError, match="unflushed"):
            release_connection(session)
    with factory() as session:
        session.execute(update(User).where(User.id == user.id).values(is_active=True))
        with pytest.raises(RuntimeError, match="A transaction is open"):
            release_connection(session)


def test_violated_unique_constraint_is_reported_by_name(users: Engine) -> None:
    email = f"{uuid4()}@example.com"
    factory = create_session_factory(users)
    with session_scope(factory) as session:
        session.add(make_user(email))

    with pytest.raises(exc.IntegrityError) as caught, session_scope(factory) as session:
        session.add(make_user(email))

    assert violated_constraint(caught.value) == "uq_user_email"


@pytest.mark.parametrize("text_value", ["100%", "%s %% %(x)s", "a'b\"c\\d", "$1", ":name", "e\u0301 \U0001f600 \u202e", ""])
def test_text_round_trips_unchanged(engine: Engine, text_value: str) -> None:
    body = f"{uuid4().hex} {text_value}"

    with session_scope(create_session_factory(engine)) as session:
        session.execute(insert(note).values(body=body))
        found = session.execute(select(note.c.body).where(note.c.body.like(f"{body[:32]}%"))).scalar_one()
        remainder = session.execute(select(note.c.id % 7).where(note.c.body == body)).scalar_one()

    assert found == body
    assert 0 <= remainder < 7


@pytest.mark.parametrize(
    "instant",
    [
        "2026-11-23 12:00:00+00", "2026-11-23 12:00:00.5+05:45", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00",
    ],
)  # fmt: skip
def test_timestamps_are_returned_in_utc(engine: Engine, instant: str) -> None:
    with engine.connect() as connection:
        found = connection.execute(text(f"SELECT TIMESTAMPTZ '{instant}'").execution_options(plain_read=True)).scalar_one()

    assert found == datetime.fromisoformat(instant)
    assert found.tzinfo is UTC


def test_other_isolation_levels_are_rejected(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(exc.ArgumentError, match="READ COMMITTED"):
        connection.execution_options(isolation_level="SERIALIZABLE")


def test_own_transaction_commits_at_the_end_of_the_block(engine: Engine, observer: Engine) -> None:
    body = uuid4().hex
    with create_session_factory(engine)() as session:
        with own_transaction(session):
            session.execute(insert(note).values(body=body))
            assert count_notes(observer, body) == 0

        assert count_notes(observer, body) == 1


def test_own_transaction_rolls_back_when_the_block_raises(engine: Engine, observer: Engine) -> None:
    body = uuid4().hex

    def insert_and_fail(session: Session) -> None:
        with own_transaction(session):
            session.execute(insert(note).values(body=body))
            raise KeyError

    with create_session_factory(engine)() as session:
        with pytest.raises(KeyError):
            insert_and_fail(session)

        session.commit()

    assert count_notes(observer, body) == 0


def test_own_transaction_within_an_open_one_leaves_the_commit_to_its_owner(engine: Engine, observer: Engine) -> None:
    body, inner = uuid4().hex, uuid4().hex
    with create_session_factory(engine)() as session:
        session.execute(insert(note).values(body=body))
        with own_transaction(session):
            session.execute(insert(note).values(body=inner))
        session.rollback()

    assert count_notes(observer, body) == count_notes(observer, inner) == 0


def test_own_transaction_reports_the_error_of_a_lost_connection_and_not_of_the_rollback(engine: Engine, proxy: WireProxy) -> None:
    def insert_and_lose_the_connection(session: Session) -> None:
        with own_transaction(session):
            session.execute(insert(note).values(body=uuid4().hex))
            proxy.kill_all()
            session.execute(insert(note).values(body="lost with the connection"))

    with create_session_factory(engine)() as session:
        with pytest.raises(exc.DBAPIError) as caught:
            insert_and_lose_the_connection(session)

        assert "lost with the connection" in str(caught.value.params)
        assert session.scalar(select(1)) == 1
