"""The page of file requests in a real browser: files arrive, refusals are said in words, nothing foreign runs, and everybody can use it."""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from lambda_app.core import clock
from tests.e2e.browser.conftest import Site
from tests.support.accounts import Account, make_account, sha256_hex

Seen = dict[str, Any]
REPORT = ("Bericht für März.pdf", "application/pdf", b"%PDF-1.7 what was asked for")
PICTURE = ("picture.png", "image/png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 1200)
LARGE = ("large.png", "image/png", b"x" * 2_001)
PAGE = ("page.html", "text/html", b"<script>alert(document.domain)</script>")
HOSTILE = ("<img src=x onerror=alert(1)>\u202egnp.txt", "text/plain", b"")
WORDS = "<img src=x onerror=alert(2)><script>alert(3)</script>"
LOOK = [{"axe": True}, {"resize": 320}, {"resize": 1280}]
OPEN_UNTIL = clock.now() + timedelta(days=30)
CLOSED = "This link does not exist or is no longer available"
SENT_ANYTHING = ["open", "refused", "full", "hostile", "ended meanwhile"]


def send(*files: tuple[str, str, bytes]) -> list[dict[str, Any]]:
    """Return the steps of somebody who chooses files and sends them, without a mouse."""
    chosen = [{"name": name, "type": type_, "base64": base64.b64encode(body).decode()} for name, type_, body in files]
    return [{"tab": "Files to send"}, {"choose": chosen}, {"tab": "Send", "role": "button"}, {"key": "Enter"}]


def make_request(client: httpx.Client, owner: Account, **fields: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/file-requests", json={"title": "Photos of the feast", **fields}, headers=owner.headers)
    made: dict[str, Any] = answer.raise_for_status().json()
    return made


def received(client: httpx.Client, owner: Account, request: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return type and digest of what has come by a request, by name, as its owner gets it."""
    files = client.get("/api/v1/files", params={"file_request_id": request["id"], "status": "available"}, headers=owner.headers).json()
    got = {}
    for file in files:
        link = client.get(f"/api/v1/files/download/{file['id']}", headers=owner.headers).json()
        got[file["filename"]] = (file["content_type"], sha256_hex(httpx.get(link["download_url"], trust_env=False).content))
        assert file["sha256"] == got[file["filename"]][1]
    return got


def as_received(*files: tuple[str, str, bytes]) -> dict[str, tuple[str, str]]:
    return {name: (type_, sha256_hex(body)) for name, type_, body in files}


@pytest.fixture(scope="module")
def owner(site: Site, client: httpx.Client) -> Account:
    """Somebody who asks for files."""
    return make_account(client, site.services)


@pytest.fixture(scope="module")
def requests(client: httpx.Client, owner: Account) -> dict[str, dict[str, Any]]:
    """File requests, each for one case."""
    picky = {"max_size_bytes": 2_000, "allowed_content_types": ["image/*"]}
    fields: dict[str, dict[str, Any]] = {
        "open": {"note": "All of them.\nWith <b>love</b>.", "expires_at": OPEN_UNTIL.isoformat()},
        "refused": picky,
        "refused, looked at": picky,
        "full": {"max_files": 1},
        "hostile": {"title": WORDS, "note": WORDS},
        "interrupted": {},
        "put off": {},
        "ended meanwhile": {},
        "revoked": {},
        "others": {},
    }
    made = {name: make_request(client, owner, **some) for name, some in fields.items()}
    client.delete(f"/api/v1/file-requests/{made['revoked']['id']}", headers=owner.headers).raise_for_status()
    return made


@pytest.fixture(scope="module")
def seen(
    site: Site, client: httpx.Client, owner: Account, requests: dict[str, dict[str, Any]], visit: Callable[[dict[str, Any]], Seen]
) -> Seen:
    """What a guest sees in each case, all in one browser."""
    url = {name: made["url"] for name, made in requests.items()}
    small = (PICTURE[0], PICTURE[1], PICTURE[2][:1_000])
    store = site.services.settings.aws_endpoint_url
    end = {"call": f"{site.url}/api/v1/file-requests/{requests['ended meanwhile']['id']}", "method": "DELETE", "headers": owner.headers}
    refused = [*send(LARGE, PAGE, small), {"see": "Received: 1 of 3. Not received: large.png, page.html."}]
    full = [*send(REPORT, PICTURE), {"see": f"Received: 1 of 2. Not received: {PICTURE[0]}."}, {"see": "you can still send: 0"}]
    again = [{"tab": f"Try again: {REPORT[0]}", "role": "button"}, {"key": "Enter"}]
    jobs: dict[str, Any] = {
        "open": {
            "url": url["open"],
            "steps": [*send(REPORT, PICTURE), {"see": "Received: 2 of 2."}, {"see": "you can still send: 98"}, {"progress": True}],
        },
        "refused": {"url": url["refused"], "steps": refused},
        "refused, looked at": {"url": url["refused, looked at"], "steps": [*refused, *LOOK], "dark": True},
        "full": {"url": url["full"], "steps": full},
        "hostile": {"url": url["hostile"], "steps": [*send(HOSTILE), {"see": "Received: 1 of 1."}]},
        "interrupted": {
            "url": url["interrupted"],
            "steps": [
                *({"store": "fail"}, *send(REPORT), {"see": "Received: 0 of 1."}, {"see": "The connection failed"}, {"axe": True}),
                *({"store": "work"}, *again, {"see": "Received: 1 of 1."}),
            ],
        },
        "put off": {
            "url": url["put off"],
            "steps": [{"busy": "too_many_uploads"}, *send(REPORT), {"see": "Waiting until"}, {"see": "Received: 1 of 1."}],
        },
        "under way": {
            "url": url["others"],
            "steps": [{"store": "wait"}, *send(REPORT), {"see": f"Sending {REPORT[0]}", "role": "progressbar"}, *LOOK],
        },
        "ended meanwhile": {"url": url["ended meanwhile"], "steps": [end, *send(REPORT), {"see": "This link is no longer available."}]},
        "looked at": {"url": url["others"], "steps": LOOK},
        "without script": {"url": url["others"], "steps": [], "script": False},
        "revoked": {"url": url["revoked"], "steps": []},
        "unknown": {"url": f"{site.url}/r/none", "steps": []},
        "unknown, looked at": {"url": f"{site.url}/r/none", "steps": LOOK},
        "framed": {"url": "about:blank", "steps": [{"frame": url["others"]}]},
        "attacked": {
            "url": url["others"],
            "steps": [
                {"attack": {"store": f"{store}/{site.services.settings.s3_bucket_name}", "elsewhere": f"{store}/other-bucket/nothing"}}
            ],
        },
    }
    return visit(jobs)


def test_every_case_went_to_its_end(seen: Seen) -> None:
    assert {name: result["failed"] for name, result in seen.items() if "failed" in result} == {}


def test_files_sent_by_the_keyboard_are_their_owners(seen: Seen, client: httpx.Client, owner: Account, requests: Seen) -> None:
    assert received(client, owner, requests["open"]) == as_received(REPORT, PICTURE)
    assert seen["open"]["progress"] == [[len(REPORT[2]), len(REPORT[2])], [len(PICTURE[2]), len(PICTURE[2])]]
    for part in ("Photos of the feast", "With <b>love</b>.", "Largest file: 1.0 GiB", f"{OPEN_UNTIL:%Y-%m-%d}", "300.0 KiB"):
        assert part in seen["open"]["text"]


def test_refusals_are_said_in_words_and_keep_nothing_else_back(seen: Seen, client: httpx.Client, owner: Account, requests: Seen) -> None:
    text = seen["refused"]["text"]

    assert "This file is larger than this request allows." in text
    assert "This file request does not accept files of this type" in text
    # Another try would not help.
    assert "Try again" not in text
    assert received(client, owner, requests["refused"]) == as_received((PICTURE[0], PICTURE[1], PICTURE[2][:1_000]))


def test_full_request_says_so(seen: Seen, client: httpx.Client, owner: Account, requests: Seen) -> None:
    assert "This file request accepts no more files" in seen["full"]["text"]
    assert received(client, owner, requests["full"]) == as_received(REPORT)


def test_interrupted_upload_goes_on_in_its_place(seen: Seen, client: httpx.Client, owner: Account, requests: Seen) -> None:
    request = client.get(f"/api/v1/file-requests/{requests['interrupted']['id']}", headers=owner.headers).json()

    assert received(client, owner, requests["interrupted"]) == as_received(REPORT)
    assert request["file_count"] == 1
    assert "Try again" not in seen["interrupted"]["text"]


def test_page_comes_again_when_it_is_told_to(seen: Seen, client: httpx.Client, owner: Account, requests: Seen) -> None:
    assert received(client, owner, requests["put off"]) == as_received(REPORT)
    # Both its start and its end were put off.
    assert seen["put off"]["statuses"].count(429) == 2


def test_link_that_ends_meanwhile_is_said_to_have_ended(seen: Seen, client: httpx.Client, owner: Account, requests: Seen) -> None:
    assert received(client, owner, requests["ended meanwhile"]) == {}
    assert seen["ended meanwhile"]["statuses"][0] == 200


def test_closed_and_unknown_links_are_one_page(seen: Seen) -> None:
    assert CLOSED in seen["unknown"]["text"]
    assert seen["revoked"]["statuses"] == seen["unknown"]["statuses"] == [404]
    assert (seen["revoked"]["text"], seen["revoked"]["title"]) == (seen["unknown"]["text"], seen["unknown"]["title"])


def test_page_without_script_says_what_to_do(seen: Seen) -> None:
    for part in ("requires JavaScript", "curl $LINK/files", "Photos of the feast"):
        assert part in seen["without script"]["text"]
    assert "requires JavaScript" not in seen["looked at"]["text"]


def test_hostile_names_and_words_are_shown_and_do_nothing(seen: Seen, client: httpx.Client, owner: Account, requests: Seen) -> None:
    # The owner gets the name as it was sent; on pages the mark that turns text round is left out.
    assert received(client, owner, requests["hostile"]) == as_received(HOSTILE)
    assert HOSTILE[0].replace("\u202e", "") in seen["hostile"]["text"]
    assert "\u202e" not in seen["hostile"]["text"]
    assert seen["hostile"]["text"].count(WORDS) == 2
    assert seen["hostile"]["title"] == f"{WORDS} · We-Upload"


@pytest.mark.parametrize("name", SENT_ANYTHING)
def test_nothing_goes_wrong_and_nobody_else_is_asked(seen: Seen, site: Site, requests: Seen, name: str) -> None:
    pages = [url for url in seen[name]["requests"] if "X-Amz-Signature" not in url]
    bucket = f"{site.services.settings.aws_endpoint_url}/{site.services.settings.s3_bucket_name}/"

    # A refusal is a line of the browser's own.
    assert [line for line in seen[name]["console"] if "Failed to load resource: the server responded with a status of 4" not in line] == []
    assert seen[name]["dialogs"] == 0
    assert {urlsplit(url).netloc for url in pages} == {urlsplit(site.url).netloc}
    assert all(urlsplit(url).path.startswith(f"/r/{requests[name]['token']}") for url in pages)
    assert all(url.startswith(bucket) for url in seen[name]["requests"] if url not in pages)
    # The link is a secret; nobody is told that one came from it.
    assert seen[name]["referrers"] == []
    if name != "ended meanwhile":
        assert len(pages) < len(seen[name]["requests"])


def test_page_is_not_shown_in_anothers_frame(seen: Seen) -> None:
    address, text = seen["framed"]["framed"]

    assert address == "chrome-error://chromewebdata/"
    assert "Photos of the feast" not in text
    assert any("frame-ancestors 'none'" in line for line in seen["framed"]["console"])


def test_foreign_script_gets_nowhere(seen: Seen) -> None:
    # Only the bucket itself can be reached.
    assert seen["attacked"]["attack"]["refused"] == ["markup", "script", "module", "words", "elsewhere"]
    assert seen["attacked"]["attack"]["violated"] == [
        "connect-src",
        "img-src",
        "require-trusted-types-for",
        "script-src-elem",
        "style-src-elem",
    ]
    assert seen["attacked"]["attack"]["hasRun"] is False


def test_everybody_can_use_the_page(seen: Seen) -> None:
    checked = {name: result["axe"] for name, result in seen.items() if result["axe"]}

    assert sorted(checked) == ["interrupted", "looked at", "refused, looked at", "under way", "unknown, looked at"]
    assert {name: [each["violations"] for each in found] for name, found in checked.items()} == {
        name: [[]] * len(found) for name, found in checked.items()
    }
    assert all(each["passes"] > 10 for found in checked.values() for each in found)


def test_page_fits_a_telephone(seen: Seen) -> None:
    widths = {name: result["widths"] for name, result in seen.items() if result["widths"]}

    assert len(widths) == 4
    assert all(width <= (320, 1280)[number % 2] for found in widths.values() for number, width in enumerate(found))
