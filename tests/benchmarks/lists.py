"""Lists of a user with an increasing number of files: the first page, and the last page by cursor and by `skip`."""

from collections import defaultdict
from statistics import median
from typing import Any

from sqlalchemy import text

from lambda_app.schemas.files.file_lists import FileOrder, Order
from lambda_app.schemas.page import Cursor
from tests.benchmarks.candidates import Candidate
from tests.benchmarks.testbed import API, Testbed, event_of

PAGE = 100


def measure_lists(testbed: Testbed, candidates: list[Candidate], *, sizes: tuple[int, ...], times: int) -> dict[str, dict[str, float]]:
    """Return medians in milliseconds, by candidate and page, then by number of rows."""
    figures: dict[str, dict[str, float]] = defaultdict(dict)
    owner = testbed.create_user()
    filled = 0
    for size in sizes:
        testbed.create_files(owner.id, size - filled, at=filled)
        filled = size
        for candidate in candidates:
            with testbed.start(candidate) as process:
                token = testbed.sign_in(process, owner)
                for page, query in _pages(testbed, owner.id, is_ours=candidate.module == "lambda_app.main").items():
                    event = event_of("GET", f"{API}/files?{query}", token=token)
                    process.call("run", events=[event], times=3, status=200)
                    wall = process.call("run", events=[event], times=times, status=200)["wall"]
                    figures[f"{candidate.name}, {page}"][str(size)] = median(wall) / 1e6
    return dict(figures)


def _pages(testbed: Testbed, owner: Any, *, is_ours: bool) -> dict[str, str]:
    with testbed.services.engine.connect() as connection:
        count = connection.execute(text("SELECT count(*) FROM file WHERE owner_id = :id"), {"id": owner}).scalar_one()
        query = "SELECT created_at, id FROM file WHERE owner_id = :id ORDER BY created_at, id OFFSET 100 LIMIT 1"
        created_at, file_id = connection.execute(text(query), {"id": owner}).one()
    pages = {"first page": f"limit={PAGE}", "last page by skip": f"limit={PAGE}&skip={count - PAGE}"}
    if is_ours:
        pages["last page by cursor"] = f"limit={PAGE}&cursor={Cursor(FileOrder.of(Order.NEWEST_FIRST), created_at, file_id).encode()}"
    return pages
