"""Uploads of the web app in a real browser when something goes wrong, and ways to add files."""

import base64
import hashlib
import os
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from infra.local.object_store import ObjectStoreServer
from infra.local.workers import running_workers
from tests.e2e.browser.conftest import Site
from tests.e2e.browser.steps import Results, Steps, failures, keeps_policy, sign_in
from tests.support.accounts import Account, make_account

MIB = 1024**2
PARTS: dict[str, Any] = {"name": "recording.bin", "size": 72 * MIB}
"""Above 64 MiB, the app uploads in parts: nine of 8 MiB."""
LANES_MAX = 10
"""The most parts of a file that the uploader sends at the same time."""
HUGE_MIB = int(os.environ.get("BROWSER_MIB", "256"))
HUGE: dict[str, Any] = {"name": "huge.bin", "size": HUGE_MIB * MIB}
HUGE_MS = max(180_000, 500 * HUGE_MIB)
"""How long the upload of the huge file may take, beside other work."""
SLOW = 24 * MIB
"""Bytes per second at which a part takes a third of a second."""
BIDI = "invoice\u202egnp.exe"
EMOJI = "👩‍👩‍👧 שלום مرحبا.txt"
FOLDER = {"photos/2026/a.txt": "a", "photos/2026/b.txt": "b", "photos/c.txt": "c"}
MANY_FILES = int(os.environ.get("BROWSER_FILES", "200"))
UNEXPECTED = ("Uncaught", "uncaught", "Content Security Policy", "TrustedScript")


def small(name: str, body: bytes = b"hello", content_type: str = "text/plain") -> dict[str, str]:
    return {"name": name, "type": content_type, "base64": base64.b64encode(body).decode()}


JOBS = (
    *("offline", "token", "session", "part refused", "parts refused", "quota", "changed", "names", "empty", "folder", "paste and drop"),
    *("two tabs", "many", "killed"),
)


def job(site: Site, account: Account, steps: Steps) -> dict[str, Any]:
    """Return a job of a new account, from the sign-in."""
    signed_in: Steps = [*sign_in(account.email, account.password), {"see": "Drop your first files here"}]
    return {"url": f"{site.url}/", "steps": [*signed_in, *steps]}


@pytest.fixture(scope="module")
def accounts(site: Site, client: httpx.Client) -> dict[str, Account]:
    """An account for each job."""
    made = {name: make_account(site.services) for name in JOBS}
    operator = make_account(site.services, is_superuser=True)
    limit = {"quota_bytes": 10 * MIB}
    client.patch(f"/api/v1/users/{made['quota'].id}", json=limit, headers=operator.headers).raise_for_status()
    return made


