"""The authorisation matrix: every route called by every kind of caller. A route without a row fails the tests."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from lambda_app.factory import Services
from tests.support.accounts import Account, make_file, start_upload
from tests.support.authorisation import CALLERS, PREFIX, ROWS, SIGNED_IN, Expected, World, for_keys, for_link_visitors, routes, row_name
from tests.support.shares import expire_share, share_pass_header


@pytest.fixture(scope="module")
def world(client: httpx.Client, services: Services, make_user: Callable[..., Account]) -> World:
    return World(client, services, make_user)


def test_routes_and_rows_of_the_matrix_match(app: FastAPI) -> None:
    found = {row_name(method, path) for method, path in routes(app)}

    assert sorted(found - ROWS.keys()) == [], "add rows for these routes to ROWS"
    assert sorted(ROWS.keys() - found) == []
    assert len(found) >= 48
    assert all(row.expected.keys() == set(CALLERS) for row in ROWS.values())


@pytest.mark.parametrize("name", ROWS)
def test_route_returns_the_expected_status_for_every_caller(
    app: FastAPI, client: httpx.Client, services: Services, make_user: Callable[..., Account], world: World, name: str
) -> None:
    row = ROWS[name]
    paths = sorted(path for method, path in routes(app) if row_name(method, path) == name)
    observed: dict[tuple[str, str], int] = {}
    for number, template in enumerate(paths):
        for caller in CALLERS:
            used_world = World(client, services, make_user) if row.ends_credentials and row.expected[caller] < 300 else world
            body = row.json
            if isinstance(body, dict) and "email" in body:
                body = body | {"email": body["email"].format(random=uuid4())}
            if isinstance(body, dict) and "user_id" in body:
                body = body | {"user_id": body["user_id"].format(viewer=used_world.viewer.id)}
            if isinstance(body, dict) and "file_ids" in body:
                body = body | {"file_ids": [file.format(file=used_world.shared_file()) for file in body["file_ids"]]}

            response = client.request(name.split(maxsplit=1)[0], used_world.path(template), json=body, headers=used_world.headers(caller))

            observed[template, caller] = response.status_code
            if response.status_code in (401, 403, 404):
                assert response.headers["content-type"] == "application/problem+json"
                assert "secret-name" not in response.text
                assert used_world.owner.email not in response.text
        assert number < 4

    assert observed == {(template, caller): row.expected[caller] for template in paths for caller in CALLERS}


# The expected status per role for an available file. `gone` is a former viewer; `public` is a stranger to a public file.
ROLES = ("viewer", "editor", "gone", "stranger", "public", "anonymous")
BY_ROLE: dict[tuple[str, str, str], tuple[int, ...]] = {
    ("GET", "/{id}", ""): (200, 200, 403, 403, 200, 401),
    ("GET", "/download/{id}", ""): (200, 200, 403, 403, 200, 401),
    ("PUT", "/{id}", '{"filename": "x"}'): (403, 200, 403, 403, 403, 401),
    ("PUT", "/{id}", '{"description": "x"}'): (403, 200, 403, 403, 403, 401),
    ("PUT", "/{id}", '{"is_public": false}'): (403, 403, 403, 403, 403, 401),
    ("PUT", "/{id}", '{"description": "x", "is_public": true}'): (403, 403, 403, 403, 403, 401),
    ("PUT", "/{id}", "{}"): (403, 200, 403, 403, 403, 401),
    ("DELETE", "/{id}", ""): (403, 403, 403, 403, 403, 401),
    ("POST", "/{id}/restore", ""): (403, 403, 403, 403, 403, 401),
    ("POST", "/{id}/complete", ""): (403, 403, 403, 403, 403, 401),
    ("POST", "/{id}/parts", '{"parts": [{"number": 1}]}'): (403, 403, 403, 403, 403, 401),
    ("GET", "/{id}/parts", ""): (403, 403, 403, 403, 403, 401),
    ("GET", "/{id}/grants", ""): (200, 200, 403, 403, 403, 401),
    ("PUT", "/{id}/grants", '{"user_id": "{me}", "role": "editor"}'): (403, 403, 403, 403, 403, 401),
    ("DELETE", "/{id}/grants/{other}", ""): (403, 403, 403, 403, 403, 401),
    ("DELETE", "/{id}/grants/{me}", ""): (204, 204, 403, 403, 403, 401),
}


@pytest.mark.parametrize("role", ROLES)
def test_role_has_exactly_its_permissions_on_a_file(client: httpx.Client, make_user: Callable[..., Account], role: str) -> None:
    owner, other, me = make_user(), make_user(), make_user()
    file = make_file(client, owner, is_public=role == "public")["id"]
    grants = f"{PREFIX}/files/{file}/grants"
    granted_role = {"viewer": "viewer", "editor": "editor", "gone": "viewer"}.get(role)
    for account, parameters in ((other, "viewer"), (me, granted_role)):
        if parameters is not None:
            body = {"user_id": str(account.id), "role": parameters}
            assert client.put(grants, json=body, headers=owner.headers).status_code == 200
    if role == "gone":
        assert client.delete(f"{grants}/{me.id}", headers=owner.headers).status_code == 204
    headers = {} if role == "anonymous" else me.headers
    observed, names = {}, {"{id}": file, "{me}": str(me.id), "{other}": str(other.id)}
    for method, template, text_body in BY_ROLE:
        path, content = template, text_body
        for name, value in names.items():
            path, content = path.replace(name, value), content.replace(name, value)

        response = client.request(method, f"{PREFIX}/files{path}", content=content, headers=headers | {"Content-Type": "application/json"})

        observed[method, template, text_body] = response.status_code

    assert observed == {key: statuses[ROLES.index(role)] for key, statuses in BY_ROLE.items()}
    assert client.get(f"{PREFIX}/files/{file}", headers=other.headers).status_code == 200


@pytest.mark.parametrize("caller", CALLERS)
def test_public_file_is_readable_with_valid_or_no_credentials(client: httpx.Client, world: World, caller: str) -> None:
    file = start_upload(client, world.owner, is_public=True)["file_id"]

    response = client.get(f"{PREFIX}/files/download/{file}", headers=world.headers(caller))

    # 409: access is granted, but the file is not uploaded yet.
    expected = for_keys("files:read", 409) | dict.fromkeys(SIGNED_IN, 409) | {"anonymous": 409, "disabled": 401, "expired": 401}
    assert response.status_code == expected[caller]


NAMED = {"stranger": 404, "superuser": 404, "superuser's files:read key": 404, "superuser's admin key": 404}
LINKS: dict[str, tuple[dict[str, Any], Expected]] = {
    "open to anyone": ({}, for_link_visitors(200)),
    "expired": ({"expires_at": "2100-01-01T00:00:00Z"}, for_link_visitors(404)),
    "with a password": ({"password": "swordfish"}, for_link_visitors(403)),
    "for signed-in users": ({"audience": "signed_in"}, for_link_visitors(200, anonymous=401)),
    "for the owner by name": ({"audience": "named", "recipients": ["{owner}"]}, for_link_visitors(200, anonymous=401, **NAMED)),
    "listing only": ({"allows_download": False}, for_link_visitors(200)),
}
"""Options of the new link, and the expected status per caller."""


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("link_kind", LINKS)
def test_link_opens_only_for_its_audience(client: httpx.Client, services: Services, world: World, link_kind: str, caller: str) -> None:
    options, expected = LINKS[link_kind]
    if "recipients" in options:
        options = options | {"recipients": [world.owner.email]}
    share = world.share(**options)
    if link_kind == "expired":
        expire_share(services, share)

    opened = client.get(share["url"], headers=world.headers(caller))
    downloaded = client.get(f"{share['url']}/files/{share['file_ids'][0]}", headers=world.headers(caller))

    assert opened.status_code == expected[caller]
    expected_download = {200: 403 if link_kind == "listing only" else 302}
    assert downloaded.status_code == expected_download.get(expected[caller], expected[caller])
    if opened.status_code != 200:
        assert "secret-name" not in opened.text
    if link_kind == "with a password" and expected[caller] == 403 and caller in (*SIGNED_IN, "anonymous"):
        unlocked = client.get(share["url"], headers=world.headers(caller) | share_pass_header(client, share, "swordfish"))
        assert unlocked.status_code == 200
