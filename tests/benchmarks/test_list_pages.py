"""Lists of one user with very many files: the last page costs what the first does, and each filter has its index."""

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
"""`make test-slow SIZE=full` takes a million."""
PAGE = 100
IS_TIMED = "LIST_ROWS" in os.environ
"""In `make test` only PostgreSQL's plans count: what else the machine has to do is no fault of ours."""
ROUNDS = 30 if IS_TIMED else 1
RATIO_MAX = 1.5
OWNER = UUID(int=1)
FRIEND_OF_FEW, FRIEND_OF_MANY, MODEST_OWNER = UUID(int=2), UUID(int=3), UUID(int=4)
FEW = 50

# One is granted a few of the owner's files and one every second; the other owner has shared a few of a tenth of all files.
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


def page(engine: Engine, order: Order, after: Cursor | None, wanted: FileFilter | None = None, viewer: UUID = OWNER) -> list[Any]:
    with Session(engine) as session:
        return FileRepository(session).page(
            User(id=viewer, is_superuser=False), wanted or FileFilter(), order=FileOrder.of(order), skip=0, limit=PAGE, after=after
        )


def cursor_of(order: Order, file: Any) -> Cursor:
    taken = FileOrder.of(order)
    value = {OrderField.CREATED: file.created_at, OrderField.NAME: file.filename, OrderField.SIZE: file.size_bytes}[taken.field]
    return Cursor(taken, value, file.id)


def best_seconds(*acts: Callable[[], object]) -> list[float]:
    """Return the best time of each, taken in turns: what else the machine does slows all of them, and the best of them least."""
    best = [float("inf")] * len(acts)
    for _ in range(ROUNDS):
        for number, act in enumerate(acts):
            started_at = time.perf_counter()
            act()
            best[number] = min(best[number], time.perf_counter() - started_at)
    return best


@pytest.mark.parametrize("order", list(Order))
def test_last_page_costs_what_the_first_does(engine: Engine, order: Order) -> None:
    turned = Order(order.removeprefix("-") if order.startswith("-") else f"-{order}")
    # The other way round, the end of the list is its beginning.
    end = page(engine, turned, None)[-1]
    last = cursor_of(order, end)
    assert len(page(engine, order, last)) >= PAGE - 1

    first_seconds, last_seconds = best_seconds(lambda: page(engine, order, None), lambda: page(engine, order, last))

    print(f"{order}: first page {first_seconds * 1000:.2f} ms, last of {ROWS} rows {last_seconds * 1000:.2f} ms")
    _, plan = explained(engine, FileFilter(), order=order, after=last)
    assert "Seq Scan" not in plan
    assert "Sort Key" not in plan
    assert last_seconds < RATIO_MAX * first_seconds or not IS_TIMED


FILTERS = {
    "status": FileFilter(status=FileStatus.PENDING),
    "content_type": FileFilter(content_type="video/"),
    "created": FileFilter(created_after=START + timedelta(seconds=500), created_before=START + timedelta(seconds=600)),
    "size_bytes": FileFilter(size_min=9_000_000_000),
}


INDEXES = {
    # An owner of nine files in ten is served as well by the index of all files' times, and by the sweep's of unfinished ones.
    "status": {"ix_file_owner_id_status", "ix_file_unfinished"},
    "created": {"ix_file_owner_id_created_at_id", "ix_file_created_at_id"},
    "content_type": {"ix_file_owner_id_content_type"},
    "size_bytes": {"ix_file_owner_id_size_bytes"},
}


def explained(
    engine: Engine, wanted: FileFilter, *, order: Order = Order.NEWEST_FIRST, after: Cursor | None = None
) -> tuple[list[Any], str]:
    """Return a page, and how PostgreSQL came by it."""
    sent: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", keep)
    found = page(engine, order, after, wanted)
    event.remove(engine, "before_cursor_execute", keep)
    statement, parameters = sent[0]
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)
        plan = "\n".join(row[0] for row in rows)
    print(plan)
    return found, plan


@pytest.mark.parametrize("name", FILTERS)
def test_filter_reads_its_own_index_and_few_rows(engine: Engine, name: str) -> None:
    found, plan = explained(engine, FILTERS[name])

    assert 0 < len(found) <= PAGE
    assert any(index in plan for index in INDEXES[name])
    assert "Seq Scan" not in plan
    took, whole = best_seconds(
        lambda: page(engine, Order.NEWEST_FIRST, None, FILTERS[name]), lambda: page(engine, Order.NEWEST_FIRST, None)
    )
    print(f"{name}: {took * 1000:.2f} ms, unfiltered first page {whole * 1000:.2f} ms")
    assert took < RATIO_MAX * whole or not IS_TIMED


@pytest.mark.parametrize("piece", ["RARE", "are 1", "0005.jpg"], ids=["beginning", "middle", "end"])
def test_piece_of_a_name_is_found_by_the_index_of_trigrams(engine: Engine, piece: str) -> None:
    found, plan = explained(engine, FileFilter(name=piece))

    assert {file.filename.startswith("Rare") for file in found} == {True}
    assert "ix_file_name_trigrams" in plan
    (took,) = best_seconds(lambda: page(engine, Order.NEWEST_FIRST, None, FileFilter(name=piece)))
    walk = seconds_of_a_walk(engine)
    print(f"{piece!r}: {took * 1000:.2f} ms, all names {walk * 1000:.2f} ms")
    assert took < walk / 10 or not IS_TIMED


def test_piece_that_most_names_have_is_found_by_walking_until_the_page_is_full(engine: Engine) -> None:
    found, plan = explained(engine, FileFilter(name="hoto"))

    assert len(found) == PAGE
    assert "ix_file_name_trigrams" not in plan
    (took,) = best_seconds(lambda: page(engine, Order.NEWEST_FIRST, None, FileFilter(name="hoto")))
    walk = seconds_of_a_walk(engine)
    print(f"'hoto': {took * 1000:.2f} ms, all names {walk * 1000:.2f} ms")
    assert took < walk / 4 or not IS_TIMED


def seconds_of_a_walk(engine: Engine) -> float:
    """Return the time of a search for two letters that no name has: every name of the owner is looked at."""
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
"""A page of one's own files is one walk along an index; here a second table is asked for each row. Reading all would be a hundredfold."""


@pytest.mark.parametrize("name", SHARED)
def test_page_of_shared_files_reads_few_rows(engine: Engine, name: str) -> None:
    viewer, shared = SHARED[name]
    wanted = FileFilter(shared=shared)
    found = page(engine, Order.NEWEST_FIRST, None, wanted, viewer)
    half = cursor_of(Order.NEWEST_FIRST, found[len(found) // 2])
    acts = {
        "own": lambda: page(engine, Order.NEWEST_FIRST, None),
        "first": lambda: page(engine, Order.NEWEST_FIRST, None, wanted, viewer),
        "next": lambda: page(engine, Order.NEWEST_FIRST, half, wanted, viewer),
    }
    own, first, following = best_seconds(*acts.values())
    print(f"{name} of {ROWS} rows: first {first * 1000:.2f} ms, next {following * 1000:.2f} ms, own first {own * 1000:.2f} ms")

    assert FEW // 20 <= len(found) <= PAGE
    assert max(first, following) < SHARED_RATIO_MAX * own or not IS_TIMED
