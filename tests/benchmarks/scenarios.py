"""The measured requests. Each line adds a row to the tables."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.processes import Process
from tests.benchmarks.testbed import API, BenchUser, Testbed, event_of, sign_in_event

UPLOAD = {"filename": "holiday photo.jpg", "content_type": "image/jpeg", "size_bytes": 2_500_000}
ALL_CANDIDATES = ("ours", "before", "plain", "bare", "floor")
WITHOUT_FLOOR = ALL_CANDIDATES[:-1]
OURS = ("ours", "before")


@dataclass(frozen=True)
class Scenario:
    """A request. `event` builds its event for a token, and `by` names the candidates that support it."""

    name: str
    event: Callable[[Testbed, str], dict[str, Any]]
    status: int = 200
    by: tuple[str, ...] = ALL_CANDIDATES
    weight: int = 1
    """Its cost in other requests: it is sent `weight` times less often."""


def _get(path: str) -> Callable[[Testbed, str], dict[str, Any]]:
    return lambda testbed, token: event_of("GET", API + path.format(file=testbed.file_id), token=token)


def _upload(_testbed: Testbed, token: str) -> dict[str, Any]:
    return event_of("POST", f"{API}/files/upload", token=token, body=json.dumps(UPLOAD))


def _update(testbed: Testbed, token: str) -> dict[str, Any]:
    return event_of("PUT", f"{API}/files/{testbed.file_id}", token=token, body=json.dumps({"description": "At the sea"}))


def _link_download(testbed: Testbed, _token: str) -> dict[str, Any]:
    event = event_of("GET", f"/s/{testbed.link_token}/files/{testbed.file_id}")
    # Another visitor each time: requests of one visitor count once a minute.
    event["headers"] |= {"user-agent": secrets.token_hex(8), "accept": "*/*"}
    return event


SCENARIOS = (
    Scenario("upload", _upload, status=201),
    Scenario("get", _get("/files/{file}")),
    Scenario("download", _get("/files/download/{file}")),
    Scenario("list of 100", _get("/files?limit=100"), weight=3),
    Scenario("update", _update, by=WITHOUT_FLOOR),
    Scenario("link download", _link_download, status=302, by=OURS),
    Scenario("me", _get("/users/me")),
    Scenario("usage", _get("/users/me/usage"), by=OURS),
    Scenario("sign-in", lambda testbed, _: sign_in_event(testbed.owner), weight=8),
)
"""Requests that are measured one after another."""

LOAD_MIX = ("get", "get", "get", "download", "list of 100", "upload")
"""The requests of the load measurement."""


@dataclass(frozen=True)
class Contended:
    """A request that changes one counter. `event` creates what it needs through the process, and returns its event."""

    event: Callable[[Testbed, Process, BenchUser], dict[str, Any]]
    status: int
    by: tuple[str, ...] = ALL_CANDIDATES


def _download_by_link(testbed: Testbed, process: Process, user: BenchUser) -> dict[str, Any]:
    testbed.create_files(user.id, 1)
    token = testbed.sign_in(process, user)
    (file,) = process.request(event_of("GET", f"{API}/files", token=token))
    body = json.dumps({"file_ids": [file["id"]], "max_downloads": 1_000_000})
    share = process.request(event_of("POST", f"{API}/shares", token=token, body=body), status=201)
    return event_of("GET", f"{urlsplit(share['url']).path}/files/{file['id']}")


CONTENDED = {
    "quota": Contended(lambda testbed, process, user: _upload(testbed, testbed.sign_in(process, user)), status=201),
    "downloads of a link": Contended(_download_by_link, status=302, by=OURS),
}
"""Counters that all processes change concurrently, compared with one counter each. Each line adds a row to the table."""

BESIDE_BARE_MAX = {"get": 1.5, "download": 1.5, "upload": 1.6, "update": 5.0, "list of 100": 0.8}
"""Processor time relative to the bare handler."""
BESIDE_FLOOR_MAX = {"get": 2.5, "download": 2.5, "upload": 2.5, "list of 100": 2.5}
"""Processor time relative to one statement without a framework."""
BESIDE_PLAIN_MAX = {"sign-in": 1.1}
"""Processor time relative to the plain app."""
SERVER_BESIDE_HANDLER_MAX = {"get": 1.3, "list of 100": 1.3}
"""Processor time under a server relative to the Lambda handler."""
BESIDE_OWN_MAX = {"link download": ("download", 1.8)}
"""Processor time relative to another request of this application."""


def scenarios_of(candidate: str) -> list[Scenario]:
    """Return the scenarios that the candidate supports."""
    return [scenario for scenario in SCENARIOS if candidate in scenario.by]