@pytest.fixture(scope="module")
def results(site: Site, accounts: dict[str, Account], visit: Callable[[dict[str, Any]], Results]) -> Results:
    """The results of all jobs, run in one browser."""
    upload: Steps = [{"upload": "Choose files", "files": [PARTS]}]
    slowly: Steps = [{"slow": SLOW}, *upload, {"sent": 20}]
    done = {"see": "1 file verified", "timeout": 120_000}
    store = {"address": "X-Amz-Signature", "method": "PUT"}
    steps: dict[str, Steps] = {
        "offline": [
            *(*slowly, {"network": "off"}, {"see": "No connection. Uploads go on when it is back."}),
            *({"see": "No answer, trying again"}, {"network": "on"}, done),
        ],
        "token": [
            {"refuse": {"address": "/complete", "method": "POST", "status": 401, "code": "not_authenticated", "times": 1}},
            *(*upload, done),
        ],
        "session": [
            {"refuse": {"address": "/session/refresh", "method": "POST", "status": 401, "code": "not_authenticated", "times": 1}},
            {"refuse": {"address": "/complete", "method": "POST", "status": 401, "code": "not_authenticated", "times": 1}},
            {"upload": "Choose files", "files": [small("kept.txt")]},
            {"see": "Sign in, and the uploads on this page continue."},
            {"fill": "Password", "value": accounts["session"].password, "within": "dialog"},
            *({"click": "Sign in", "within": "dialog"}, done),
        ],
        "part refused": [{"refuse": {**store, "status": 403, "code": "AccessDenied", "times": 1}}, *upload, done],
        "parts refused": [
            *({"refuse": {**store, "status": 400, "code": "InvalidRequest", "times": 1000}}, *upload),
            *({"see": "The storage refused the file. Try again.", "timeout": 120_000}, {"axe": True}),
            *({"store": "work"}, {"click": "Try again"}, done),
        ],
        "quota": [*upload, {"see": "Not enough room. Empty the trash or delete files, then try again."}],
        "changed": [*slowly, {"append": PARTS["name"]}, {"see": "Changed while it was sent. Nothing was stored."}],
        "names": [
            {"upload": "Choose files", "files": [small(BIDI), small(EMOJI)]},
            {"see": "All 2 verified"},
            {"axe": True},
            {"resize": 320},
        ],
        "empty": [{"upload": "Choose files", "files": [{"name": "empty.txt", "size": 0}]}, done],
        "folder": [
            *({"click": "More ways to upload"}, {"uploadFolder": "album", "item": "Choose a folder", "files": FOLDER}),
            {"see": "All 3 verified"},
        ],
        "paste and drop": [
            *({"paste": [small("image.png", b"\x89PNG\r\n\x1a\n", "image/png")]}, done),
            *({"drop": [small("dropped.txt")]}, {"see": "All 2 verified"}),
        ],
        "two tabs": [
            *({"slow": SLOW}, *upload, {"sent": 10}),
            {"secondTab": [{"upload": "Upload files", "files": [{**PARTS, "isKept": True}]}, done]},
            done,
        ],
    }
    jobs = {name: job(site, accounts[name], steps[name]) for name in steps}
    loads = {f"first load {number}": {"url": f"{site.url}/", "cpuSlowdown": 4, "steps": [{"focused": "E-mail"}]} for number in range(3)}
    with running_workers(site.services):
        return visit(keeps_policy({**loads, **jobs}))


@pytest.fixture(scope="module")
def large_results(
    site: Site, s3_server: ObjectStoreServer, accounts: dict[str, Account], visit: Callable[[dict[str, Any]], Results]
) -> Results:
    """The results of the jobs that move many files or many bytes, run in a browser of their own."""
    again: Steps = [
        *({"see": "Choose the file again to go on"}, {"upload": "Choose file", "files": [{**HUGE, "isKept": True}]}),
        {"see": "1 file verified", "timeout": HUGE_MS},
    ]
    steps: dict[str, Steps] = {
        "many": [
            {"upload": "Choose files", "files": [{"name": f"small-{number}.txt", "size": number} for number in range(MANY_FILES)]},
            {"see": f"All {MANY_FILES:,} verified", "timeout": 600_000},
        ],
        "killed": [
            *({"slow": SLOW}, {"upload": "Choose files", "files": [HUGE]}, {"sent": 50, "timeout": HUGE_MS}),
            {"newTab": f"{site.url}/files", "steps": again},
        ],
    }
    with running_workers(site.services, s3_server.events):
        return visit(keeps_policy({name: job(site, accounts[name], steps[name]) for name in steps}))


def stored(client: httpx.Client, account: Account) -> list[tuple[str, int, str]]:
    """Return name, size and status of the account's files."""
    files = client.get("/api/v1/files", headers=account.headers, params={"limit": 100}).raise_for_status().json()
    return sorted((file["filename"], file["size_bytes"], file["status"]) for file in files)


def parts_sent(requests: list[str]) -> int:
    return sum("partNumber=" in url and "X-Amz-Signature" in url for url in requests)


def test_every_job_completed(results: Results, large_results: Results) -> None:
    assert failures({**results, **large_results}) == {}


@pytest.mark.parametrize("name", ["offline", "token", "part refused", "parts refused"])
def test_upload_survives_a_fault(results: Results, client: httpx.Client, accounts: dict[str, Account], name: str) -> None:
    assert "failed" not in results[name]
    assert stored(client, accounts[name]) == [(PARTS["name"], PARTS["size"], "available")]


def test_refused_token_is_renewed_once(results: Results) -> None:
    assert sum(url.endswith("/session/refresh") for url in results["token"]["requests"]) == 1
    assert results["token"]["statuses"].count(401) == 1


