"""Stock Uppy 5 and 6, unchanged from the registry, upload from a page of another origin: single, in parts, pause, reload, cancel, quota."""

import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from infra.local.object_store import ObjectStoreServer
from infra.toolchain import BROWSER, UPPY_PAGES
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.storage.object_store import MultipartResult, StoredObject, StoredPart
from lambda_app.storage.parts import plan_parts
from tests.support.accounts import Account, make_account
from tests.support.http_server import serving

Results = dict[str, Any]
Steps = list[dict[str, Any]]
MIB = 1024**2
SMALL: dict[str, Any] = {"name": "small.bin", "size": 3 * MIB + 5}
LARGE: dict[str, Any] = {"name": "large.bin", "size": 20 * MIB + 7}
"""Three parts."""
LONG: dict[str, Any] = {"name": "long.bin", "size": 40 * MIB + 3}
"""Six parts."""
HUGE: dict[str, Any] = {"name": "huge.bin", "size": 1200 * 8 * MIB}
SEEDED_COUNT = 1190
"""Parts of the huge file that the store already has; a listing of S3 has 1,000 parts a page."""
SLOW_BYTES_PER_SECOND = 4 * MIB
PART_PUT = re.compile(r"[?&]partNumber=(\d+)&")
FINISHED: Steps = [{"see": "complete: large.bin"}]


@dataclass
class SeededStore:
    """The object store, which reports parts of one upload that were never sent: 9 GiB need not be stored."""

    store: Any
    seeded: dict[str, tuple[int, list[StoredPart]]] = field(default_factory=dict)
    """By key: the size of the file, and its parts."""
    completed: dict[str, int] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def seed(self, key: str, size_bytes: int, count: int) -> None:
        """Report the first `count` parts as uploaded."""
        plan = plan_parts(size_bytes)
        self.seeded[key] = size_bytes, [StoredPart(number, plan.part_size_bytes, f'"{number}"') for number in range(1, count + 1)]

    def list_parts(self, key: str, upload_id: str) -> list[StoredPart] | None:
        """Return the seeded and the stored parts."""
        parts: list[StoredPart] | None = self.store.list_parts(key, upload_id)
        return parts if parts is None or key not in self.seeded else [*self.seeded[key][1], *parts]

    def complete_multipart(self, *, key: str, parts: list[StoredPart], **options: Any) -> MultipartResult:
        """Complete a seeded upload without its content."""
        if key not in self.seeded:
            result: MultipartResult = self.store.complete_multipart(key=key, parts=parts, **options)
            return result
        self.completed[key] = sum(part.size_bytes for part in parts)
        return MultipartResult.COMPLETED

    def head(self, key: str) -> StoredObject | None:
        """Return the metadata of an object."""
        if key in self.completed:
            return StoredObject(self.completed[key], "application/octet-stream", '"etag"', None)
        found: StoredObject | None = self.store.head(key)
        return found

    def read_start(self, key: str, length: int) -> bytes:
        """Return the first bytes of an object."""
        return b"\0" * length if key in self.completed else bytes(self.store.read_start(key, length))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        pass


