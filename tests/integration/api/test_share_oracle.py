"""A missing and an unavailable link are indistinguishable by body, status, headers, statements and time."""

import gc
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import event, text

from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.factory import Services
from tests.support.accounts import Account, make_file
from tests.support.shares import BROWSER, change_share, expire_share, make_share

ROUNDS = 40 if os.environ.get("CI") else 200
MIN_DIFFERENCE_SECONDS = 0.001
"""Smaller differences are noise, even on an idle machine."""
MIN_FRACTION_DEVIATION = 0.35
"""A kind counts as different if its fraction of slower rounds differs from one half by more than this.

On a busy machine medians differ by chance, but only a real difference makes one kind slower in nearly every round.
"""
MEASUREMENTS = 3

Closed = dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def closed(client: httpx.Client, services: Services, make_user: Callable[..., Account]) -> Closed:
    """URL and file id of unavailable and missing links, by the reason."""
    owner, disabled = make_user(), make_user()
    file, gone, hidden = (str(make_file(client, owner)["id"]) for _ in range(3))
    shares: dict[str, dict[str, Any]] = {
        name: make_share(client, owner, file, password="swordfish") for name in ("revoked", "expired", "exhausted")
    }
    shares["file gone"] = make_share(client, owner, gone)
    shares["file in the trash"] = make_share(client, owner, hidden)
    shares["owner disabled"] = make_share(client, disabled, str(make_file(client, disabled)["id"]))
    shares["revoked slug"] = make_share(client, owner, file, slug=f"slug-{uuid4().hex[:6]}")
    expire_share(services, shares["expired"])
    change_share(client, owner, shares["exhausted"], max_downloads=1)
    for name in ("revoked", "revoked slug"):
        client.delete(f"/api/v1/shares/{shares[name]['id']}", headers=owner.headers)
    client.delete(f"/api/v1/files/{gone}", headers=owner.headers)
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE share SET download_count = 1 WHERE id = :id"), {"id": shares["exhausted"]["id"]})
        connection.execute(text("UPDATE file SET status = 'trashed' WHERE id = :id"), {"id": hidden})
        connection.execute(text('UPDATE "user" SET is_active = false WHERE id = :id'), {"id": disabled.id})
    return {
        **{name: (share["url"], share["file_ids"][0]) for name, share in shares.items()},
        "never existing": (f"/s/{'A' * 22}", file),
        "never existing slug": ("/s/no-such-slug", file),
        "malformed": ("/s/%00", "x"),
        "longer": (f"/s/{'A' * 2000}", file),
        "another alphabet": ("/s/%F0%9F%93%A6%E2%80%AE", "%27"),
    }


def send(client: httpx.Client, link: tuple[str, str], kind: str, headers: dict[str, str]) -> httpx.Response:
    url, file = link
    match kind:
        case "POST":
            return client.post(url, json={"password": "swordfish"}, headers=headers)
        case "form":
            return client.post(url, data={"password": "swordfish"}, headers=headers)
        case "file":
            return client.get(f"{url}/files/{file}", headers=headers)
    return client.request(kind, url, headers=headers)


@pytest.mark.parametrize("kind", ["GET", "HEAD", "POST", "form", "file"])
@pytest.mark.parametrize("accept", [{}, BROWSER])
def test_unavailable_links_return_the_same_response(
    client: httpx.Client, services: Services, closed: Closed, monkeypatch: pytest.MonkeyPatch, kind: str, accept: dict[str, str]
) -> None:
    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: pytest.fail("a password was verified"))
    responses: set[tuple[Any, ...]] = set()
    statements: list[list[str]] = []

    def record(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements[-1].append(re.sub(r"\s+", " ", statement))

    event.listen(services.engine, "before_cursor_execute", record)
    try:
        for link in closed.values():
            statements.append([])
            response = send(client, link, kind, accept)
            request_id = response.headers.pop("x-request-id")
            shown = response.text.replace(request_id, "")
            responses.add((response.status_code, shown, tuple(response.headers.items())))
    finally:
        event.remove(services.engine, "before_cursor_execute", record)

    assert len(responses) == 1, responses
    assert next(iter(responses))[0] == 404
    assert len({tuple(each) for each in statements}) == 1
    assert len(statements[0]) == (1 if kind in ("POST", "form") else 2)


def measure(client: httpx.Client, closed: Closed, kind: str) -> dict[str, float]:
    """Return the kinds whose median differs significantly from that of a missing link, each with its fraction of slower rounds."""
    names = ("never existing", "revoked", "expired", "exhausted", "file gone", "malformed")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(ROUNDS):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started_at = time.perf_counter()
            response = send(client, closed[name], kind, {})
            seconds[name].append(time.perf_counter() - started_at)
            assert response.status_code == 404
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    shown = ", ".join(f"{name} {value * 1000:.2f} ms" for name, value in medians.items())
    sys.stdout.write(f"{kind}, medians of {ROUNDS}: {shown}\n")
    never = seconds["never existing"]
    slower = {name: sum(a > b for a, b in zip(values, never, strict=True)) / ROUNDS for name, values in seconds.items()}
    return {name: slower[name] for name, median in medians.items() if abs(median - medians["never existing"]) > MIN_DIFFERENCE_SECONDS}


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("kind", ["GET", "file"])
def test_unavailable_links_take_the_same_time(client: httpx.Client, closed: Closed, kind: str) -> None:
    # A random difference does not occur in every measurement; a real one does.
    suspected: dict[str, list[float]] = {}
    gc.disable()
    try:
        for _ in range(MEASUREMENTS):
            differing = {name: share for name, share in measure(client, closed, kind).items() if abs(share - 0.5) > MIN_FRACTION_DEVIATION}
            suspected = {name: [*suspected.get(name, []), share] for name, share in differing.items() if name in suspected or not suspected}
            if not suspected:
                break
    finally:
        gc.enable()

    assert suspected == {}