def test_upload_continues_after_the_session_has_ended(client: httpx.Client, results: Results, accounts: dict[str, Account]) -> None:
    assert "failed" not in results["session"]
    assert stored(client, accounts["session"]) == [("kept.txt", 5, "available")]


@pytest.mark.parametrize("name", ["quota", "changed"])
def test_nothing_is_stored_of_a_refused_upload(client: httpx.Client, results: Results, accounts: dict[str, Account], name: str) -> None:
    assert "failed" not in results[name]
    assert [status for _, _, status in stored(client, accounts[name]) if status == "available"] == []


def test_names_are_stored_as_they_are(client: httpx.Client, results: Results, accounts: dict[str, Account]) -> None:
    assert stored(client, accounts["names"]) == sorted([(BIDI, 5, "available"), (EMOJI, 5, "available")])
    assert max(results["names"]["widths"]) <= 320


def test_empty_file_is_stored(client: httpx.Client, results: Results, accounts: dict[str, Account]) -> None:
    assert "failed" not in results["empty"]
    assert stored(client, accounts["empty"]) == [("empty.txt", 0, "available")]


def test_folder_is_uploaded_with_all_its_files(client: httpx.Client, results: Results, accounts: dict[str, Account]) -> None:
    assert "failed" not in results["folder"]
    assert [name for name, _, _ in stored(client, accounts["folder"])] == ["a.txt", "b.txt", "c.txt"]


def test_pasted_picture_gets_a_name_of_its_own(client: httpx.Client, results: Results, accounts: dict[str, Account]) -> None:
    assert "failed" not in results["paste and drop"]
    pasted, dropped = (name for name, _, _ in stored(client, accounts["paste and drop"]))
    assert dropped == "dropped.txt"
    assert pasted.startswith("Pasted 20")
    assert pasted.endswith(".png")


def test_two_tabs_upload_the_same_file_without_disturbing_each_other(
    client: httpx.Client, results: Results, accounts: dict[str, Account]
) -> None:
    assert "failed" not in results["two tabs"]
    assert stored(client, accounts["two tabs"]) == [(PARTS["name"], PARTS["size"], "available")] * 2


def test_many_files_are_uploaded_in_one_go(client: httpx.Client, large_results: Results, accounts: dict[str, Account]) -> None:
    assert "failed" not in large_results["many"]
    usage = client.get("/api/v1/users/me/usage", headers=accounts["many"].headers).json()
    assert (usage["files_count"], usage["bytes_used"]) == (MANY_FILES, sum(range(MANY_FILES)))
    # The events of the store complete the uploads.
    assert sum(url.endswith("/complete") for url in large_results["many"]["requests"]) < MANY_FILES / 10


def test_upload_of_a_killed_tab_goes_on_where_it_was(client: httpx.Client, large_results: Results, accounts: dict[str, Account]) -> None:
    result, account = large_results["killed"], accounts["killed"]
    assert "failed" not in result
    part_count = HUGE["size"] // (8 * MIB)
    (mark,) = result["marks"]

    assert part_count * 0.4 < parts_sent(result["requests"][:mark]) < part_count * 0.9
    assert parts_sent(result["requests"]) <= part_count + LANES_MAX
    (file,) = client.get("/api/v1/files", headers=account.headers).json()
    link = client.get(f"/api/v1/files/download/{file['id']}", headers=account.headers).json()["download_url"]
    digest, expected = hashlib.sha256(), hashlib.sha256()
    with httpx.stream("GET", link, trust_env=False, timeout=60) as response:
        for chunk in response.iter_bytes(8 * MIB):
            digest.update(chunk)
    for _ in range(part_count):
        expected.update(bytes(8 * MIB))
    assert digest.hexdigest() == expected.hexdigest()


def test_first_load_is_interactive_within_a_second_on_a_slow_processor(results: Results) -> None:
    assert min(results[f"first load {number}"]["interactive"] for number in range(3)) < 1_000


def test_browser_reports_no_violation_of_the_policy(results: Results) -> None:
    for result in results.values():
        assert [message for message in result["console"] if any(text in message for text in UNEXPECTED)] == []


def test_failed_uploads_have_no_accessibility_violations(results: Results) -> None:
    reports = [report for result in results.values() for report in result["axe"]]

    assert len(reports) == 2
    assert [report["violations"] for report in reports if report["violations"]] == []
