"""The page of file requests in a real browser: uploads, error messages, the content security policy, and accessibility."""

import base64
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from we_upload.receipts import verify_receipt

from lambda_app.core import clock
from tests.e2e.browser.conftest import Site
from tests.e2e.browser.steps import delay_receipt
from tests.support.accounts import Account, make_account, sha256_hex

Results = dict[str, Any]
REPORT = ("Bericht für März.pdf", "application/pdf", b"%PDF-1.7 the requested report")
PICTURE = ("picture.png", "image/png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 1200)
LARGE = ("large.png", "image/png", b"x" * 2_001)
PAGE = ("page.html", "text/html", b"<script>alert(document.domain)</script>")
HOSTILE = ("<img src=x onerror=alert(1)>\u202egnp.txt", "text/plain", b"")
MARKUP = "<img src=x onerror=alert(2)><script>alert(3)</script>"
FILM: dict[str, Any] = {"name": "film.mp4", "type": "video/mp4", "size": 40 * 1024**2}
"""Five parts of 8 MiB."""
INSPECT = [{"axe": True}, {"resize": 320}, {"resize": 1280}]
OPEN_UNTIL = clock.now() + timedelta(days=30)
CLOSED = "This link does not exist or is no longer available"
JOBS_THAT_SEND = ["open", "refused", "full", "hostile", "revoked meanwhile"]


def send(*files: tuple[str, str, bytes]) -> list[dict[str, Any]]:
    """Return the steps that choose and send files with the keyboard."""
    chosen = [{"name": name, "type": type_, "base64": base64.b64encode(body).decode()} for name, type_, body in files]
    return [{"tab": "Choose files"}, {"choose": chosen}]


def send_film(*, is_kept: bool = False) -> list[dict[str, Any]]:
    """Return the steps that choose and send the film, for the first time or again."""
    chosen = {**FILM, "isKept": is_kept}
    return [{"tab": "Choose files"}, {"choose": [chosen]}]


def make_request(client: httpx.Client, owner: Account, **fields: Any) -> dict[str, Any]:
    response = client.post("/api/v1/file-requests", json={"title": "Photos of the feast", **fields}, headers=owner.headers)
    created: dict[str, Any] = response.raise_for_status().json()
    return created


def received(client: httpx.Client, owner: Account, request: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return content type and digest of the files that the owner received through a file request, by name."""
    files = client.get("/api/v1/files", params={"file_request_id": request["id"], "status": "available"}, headers=owner.headers).json()
    files_by_name = {}
    for file in files:
        link = client.get(f"/api/v1/files/download/{file['id']}", headers=owner.headers).json()
        files_by_name[file["filename"]] = (file["content_type"], sha256_hex(httpx.get(link["download_url"], trust_env=False).content))
        assert file["sha256"] == files_by_name[file["filename"]][1]
    return files_by_name


def as_received(*files: tuple[str, str, bytes]) -> dict[str, tuple[str, str]]:
    return {name: (type_, sha256_hex(body)) for name, type_, body in files}


@pytest.fixture(scope="module")
def owner(site: Site, client: httpx.Client) -> Account:
    """The owner of the file requests."""
    return make_account(site.services)


@pytest.fixture(scope="module")
def requests(client: httpx.Client, owner: Account) -> dict[str, dict[str, Any]]:
    """One file request for each job."""
    picky = {"max_size_bytes": 2_000, "allowed_content_types": ["image/*"]}
    fields: dict[str, dict[str, Any]] = {
        "open": {"note": "All of them.\nWith <b>love</b>.", "expires_at": OPEN_UNTIL.isoformat()},
        "refused": picky,
        "refused, inspected": picky,
        "full": {"max_files": 1},
        "hostile": {"title": MARKUP, "note": MARKUP},
        "interrupted": {},
        "throttled": {},
        "parts": {},
        "cancelled": {"max_files": 1},
        "revoked meanwhile": {},
        "revoked": {},
        "others": {},
    }
    created = {name: make_request(client, owner, **options) for name, options in fields.items()}
    client.delete(f"/api/v1/file-requests/{created['revoked']['id']}", headers=owner.headers).raise_for_status()
    return created


@pytest.fixture(scope="module")
def results(
    site: Site,
    client: httpx.Client,
    owner: Account,
    requests: dict[str, dict[str, Any]],
    visit: Callable[[dict[str, Any]], Results],
    sealing: Callable[[], AbstractContextManager[None]],
) -> Results:
    """The results of all jobs, run in one browser."""
    url = {name: request["url"] for name, request in requests.items()}
    small = (PICTURE[0], PICTURE[1], PICTURE[2][:1_000])
    store = site.services.settings.aws_endpoint_url
    end = {"call": f"{site.url}/api/v1/file-requests/{requests['revoked meanwhile']['id']}", "method": "DELETE", "headers": owner.headers}
    refused = [*send(LARGE, PAGE, small), {"see": "1 of 3 files have arrived. Missing: large.png, page.html."}]
    full = [*send(REPORT, PICTURE), {"see": f"1 of 2 files have arrived. Missing: {PICTURE[0]}."}, {"see": "you can still send: 0"}]
    again = [{"tab": f"Try again: {REPORT[0]}", "role": "button"}, {"key": "Enter"}]
    receipt_button = f"Download receipt: {PICTURE[0]}"
    jobs: dict[str, Any] = {
        "open": {
            "url": url["open"],
            "steps": [
                *(*send(REPORT, PICTURE), {"see": "All 2 files have arrived"}, {"see": "you can still send: 98"}, {"progress": True}),
                *(
                    delay_receipt("/receipt$", "POST"),
                    {"click": receipt_button},
                    {"see": "available in about a minute"},
                ),
                *({"see": "The receipt is saved."}, {"download": receipt_button, "role": "button", "isText": True}),
            ],
        },
        "refused": {"url": url["refused"], "steps": refused},
        "refused, inspected": {"url": url["refused, inspected"], "steps": [*refused, *INSPECT], "dark": True},
        "full": {"url": url["full"], "steps": full},
        "hostile": {"url": url["hostile"], "steps": [*send(HOSTILE), {"see": "The file has arrived"}]},
        "interrupted": {
            "url": url["interrupted"],
            "steps": [
                *({"store": "fail"}, *send(REPORT), {"see": "0 of 1 files have arrived."}, {"see": "The connection failed"}, {"axe": True}),
                *({"store": "work"}, *again, {"see": "The file has arrived"}),
            ],
        },
        "throttled": {
            "url": url["throttled"],
            "steps": [{"busy": "too_many_uploads"}, *send(REPORT), {"see": "Waiting until"}, {"see": "The file has arrived"}],
        },
        "parts": {
            "url": url["parts"],
            "steps": [
                # Part 2 is sent again by itself when the line is back. Part 3 is under way when the page is loaded again.
                *({"store": "wait", "address": "partNumber=3&"}, {"store": "fail", "address": "partNumber=2&"}),
                *(*send_film(), {"stored": 3}, {"store": "work", "address": "partNumber=2&"}, {"stored": 4}),
                *({"reload": True}, {"see": "Sent in part."}, {"store": "work", "address": "partNumber=3&"}, {"axe": True}),
                *(*send(PICTURE), *send_film(is_kept=True), {"see": "All 2 files have arrived"}),
            ],
        },
        "cancelled": {
            "url": url["cancelled"],
            "steps": [
                *({"store": "wait"}, *send_film(), {"see": "Sending …"}, {"tab": "Cancel: film.mp4", "role": "button"}, {"key": "Enter"}),
                *({"see": "Cancelled"}, {"see": "you can still send: 1"}),
                *({"store": "work"}, {"tab": "Try again: film.mp4", "role": "button"}, {"key": "Enter"}, {"see": "The file has arrived"}),
            ],
        },
        "uploading": {
            "url": url["others"],
            "steps": [{"store": "wait"}, *send(REPORT), {"see": f"Sending {REPORT[0]}", "role": "progressbar"}, *INSPECT],
        },
        "revoked meanwhile": {"url": url["revoked meanwhile"], "steps": [end, *send(REPORT), {"see": "This link is no longer available."}]},
        "inspected": {"url": url["others"], "steps": INSPECT},
        "without script": {"url": url["others"], "steps": [], "script": False},
        "revoked": {"url": url["revoked"], "steps": []},
        "unknown": {"url": f"{site.url}/r/none", "steps": []},
        "unknown, inspected": {"url": f"{site.url}/r/none", "steps": INSPECT},
        "framed": {"url": "about:blank", "steps": [{"frame": url["others"]}]},
        "attacked": {
            "url": url["others"],
            "steps": [
                {"attack": {"store": f"{store}/{site.services.settings.s3_bucket_name}", "elsewhere": f"{store}/other-bucket/nothing"}}
            ],
        },
    }
    with sealing():
        return visit(jobs)


def test_every_job_completed(results: Results) -> None:
    assert {name: result["failed"] for name, result in results.items() if "failed" in result} == {}


def test_files_sent_by_keyboard_belong_to_the_owner(results: Results, client: httpx.Client, owner: Account, requests: Results) -> None:
    assert received(client, owner, requests["open"]) == as_received(REPORT, PICTURE)
    assert results["open"]["progress"] == [[len(REPORT[2]), len(REPORT[2])], [len(PICTURE[2]), len(PICTURE[2])]]
    for part in ("Photos of the feast", "With <b>love</b>.", "Largest file: 1.07 GB", "Open for 29 more days", "307 KB"):
        assert part in results["open"]["text"]


def test_guest_saves_a_receipt_that_verifies(results: Results, client: httpx.Client, tmp_path: Path) -> None:
    (saved,) = results["open"]["downloads"]
    keys = client.get("/.well-known/we-upload/log-key").text
    (tmp_path / "picture").write_bytes(PICTURE[2])

    (event,) = verify_receipt(saved["text"].encode(), keys, file=tmp_path / "picture")

    assert saved["name"] == f"{PICTURE[0]}.receipt.json"
    assert (event.action, event.details["filename"]) == ("file.available", PICTURE[0])


def test_refused_files_show_messages_and_others_are_sent(results: Results, client: httpx.Client, owner: Account, requests: Results) -> None:
    text = results["refused"]["text"]

    assert "This file is larger than this request allows." in text
    assert "This file request does not accept files of this type" in text
    # A retry cannot succeed, so the page does not offer it.
    assert "Try again" not in text
    assert received(client, owner, requests["refused"]) == as_received((PICTURE[0], PICTURE[1], PICTURE[2][:1_000]))


def test_full_request_shows_a_message(results: Results, client: httpx.Client, owner: Account, requests: Results) -> None:
    assert "This file request accepts no more files" in results["full"]["text"]
    assert received(client, owner, requests["full"]) == as_received(REPORT)


def test_interrupted_upload_is_resumed_as_the_same_file(results: Results, client: httpx.Client, owner: Account, requests: Results) -> None:
    request = client.get(f"/api/v1/file-requests/{requests['interrupted']['id']}", headers=owner.headers).json()

    assert received(client, owner, requests["interrupted"]) == as_received(REPORT)
    assert request["file_count"] == 1
    assert "Try again" not in results["interrupted"]["text"]


def test_large_file_is_sent_in_parts_and_resumed_after_a_broken_line_and_a_reload(
    results: Results, client: httpx.Client, owner: Account, requests: Results
) -> None:
    files = client.get("/api/v1/files", params={"file_request_id": requests["parts"]["id"]}, headers=owner.headers).json()
    attempts = [url.split("partNumber=")[1].split("&")[0] for url in results["parts"]["requests"] if "partNumber=" in url]

    assert {(file["filename"], file["size_bytes"], file["status"]) for file in files} == {
        ("film.mp4", FILM["size"], "available"),
        (PICTURE[0], len(PICTURE[2]), "available"),
    }
    # Parts that were stored are not sent again.
    assert [attempts.count(number) for number in "145"] == [1, 1, 1]
    assert attempts.count("3") == 2


def test_cancelled_upload_leaves_its_place_to_the_next(results: Results, client: httpx.Client, owner: Account, requests: Results) -> None:
    files = client.get("/api/v1/files", params={"file_request_id": requests["cancelled"]["id"]}, headers=owner.headers).json()

    assert [(file["filename"], file["status"]) for file in files] == [("film.mp4", "available")]
    assert results["cancelled"]["statuses"].count(204) == 1


def test_page_retries_after_the_requested_delay(results: Results, client: httpx.Client, owner: Account, requests: Results) -> None:
    assert received(client, owner, requests["throttled"]) == as_received(REPORT)
    # Both the start and the completion of the upload were throttled.
    assert results["throttled"]["statuses"].count(429) == 2


def test_link_revoked_meanwhile_shows_a_message(results: Results, client: httpx.Client, owner: Account, requests: Results) -> None:
    assert received(client, owner, requests["revoked meanwhile"]) == {}
    assert results["revoked meanwhile"]["statuses"][0] == 200


def test_closed_and_unknown_links_show_the_same_page(results: Results) -> None:
    assert CLOSED in results["unknown"]["text"]
    assert results["revoked"]["statuses"] == results["unknown"]["statuses"] == [404]
    assert (results["revoked"]["text"], results["revoked"]["title"]) == (results["unknown"]["text"], results["unknown"]["title"])


def test_page_without_javascript_shows_instructions(results: Results) -> None:
    for part in ("requires JavaScript", "curl $LINK/files", "Photos of the feast"):
        assert part in results["without script"]["text"]
    assert "requires JavaScript" not in results["inspected"]["text"]


def test_hostile_names_and_texts_are_shown_as_text(results: Results, client: httpx.Client, owner: Account, requests: Results) -> None:
    # The owner gets the original name. Pages omit the right-to-left override.
    assert received(client, owner, requests["hostile"]) == as_received(HOSTILE)
    assert HOSTILE[0].replace("\u202e", "") in results["hostile"]["text"]
    assert "\u202e" not in results["hostile"]["text"]
    assert results["hostile"]["text"].count(MARKUP) == 2
    assert results["hostile"]["title"] == f"{MARKUP} · We-Upload"


@pytest.mark.parametrize("name", JOBS_THAT_SEND)
def test_page_requests_only_its_own_site_and_the_bucket(results: Results, site: Site, requests: Results, name: str) -> None:
    pages = [url for url in results[name]["requests"] if "X-Amz-Signature" not in url]
    bucket = f"{site.services.settings.aws_endpoint_url}/{site.services.settings.s3_bucket_name}/"

    # The browser itself logs each 4xx response.
    client_error = "Failed to load resource: the server responded with a status of 4"
    assert [line for line in results[name]["console"] if client_error not in line] == []
    assert results[name]["dialogs"] == 0
    assert {urlsplit(url).netloc for url in pages} == {urlsplit(site.url).netloc}
    assert all(urlsplit(url).path.startswith(f"/r/{requests[name]['token']}") for url in pages)
    assert all(url.startswith(bucket) for url in results[name]["requests"] if url not in pages)
    # The link is a secret and must not be sent as a referrer.
    assert results[name]["referrers"] == []
    if name != "revoked meanwhile":
        assert len(pages) < len(results[name]["requests"])


def test_page_cannot_be_framed_by_another_site(results: Results) -> None:
    address, text = results["framed"]["framed"]

    assert address == "chrome-error://chromewebdata/"
    assert "Photos of the feast" not in text
    assert any("frame-ancestors 'none'" in line for line in results["framed"]["console"])


def test_injected_script_is_blocked(results: Results) -> None:
    # The policy allows connections to the bucket only.
    assert results["attacked"]["attack"]["refused"] == ["markup", "script", "module", "words", "elsewhere"]
    assert results["attacked"]["attack"]["violated"] == [
        "connect-src",
        "img-src",
        "require-trusted-types-for",
        "script-src-elem",
        "style-src-elem",
    ]
    assert results["attacked"]["attack"]["hasRun"] is False


def test_page_has_no_accessibility_violations(results: Results) -> None:
    checked = {name: result["axe"] for name, result in results.items() if result["axe"]}

    assert sorted(checked) == ["inspected", "interrupted", "parts", "refused, inspected", "unknown, inspected", "uploading"]
    assert {name: [each["violations"] for each in found] for name, found in checked.items()} == {
        name: [[]] * len(found) for name, found in checked.items()
    }
    assert all(each["passes"] > 10 for found in checked.values() for each in found)


def test_page_fits_a_narrow_screen(results: Results) -> None:
    widths = {name: result["widths"] for name, result in results.items() if result["widths"]}

    assert len(widths) == 4
    assert all(width <= (320, 1280)[number % 2] for found in widths.values() for number, width in enumerate(found))
