"""Share links in a real browser: they open, their files arrive, nothing of theirs runs, and everybody can use them."""

import io
import zipfile
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import text as sql

from infra.local.archives import working
from lambda_app.storage.content import safe_filename
from tests.e2e.browser.conftest import Site
from tests.support.accounts import Account, make_account, make_file, sha256_hex
from tests.support.shares import make_share

Seen = dict[str, Any]
BODY = b"%PDF-1.7 the bytes that are shared"
ACTIVE = b"<!doctype html><script>alert(document.domain)</script>"
NAMES = (
    "<script>alert(1)</script>.txt",
    '"><img src=x onerror=alert(1)>.png',
    "invoice\u202egnp.exe",
    "👩‍👩‍👧 שלום مرحبا — " + "verylongwithoutspaces" * 8 + ".pdf",
)
ENTER = [{"fill": "Password", "value": "swordfish"}, {"press": "Open"}]
LOOK = [{"axe": True}, {"resize": 320}, {"resize": 1280}]


@pytest.fixture(scope="module")
def owner(site: Site, client: httpx.Client) -> Account:
    """Somebody who shares files."""
    return make_account(client, site.services)


@pytest.fixture(scope="module")
def seen(site: Site, client: httpx.Client, owner: Account, visit: Callable[[dict[str, Any]], Seen]) -> Seen:
    """What a visitor sees in each case, all in one browser."""
    file = make_file(client, owner, BODY, filename="Bericht für März.pdf", content_type="application/pdf")["id"]
    page = make_file(client, owner, ACTIVE, filename="page.html", content_type="text/html")["id"]
    hostile = [make_file(client, owner, filename=name)["id"] for name in NAMES]
    friend = make_account(client, site.services)
    plain = make_share(client, owner, file, page, note="For you.\nWith <b>love</b>.", max_downloads=20, expires_at="2100-01-01T00:00:00Z")
    locked = make_share(client, owner, file, password="swordfish")
    named = make_share(client, owner, file, audience="named", recipients=[friend.email])
    odd = make_share(client, owner, *hostile, note="<script>alert(2)</script>")
    account = [{"fill": "E-mail", "value": friend.email}, {"fill": "Password", "value": friend.password}, {"press": "Sign in"}]
    wrong = [{"fill": "Password", "value": "guess"}, {"press": "Open"}]
    download = {"download": "Download Bericht für März.pdf"}
    slow = make_share(client, owner, *hostile)
    client.post(f"{slow['url']}/archives").raise_for_status()
    with site.services.engine.begin() as connection:
        # As if another worker were at it, so that its page stays.
        connection.execute(
            sql("UPDATE archive SET status = 'building', lease_until = now() + interval '1 hour', done_bytes = size_bytes / 2")
        )
    zipped = [{"press": "Download all as one zip"}, {"download": "Download the zip"}]
    jobs: dict[str, Any] = {
        "plain": {"url": plain["url"], "steps": [download, {"download": "Download page.html"}]},
        "plain, looked at": {"url": plain["url"], "steps": LOOK},
        "plain, in the dark": {"url": plain["url"], "steps": LOOK, "dark": True},
        "plain, without script": {"url": plain["url"], "steps": [download], "script": False},
        "locked": {"url": locked["url"], "steps": [*ENTER, download]},
        "locked, without script": {"url": locked["url"], "steps": [*ENTER, download], "script": False},
        "locked, looked at": {"url": locked["url"], "steps": [*LOOK, *ENTER, *LOOK]},
        "locked, wrong": {"url": locked["url"], "steps": [*wrong, {"axe": True}]},
        "named": {"url": named["url"], "steps": [*account, download]},
        "named, looked at": {"url": named["url"], "steps": LOOK},
        "hostile": {"url": odd["url"], "steps": []},
        "hostile, looked at": {"url": odd["url"], "steps": [*LOOK, {"axe": True}]},
        "zip": {"url": plain["url"], "steps": zipped},
        "zip, without script": {"url": plain["url"], "steps": zipped, "script": False},
        "zip, waited for": {"url": slow["url"], "steps": [{"press": "Download all as one zip"}, {"follow": "Stop refreshing"}, *LOOK]},
        "zip, looked at": {"url": plain["url"], "steps": [*zipped, *LOOK]},
        "closed": {"url": f"{site.url}/s/none", "steps": LOOK},
    }
    with working(site.services):
        answers = visit(jobs)
    body = _zip_of(client, plain["url"])
    assert answers["zip"]["downloads"] == [{"name": "files.zip", "sha256": sha256_hex(body)}], answers["zip"]
    with zipfile.ZipFile(io.BytesIO(body)) as found:
        assert {name: found.read(name) for name in found.namelist()} == {"Bericht für März.pdf": BODY, "page.html": ACTIVE}
    return answers


