"""No string from a client can make a database connection return one request the rows of another.

pg8000 raises between two protocol messages when it cannot encode a value. A connection that returns to the pool after that is one
response behind and gives the next request the rows of another user (docs/adr/0001-single-flush-database-transport.md). Therefore two
users send requests after every hostile string, and must get only their own rows.
"""

import contextlib
import itertools
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import SQLAlchemyError

from lambda_app.core.errors import AppError
from lambda_app.factory import Services
from lambda_app.repositories.accounts.users import UserRepository
from tests.support.accounts import Account, make_file

VICTIM_REQUESTS = 8
SEED = 20_261_123
ALPHABET = [
    "\x00",
    "\ud800",
    "\udfff",
    "\udbff\ud800",
    "'",
    '"',
    "\\",
    "%",
    "%s",
    "{}",
    "$1",
    ":x",
    ";",
    "--",
    "\r\n",
    "\u202e",
    "\ufeff",
    "é",
    "🔑",
]
KNOWN_ATTACKS = [
    '\'; DROP TABLE "user"; --',
    "' OR '1'='1",
    "\\'; SELECT pg_sleep(10); --",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "%(id)s",
    "x" * 100_000,
    "\x00" * 1000,
    "\ud800" * 1000,
    "NULL",
    "\\N",
    "NaN",
    "{1,2,3}",
    "E'\\x00'",
    "$$x$$",
]


def hostile_strings() -> Iterator[str]:
    """Yield an endless sequence: known attacks, all pairs of the alphabet, then random longer strings."""
    yield from KNOWN_ATTACKS
    yield from ("".join(pair) for pair in itertools.product(ALPHABET, repeat=2))
    rng = random.Random(SEED)
    while True:
        yield "".join(rng.choices([*ALPHABET, "a", "b"], k=rng.randint(1, 30)))


@pytest.mark.slow
def test_hostile_string_never_returns_another_users_row(
    client: httpx.Client, services: Services, make_user: Callable[..., Account]
) -> None:
    users = [make_user(), make_user()]
    files = [make_file(client, user, status="pending", filename=f"{user.id}.txt") for user in users]
    attacker = make_user()
    target = make_file(client, attacker, status="pending")["id"]
    count = 0

    for text in itertools.islice(hostile_strings(), 1050):
        response = send(client, attacker, target, text, route=count % 4)
        assert response.status_code < 500, (text, response.text)
        bind(services, text)
        for number in range(VICTIM_REQUESTS):
            assert_own_row(client, users[number % 2], files[number % 2], number)
        count += 1

    assert count == 1050


def send(client: httpx.Client, attacker: Account, file_id: str, text: str, *, route: int) -> httpx.Response:
    """Send the string to the API in the field that `route` selects."""
    headers = attacker.headers | {"Content-Type": "application/json"}
    match route:
        case 0:
            return client.put(f"/api/v1/files/{file_id}", content=json.dumps({"description": text}), headers=headers)
        case 1:
            body = {"filename": text, "content_type": "a/b", "size_bytes": 1}
            return client.post("/api/v1/files/upload", content=json.dumps(body), headers=headers)
        case 2:
            return client.post("/api/v1/users/", content=json.dumps({"email": text, "password": text}), headers=headers)
        case _:
            return client.get("/api/v1/files", params={"cursor": text.encode(errors="surrogatepass")}, headers=attacker.headers)


def bind(services: Services, text: str) -> None:
    """Bind the string to a statement without the checks of the API, as if a check were missing."""
    with contextlib.suppress(AppError, SQLAlchemyError, UnicodeError), services.unit_of_work() as session:
        UserRepository(session).get_by_email(text)


def assert_own_row(client: httpx.Client, user: Account, file: dict[str, Any], number: int) -> None:
    if number % 4 < 2:
        response = client.get("/api/v1/users/me", headers=user.headers)
        assert (response.status_code, response.json().get("id")) == (200, str(user.id))
    else:
        response = client.get(f"/api/v1/files/{file['id']}", headers=user.headers)
        assert (response.status_code, response.json()) == (200, file)
