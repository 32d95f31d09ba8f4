"""Who may call what: every route by every kind of caller. A route without a row here fails the test."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt as pyjwt
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.routing import Route

from lambda_app.factory import Services
from tests.support.accounts import Account, start_upload
from tests.support.forgeries import LIFETIME_SECONDS, Victim

PREFIX = "/api/v1"
NOBODY = ("anonymous", "disabled", "expired")
PEOPLE = ("stranger", "owner", "superuser")
SCOPES = ("files:read", "files:write", "shares", "admin")
OWNERS_KEYS = tuple(f"owner's {scope} key" for scope in SCOPES)
SUPERUSERS_KEYS = tuple(f"superuser's {scope} key" for scope in SCOPES)
CALLERS = (*NOBODY, *PEOPLE, *OWNERS_KEYS, *SUPERUSERS_KEYS)
FILE = {"filename": "secret-name.txt", "content_type": "a/b", "size_bytes": 1}

Expected = dict[str, int]


def everyone(status: int) -> Expected:
    """A route that looks at no credential."""
    return dict.fromkeys(CALLERS, status)


def keys_with(scope: str | None, status: int) -> Expected:
    """Keys of both owners: those with the scope, and with `admin`; with None, all."""
    return {key: status if scope is None or scope in key or "admin" in key else 403 for key in (*OWNERS_KEYS, *SUPERUSERS_KEYS)}


def signed_in(status: int, *, scope: str | None = "admin") -> Expected:
    """For each caller about themselves; an API key needs the scope."""
    return dict.fromkeys(NOBODY, 401) | dict.fromkeys(PEOPLE, status) | keys_with(scope, status)


def of_owner(status: int, *, scope: str = "admin") -> Expected:
    """About something of the owner's. A superuser may, too, but not by a key without `admin`."""
    weak = {key: 403 for key in SUPERUSERS_KEYS if "admin" not in key}
    return signed_in(status, scope=scope) | {"stranger": 403} | weak


def of_owner_alone(status: int) -> Expected:
    """About a credential of the owner's, which for everybody else is not there."""
    return signed_in(status) | {"stranger": 404, "superuser": 404, "superuser's admin key": 404}


def superuser_only(status: int) -> Expected:
    """For superusers."""
    allowed = ("superuser", "superuser's admin key")
    return dict.fromkeys(CALLERS, 403) | dict.fromkeys(NOBODY, 401) | dict.fromkeys(allowed, status)


@dataclass(frozen=True)
class Row:
    """What each caller gets, and what is sent."""

    expected: Expected
    json: Any = None
    ends_credentials: bool = False
    """The call is tried on people of its own."""