def _zip_of(client: httpx.Client, url: str) -> bytes:
    asked = client.post(f"{url}/archives").json()
    address = client.get(asked["download_url"]).headers["location"]
    return httpx.get(address, trust_env=False).content


def test_every_case_went_to_its_end(seen: Seen) -> None:
    assert {name: result["failed"] for name, result in seen.items() if "failed" in result} == {}


@pytest.mark.parametrize("name", ["plain", "plain, without script", "locked", "locked, without script", "named"])
def test_file_arrives_whole_under_its_name(seen: Seen, name: str) -> None:
    assert seen[name]["downloads"][0] == {"name": "Bericht für März.pdf", "sha256": sha256_hex(BODY)}


@pytest.mark.parametrize("name", ["zip", "zip, without script", "zip, looked at"])
def test_zip_arrives_by_a_button(seen: Seen, name: str) -> None:
    assert [download["name"] for download in seen[name]["downloads"]] == ["files.zip"]
    assert seen[name]["downloads"] == seen["zip"]["downloads"]


def test_page_of_a_zip_says_how_far_it_is(seen: Seen) -> None:
    for part in ("The zip is being built: 5", "Automatic refresh is off", *(safe_filename(name) for name in NAMES)):
        assert part in seen["zip, waited for"]["text"]


def test_active_content_is_saved_and_not_shown(seen: Seen) -> None:
    assert seen["plain"]["downloads"][1] == {"name": "page.html", "sha256": sha256_hex(ACTIVE)}
    assert seen["plain"]["dialogs"] == 0


@pytest.mark.parametrize(
    "name", ["plain", "locked", "named", "hostile", "plain, without script", "locked, without script", "zip", "zip, without script"]
)
def test_nothing_goes_wrong_and_nobody_else_is_asked(seen: Seen, site: Site, name: str) -> None:
    pages = [url for url in seen[name]["requests"] if "X-Amz-Signature" not in url]

    assert seen[name]["console"] == []
    assert seen[name]["dialogs"] == 0
    assert {urlsplit(url).netloc for url in pages} == {urlsplit(site.url).netloc}
    # Nothing beside the pages and the files themselves: no style, script, font, picture or icon.
    assert {urlsplit(url).path.split("/")[1] for url in pages} == {"s"}
    assert all(status in (200, 302, 303) for status in seen[name]["statuses"])


def test_page_says_what_there_is(seen: Seen) -> None:
    text = seen["plain, looked at"]["text"]

    for part in ("Bericht für März.pdf", "34 Bytes", "application/pdf", "For you.\nWith <b>love</b>.", "2100-01-01 00:00 UTC"):
        assert part in text
    assert "Downloads left" in text


def test_wrong_password_is_told_and_asked_for_again(seen: Seen) -> None:
    assert "The password is wrong" in seen["locked, wrong"]["text"]
    assert 403 in seen["locked, wrong"]["statuses"]


def test_hostile_names_are_shown_and_do_nothing(seen: Seen) -> None:
    for text in (*(safe_filename(name) for name in NAMES), "<script>alert(2)</script>"):
        assert text in seen["hostile"]["text"]
    assert seen["hostile"]["dialogs"] == 0
    assert seen["hostile"]["title"] == "Shared files · We-Upload"


def test_everybody_can_use_the_pages(seen: Seen) -> None:
    checked = {name: result["axe"] for name, result in seen.items() if result["axe"]}

    assert len(checked) >= 7
    assert {name: [each["violations"] for each in found] for name, found in checked.items()} == {
        name: [[]] * len(found) for name, found in checked.items()
    }
    assert all(each["passes"] > 10 for found in checked.values() for each in found)


def test_pages_fit_a_telephone(seen: Seen) -> None:
    widths = {name: result["widths"] for name, result in seen.items() if result["widths"]}

    assert len(widths) >= 6
    assert all(width <= (320, 1280)[number % 2] for found in widths.values() for number, width in enumerate(found))
