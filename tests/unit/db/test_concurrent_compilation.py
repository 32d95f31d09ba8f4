"""Threads of a server compile a shared statement at the same time, when it is first used."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Select, select, update
from sqlalchemy.orm import aliased

from lambda_app.db.dialect import WireDialect
from lambda_app.models import File

THREADS = 3
ROUNDS = 30


@pytest.fixture(autouse=True)
def frequent_thread_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def statement() -> Select[File]:
    """Return a new statement that returns the entity from the rows of an UPDATE, as the transitions of files do."""
    changed = update(File).values(description="new").returning(*File.__table__.columns).cte("changed")
    return select(aliased(File, changed))


def test_threads_that_compile_one_statement_get_the_same_sql() -> None:
    expected = str(statement().compile(dialect=WireDialect()))

    with ThreadPoolExecutor(THREADS) as threads:
        for _ in range(ROUNDS):
            shared, start = statement(), Barrier(THREADS)

            def compiled(shared: Select[File] = shared, start: Barrier = start) -> str:
                start.wait()
                return str(shared.compile(dialect=WireDialect()))

            texts = [each.result() for each in [threads.submit(compiled) for _ in range(THREADS)]]
            assert texts == [expected] * THREADS
