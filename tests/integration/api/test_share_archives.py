"""A share link's files as one zip: under the link's own rules, counted as one download."""

import io
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import time_machine
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.factory import Services
from lambda_app.services.archives import archives
from tests.integration.api.test_archives import run_worker
from tests.support.accounts import Account, make_file
from tests.support.gateway import unused_address
from tests.support.problems import assert_problem

BROWSER = {"User-Agent": "Mozilla/5.0"}


class Link:
    """A link to two files, and what anonymous visitors do with it."""

    def __init__(self, client: httpx.Client, owner: Account, **options: Any) -> None:
        self._client, self._owner = client, owner
        self.files = [make_file(client, owner, str(number).encode(), filename="n.txt") for number in range(2)]
        wanted = {"file_ids": [file["id"] for file in self.files], **options}
        made = client.post("/api/v1/shares", json=wanted, headers=owner.headers)
        assert made.status_code == 201, made.text
        self.id = made.json()["id"]
        self.path = f"/s/{made.json()['url'].rpartition('/')[2]}"

    def ask(self, **headers: str) -> httpx.Response:
        return self._client.post(f"{self.path}/archives", headers=BROWSER | headers)

    def look(self, archive_id: str, **headers: str) -> httpx.Response:
        return self._client.get(f"{self.path}/archives/{archive_id}", headers=BROWSER | headers)

    def download(self, archive_id: str, **headers: str) -> httpx.Response:
        return self._client.get(f"{self.path}/archives/{archive_id}/download", headers=BROWSER | headers)

    def change(self, **changes: Any) -> None:
        answer = self._client.patch(f"/api/v1/shares/{self.id}", json=changes, headers=self._owner.headers)
        assert answer.status_code == 200, answer.text

    def downloads(self) -> int:
        row: dict[str, int] = self._client.get(f"/api/v1/shares/{self.id}", headers=self._owner.headers).json()
        return row["download_count"]


def test_visitor_gets_all_files_in_one_zip_that_counts_once(client: httpx.Client, services: Services, owner: Account) -> None:
    link = Link(client, owner)

    asked = link.ask()
    again = link.ask()
    waiting = link.look(asked.json()["id"])
    too_early = link.download(asked.json()["id"])
    run_worker(services, asked.json())
    ready = link.look(asked.json()["id"]).json()
    before = link.downloads()
    redirect = client.get(ready["download_url"], headers=BROWSER)

    assert (asked.status_code, again.json()["id"]) == (202, asked.json()["id"])
    assert asked.headers["location"] == f"{link.path}/archives/{asked.json()['id']}"
    assert (waiting.json()["status"], waiting.json()["download_url"]) == ("queued", None)
    assert_problem(too_early, 404, "archive_not_found")
    assert (redirect.status_code, before, link.downloads()) == (302, 0, 1)
    assert "X-Amz-Expires=60&" in redirect.headers["location"]
    with httpx.Client(trust_env=False) as s3:
        body = s3.get(redirect.headers["location"]).content
    with zipfile.ZipFile(io.BytesIO(body)) as found:
        assert {entry.filename: found.read(entry) for entry in found.infolist()} == {"n.txt": b"0", "n (2).txt": b"1"}


def test_parallel_downloads_of_a_zip_are_no_more_than_the_link_allows(client: httpx.Client, services: Services, owner: Account) -> None:
    link = Link(client, owner, max_downloads=3)
    archive = link.ask().json()
    run_worker(services, archive)

    def download(_number: int) -> bool:
        with services.unit_of_work() as session:
            links = services.share_links(session)
            try:
                links.start_archive_download(link.path.removeprefix("/s/"), UUID(archive["id"]), _nobody(), is_resumption=False)
            except Exception as error:  # noqa: BLE001 - which refusal it is, is compared below
                return _refused(error)
            return True

    with ThreadPoolExecutor(10) as pool:
        granted = list(pool.map(download, range(20)))

    assert (granted.count(True), link.downloads()) == (3, 3)
    assert_problem(link.download(archive["id"]), 404, "link_not_found")


