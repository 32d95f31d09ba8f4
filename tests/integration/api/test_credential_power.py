"""The power of a credential: its scopes and its user's role apply to every route, also to links that another credential made."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from lambda_app.factory import Services
from tests.support.accounts import Account, make_file, sign_in
from tests.support.problems import assert_problem, assert_unauthenticated
from tests.support.shares import make_share

FILES = "/api/v1/files"
KEYS = "/api/v1/users/me/api-keys"
SHARES = "/api/v1/shares"
USERS = "/api/v1/users"


@pytest.fixture
def superuser(make_user: Callable[..., Account]) -> Account:
    """A superuser whose role and credentials the test may change."""
    return make_user(is_superuser=True)


def key_of(client: httpx.Client, account: Account, *scopes: str, **fields: Any) -> dict[str, str]:
    """Create an API key and return its Authorization header."""
    created = client.post(KEYS, json={"name": "script", "scopes": list(scopes), **fields}, headers=account.headers)
    assert created.status_code == 201, created.text
    return {"Authorization": f"Bearer {created.json()['key']}"}


def set_role(client: httpx.Client, editor: Account, account: Account, *, is_superuser: bool) -> httpx.Response:
    body = {"is_superuser": is_superuser, "current_password": editor.password}
    return client.put(f"{USERS}/{account.id}", json=body, headers=editor.headers)


def test_key_without_admin_cannot_reach_a_link_that_needed_the_role(client: httpx.Client, owner: Account, superuser: Account) -> None:
    foreign = str(make_file(client, owner)["id"])
    share = make_share(client, superuser, foreign, audience="signed_in")
    key, path = key_of(client, superuser, "shares"), f"{SHARES}/{share['id']}"

    for response in (
        client.get(path, headers=key),
        client.patch(path, json={"audience": "anyone"}, headers=key),
        client.patch(path, json={}, headers=key),
        client.delete(path, headers=key),
    ):
        assert_problem(response, 404, "share_not_found")
    assert client.get(SHARES, headers=key).json() == []
    assert client.get(share["url"]).status_code == 401
    assert [shown["id"] for shown in client.get(SHARES, headers=superuser.headers).json()] == [share["id"]]
    for headers in (superuser.headers, key_of(client, superuser, "admin")):
        assert client.patch(path, json={"note": "x"}, headers=headers).status_code == 200


def test_key_without_admin_cannot_repeat_the_creation_of_a_link_that_needed_the_role(
    client: httpx.Client, owner: Account, superuser: Account
) -> None:
    body, once = {"file_ids": [str(make_file(client, owner)["id"])]}, {"Idempotency-Key": "once"}
    created = client.post(SHARES, json=body, headers=superuser.headers | once)

    repeated = client.post(SHARES, json=body, headers=key_of(client, superuser, "shares") | once)

    assert created.status_code == 201
    assert_problem(repeated, 410, "idempotent_share_gone")


def test_key_without_admin_manages_links_to_own_files(client: httpx.Client, superuser: Account) -> None:
    share = make_share(client, superuser, str(make_file(client, superuser)["id"]))
    key = key_of(client, superuser, "shares")

    assert client.patch(f"{SHARES}/{share['id']}", json={"note": "x"}, headers=key).status_code == 200
    assert [shown["id"] for shown in client.get(SHARES, headers=key).json()] == [share["id"]]


def test_key_without_admin_creates_no_link_to_foreign_files(client: httpx.Client, owner: Account, superuser: Account) -> None:
    foreign, own = str(make_file(client, owner)["id"]), str(make_file(client, superuser)["id"])

    created = client.post(SHARES, json={"file_ids": [own, foreign]}, headers=key_of(client, superuser, "shares"))

    assert_problem(created, 403, "file_forbidden")


def test_demotion_revokes_the_links_that_needed_the_role(
    client: httpx.Client, admin: Account, owner: Account, superuser: Account
) -> None:
    foreign, own = str(make_file(client, owner)["id"]), str(make_file(client, superuser)["id"])
    with_foreign, own_only = make_share(client, superuser, own, foreign), make_share(client, superuser, own)

    assert set_role(client, admin, superuser, is_superuser=False).status_code == 200
    closed = client.get(with_foreign["url"]).status_code
    assert set_role(client, admin, superuser, is_superuser=True).status_code == 200

    assert closed == 404
    assert client.get(with_foreign["url"]).status_code == 404
    assert client.get(own_only["url"]).status_code == 200
    events = client.get("/api/v1/admin/audit", params={"subject": f"share:{with_foreign['id']}"}, headers=admin.headers).json()
    assert [(event["action"], event["actor_id"]) for event in events] == [
        ("share.revoked", str(admin.id)), ("share.created", str(superuser.id)),
    ]  # fmt: skip


def test_promotion_gives_earlier_links_no_power(
    client: httpx.Client, admin: Account, owner: Account, make_user: Callable[..., Account], services: Services
) -> None:
    """The link opens only what its creator could share without the role, also if a listed file later belongs to another user."""
    heir = make_user()
    file, other = (str(make_file(client, owner)["id"]) for _ in range(2))
    share = make_share(client, owner, file, other)
    assert set_role(client, admin, owner, is_superuser=True).status_code == 200
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE file SET owner_id = :heir WHERE id = :id"), {"heir": heir.id, "id": other})

    opened = client.get(share["url"])

    assert [shown["id"] for shown in opened.json()["files"]] == [file]