@dataclass(frozen=True)
class Pages:
    """The API, and the origin of the pages."""

    api: str
    origin: str
    store: SeededStore
    client: httpx.Client
    services: Services

    def account(self, **fields: Any) -> Account:
        """Create an account."""
        return make_account(self.services, **fields)

    def token(self, account: Account, **options: Any) -> str:
        """Return the endpoint of a new upload token."""
        response = self.client.post("/api/v1/upload-tokens", json=options, headers=account.headers)
        endpoint: str = response.json()["companion_endpoint"]
        return endpoint

    def six(self, endpoint: str, **settings: str) -> str:
        """Return the address of the page with Uppy 6."""
        return f"{self.origin}/uppy6/uppy.html#{urlencode({'endpoint': endpoint, **settings})}"

    def five(self, account: Account) -> str:
        """Return the address of the page with Uppy 5."""
        return f"{self.origin}/uppy5/uppy.html#{urlencode({'api': self.api, 'token': account.token})}"

    def files(self, account: Account) -> list[tuple[str, str, int]]:
        """Return name, status and size of the files of an account."""
        listed = self.client.get("/api/v1/files", headers=account.headers).json()
        return sorted((file["filename"], file["status"], file["size_bytes"]) for file in listed)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of the pages, each with its bundle of stock Uppy."""
    root = tmp_path_factory.mktemp("pages")
    for folder in UPPY_PAGES:
        bundler = folder / "node_modules" / ".bin" / "esbuild"
        if not bundler.exists():
            pytest.fail("Uppy is not installed; run: make test-browser")
        target = root / folder.name
        target.mkdir()
        (target / "uppy.html").write_text((BROWSER / "uppy.html").read_text())
        command = [str(bundler), "main.js", "--bundle", "--format=esm", "--target=es2022", f"--outfile={target / 'page.js'}"]
        finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stderr
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def pages(origin: str, settings: Settings, s3_server: ObjectStoreServer) -> Iterator[Pages]:
    """The API, which accepts pages of the origin."""
    with serving(settings, s3_server, wrap=SeededStore, backend_cors_origins=(origin,)) as (url, services):
        store: Any = services.store
        with httpx.Client(base_url=url, trust_env=False) as client:
            yield Pages(url, origin, store, client, services)


@dataclass(frozen=True)
class Run:
    """The results of all jobs, and the accounts that they uploaded to."""

    results: Results
    accounts: dict[str, Account]
    huge: str

    def parts_sent(self, job: str) -> list[int]:
        """Return the numbers of the parts that the page sent."""
        found = [PART_PUT.search(url) for url in self.results[job]["requests"] if "X-Amz-Signature" in url]
        return [int(match[1]) for match in found if match]


def choose(*files: dict[str, Any]) -> Steps:
    return [{"see": "ready"}, {"upload": "Choose files", "files": list(files)}, {"see": f"added {files[-1]['name']}"}]


def upload(*files: dict[str, Any]) -> Steps:
    return [*choose(*files), {"click": "Upload"}, *({"see": f"complete: {file['name']}"} for file in files)]


SLOW: dict[str, Any] = {"slow": SLOW_BYTES_PER_SECOND}
FAST: dict[str, Any] = {"slow": -1}
PAUSE: Steps = [*choose(LARGE), SLOW, {"click": "Upload"}, {"see": "parts sent: 1."}, {"click": "Pause"}, {"see": "paused"}, FAST]
RELOAD: Steps = [*choose(LONG), SLOW, {"click": "Upload"}, {"see": "parts sent: 2."}, {"reload": True}, {"see": "restored: long.bin"}, FAST]
CANCEL: Steps = [*choose(LARGE), SLOW, {"click": "Upload"}, {"see": "parts sent: 1."}, FAST, {"click": "Cancel"}, {"see": "cancelled"}]


@pytest.fixture(scope="module")
def run(pages: Pages, visit: Callable[[dict[str, Any]], Results]) -> Run:
    """All jobs, run in one browser."""
    steps: dict[str, Steps] = {
        "upload": upload(SMALL, LARGE),
        "pause": [*PAUSE, {"click": "Resume"}, *FINISHED],
        "reload": [*RELOAD, {"click": "Upload"}, {"see": "complete: long.bin"}],
        "cancel": [*CANCEL, {"see": "deleted: 20"}],
    }
    accounts = {f"{version} {name}": pages.account() for version in (5, 6) for name in (*steps, "refused")}
    jobs = {f"5 {name}": {"url": pages.five(accounts[f"5 {name}"]), "steps": job} for name, job in steps.items()}
    jobs |= {f"6 {name}": {"url": pages.six(pages.token(accounts[f"6 {name}"])), "steps": job} for name, job in steps.items()}
    for version in (5, 6):
        change = {"quota_bytes": 10 * MIB}
        operator = pages.account(is_superuser=True)
        path = f"/api/v1/users/{accounts[f'{version} refused'].id}"
        assert pages.client.patch(path, json=change, headers=operator.headers).status_code == 200
    small_token = pages.token(accounts["6 refused"], max_size_bytes=30 * MIB, allowed_content_types=["application/octet-stream", "text/*"])
    refused: Steps = [{"see": "ready"}, {"upload": "Choose files", "files": [LARGE]}]
    jobs["5 refused"] = {"url": pages.five(accounts["5 refused"]), "steps": [*choose(LARGE), {"click": "Upload"}, {"see": "error: "}]}
    jobs["6 refused"] = {"url": pages.six(small_token), "steps": [*refused, {"see": "refused: "}]}
    unrestricted = pages.six(small_token, restricted="no")
    jobs["6 refused by the server"] = {"url": unrestricted, "steps": [*choose(LARGE), {"click": "Upload"}, {"see": "error: "}]}
    accounts["6 huge"] = pages.account()
    huge_token = pages.token(accounts["6 huge"], max_bytes=HUGE["size"])
    declared = {"filename": HUGE["name"], "type": "application/octet-stream", "metadata": {"size": HUGE["size"]}}
    huge: str = pages.client.post(f"{urlsplit(huge_token).path}/s3/multipart", json=declared).json()["uploadId"]
    key: str = pages.client.get(f"/api/v1/files/{huge}", headers=accounts["6 huge"].headers).json()["s3_key"]
    pages.store.seed(key, HUGE["size"], SEEDED_COUNT)
    resumed: Steps = [*choose(HUGE), {"click": "Upload"}, {"see": "parts sent: 10."}, {"see": "complete: huge.bin"}]
    jobs["6 huge"] = {"url": pages.six(huge_token, resume=huge), "steps": resumed}
    return Run(visit(jobs), accounts, huge)


@pytest.mark.parametrize("version", [5, 6])
class TestUppy:
    def test_no_job_failed(self, run: Run, version: int) -> None:
        assert {name: job["failed"] for name, job in run.results.items() if name.startswith(str(version)) and "failed" in job} == {}

    def test_uploads_one_part_and_several(self, run: Run, pages: Pages, version: int) -> None:
        expected = [(file["name"], "available", file["size"]) for file in (LARGE, SMALL)]

        assert pages.files(run.accounts[f"{version} upload"]) == expected

    def test_resumes_after_a_pause(self, run: Run, pages: Pages, version: int) -> None:
        assert pages.files(run.accounts[f"{version} pause"]) == [(LARGE["name"], "available", LARGE["size"])]

    def test_sends_no_finished_part_again_after_a_reload(self, run: Run, pages: Pages, version: int) -> None:
        sent = run.parts_sent(f"{version} reload")

        assert pages.files(run.accounts[f"{version} reload"]) == [(LONG["name"], "available", LONG["size"])]
        assert set(sent) == set(range(1, 7))
        assert len(sent) - len(set(sent)) < 5

    def test_cancelled_upload_leaves_no_file(self, run: Run, pages: Pages, version: int) -> None:
        account = run.accounts[f"{version} cancel"]

        assert pages.files(account) == []
        assert pages.client.get("/api/v1/users/me/usage", headers=account.headers).json()["files_count"] == 0

    def test_quota_is_refused_in_words(self, run: Run, pages: Pages, version: int) -> None:
        words = {5: "The file exceeds your storage quota; delete files first", 6: "large.bin exceeds maximum allowed size of 10 MB"}

        assert words[version] in run.results[f"{version} refused"]["text"]
        assert pages.files(run.accounts[f"{version} refused"]) == []


def test_uppy_6_shows_the_status_of_what_the_server_refuses(run: Run) -> None:
    assert re.search(r"error: .*Too Large", run.results["6 refused by the server"]["text"])


def test_uppy_6_sends_only_the_missing_parts_of_1200(run: Run, pages: Pages) -> None:
    assert sorted(run.parts_sent("6 huge")) == list(range(SEEDED_COUNT + 1, 1201))
    assert pages.files(run.accounts["6 huge"]) == [(HUGE["name"], "available", HUGE["size"])]


def test_pages_send_no_credentials_to_the_endpoint(run: Run) -> None:
    console = [line for name, job in run.results.items() if name.startswith("6") for line in job["console"]]

    # A refused upload is an error of the network in the browser's console; a blocked one would name CORS.
    assert [line for line in console if "CORS" in line or "blocked" in line] == []