def _nobody() -> Any:
    from lambda_app.services.sharing.share_links import Visitor

    return Visitor(None, None)


def _refused(error: Exception) -> bool:
    assert getattr(error, "code", "") == "link_not_found"
    return False


def test_rest_of_a_zip_is_audited_and_not_counted_again(
    client: httpx.Client, client_from: Callable[[str], httpx.Client], services: Services, owner: Account, admin: Account
) -> None:
    link = Link(client, owner, max_downloads=1)
    archive = link.ask().json()
    run_worker(services, archive)
    path, rest = f"{link.path}/archives/{archive['id']}/download", BROWSER | {"Range": "bytes=5-"}
    with client_from(unused_address()) as home, client_from(unused_address()) as elsewhere:
        first = home.get(path, headers=BROWSER)
        again = home.get(path, headers=rest)

        assert (first.status_code, again.status_code, link.downloads()) == (302, 302, 1)
        with httpx.Client(trust_env=False) as s3:
            part = s3.get(again.headers["location"], headers={"Range": "bytes=5-"})
            assert part.content == s3.get(first.headers["location"]).content[5:]
        # The link is exhausted: nobody else, nor the same one from the beginning, nor another zip.
        for visitor, headers in (
            (elsewhere, rest),
            (home, BROWSER),
            (home, BROWSER | {"Range": "bytes=0-"}),
            (home, rest | {"User-Agent": "wget/1"}),
            (home, rest | owner.headers),
        ):
            assert_problem(visitor.get(path, headers=headers), 404, "link_not_found")
        with time_machine.travel(clock.now() + timedelta(hours=1, minutes=1), tick=False):
            assert_problem(home.get(path, headers=rest), 404, "link_not_found")
        events = client.get("/api/v1/admin/audit", params={"subject": f"share:{link.id}"}, headers=admin.headers).json()
        assert [event["action"] for event in events] == ["share.download_resumed", "share.downloaded", "share.created"]
        assert [event["details"] for event in events[:2]] == [{"archive_id": archive["id"]}] * 2
        assert link.downloads() == 1

        client.delete(f"/api/v1/files/{link.files[0]['id']}", headers=owner.headers)
        assert_problem(home.get(path, headers=rest), 404, "link_not_found")


def test_rest_of_a_zip_that_was_never_granted_counts(client: httpx.Client, services: Services, owner: Account) -> None:
    link = Link(client, owner)
    archive = link.ask().json()
    run_worker(services, archive)

    assert [link.download(archive["id"], Range="bytes=5-").status_code for _ in range(3)] == [302] * 3

    assert link.downloads() == 1


def test_what_is_kept_of_who_got_a_zip_says_nothing_and_goes(client: httpx.Client, services: Services, owner: Account) -> None:
    link = Link(client, owner)
    archive = link.ask().json()
    run_worker(services, archive)
    link.download(archive["id"])
    query = text("SELECT visitor FROM share_archive_download WHERE archive_id = :id")

    with services.engine.connect() as connection:
        (kept,) = connection.execute(query, {"id": archive["id"]}).scalars()
    with time_machine.travel(clock.now() + timedelta(days=1), tick=False), services.unit_of_work() as session:
        assert services.maintenance(session).purge()["share_visitors"] >= 1

    assert len(kept) == 64
    with services.engine.connect() as connection:
        assert connection.execute(query, {"id": archive["id"]}).all() == []


