"""Every statement that a route can send reads a bounded number of blocks, also with a million files."""

from itertools import product
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import httpx
import pytest

from lambda_app.schemas.files.file_lists import Order
from lambda_app.schemas.sharing.states import LinkState
from tests.scale.block_reads import StatementReads
from tests.scale.conftest import ScaledApp
from tests.support.archives_api import run_worker
from tests.support.authorisation import FILE, ROWS, routes, row_name

pytestmark = pytest.mark.slow

BLOCKS_MAX = 1500
"""A page of 100 rows reads a few hundred: index pages, one heap block a row, and those of the owners. 1,500 blocks are 12 MB."""
API = "/api/v1"

BLOCKS_PER_WRITTEN_FILE = 120
"""A statement that changes many files reads the blocks of eleven indexes for each, as a statement for one file does."""
WRITTEN_FILES = {"DELETE /files/trash": 100}
"""Files that a statement of the route changes at most."""
BLOCKS_OF_STATEMENTS = {
    # For each link of a page its files (here three), by their keys.
    "AS pending_recipients": 101 * 40,
    # A superuser's statistics read each file that is not available: 3,000 of ten million.
    "AS unfinished ON true": 4000,
}
"""Statements, by a piece of their text, that may read more, and why."""

FILTERS: dict[str, dict[str, Any]] = {
    "all": {},
    "status": {"status": "pending"},
    "several statuses": {"status": ["pending", "rejected", "trashed"]},
    "common statuses": {"status": ["pending", "available"]},
    "ids": {"ids": [f"f0000000-0000-4000-8000-{number:012x}" for number in range(1, 101)]},
    "updated": {"updated_after": "2026-01-01T00:00:00Z"},
    "updated never": {"updated_after": "2100-01-01T00:00:00Z"},
    "rare name": {"q": "Rare"},
    "common name": {"q": "photo"},
    "name that no file has": {"q": "no such name"},
    "two letters": {"q": "zq"},
    "rare type": {"content_type": "video/"},
    "common type": {"content_type": "image/"},
    "created": {"created_before": "2026-01-01T00:00:00Z"},
    "large": {"size_min": 10**9},
    "small": {"size_max": 5},
    "with me": {"shared": "with_me"},
    "by me": {"shared": "by_me"},
    "counted": {"count": "true"},
}
CALLERS = ("owner", "superuser")


def link_address(number: int) -> str:
    return f"/s/link%20{number}"


def file_id(number: int) -> UUID:
    return UUID(f"f0000000-0000-4000-8000-{number:012x}")


def assert_bounded(reads: list[StatementReads], *, written_files: int = 0) -> None:
    most = max(BLOCKS_MAX, BLOCKS_PER_WRITTEN_FILE * written_files)
    larger = {read.statement: blocks for read in reads for piece, blocks in BLOCKS_OF_STATEMENTS.items() if piece in read.statement}
    excessive = [read for read in reads if read.blocks > max(most, larger.get(read.statement, 0))]
    assert not excessive, "\n\n".join(f"{read.blocks} blocks: {read.statement}\n{read.plan[:6000]}" for read in excessive)


def request(scaled: ScaledApp, caller: str, method: str, path: str, **options: Any) -> tuple[httpx.Response, list[StatementReads]]:
    with scaled.reads.recorded() as reads:
        response = scaled.client.request(method, path, headers=scaled.world.headers(caller), **options)
    # 503: this deployment sends no mail.
    assert response.status_code < 500 or response.status_code == 503, response.text
    return response, reads


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("name", ROWS)
def test_route_reads_a_bounded_number_of_blocks(scaled: ScaledApp, name: str, caller: str) -> None:
    row = ROWS[name]
    if row.ends_credentials:
        pytest.skip("ends the credentials that the other routes need; its statements go by the primary key of the session")
    body = row.json
    if isinstance(body, dict):
        places = {"random": uuid4(), "viewer": scaled.world.viewer.id}
        body = {key: value.format(**places) if isinstance(value, str) else value for key, value in body.items()}
    template = min(path for method, path in routes(scaled.app) if row_name(method, path) == name)

    _, reads = request(scaled, caller, name.split(maxsplit=1)[0], scaled.world.path(template), json=body)

    assert_bounded(reads, written_files=WRITTEN_FILES.get(name, 0))


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(("name", "order"), [*product(FILTERS, Order)])
def test_list_of_files_reads_a_bounded_number_of_blocks(scaled: ScaledApp, name: str, order: Order, caller: str) -> None:
    of_all = {"all": "true"} if caller == "superuser" and "shared" not in FILTERS[name] else {}
    query = urlencode({"sort": order.value, **FILTERS[name], **of_all}, doseq=True)

    response, reads = request(scaled, caller, "GET", f"{API}/files?{query}&limit=100")

    if response.status_code == 422:
        # Refused with a reason is a bound, too.
        assert response.json()["detail"]
        return
    assert response.status_code == 200
    assert_bounded(reads)


LISTS = (
    "/shares",
    *(f"/shares?state={state.value}" for state in LinkState),
    "/file-requests",
    *(f"/file-requests?state={state.value}" for state in LinkState),
    "/archives",
    "/users",
    "/users?search=user1",
    "/admin/audit",
    "/admin/audit?action=share.opened",
    "/admin/audit?since=2026-01-01T00:00:00Z&until=2026-01-01T01:00:00Z",
    "/admin/stats",
    "/users/me/usage",
    "/users/me/sessions",
)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("path", LISTS)
def test_other_lists_read_a_bounded_number_of_blocks(scaled: ScaledApp, path: str, caller: str) -> None:
    _, reads = request(scaled, caller, "GET", API + path)

    assert_bounded(reads)


