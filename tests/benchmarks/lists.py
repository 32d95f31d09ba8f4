"""Lists of a user with an increasing number of files: the first page, the last page by cursor and by `skip`, and what is shared."""

from collections import defaultdict
from statistics import median
from typing import Any
from uuid import UUID

from sqlalchemy import text

from lambda_app.routers.http.paging import SKIP_MAX_ROWS
from lambda_app.schemas.files.file_lists import FileOrder, Order
from lambda_app.schemas.page import Cursor
from tests.benchmarks.candidates import Candidate
from tests.benchmarks.testbed import API, Testbed, event_of

PAGE = 100
SHARED_PAGES = ("share link", "shared with me", "shared by me")
"""Pages whose time must not depend on the number of files in the database."""
LINKS_PER_FILE = 0.06
GRANTS_PER_FILE = 0.02

ADD_LINKS = """
INSERT INTO share (id, owner_id, token_hash)
SELECT gen_random_uuid(), CAST(:owner AS uuid), encode(sha256(convert_to('link ' || n, 'UTF8')), 'hex')
FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS g (n)
"""
ADD_LINKED_FILES = """
INSERT INTO share_file (share_id, file_id, position)
SELECT share.id, file.id, file.position
FROM share CROSS JOIN LATERAL (
    SELECT id, row_number() OVER () AS position FROM file WHERE owner_id = share.owner_id AND file.id >= share.id ORDER BY file.id LIMIT 3
) AS file
WHERE NOT EXISTS (SELECT 1 FROM share_file WHERE share_id = share.id)
"""
ADD_GRANTS = """
INSERT INTO file_grant (file_id, user_id, owner_id, role, file_created_at, created_at, updated_at)
SELECT id, CAST(:friend AS uuid), owner_id, 'viewer', created_at, now(), now()
FROM file WHERE owner_id = CAST(:owner AS uuid) AND status = 'available' ORDER BY id LIMIT CAST(:grants AS integer)
ON CONFLICT DO NOTHING
"""


def measure_lists(testbed: Testbed, candidates: list[Candidate], *, sizes: tuple[int, ...], times: int) -> dict[str, dict[str, float]]:
    """Return medians in milliseconds, by candidate and page, then by number of rows."""
    figures: dict[str, dict[str, float]] = defaultdict(dict)
    owner, friend = testbed.create_user(), testbed.create_user()
    filled = links = 0
    for size in sizes:
        testbed.create_files(owner.id, size - filled, at=filled)
        filled = size
        links = _share(testbed, owner.id, friend.id, links=links, files=size)
        for candidate in candidates:
            with testbed.start(candidate) as process:
                token = testbed.sign_in(process, owner)
                is_ours = candidate.module == "lambda_app.main"
                events = {
                    page: event_of("GET", f"{API}/files?{query}", token=token)
                    for page, query in _pages(testbed, owner.id, is_ours=is_ours).items()
                }
                if is_ours:
                    events |= _shared_pages(token, testbed.sign_in(process, friend))
                for page, event in events.items():
                    process.call("run", events=[event], times=3, status=200)
                    wall = process.call("run", events=[event], times=times, status=200)["wall"]
                    figures[f"{candidate.name}, {page}"][str(size)] = median(wall) / 1e6
    return dict(figures)


def _share(testbed: Testbed, owner: UUID, friend: UUID, *, links: int, files: int) -> int:
    """Add links, each to three files, and grants, in proportion to the files; return the number of links."""
    wanted = round(files * LINKS_PER_FILE)
    # More than a page at every size, so that each page has as many files.
    grants = max(PAGE + 50, round(files * GRANTS_PER_FILE))
    with testbed.services.engine.begin() as connection:
        connection.execute(text(ADD_LINKS), {"owner": owner, "first": links + 1, "last": wanted})
        connection.execute(text(ADD_LINKED_FILES))
        connection.execute(text(ADD_GRANTS), {"owner": owner, "friend": friend, "grants": grants})
        for table in ("share", "share_file", "file_grant"):
            connection.execute(text(f"ANALYZE {table}"))
    return wanted


def _shared_pages(owner_token: str, friend_token: str) -> dict[str, dict[str, Any]]:
    link, with_me, by_me = SHARED_PAGES
    return {
        link: event_of("GET", "/s/link%201"),
        with_me: event_of("GET", f"{API}/files?shared=with_me&limit={PAGE}", token=friend_token),
        by_me: event_of("GET", f"{API}/files?shared=by_me&limit={PAGE}", token=owner_token),
    }


def _pages(testbed: Testbed, owner: UUID, *, is_ours: bool) -> dict[str, str]:
    with testbed.services.engine.connect() as connection:
        count = connection.execute(text("SELECT count(*) FROM file WHERE owner_id = :id"), {"id": owner}).scalar_one()
        query = "SELECT created_at, id FROM file WHERE owner_id = :id ORDER BY created_at, id OFFSET 100 LIMIT 1"
        created_at, file_id = connection.execute(text(query), {"id": owner}).one()
    skip = min(count - PAGE, SKIP_MAX_ROWS)
    pages = {"first page": f"limit={PAGE}", "deepest page by skip": f"limit={PAGE}&skip={skip}"}
    if is_ours:
        pages["last page by cursor"] = f"limit={PAGE}&cursor={Cursor(FileOrder.of(Order.NEWEST_FIRST), created_at, file_id).encode()}"
    return pages
