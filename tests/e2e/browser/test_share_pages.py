"""The pages of share links in a real browser: downloads, hostile content and accessibility."""

import io
import zipfile
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import text as sql

from infra.local.workers import running_workers
from lambda_app.storage.content import safe_filename
from tests.e2e.browser.conftest import Site
from tests.support.accounts import Account, make_account, make_file, sha256_hex
from tests.support.shares import make_share

Results = dict[str, Any]
BODY = b"%PDF-1.7 the bytes that are shared"
ACTIVE = b"<!doctype html><script>alert(document.domain)</script>"
NAMES = (
    "<script>alert(1)</script>.txt",
    '"><img src=x onerror=alert(1)>.png',
    "invoice\u202egnp.exe",
    "👩‍👩‍👧 שלום مرحبا — " + "verylongwithoutspaces" * 8 + ".pdf",
)
ENTER = [{"fill": "Password of the link", "value": "swordfish"}, {"press": "Open"}]
INSPECT = [{"axe": True}, {"resize": 320}, {"resize": 1280}]


@pytest.fixture(scope="module")
def owner(site: Site, client: httpx.Client) -> Account:
    """The owner of the links."""
    return make_account(site.services)


@pytest.fixture(scope="module")
def results(site: Site, client: httpx.Client, owner: Account, visit: Callable[[dict[str, Any]], Results]) -> Results:
    """The results of all jobs, run in one browser."""
    file = make_file(client, owner, BODY, filename="Bericht für März.pdf", content_type="application/pdf")["id"]
    page = make_file(client, owner, ACTIVE, filename="page.html", content_type="text/html")["id"]
    hostile = [make_file(client, owner, filename=name)["id"] for name in NAMES]
    friend = make_account(site.services)
    plain = make_share(client, owner, file, page, note="For you.\nWith <b>love</b>.", max_downloads=20, expires_at="2100-01-01T00:00:00Z")
    locked = make_share(client, owner, file, password="swordfish")
    named = make_share(client, owner, file, audience="named", recipients=[friend.email])
    odd = make_share(client, owner, *hostile, note="<script>alert(2)</script>")
    account = [{"fill": "E-mail", "value": friend.email}, {"fill": "Password", "value": friend.password}, {"press": "Sign in"}]
    wrong = [{"fill": "Password of the link", "value": "guess"}, {"press": "Open"}]
    download = {"download": "Download Bericht für März.pdf"}
    slow = make_share(client, owner, *hostile)
    client.post(f"{slow['url']}/archives").raise_for_status()
    with site.services.engine.begin() as connection:
        # As if another worker were building the archive, so that the page keeps showing the progress.
        connection.execute(
            sql("UPDATE archive SET status = 'building', lease_until = now() + interval '1 hour', done_bytes = size_bytes / 2")
        )
    zipped = [{"press": "Download all as one zip"}, {"download": "Download the zip"}]
    jobs: dict[str, Any] = {
        "plain": {"url": plain["url"], "steps": [download, {"download": "Download page.html"}]},
        "plain, inspected": {"url": plain["url"], "steps": INSPECT},
        "plain, dark": {"url": plain["url"], "steps": INSPECT, "dark": True},
        "plain, without script": {"url": plain["url"], "steps": [download], "script": False},
        "locked": {"url": locked["url"], "steps": [*ENTER, download]},
        "locked, without script": {"url": locked["url"], "steps": [*ENTER, download], "script": False},
        "locked, inspected": {"url": locked["url"], "steps": [*INSPECT, *ENTER, *INSPECT]},
        "locked, wrong": {"url": locked["url"], "steps": [*wrong, {"axe": True}]},
        "named": {"url": named["url"], "steps": [*account, download]},
        "named, inspected": {"url": named["url"], "steps": INSPECT},
        "hostile": {"url": odd["url"], "steps": []},
        "hostile, inspected": {"url": odd["url"], "steps": [*INSPECT, {"axe": True}]},
        "zip": {"url": plain["url"], "steps": zipped},
        "zip, without script": {"url": plain["url"], "steps": zipped, "script": False},
        "zip, building": {"url": slow["url"], "steps": [{"press": "Download all as one zip"}, {"follow": "Stop refreshing"}, *INSPECT]},
        "zip, inspected": {"url": plain["url"], "steps": [*zipped, *INSPECT]},
        "closed": {"url": f"{site.url}/s/none", "steps": INSPECT},
    }
    with running_workers(site.services):
        results = visit(jobs)
    body = _zip_of(client, plain["url"])
    assert results["zip"]["downloads"] == [{"name": "files.zip", "sha256": sha256_hex(body)}], results["zip"]
    with zipfile.ZipFile(io.BytesIO(body)) as found:
        assert {name: found.read(name) for name in found.namelist()} == {"Bericht für März.pdf": BODY, "page.html": ACTIVE}
    return results