def test_statistics_expect_few_files_since_the_last_counted_hour(scaled: ScaledApp) -> None:
    _, reads = request(scaled, "superuser", "GET", f"{API}/admin/stats")

    (by_day,) = [read for read in reads if "upload_hour" in read.statement]
    # A third of all files, which PostgreSQL expects for one bound of unknown value, would be read by a scan of the table at ten million.
    assert by_day.expected_rows < scaled.sizes.files / 20


@pytest.mark.parametrize("caller", ["anonymous", "owner"])
@pytest.mark.parametrize("number", [7, 151])
def test_opening_a_link_reads_a_bounded_number_of_blocks(scaled: ScaledApp, number: int, caller: str) -> None:
    opened, reads = request(scaled, caller, "GET", link_address(number))
    assert opened.status_code == 200
    linked = opened.json()["files"][0]["id"]
    _, previewed = request(scaled, caller, "HEAD", link_address(number))
    downloaded, granted = request(scaled, caller, "GET", f"{link_address(number)}/files/{linked}")
    resumed, again = request(scaled, caller, "GET", f"{link_address(number)}/files/{linked}")
    _, zipped = request(scaled, caller, "POST", f"{link_address(number)}/archives")
    _, missed = request(scaled, caller, "GET", "/s/there-is-no-such-link")

    assert downloaded.status_code == resumed.status_code == 302
    assert_bounded([*reads, *previewed, *granted, *again, *zipped, *missed])


def test_signing_in_for_a_link_reads_a_bounded_number_of_blocks(scaled: ScaledApp) -> None:
    share, owner = scaled.world.share(audience="signed_in", password="swordfish"), scaled.world.owner
    account = {"email": owner.email, "account_password": owner.password}

    signed_in, reads = request(scaled, "anonymous", "POST", share["url"], json=account)
    share_pass = {"X-Share-Pass": signed_in.json()["share_pass"]}
    with scaled.reads.recorded() as unlocked:
        proven = scaled.client.post(share["url"], json={"password": "swordfish"}, headers=share_pass)
    with scaled.reads.recorded() as opened:
        shown = scaled.client.get(share["url"], headers={"X-Share-Pass": proven.json()["share_pass"]})

    assert shown.status_code == 200
    assert_bounded([*reads, *unlocked, *opened])


def test_zip_of_a_link_reads_a_bounded_number_of_blocks(scaled: ScaledApp) -> None:
    path = scaled.world.share()["url"]

    requested, reads = request(scaled, "anonymous", "POST", f"{path}/archives")
    with scaled.reads.recorded() as built:
        run_worker(scaled.services, requested.json())
    ready, polled = request(scaled, "anonymous", "GET", requested.headers["Location"])
    downloaded, granted = request(scaled, "anonymous", "GET", ready.json()["download_url"])
    with scaled.reads.recorded() as resumed:
        rest = scaled.client.get(ready.json()["download_url"], headers={"Range": "bytes=5-"})

    assert downloaded.status_code == rest.status_code == 302
    assert_bounded([*reads, *built, *polled, *granted, *resumed])


def test_available_files_read_a_bounded_number_of_blocks(scaled: ScaledApp) -> None:
    reads: list[StatementReads] = []
    hundred = [str(file_id(number)) for number in range(1, 101)]
    for method, path, body in (
        ("POST", f"{API}/files/complete", {"file_ids": hundred}),
        ("POST", f"{API}/files/status", {"file_ids": hundred}),
        ("POST", f"{API}/files/downloads", {"file_ids": hundred}),
        ("GET", f"{API}/files/{file_id(1)}", None),
        ("GET", f"{API}/files/download/{file_id(1)}", None),
        ("PUT", f"{API}/files/{file_id(1)}", {"description": "changed"}),
        ("POST", f"{API}/shares", {"file_ids": [str(file_id(number)) for number in (1, 2, 3)]}),
        ("POST", f"{API}/archives", {"file_ids": [str(file_id(number)) for number in (1, 2, 3)]}),
        ("DELETE", f"{API}/files/{file_id(4)}", None),
        ("GET", f"/p/{file_id(3)}", None),
    ):
        response, statements = request(scaled, "owner", method, path, json=body)
        assert response.status_code < 400, response.text
        reads += statements

    assert_bounded(reads)


def test_batches_of_files_read_a_bounded_number_of_blocks_for_each_file(scaled: ScaledApp) -> None:
    # Files of several owners, for a superuser.
    hundred = [str(file_id(number)) for number in range(1001, 1101)]
    for method, path, body in (
        ("POST", f"{API}/files/uploads", {"files": [FILE] * 100}),
        ("POST", f"{API}/files/visibility", {"file_ids": hundred, "is_public": True}),
        ("POST", f"{API}/files/delete", {"file_ids": hundred}),
        ("POST", f"{API}/files/restore", {"file_ids": hundred}),
        ("POST", f"{API}/files/purge", {"file_ids": hundred}),
        ("DELETE", f"{API}/files/trash", None),
    ):
        response, reads = request(scaled, "superuser", method, path, json=body)

        assert response.status_code == 200, response.text
        assert_bounded(reads, written_files=100)
