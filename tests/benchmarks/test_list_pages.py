"""Lists of a user with many files: the last page takes as long as the first, and each filter uses its index."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from lambda_app.core.settings import Settings
from lambda_app.db import migrations
from lambda_app.db.engine import create_database_engine
from lambda_app.models import FileStatus, User
from lambda_app.repositories.files.files import FileRepository
from lambda_app.schemas.files.file_lists import FileFilter, FileOrder, Order, OrderField, Shared
from lambda_app.schemas.page import Cursor
from tests.benchmarks.rows import START, fill

pytestmark = [pytest.mark.slow, pytest.mark.timing]

ROWS = int(os.environ.get("LIST_ROWS", "100000"))
"""Number of files; `make test-slow SIZE=full` uses a million."""
PAGE = 100
IS_TIMED = "LIST_ROWS" in os.environ
"""`make test` checks only the plans of PostgreSQL, because other work on the machine affects times."""
ROUNDS = 30 if IS_TIMED else 1
RATIO_MAX = 1.5
OWNER = UUID(int=1)
FRIEND_OF_FEW, FRIEND_OF_MANY, MODEST_OWNER = UUID(int=2), UUID(int=3), UUID(int=4)
FEW = 50

# One friend is granted a few of the owner's files, the other every second file. The other owner, of a tenth of all files, shares a few.
SHARE = """
INSERT INTO file_grant (file_id, user_id, owner_id, role, created_at, updated_at)
SELECT id, CAST(:friend AS uuid), owner_id, 'viewer', now(), now() FROM file
WHERE owner_id = CAST(:owner AS uuid) AND size_bytes % CAST(:step AS integer) = CAST(:rest AS integer)
"""


@pytest.fixture(scope="module")
def engine(settings: Settings, fresh_database: Callable[[], str]) -> Iterator[Engine]:
    url = fresh_database()
    engine = create_database_engine(settings.model_copy(update={"database_url": SecretStr(url), "database_timeout_seconds": 60.0}))
    migrations.upgrade(engine)
    other = MODEST_OWNER
    with engine.begin() as connection:
        for user_id in (OWNER, other, FRIEND_OF_FEW, FRIEND_OF_MANY):
            values = {"id": user_id, "email": f"{user_id}@example.com"}
            connection.execute(text("INSERT INTO \"user\" (id, email, hashed_password) VALUES (:id, :email, 'x')"), values)
    fill(engine, owner=OWNER, other=other, count=ROWS)
    with engine.begin() as connection:
        for friend, owner, step in (
            (FRIEND_OF_FEW, OWNER, ROWS // FEW),
            (FRIEND_OF_MANY, OWNER, 2),
            (FRIEND_OF_FEW, MODEST_OWNER, ROWS // FEW),
        ):
            connection.execute(text(SHARE), {"friend": friend, "owner": owner, "step": step, "rest": int(owner == OWNER)})
        connection.execute(text("ANALYZE file_grant"))
    yield engine
    engine.dispose()


def page(engine: Engine, order: Order, after: Cursor | None, file_filter: FileFilter | None = None, viewer: UUID = OWNER) -> list[Any]:
    with Session(engine) as session:
        return FileRepository(session).page(
            User(id=viewer, is_superuser=False), file_filter or FileFilter(), order=FileOrder.of(order), skip=0, limit=PAGE, after=after
        )


def cursor_of(order: Order, file: Any) -> Cursor:
    file_order = FileOrder.of(order)
    value = {
        OrderField.CREATED: file.created_at,
        OrderField.UPDATED: file.updated_at,
        OrderField.NAME: file.filename,
        OrderField.SIZE: file.size_bytes,
    }[file_order.field]
    return Cursor(file_order, value, file.id)


def best_seconds(*calls: Callable[[], object]) -> list[float]:
    """Call the functions in turns and return the best time of each, which other work on the machine affects least."""
    best = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for number, call in enumerate(calls):
            started_at = time.perf_counter()
            call()
            best[number] = min(best[number], time.perf_counter() - started_at)
    return best


@pytest.mark.parametrize("order", list(Order))
def test_last_page_takes_as_long_as_the_first(engine: Engine, order: Order) -> None:
    reversed_order = Order(order.removeprefix("-") if order.startswith("-") else f"-{order}")
    # The first page in reversed order holds the last files of the list.
    end = page(engine, reversed_order, None)[-1]
    last = cursor_of(order, end)
    assert len(page(engine, order, last)) >= PAGE - 1

    first_seconds, last_seconds = best_seconds(lambda: page(engine, order, None), lambda: page(engine, order, last))

    print(f"{order}: first page {first_seconds * 1000:.2f} ms, last of {ROWS} rows {last_seconds * 1000:.2f} ms")
    _, plan = explain(engine, FileFilter(), order=order, after=last)
    assert "Seq Scan" not in plan
    assert "Sort Key" not in plan
    assert last_seconds < RATIO_MAX * first_seconds or not IS_TIMED


FILTERS = {
    "status": FileFilter(statuses=(FileStatus.PENDING,)),
    "content_type": FileFilter(content_type="video/"),
    "created": FileFilter(created_after=START + timedelta(seconds=500), created_before=START + timedelta(seconds=600)),
    "size_bytes": FileFilter(size_min=9_000_000_000),
}


INDEXES = {
    # For an owner of nine files in ten, PostgreSQL may also use the index of all creation times or that of unfinished files.
    "status": {"ix_file_owner_id_status", "ix_file_unfinished"},
    "created": {"ix_file_owner_id_created_at_id", "ix_file_created_at_id"},
    "content_type": {"ix_file_owner_id_content_type"},
    "size_bytes": {"ix_file_owner_id_size_bytes"},
}


def explain(
    engine: Engine, file_filter: FileFilter, *, order: Order = Order.NEWEST_FIRST, after: Cursor | None = None
) -> tuple[list[Any], str]:
    """Return a page, and PostgreSQL's plan of its query."""
    sent: list[tuple[str, Any]] = []

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", record)
    found = page(engine, order, after, file_filter)
    event.remove(engine, "before_cursor_execute", record)
    statement, parameters = sent[0]
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)
        plan = "\n".join(row[0] for row in rows)
    print(plan)
    return found, plan


