"""What is not open looks the same, whyever: in text, status, headers, statements and time."""

import gc
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import event, text

from lambda_app.core import clock
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.factory import Services
from tests.support.accounts import Account, make_file
from tests.support.shares import BROWSER, change_share, make_share

ROUNDS = 40 if os.environ.get("CI") else 200
SMALLEST_DIFFERENCE_SECONDS = 0.001
"""Less is noise, also on a machine that does nothing else."""
CHANCE = 0.35
"""On a busy machine medians differ by chance; but then neither kind is slower in nearly every round, as with an oracle it would be."""

MEASUREMENTS = 3

Closed = dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def closed(client: httpx.Client, services: Services, make_user: Callable[..., Account]) -> Closed:
    """Addresses that are not open, and a file there, by the reason."""
    owner, disabled = make_user(), make_user()
    file, gone, hidden = (str(make_file(client, owner)["id"]) for _ in range(3))
    made: dict[str, dict[str, Any]] = {
        name: make_share(client, owner, file, password="swordfish") for name in ("revoked", "expired", "exhausted")
    }
    made["file gone"] = make_share(client, owner, gone)
    made["file in the trash"] = make_share(client, owner, hidden)
    made["owner disabled"] = make_share(client, disabled, str(make_file(client, disabled)["id"]))
    made["revoked slug"] = make_share(client, owner, file, slug=f"slug-{uuid4().hex[:6]}")
    change_share(client, owner, made["expired"], expires_at=(clock.now() - timedelta(days=1)).isoformat())
    change_share(client, owner, made["exhausted"], max_downloads=1)
    for name in ("revoked", "revoked slug"):
        client.delete(f"/api/v1/shares/{made[name]['id']}", headers=owner.headers)
    client.delete(f"/api/v1/files/{gone}", headers=owner.headers)
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE share SET download_count = 1 WHERE id = :id"), {"id": made["exhausted"]["id"]})
        connection.execute(text("UPDATE file SET status = 'trashed' WHERE id = :id"), {"id": hidden})
        connection.execute(text('UPDATE "user" SET is_active = false WHERE id = :id'), {"id": disabled.id})
    return {
        **{name: (share["url"], share["file_ids"][0]) for name, share in made.items()},
        "never existing": (f"/s/{'A' * 22}", file),
        "never existing slug": ("/s/no-such-slug", file),
        "malformed": ("/s/%00", "x"),
        "longer": (f"/s/{'A' * 2000}", file),
        "another alphabet": ("/s/%F0%9F%93%A6%E2%80%AE", "%27"),
    }


def asked(client: httpx.Client, address: tuple[str, str], how: str, headers: dict[str, str]) -> httpx.Response:
    url, file = address
    match how:
        case "POST":
            return client.post(url, json={"password": "swordfish"}, headers=headers)
        case "form":
            return client.post(url, data={"password": "swordfish"}, headers=headers)
        case "file":
            return client.get(f"{url}/files/{file}", headers=headers)
    return client.request(how, url, headers=headers)


@pytest.mark.parametrize("how", ["GET", "HEAD", "POST", "form", "file"])
@pytest.mark.parametrize("accept", [{}, BROWSER])
def test_every_closed_link_gives_the_same_answer(
    client: httpx.Client, services: Services, closed: Closed, monkeypatch: pytest.MonkeyPatch, how: str, accept: dict[str, str]
) -> None:
    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: pytest.fail("no password is looked at"))
    answers: set[tuple[Any, ...]] = set()
    statements: list[list[str]] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements[-1].append(re.sub(r"\s+", " ", statement))

    event.listen(services.engine, "before_cursor_execute", note)
    try:
        for address in closed.values():
            statements.append([])
            answer = asked(client, address, how, accept)
            request_id = answer.headers.pop("x-request-id")
            # The page's own address, which only whoever has it sees.
            shown = answer.text.replace(request_id, "")
            answers.add((answer.status_code, shown, tuple(answer.headers.items())))
    finally:
        event.remove(services.engine, "before_cursor_execute", note)

    assert len(answers) == 1, answers
    assert next(iter(answers))[0] == 404
    assert len({tuple(each) for each in statements}) == 1
    assert len(statements[0]) == (1 if how in ("POST", "form") else 2)


def measure(client: httpx.Client, closed: Closed, how: str) -> dict[str, float]:
    """Return the kinds whose median differs by more than what counts, each with how often it was slower than a link that never was."""
    names = ("never existing", "revoked", "expired", "exhausted", "file gone", "malformed")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(ROUNDS):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started_at = time.perf_counter()
            answer = asked(client, closed[name], how, {})
            seconds[name].append(time.perf_counter() - started_at)
            assert answer.status_code == 404
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    shown = ", ".join(f"{name} {value * 1000:.2f} ms" for name, value in medians.items())
    sys.stdout.write(f"{how}, medians of {ROUNDS}: {shown}\n")
    never = seconds["never existing"]
    slower = {name: sum(a > b for a, b in zip(values, never, strict=True)) / ROUNDS for name, values in seconds.items()}
    return {name: slower[name] for name, median in medians.items() if abs(median - medians["never existing"]) > SMALLEST_DIFFERENCE_SECONDS}


@pytest.mark.timing
@pytest.mark.parametrize("how", ["GET", "file"])
def test_every_closed_link_takes_the_same_time(client: httpx.Client, closed: Closed, how: str) -> None:
    # What chance does on a busy machine it does not do three times over; an oracle tells every time.
    suspected: dict[str, list[float]] = {}
    gc.disable()
    try:
        for _ in range(MEASUREMENTS):
            told = {name: share for name, share in measure(client, closed, how).items() if abs(share - 0.5) > CHANCE}
            suspected = {name: [*suspected.get(name, []), share] for name, share in told.items() if name in suspected or not suspected}
            if not suspected:
                break
    finally:
        gc.enable()

    assert suspected == {}