@pytest.mark.parametrize("change", ["revoked", "expired", "file gone", "file trashed from the link's owner"])
def test_zip_is_closed_with_its_link(client: httpx.Client, services: Services, owner: Account, change: str) -> None:
    link = Link(client, owner)
    archive = link.ask().json()
    run_worker(services, archive)
    assert link.look(archive["id"]).status_code == 200

    if change == "revoked":
        client.delete(f"/api/v1/shares/{link.id}", headers=owner.headers)
    elif change == "expired":
        link.change(expires_at="2000-01-01T00:00:00Z")
    else:
        client.delete(f"/api/v1/files/{link.files[0]['id']}", headers=owner.headers)

    if change in ("revoked", "expired"):
        assert_problem(link.ask(), 404, "link_not_found")
        assert_problem(link.look(archive["id"]), 404, "link_not_found")
        assert_problem(link.download(archive["id"]), 404, "link_not_found")
    else:
        # The link still opens the other file; a zip of both is not to be had any more.
        assert_problem(link.download(archive["id"]), 404, "archive_not_found")
        seen = link.look(archive["id"]).json()
        assert (seen["status"], seen["error_code"], seen["download_url"]) == ("failed", "files_changed", None)
        page = link.look(archive["id"], Accept="text/html")
        assert "The zip could not be built" in page.text
        assert f"{link.path}/archives/{archive['id']}/download" not in page.text
        assert "refresh" not in page.headers
        assert link.ask().json()["file_count"] == 1
    assert client.get(f"/api/v1/shares/{link.id}", headers=owner.headers).json().get("download_count") in (0, None)


def test_link_that_closes_before_the_worker_comes_gives_it_nothing(client: httpx.Client, services: Services, owner: Account) -> None:
    link = Link(client, owner)
    archive = link.ask().json()
    link.change(allows_download=False)

    run_worker(services, archive)

    assert_problem(link.ask(), 403, "share_listing_only")
    assert_problem(link.look(archive["id"]), 403, "share_listing_only")
    link.change(allows_download=True)
    assert link.look(archive["id"]).json()["error_code"] == "files_changed"


def test_password_and_audience_guard_the_zip_too(client: httpx.Client, services: Services, owner: Account, stranger: Account) -> None:
    link = Link(client, owner, password="a long password")
    assert_problem(link.ask(), 403, "share_password_required")
    share_pass = client.post(link.path, json={"password": "a long password"}, headers=BROWSER).json()["share_pass"]
    archive = link.ask(**{"X-Share-Pass": share_pass}).json()
    run_worker(services, archive)

    assert_problem(link.look(archive["id"]), 403, "share_password_required")
    assert_problem(link.download(archive["id"]), 403, "share_password_required")
    assert link.download(archive["id"], **{"X-Share-Pass": share_pass}).status_code == 302

    signed_in = Link(client, owner, audience="signed_in")
    assert signed_in.ask().status_code == 401
    assert signed_in.ask(**stranger.headers).status_code == 202


def test_archives_of_one_link_are_not_found_at_another(client: httpx.Client, services: Services, owner: Account) -> None:
    link, other = Link(client, owner), Link(client, owner)
    archive = link.ask().json()
    run_worker(services, archive)

    for answer in (other.look(archive["id"]), other.download(archive["id"]), link.look(str(uuid4()))):
        assert_problem(answer, 404, "archive_not_found")
    # Nor are they among their owner's own.
    assert_problem(client.get(f"/api/v1/archives/{archive['id']}", headers=owner.headers), 404, "archive_not_found")


def test_robots_neither_ask_nor_get(client: httpx.Client, services: Services, owner: Account) -> None:
    link = Link(client, owner)
    archive = link.ask().json()
    run_worker(services, archive)

    robot = {"User-Agent": "Slackbot-LinkExpanding 1.0"}
    assert_problem(link.ask(**robot), 403, "robots_get_no_files")
    assert_problem(link.download(archive["id"], **robot), 403, "robots_get_no_files")
    assert link.downloads() == 0


def test_visitors_of_a_link_share_one_archive_and_its_limit(client: httpx.Client, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LINKS_UNFINISHED_MAX_COUNT", 3)
    link = Link(client, owner)
    answers = []
    for number in range(4):
        answers.append(link.ask())
        client.put(f"/api/v1/files/{link.files[0]['id']}", json={"description": str(number)}, headers=owner.headers)

    assert [answer.status_code for answer in answers] == [202] * 3 + [429]
    assert_problem(answers[-1], 429, "too_many_archives", headers={"retry-after": "60"}, max_archives=3)
