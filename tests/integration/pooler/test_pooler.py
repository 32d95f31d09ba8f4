"""PgBouncer in transaction mode with two server connections that it alternates: no result depends on the server connection."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier
from uuid import uuid4

import pg8000.dbapi  # type: ignore[import-untyped]  # ships no type information
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.engine import make_url

from lambda_app.core.settings import Settings
from lambda_app.db.engine import create_database_engine
from tests.integration.db.notes import metadata, note
from tests.support.pooler import IS_POOLED, SERVER_CONNECTIONS, Pooler, running_pooler

pytestmark = pytest.mark.skipif(not IS_POOLED, reason="needs PgBouncer: make test-pooler")

SWITCHES = int(os.environ.get("POOLER_SWITCHES", "10000"))
THREADS = 4


@pytest.fixture(scope="module")
def notes(settings: Settings, fresh_database: Callable[[], str]) -> str:
    """URL of a database with the table of notes, without a pooler."""
    url = fresh_database()
    engine = create_database_engine(settings.model_copy(update={"database_url": SecretStr(url)}))
    metadata.create_all(engine)
    engine.dispose()
    return url


@pytest.fixture(scope="module")
def pooler(notes: str) -> Iterator[Pooler]:
    """A pooler that only these tests use."""
    with running_pooler(notes) as pooler:
        yield pooler


@pytest.fixture
def pooled(settings: Settings, notes: str, pooler: Pooler) -> Iterator[Engine]:
    """An engine with a few connections to the pooler, whose two server connections are open."""
    own = {"database_url": SecretStr(pooler.url_for(notes)), "database_pool_size": THREADS}
    engine = create_database_engine(settings.model_copy(update=own))
    together = Barrier(SERVER_CONNECTIONS)

    def sign_in(_: int) -> None:
        with engine.connect() as connection:
            together.wait(10)
            connection.execute(text("SELECT pg_sleep(0.2)"), execution_options={"plain_read": True})

    with ThreadPoolExecutor(SERVER_CONNECTIONS) as threads:
        list(threads.map(sign_in, range(SERVER_CONNECTIONS)))
    yield engine
    engine.dispose()


def test_statements_on_alternating_servers_return_the_right_rows(pooled: Engine) -> None:
    """With one client the pooler alternates strictly: each statement without an open transaction uses the other server connection."""
    servers = []
    with pooled.connect() as connection:
        for number in range(SWITCHES + 1):
            marker = f"{number}-{uuid4()}"
            if number % 10:
                row = connection.execute(
                    text("SELECT pg_backend_pid(), cast(:marker AS text)"), {"marker": marker}, execution_options={"plain_read": True}
                ).one()
            else:
                write = insert(note).values(body=marker).returning(text("pg_backend_pid()"), note.c.body)
                row = connection.execute(write, execution_options={"own_transaction": True}).one()
            assert row[1] == marker
            servers.append(row[0])

    switches = sum(before != after for before, after in pairwise(servers))
    print(f"{switches} switches in {len(servers)} statements, {Counter(servers)}")
    assert switches == SWITCHES
    assert len(set(servers)) == SERVER_CONNECTIONS


def test_concurrent_clients_get_their_own_rows_and_atomic_transactions(pooled: Engine) -> None:
    def work(client: int) -> int:
        wrong = 0
        for number in range(SWITCHES // THREADS // 4):
            marker = f"{client}-{number}-{uuid4()}"
            with pooled.begin() as connection:
                connection.execute(insert(note).values(body=marker))
                first = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
                found = connection.execute(select(note.c.body).where(note.c.body == marker)).scalar_one()
                # The pooler must not switch within a transaction.
                wrong += found != marker or connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != first
            with pooled.connect() as connection:
                read = connection.execute(select(note.c.body).where(note.c.body == marker)).scalars().all()
                wrong += read != [marker]
        return wrong

    with ThreadPoolExecutor(THREADS) as threads:
        assert list(threads.map(work, range(THREADS))) == [0] * THREADS


def test_plain_pg8000_fails_behind_the_pooler(pooled: Engine, pooler: Pooler, notes: str) -> None:
    """Proves that the pooler would reveal the fault: pg8000 sends three Syncs per statement, and each may reach another server."""
    url = make_url(pooler.url_for(notes))
    plain = pg8000.dbapi.connect(url.username, host=url.host, port=url.port, password=url.password, database=url.database)
    plain.autocommit = True

    def is_right(number: int) -> bool:
        cursor = plain.cursor()
        try:
            cursor.execute("SELECT cast(%s AS integer)", (number,))
            return bool(cursor.fetchall() == ([number],))
        except pg8000.dbapi.DatabaseError:
            return False

    answers = [is_right(number) for number in range(10)]
    plain.close()

    assert not all(answers)


def test_session_state_is_visible_on_one_server_only(pooled: Engine) -> None:
    with pooled.connect() as connection:
        connection.execute(text("SET statement_timeout = 12345"), execution_options={"own_transaction": True})
        seen = {connection.execute(text("SHOW statement_timeout"), execution_options={"plain_read": True}).scalar_one() for _ in range(4)}
        connection.execute(text("SET statement_timeout = 0"), execution_options={"own_transaction": True})

    assert len(seen) == SERVER_CONNECTIONS
