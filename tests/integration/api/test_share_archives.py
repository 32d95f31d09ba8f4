"""The files of a share link as one zip: the link's rules apply, and it counts as one download."""

import io
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest
import time_machine
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.factory import Services
from lambda_app.services.archives import archives
from lambda_app.services.sharing.share_links import NoSuchLinkError, Visitor
from tests.support.accounts import Account
from tests.support.archives_api import BROWSER_AGENT, SharedFiles, run_worker
from tests.support.gateway import unused_address
from tests.support.loopback import loopback_client
from tests.support.problems import assert_problem
from tests.support.shares import expire_share, visitor

ANONYMOUS = Visitor(None, None)


def test_visitor_downloads_all_files_as_one_zip_that_counts_once(client: httpx.Client, services: Services, owner: Account) -> None:
    link = SharedFiles(client, owner)

    created = link.create_archive()
    again = link.create_archive()
    waiting = link.get_archive(created.json()["id"])
    too_early = link.download(created.json()["id"])
    run_worker(services, created.json())
    ready = link.get_archive(created.json()["id"]).json()
    before = link.downloads()
    redirect = client.get(ready["download_url"], headers=BROWSER_AGENT)

    assert (created.status_code, again.json()["id"]) == (202, created.json()["id"])
    assert created.headers["location"] == f"{link.path}/archives/{created.json()['id']}"
    assert (waiting.json()["status"], waiting.json()["download_url"]) == ("queued", None)
    assert_problem(too_early, 404, "archive_not_found")
    assert (redirect.status_code, before, link.downloads()) == (302, 0, 1)
    assert "X-Amz-Expires=60&" in redirect.headers["location"]
    with loopback_client() as s3:
        body = s3.get(redirect.headers["location"]).content
    with zipfile.ZipFile(io.BytesIO(body)) as found:
        assert {entry.filename: found.read(entry) for entry in found.infolist()} == {"n.txt": b"0", "n (2).txt": b"1"}


def test_zip_of_a_link_is_refused_when_its_owner_has_a_quota_of_zero(client: httpx.Client, owner: Account, admin: Account) -> None:
    link = SharedFiles(client, owner)
    client.put(f"/api/v1/users/{owner.id}", json={"quota_bytes": 0}, headers=admin.headers)

    refused = link.create_archive()
    client.put(f"/api/v1/users/{owner.id}", json={"quota_bytes": 1}, headers=admin.headers)

    assert_problem(refused, 409, "no_room")
    assert "bytes_left" not in refused.json()
    # Archives are not charged, so a used quota does not matter.
    assert link.create_archive().status_code == 202


def test_zip_download_url_is_returned_as_json_on_request(client: httpx.Client, services: Services, owner: Account) -> None:
    link = SharedFiles(client, owner)
    archive = link.create_archive().json()
    run_worker(services, archive)

    response = link.download(archive["id"], Accept="application/json")

    assert response.status_code == 200
    assert response.json().keys() == {"download_url", "expires_at"}
    assert link.downloads() == 1
    with loopback_client() as s3:
        assert zipfile.is_zipfile(io.BytesIO(s3.get(response.json()["download_url"]).content))


def test_concurrent_downloads_of_a_zip_never_exceed_the_limit(client: httpx.Client, services: Services, owner: Account) -> None:
    link = SharedFiles(client, owner, max_downloads=3)
    archive = link.create_archive().json()
    run_worker(services, archive)

    def download(number: int) -> bool:
        with visitor(number), services.unit_of_work() as session:
            links = services.share_links(session)
            try:
                links.start_archive_download(link.path.removeprefix("/s/"), UUID(archive["id"]), ANONYMOUS, is_resumption=False)
            except NoSuchLinkError:
                return False
            return True

    with ThreadPoolExecutor(10) as pool:
        granted = list(pool.map(download, range(20)))

    assert (granted.count(True), link.downloads()) == (3, 3)
    assert_problem(link.download(archive["id"]), 404, "link_not_found")