@pytest.mark.parametrize("name", FILTERS)
def test_filter_uses_its_index_and_reads_few_rows(engine: Engine, name: str) -> None:
    found, plan = explain(engine, FILTERS[name])

    assert 0 < len(found) <= PAGE
    assert any(index in plan for index in INDEXES[name])
    assert "Seq Scan" not in plan
    elapsed, whole = best_seconds(
        lambda: page(engine, Order.NEWEST_FIRST, None, FILTERS[name]), lambda: page(engine, Order.NEWEST_FIRST, None)
    )
    print(f"{name}: {elapsed * 1000:.2f} ms, unfiltered first page {whole * 1000:.2f} ms")
    assert elapsed < RATIO_MAX * whole or not IS_TIMED


@pytest.mark.parametrize("piece", ["RARE", "are 1", "0005.jpg"], ids=["beginning", "middle", "end"])
def test_part_of_a_name_is_found_with_the_trigram_index(engine: Engine, piece: str) -> None:
    found, plan = explain(engine, FileFilter(name=piece))

    assert {file.filename.startswith("Rare") for file in found} == {True}
    assert "ix_file_name_trigrams" in plan
    (elapsed,) = best_seconds(lambda: page(engine, Order.NEWEST_FIRST, None, FileFilter(name=piece)))
    full_scan = full_scan_seconds(engine)
    print(f"{piece!r}: {elapsed * 1000:.2f} ms, all names {full_scan * 1000:.2f} ms")
    assert elapsed < full_scan / 10 or not IS_TIMED


def test_part_of_most_names_is_found_without_the_trigram_index(engine: Engine) -> None:
    found, plan = explain(engine, FileFilter(name="hoto"))

    assert len(found) == PAGE
    assert "ix_file_name_trigrams" not in plan
    (elapsed,) = best_seconds(lambda: page(engine, Order.NEWEST_FIRST, None, FileFilter(name="hoto")))
    full_scan = full_scan_seconds(engine)
    print(f"'hoto': {elapsed * 1000:.2f} ms, all names {full_scan * 1000:.2f} ms")
    assert elapsed < full_scan / 4 or not IS_TIMED


def full_scan_seconds(engine: Engine) -> float:
    """Return the time of a search for two letters that no name contains, which reads every name of the owner."""
    started_at = time.perf_counter()
    assert page(engine, Order.NEWEST_FIRST, None, FileFilter(name="qq")) == []
    return time.perf_counter() - started_at


SHARED = {
    "few with me": (FRIEND_OF_FEW, Shared.WITH_ME),
    "many with me": (FRIEND_OF_MANY, Shared.WITH_ME),
    "few by me": (MODEST_OWNER, Shared.BY_ME),
    "many by me": (OWNER, Shared.BY_ME),
}
SHARED_RATIO_MAX = 5
"""A page of the user's own files scans one index; a page of shared files also looks up a second table per row.

Reading all rows would take a hundred times as long.
"""


@pytest.mark.parametrize("name", SHARED)
def test_page_of_shared_files_reads_few_rows(engine: Engine, name: str) -> None:
    viewer, shared = SHARED[name]
    file_filter = FileFilter(shared=shared)
    found = page(engine, Order.NEWEST_FIRST, None, file_filter, viewer)
    half = cursor_of(Order.NEWEST_FIRST, found[len(found) // 2])
    calls = {
        "own": lambda: page(engine, Order.NEWEST_FIRST, None),
        "first": lambda: page(engine, Order.NEWEST_FIRST, None, file_filter, viewer),
        "next": lambda: page(engine, Order.NEWEST_FIRST, half, file_filter, viewer),
    }
    own, first, following = best_seconds(*calls.values())
    print(f"{name} of {ROWS} rows: first {first * 1000:.2f} ms, next {following * 1000:.2f} ms, own first {own * 1000:.2f} ms")

    assert FEW // 20 <= len(found) <= PAGE
    assert max(first, following) < SHARED_RATIO_MAX * own or not IS_TIMED
