"""The requests that are measured. A line here is a row in every table."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.processes import Process
from tests.benchmarks.world import API, Person, World, event_of, sign_in_event

DECLARED = {"filename": "holiday photo.jpg", "content_type": "image/jpeg", "size_bytes": 2_500_000}
EVERYBODY = ("ours", "before", "plain", "bare")
OURS = ("ours", "before")


@dataclass(frozen=True)
class Scenario:
    """A request; `event` makes it for a world and a token, `by` names the candidates that know it, `weight` slows it down."""

    name: str
    event: Callable[[World, str], dict[str, Any]]
    status: int = 200
    by: tuple[str, ...] = EVERYBODY
    weight: int = 1
    """How many other requests it costs: it is made that much more rarely."""


def _get(path: str) -> Callable[[World, str], dict[str, Any]]:
    return lambda world, token: event_of("GET", API + path.format(file=world.file_id), token=token)


def _upload(_world: World, token: str) -> dict[str, Any]:
    return event_of("POST", f"{API}/files/upload", token=token, body=json.dumps(DECLARED))


def _update(world: World, token: str) -> dict[str, Any]:
    return event_of("PUT", f"{API}/files/{world.file_id}", token=token, body=json.dumps({"description": "At the sea"}))


SCENARIOS = (
    Scenario("upload", _upload, status=201),
    Scenario("get", _get("/files/{file}")),
    Scenario("download", _get("/files/download/{file}")),
    Scenario("list of 100", _get("/files?limit=100"), weight=3),
    Scenario("update", _update),
    Scenario("me", _get("/users/me")),
    Scenario("usage", _get("/users/me/usage"), by=OURS),
    Scenario("sign-in", lambda world, _: sign_in_event(world.owner), weight=8),
)
"""Requests of one after the other."""

IN_THE_MIX = ("get", "get", "get", "download", "list of 100", "upload")
"""What a process is loaded with."""


@dataclass(frozen=True)
class Contended:
    """Requests that change one counter: `event` makes what is needed through the process, and returns the request."""

    event: Callable[[World, Process, Person], dict[str, Any]]
    status: int
    by: tuple[str, ...] = EVERYBODY


def _download_by_link(world: World, process: Process, person: Person) -> dict[str, Any]:
    world.make_files(person.id, 1)
    token = world.sign_in(process, person)
    (file,) = process.ask(event_of("GET", f"{API}/files", token=token))
    wanted = json.dumps({"file_ids": [file["id"]], "max_downloads": 1_000_000})
    share = process.ask(event_of("POST", f"{API}/shares", token=token, body=wanted), status=201)
    return event_of("GET", f"{urlsplit(share['url']).path}/files/{file['id']}")


CONTENDED = {
    "quota": Contended(lambda world, process, person: _upload(world, world.sign_in(process, person)), status=201),
    "downloads of a link": Contended(_download_by_link, status=302, by=OURS),
}
"""Counters that everybody changes at once, against each their own. A line here is a row of the table."""

BUDGETED = ("upload", "get", "download")
"""What DESIGN holds against the bare handler."""


def known_to(candidate: str) -> list[Scenario]:
    """Return the scenarios that the candidate knows."""
    return [scenario for scenario in SCENARIOS if candidate in scenario.by]