def test_resumed_zip_download_is_audited_and_not_counted(
    client: httpx.Client, client_from: Callable[[str], httpx.Client], services: Services, owner: Account, admin: Account
) -> None:
    link = SharedFiles(client, owner, max_downloads=1)
    archive = link.create_archive().json()
    run_worker(services, archive)
    path, rest = f"{link.path}/archives/{archive['id']}/download", BROWSER_AGENT | {"Range": "bytes=5-"}
    with client_from(unused_address()) as home, client_from(unused_address()) as elsewhere:
        first = home.get(path, headers=BROWSER_AGENT)
        again = home.get(path, headers=rest)

        assert (first.status_code, again.status_code, link.downloads()) == (302, 302, 1)
        with loopback_client() as s3:
            part = s3.get(again.headers["location"], headers={"Range": "bytes=5-"})
            assert part.content == s3.get(first.headers["location"]).content[5:]
        # The link is exhausted: it refuses other visitors, and after a minute the same visitor for the whole zip.
        assert home.get(path, headers=BROWSER_AGENT).status_code == 302
        with time_machine.travel(clock.now() + timedelta(seconds=61)):
            for sender, headers in (
                (elsewhere, rest),
                (home, BROWSER_AGENT),
                (home, BROWSER_AGENT | {"Range": "bytes=0-"}),
                (home, rest | {"User-Agent": "wget/1"}),
                (home, rest | owner.headers),
            ):
                assert_problem(sender.get(path, headers=headers), 404, "link_not_found")
        with time_machine.travel(clock.now() + timedelta(hours=1, minutes=1), tick=False):
            assert_problem(home.get(path, headers=rest), 404, "link_not_found")
        events = client.get("/api/v1/admin/audit", params={"subject": f"share:{link.id}"}, headers=admin.headers).json()
        assert [event["action"] for event in events] == ["share.download_resumed"] * 2 + ["share.downloaded", "share.created"]
        assert [event["details"] for event in events[:3]] == [{"archive_id": archive["id"]}] * 3
        assert link.downloads() == 1

        client.delete(f"/api/v1/files/{link.files[0]['id']}", headers=owner.headers)
        assert_problem(home.get(path, headers=rest), 404, "link_not_found")


def test_range_request_without_an_earlier_zip_download_counts(client: httpx.Client, services: Services, owner: Account) -> None:
    link = SharedFiles(client, owner)
    archive = link.create_archive().json()
    run_worker(services, archive)

    assert [link.download(archive["id"], Range="bytes=5-").status_code for _ in range(3)] == [302] * 3

    assert link.downloads() == 1


def test_visitor_of_a_zip_is_stored_as_a_hash_and_purged(client: httpx.Client, services: Services, owner: Account) -> None:
    link = SharedFiles(client, owner)
    archive = link.create_archive().json()
    run_worker(services, archive)
    link.download(archive["id"])
    query = text("SELECT visitor FROM share_archive_download WHERE archive_id = :id")

    with services.engine.connect() as connection:
        (stored,) = connection.execute(query, {"id": archive["id"]}).scalars()
    with time_machine.travel(clock.now() + timedelta(days=1), tick=False), services.unit_of_work() as session:
        assert services.maintenance(session).purge()["share_visitors"] >= 1

    assert len(stored) == 64
    with services.engine.connect() as connection:
        assert connection.execute(query, {"id": archive["id"]}).all() == []