ROWS: dict[str, Row] = {
    "GET /openapi.json": Row(everyone(200)),
    "GET /docs": Row(everyone(200)),
    "GET /health": Row(everyone(200)),
    "GET /health/db": Row(everyone(200)),
    "POST /login/token": Row(everyone(422)),
    "POST /login/refresh": Row(everyone(401), json={"refresh_token": "x"}),
    "POST /login/logout": Row(signed_in(204), ends_credentials=True),
    "POST /login/logout-everywhere": Row(signed_in(204), ends_credentials=True),
    "POST /login/test-token": Row(signed_in(200, scope=None)),
    "POST /login/forgot-password": Row(everyone(503), json={"email": "x@example.com"}),
    "POST /login/reset-password": Row(everyone(410), json={"token": "x", "password": "a good password"}),
    "POST /login/verification": Row(everyone(503), json={"email": "x@example.com"}),
    "POST /login/verify-email": Row(everyone(410), json={"token": "x"}),
    "POST /users": Row(signed_in(201) | {"anonymous": 201}, json={"email": "new-{random}@example.com", "password": "a good password"}),
    "GET /users": Row(superuser_only(200)),
    "GET /users/me": Row(signed_in(200, scope=None)),
    "PUT /users/me": Row(signed_in(200), json={}),
    "GET /users/{user_id}": Row(of_owner(200)),
    "PUT /users/{user_id}": Row(of_owner(200), json={}),
    "DELETE /users/{user_id}/sessions": Row(superuser_only(204), ends_credentials=True),
    "GET /users/me/sessions": Row(signed_in(200)),
    "DELETE /users/me/sessions/{session_id}": Row(of_owner_alone(204)),
    "POST /users/me/api-keys": Row(signed_in(201), json={"name": "n", "scopes": ["shares"]}),
    "GET /users/me/api-keys": Row(signed_in(200)),
    "DELETE /users/me/api-keys/{key_id}": Row(of_owner_alone(204)),
    "GET /admin/stats": Row(superuser_only(200)),
    "GET /admin/audit": Row(superuser_only(200)),
    "POST /files/upload": Row(signed_in(201, scope="files:write"), json=FILE),
    "POST /files/{file_id}/complete": Row(of_owner(409, scope="files:write")),
    "GET /files/download/{file_id}": Row(of_owner(409, scope="files:read")),
    "GET /files": Row(signed_in(200, scope="files:read")),
    "GET /files/{file_id}": Row(of_owner(200, scope="files:read")),
    "PUT /files/{file_id}": Row(of_owner(200, scope="files:write"), json={"description": "x"}),
    "DELETE /files/{file_id}": Row(of_owner(204, scope="files:write")),
    "POST /files/{file_id}/restore": Row(of_owner(409, scope="files:write")),
    "POST /files/multipart": Row(signed_in(201, scope="files:write"), json=FILE),
    "POST /files/{file_id}/parts": Row(of_owner(409, scope="files:write"), json={"parts": [{"number": 1}]}),
    "GET /files/{file_id}/parts": Row(of_owner(409, scope="files:read")),
    "GET /users/me/usage": Row(signed_in(200, scope="files:read")),
    "GET /users/{user_id}/usage": Row(of_owner(200, scope="files:read")),
}


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Yield method and path of every route that answers, those that are not in the OpenAPI document too."""
    for route in app.routes:
        for found in [route] if isinstance(route, Route) else route.effective_route_contexts():  # type: ignore[attr-defined]  # FastAPI's own kind of route has no public name
            yield from ((method, found.path) for method in sorted(found.methods or ()) if method != "HEAD")


def row_name(method: str, path: str) -> str:
    return f"{method} {path.removeprefix(PREFIX).rstrip('/')}"


class World:
    """An owner with things, and everybody who may try to reach them."""

    def __init__(self, client: httpx.Client, services: Services, make_user: Callable[..., Account]) -> None:
        self._client = client
        self.owner, self.superuser, disabled = make_user(), make_user(is_superuser=True), make_user()
        with services.engine.begin() as connection:
            connection.execute(text('UPDATE "user" SET is_active = false WHERE id = :id'), {"id": disabled.id})
        session = UUID(pyjwt.decode(self.owner.token, options={"verify_signature": False})["sid"])
        victim = Victim(services.keys.current(), user_id=self.owner.id, session_id=session)
        expired = victim.sign(payload=victim.claims(iat=victim.now - LIFETIME_SECONDS, exp=victim.now))
        self.tokens: dict[str, str | None] = {
            "anonymous": None,
            "disabled": disabled.token,
            "expired": expired,
            "stranger": make_user().token,
            "owner": self.owner.token,
            "superuser": self.superuser.token,
        }
        for name, account in (("owner", self.owner), ("superuser", self.superuser)):
            self.tokens |= {f"{name}'s {scope} key": self.key(account, scope)["key"] for scope in SCOPES}

    def key(self, account: Account, scope: str) -> dict[str, Any]:
        answer = self._client.post(f"{PREFIX}/users/me/api-keys", json={"name": "n", "scopes": [scope]}, headers=account.headers)
        made: dict[str, Any] = answer.json()
        return made

    def headers(self, caller: str) -> dict[str, str]:
        token = self.tokens[caller]
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    def path(self, template: str) -> str:
        """Put things of the owner's into the path, made for this one call."""
        makers: Mapping[str, Callable[[], str]] = {
            "{user_id}": lambda: str(self.owner.id),
            "{file_id}": lambda: str(start_upload(self._client, self.owner, filename="secret-name.txt")["file_id"]),
            "{key_id}": lambda: str(self.key(self.owner, "shares")["id"]),
            "{session_id}": self._session,
        }
        for name, make in makers.items():
            if name in template:
                template = template.replace(name, make())
        assert "{" not in template, f"the test does not know how to make a {template}"
        return template

    def _session(self) -> str:
        form = {"username": self.owner.email, "password": self.owner.password}
        token = self._client.post(f"{PREFIX}/login/token", data=form).json()["access_token"]
        return str(pyjwt.decode(token, options={"verify_signature": False})["sid"])


@pytest.fixture(scope="module")
def world(client: httpx.Client, services: Services, make_user: Callable[..., Account]) -> World:
    return World(client, services, make_user)


def test_every_route_has_a_row_and_every_row_a_route(app: FastAPI) -> None:
    found = {row_name(method, path) for method, path in routes(app)}

    assert sorted(found - ROWS.keys()) == [], "say in ROWS who may call these"
    assert sorted(ROWS.keys() - found) == []
    assert len(found) >= 36
    assert all(row.expected.keys() == set(CALLERS) for row in ROWS.values())


@pytest.mark.parametrize("name", ROWS)
def test_every_caller_gets_what_the_row_says(
    app: FastAPI, client: httpx.Client, services: Services, make_user: Callable[..., Account], world: World, name: str
) -> None:
    row = ROWS[name]
    paths = sorted(path for method, path in routes(app) if row_name(method, path) == name)
    got: dict[tuple[str, str], int] = {}
    for number, template in enumerate(paths):
        for caller in CALLERS:
            people = World(client, services, make_user) if row.ends_credentials and row.expected[caller] < 300 else world
            body = row.json
            if isinstance(body, dict) and "email" in body:
                body = body | {"email": body["email"].format(random=uuid4())}

            answer = client.request(name.split(maxsplit=1)[0], people.path(template), json=body, headers=people.headers(caller))

            got[template, caller] = answer.status_code
            if answer.status_code in (401, 403, 404):
                assert answer.headers["content-type"] == "application/problem+json"
                assert "secret-name" not in answer.text
                assert people.owner.email not in answer.text
        assert number < 4

    assert got == {(template, caller): row.expected[caller] for template in paths for caller in CALLERS}


@pytest.mark.parametrize("caller", CALLERS)
def test_public_file_is_read_by_all_whose_credentials_hold(client: httpx.Client, world: World, caller: str) -> None:
    file = start_upload(client, world.owner, is_public=True)["file_id"]

    answer = client.get(f"{PREFIX}/files/download/{file}", headers=world.headers(caller))

    # 409: it may be read, and is not there yet.
    expected = keys_with("files:read", 409) | dict.fromkeys(PEOPLE, 409) | {"anonymous": 409, "disabled": 401, "expired": 401}
    assert answer.status_code == expected[caller]