def _zip_of(client: httpx.Client, url: str) -> bytes:
    archive = client.post(f"{url}/archives").json()
    address = client.get(archive["download_url"]).headers["location"]
    return httpx.get(address, trust_env=False).content


def test_every_job_completed(results: Results) -> None:
    assert {name: result["failed"] for name, result in results.items() if "failed" in result} == {}


@pytest.mark.parametrize("name", ["plain", "plain, without script", "locked", "locked, without script", "named"])
def test_file_is_downloaded_unchanged_with_its_name(results: Results, name: str) -> None:
    assert results[name]["downloads"][0] == {"name": "Bericht für März.pdf", "sha256": sha256_hex(BODY)}


@pytest.mark.parametrize("name", ["zip", "zip, without script", "zip, inspected"])
def test_zip_is_downloaded_by_a_button(results: Results, name: str) -> None:
    assert [download["name"] for download in results[name]["downloads"]] == ["files.zip"]
    assert results[name]["downloads"] == results["zip"]["downloads"]


def test_zip_page_shows_the_progress(results: Results) -> None:
    for part in ("The zip is being built: 5", "Automatic refresh is off", *(safe_filename(name) for name in NAMES)):
        assert part in results["zip, building"]["text"]


def test_active_content_is_downloaded_and_not_rendered(results: Results) -> None:
    assert results["plain"]["downloads"][1] == {"name": "page.html", "sha256": sha256_hex(ACTIVE)}
    assert results["plain"]["dialogs"] == 0


@pytest.mark.parametrize(
    "name", ["plain", "locked", "named", "hostile", "plain, without script", "locked, without script", "zip", "zip, without script"]
)
def test_page_requests_only_its_own_site(results: Results, site: Site, name: str) -> None:
    pages = [url for url in results[name]["requests"] if "X-Amz-Signature" not in url]

    assert results[name]["console"] == []
    assert results[name]["dialogs"] == 0
    assert {urlsplit(url).netloc for url in pages} == {urlsplit(site.url).netloc}
    # The browser requests only pages and files: no style, script, font, image or icon.
    assert {urlsplit(url).path.split("/")[1] for url in pages} == {"s"}
    assert all(status in (200, 302, 303) for status in results[name]["statuses"])


def test_page_lists_files_and_limits(results: Results) -> None:
    text = results["plain, inspected"]["text"]

    for part in ("Bericht für März.pdf", "34 B", "PDF document", "For you.\nWith <b>love</b>.", "until Fri 1 Jan 2100, 00:00 UTC"):
        assert part in text
    assert "Downloads left" in text


def test_wrong_password_shows_a_message(results: Results) -> None:
    assert "The password is wrong" in results["locked, wrong"]["text"]
    assert 403 in results["locked, wrong"]["statuses"]


def test_hostile_names_are_shown_as_text(results: Results) -> None:
    for text in (*(safe_filename(name) for name in NAMES), "<script>alert(2)</script>"):
        assert text in results["hostile"]["text"]
    assert results["hostile"]["dialogs"] == 0
    assert results["hostile"]["title"] == "Shared files · We-Upload"


def test_pages_have_no_accessibility_violations(results: Results) -> None:
    checked = {name: result["axe"] for name, result in results.items() if result["axe"]}

    assert len(checked) >= 7
    assert {name: [each["violations"] for each in found] for name, found in checked.items()} == {
        name: [[]] * len(found) for name, found in checked.items()
    }
    assert all(each["passes"] > 10 for found in checked.values() for each in found)


def test_pages_fit_a_narrow_screen(results: Results) -> None:
    widths = {name: result["widths"] for name, result in results.items() if result["widths"]}

    assert len(widths) >= 6
    assert all(width <= (320, 1280)[number % 2] for found in widths.values() for number, width in enumerate(found))