@pytest.mark.parametrize("change", ["revoked", "expired", "file gone", "file trashed"])
def test_zip_is_unavailable_when_its_link_or_files_are_gone(client: httpx.Client, services: Services, owner: Account, change: str) -> None:
    link = SharedFiles(client, owner)
    archive = link.create_archive().json()
    run_worker(services, archive)
    assert link.get_archive(archive["id"]).status_code == 200

    if change == "revoked":
        client.delete(f"/api/v1/shares/{link.id}", headers=owner.headers)
    elif change == "expired":
        expire_share(services, {"id": link.id})
    else:
        client.delete(f"/api/v1/files/{link.files[0]['id']}", headers=owner.headers)

    if change in ("revoked", "expired"):
        assert_problem(link.create_archive(), 404, "link_not_found")
        assert_problem(link.get_archive(archive["id"]), 404, "link_not_found")
        assert_problem(link.download(archive["id"]), 404, "link_not_found")
    else:
        # The link still serves the other file, but the zip of both is no longer available.
        assert_problem(link.download(archive["id"]), 404, "archive_not_found")
        state = link.get_archive(archive["id"]).json()
        assert (state["status"], state["error_code"], state["download_url"]) == ("failed", "files_changed", None)
        page = link.get_archive(archive["id"], Accept="text/html")
        assert "The zip could not be built" in page.text
        assert f"{link.path}/archives/{archive['id']}/download" not in page.text
        assert "refresh" not in page.headers
        assert link.create_archive().json()["file_count"] == 1
    assert client.get(f"/api/v1/shares/{link.id}", headers=owner.headers).json().get("download_count") in (0, None)


def test_zip_is_not_built_when_the_link_disallows_downloads(client: httpx.Client, services: Services, owner: Account) -> None:
    link = SharedFiles(client, owner)
    archive = link.create_archive().json()
    link.change(allows_download=False)

    run_worker(services, archive)

    assert_problem(link.create_archive(), 403, "share_listing_only")
    assert_problem(link.get_archive(archive["id"]), 403, "share_listing_only")
    link.change(allows_download=True)
    assert link.get_archive(archive["id"]).json()["error_code"] == "files_changed"


def test_password_and_audience_apply_to_the_zip(client: httpx.Client, services: Services, owner: Account, stranger: Account) -> None:
    link = SharedFiles(client, owner, password="a long password")
    assert_problem(link.create_archive(), 403, "share_password_required")
    share_pass = client.post(link.path, json={"password": "a long password"}, headers=BROWSER_AGENT).json()["share_pass"]
    archive = link.create_archive(**{"X-Share-Pass": share_pass}).json()
    run_worker(services, archive)

    assert_problem(link.get_archive(archive["id"]), 403, "share_password_required")
    assert_problem(link.download(archive["id"]), 403, "share_password_required")
    assert link.download(archive["id"], **{"X-Share-Pass": share_pass}).status_code == 302

    signed_in = SharedFiles(client, owner, audience="signed_in")
    assert signed_in.create_archive().status_code == 401
    assert signed_in.create_archive(**stranger.headers).status_code == 202


def test_archives_of_one_link_are_not_found_through_another(client: httpx.Client, services: Services, owner: Account) -> None:
    link, other = SharedFiles(client, owner), SharedFiles(client, owner)
    archive = link.create_archive().json()
    run_worker(services, archive)

    for response in (other.get_archive(archive["id"]), other.download(archive["id"]), link.get_archive(str(uuid4()))):
        assert_problem(response, 404, "archive_not_found")
    # The link's owner does not find them either.
    assert_problem(client.get(f"/api/v1/archives/{archive['id']}", headers=owner.headers), 404, "archive_not_found")


def test_automated_requests_cannot_create_or_download_a_zip(client: httpx.Client, services: Services, owner: Account) -> None:
    link = SharedFiles(client, owner)
    archive = link.create_archive().json()
    run_worker(services, archive)

    robot = {"User-Agent": "Slackbot-LinkExpanding 1.0"}
    assert_problem(link.create_archive(**robot), 403, "robots_get_no_files")
    assert_problem(link.download(archive["id"], **robot), 403, "robots_get_no_files")
    assert link.downloads() == 0


def test_visitors_of_a_link_share_the_limit_of_unfinished_archives(
    client: httpx.Client, owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LINKS_UNFINISHED_MAX_COUNT", 3)
    link = SharedFiles(client, owner)
    responses = []
    for number in range(4):
        responses.append(link.create_archive())
        client.put(f"/api/v1/files/{link.files[0]['id']}", json={"description": str(number)}, headers=owner.headers)

    assert [response.status_code for response in responses] == [202] * 3 + [429]
    assert_problem(responses[-1], 429, "too_many_archives", headers={"retry-after": "60"}, max_archives=3)
