"""The power of a credential: its scopes and its user's role apply to every route, also to links that another credential made."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from lambda_app.core.request_context import RequestContext, reset_request_context, set_request_context
from lambda_app.factory import Services
from lambda_app.models import User
from lambda_app.schemas.accounts.api_keys import ApiKeyCreate, Scope
from lambda_app.services.accounts.authentication import ScopeMissingError
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


def test_demotion_revokes_the_links_that_needed_the_role(client: httpx.Client, admin: Account, owner: Account, superuser: Account) -> None:
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


PUBLIC = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": 1, "is_public": True}


@pytest.mark.parametrize("path", [f"{FILES}/upload", f"{FILES}/multipart"])
def test_public_upload_requires_the_scope_shares(client: httpx.Client, owner: Account, path: str) -> None:
    writer = key_of(client, owner, "files:write")

    refused = client.post(path, json=PUBLIC, headers=writer)

    assert_problem(refused, 403, "insufficient_scope", required_scope="shares")
    assert client.get(FILES, headers=owner.headers).json() == []
    assert client.post(path, json=PUBLIC | {"is_public": False}, headers=writer).status_code == 201
    for scopes in (["files:write", "shares"], ["admin"]):
        assert client.post(path, json=PUBLIC, headers=key_of(client, owner, *scopes)).status_code == 201


@pytest.mark.parametrize("is_public", [True, False])
def test_change_of_visibility_requires_the_scope_shares(client: httpx.Client, owner: Account, is_public: bool) -> None:
    file = make_file(client, owner, is_public=not is_public)
    path, change = f"{FILES}/{file['id']}", {"description": "x", "is_public": is_public}
    writer = key_of(client, owner, "files:write")

    refused = client.put(path, json=change, headers=writer)

    assert_problem(refused, 403, "insufficient_scope", required_scope="shares")
    assert client.get(path, headers=owner.headers).json() == file
    assert client.put(path, json={"description": "x"}, headers=writer).status_code == 200
    for headers in (key_of(client, owner, "files:write", "shares"), key_of(client, owner, "admin"), owner.headers):
        assert client.put(path, json=change, headers=headers).json()["is_public"] is is_public


def test_key_of_shares_alone_cannot_change_visibility(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner)

    response = client.put(f"{FILES}/{file['id']}", json={"is_public": True}, headers=key_of(client, owner, "shares"))

    assert_problem(response, 403, "insufficient_scope", required_scope="files:write")


@pytest.mark.parametrize("is_superuser", [True, False])
def test_change_of_the_role_ends_keys_and_tokens(
    client: httpx.Client, admin: Account, make_user: Callable[..., Account], is_superuser: bool
) -> None:
    account = make_user(is_superuser=not is_superuser)
    key = key_of(client, account, "admin")

    changed = set_role(client, admin, account, is_superuser=is_superuser)

    assert changed.json()["is_superuser"] is is_superuser
    assert_unauthenticated(client.get(f"{USERS}/me", headers=key))
    assert_unauthenticated(client.get(f"{USERS}/me", headers=account.headers))
    assert_problem(client.post("/api/v1/login/refresh", json={"refresh_token": account.refresh_token}), 401, "bad_refresh_token")
    assert sign_in(client, email=account.email, password=account.password)


@pytest.mark.parametrize("change", [{"is_superuser": True}, {"password": "a password set by another"}, {"email": "taken-over@example.com"}])
@pytest.mark.parametrize("proof", [{}, {"current_password": "a wrong password"}])
def test_change_of_another_users_control_requires_the_editors_password(
    client: httpx.Client, owner: Account, superuser: Account, change: dict[str, Any], proof: dict[str, str]
) -> None:
    for headers in (superuser.headers, key_of(client, superuser, "admin")):
        response = client.put(f"{USERS}/{owner.id}", json=change | proof, headers=headers)
        assert_problem(response, 403, "current_password_required")

    # The other user's password does not prove who the editor is.
    theirs = client.put(f"{USERS}/{owner.id}", json=change | {"current_password": owner.password}, headers=superuser.headers)
    assert_problem(theirs, 403, "current_password_required")
    account = client.get(f"{USERS}/me", headers=owner.headers).json()
    assert (account["email"], account["is_superuser"]) == (owner.email, False)
    assert sign_in(client, email=owner.email, password=owner.password)


def test_change_of_another_users_password_is_audited(client: httpx.Client, admin: Account, owner: Account) -> None:
    body = {"password": "a password set by another", "current_password": admin.password}

    assert client.put(f"{USERS}/{owner.id}", json=body, headers=admin.headers).status_code == 200

    events = client.get("/api/v1/admin/audit", params={"subject": f"user:{owner.id}"}, headers=admin.headers).json()
    assert (events[0]["action"], events[0]["actor_id"]) == ("password.changed", str(admin.id))
    assert_unauthenticated(client.get(f"{USERS}/me", headers=owner.headers))


@pytest.mark.parametrize("days", [None, 30])
def test_key_made_by_a_key_expires_with_it(client: httpx.Client, owner: Account, days: int | None) -> None:
    creator = client.post(KEYS, json={"name": "n", "scopes": ["admin"], "expires_in_days": 1}, headers=owner.headers).json()
    headers = {"Authorization": f"Bearer {creator['key']}"}

    created = client.post(KEYS, json={"name": "n", "scopes": ["admin"], "expires_in_days": days}, headers=headers)

    assert created.status_code == 201
    assert created.json()["expires_at"] == creator["expires_at"]


def test_key_made_by_an_unlimited_key_keeps_the_requested_expiry(client: httpx.Client, owner: Account) -> None:
    headers = key_of(client, owner, "admin")

    limited, unlimited = (
        client.post(KEYS, json={"name": "n", "scopes": ["shares"], "expires_in_days": days}, headers=headers).json() for days in (1, None)
    )

    assert limited["expires_at"] is not None
    assert unlimited["expires_at"] is None


def test_revoked_key_takes_the_keys_that_it_made_with_it(client: httpx.Client, admin: Account, owner: Account) -> None:
    first = client.post(KEYS, json={"name": "first", "scopes": ["admin"]}, headers=owner.headers).json()
    other, headers, family = key_of(client, owner, "admin"), {"Authorization": f"Bearer {first['key']}"}, []
    for _ in range(2):
        created = client.post(KEYS, json={"name": "n", "scopes": ["admin"]}, headers=headers).json()
        headers = {"Authorization": f"Bearer {created['key']}"}
        family.append((created["id"], headers))

    assert client.delete(f"{KEYS}/{first['id']}", headers=owner.headers).status_code == 204

    for key_id, made in family:
        assert_unauthenticated(client.get(f"{USERS}/me", headers=made))
        events = client.get("/api/v1/admin/audit", params={"subject": f"api_key:{key_id}"}, headers=admin.headers).json()
        assert [event["action"] for event in events] == ["api_key.revoked", "api_key.created"]
    assert client.get(f"{USERS}/me", headers=other).status_code == 200


def test_key_cannot_be_made_with_a_scope_that_its_maker_lacks(services: Services, owner: Account) -> None:
    """The route requires `admin`; the service does not rely on it."""
    parameters = ApiKeyCreate(name="n", scopes=[Scope.SHARES, Scope.FILES_READ])
    token = set_request_context(RequestContext(actor_id=owner.id, scopes=frozenset({Scope.SHARES})))
    try:
        with services.unit_of_work() as session:
            user, api_keys = session.get_one(User, owner.id), services.api_keys(session)
            with pytest.raises(ScopeMissingError) as refused:
                api_keys.create(user, parameters)
    finally:
        reset_request_context(token)

    assert refused.value.extra == {"required_scope": Scope.FILES_READ}
