"""User accounts over HTTP: registration, reading, changes and permissions."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account, sign_in
from tests.support.gateway import GatewayTransport
from tests.support.problems import assert_problem, assert_unauthenticated

USERS = "/api/v1/users"


EMPTY_PROFILE = {
    **dict.fromkeys(("display_name", "locale", "time_zone", "deletion_at")),
    "shows_name_on_links": False,
    "has_second_factor": False,
    "requires_second_factor": False,
}


def registration(**changes: Any) -> dict[str, Any]:
    return {"email": f"new-{uuid4()}@example.com", "password": "a good password"} | changes


@pytest.mark.parametrize("path", [USERS, f"{USERS}/"])
def test_anyone_can_register_while_registration_is_open(client: httpx.Client, path: str) -> None:
    new = registration()

    response = client.post(path, json=new)

    assert response.status_code == 201
    body = response.json()
    assert set(body) == {"id", "email", "is_active", "is_superuser", "email_verified", "created_at", "updated_at", *EMPTY_PROFILE}
    assert {name: body[name] for name in EMPTY_PROFILE} == EMPTY_PROFILE
    assert (body["email"], body["is_active"], body["is_superuser"]) == (new["email"], True, False)
    assert sign_in(client, email=new["email"], password=new["password"])


def test_closed_registration_is_limited_to_superusers(settings: Settings, services: Services, owner: Account, admin: Account) -> None:
    closed = settings.model_copy(update={"open_registration": False})
    app = create_app(closed, Services.build(closed))
    with httpx.Client(transport=GatewayTransport(GatewayHandler(app)), base_url="https://api.test") as client:
        assert_problem(client.post(f"{USERS}/", json=registration()), 403, "registration_closed")
        assert_problem(client.post(f"{USERS}/", json=registration(), headers=owner.headers), 403, "registration_closed")
        assert client.post(f"{USERS}/", json=registration(), headers=admin.headers).status_code == 201
    app.state.services.engine.dispose()


def test_email_is_unique_regardless_of_case(client: httpx.Client, owner: Account) -> None:
    assert_problem(client.post(f"{USERS}/", json=registration(email=owner.email.upper())), 409, "email_taken")


@pytest.mark.parametrize("field", ["is_superuser", "is_active", "id", "hashed_password"])
def test_registration_cannot_set_roles_or_internal_fields(client: httpx.Client, field: str) -> None:
    assert_problem(client.post(f"{USERS}/", json=registration(**{field: True})), 422, "malformed_request")


def test_only_superusers_can_list_users(client: httpx.Client, owner: Account, admin: Account) -> None:
    assert_unauthenticated(client.get(f"{USERS}/"))
    assert_problem(client.get(f"{USERS}/", headers=owner.headers), 403, "permission_denied")

    first = client.get(USERS, params={"limit": 1}, headers=admin.headers)
    second = client.get(f"{USERS}/", params={"limit": 1, "skip": 1}, headers=admin.headers)

    assert first.status_code == second.status_code == 200
    assert len(first.json()) == len(second.json()) == 1
    assert first.json()[0]["created_at"] <= second.json()[0]["created_at"]
    assert first.json() != second.json()


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "skip=-1", "limit=1_0", "limit=%205", "limit=true", "skip=1e3", "limit=٣", "skip=99999999999999999999"],
)
def test_malformed_page_parameters_are_refused(client: httpx.Client, admin: Account, query: str) -> None:
    assert_problem(client.get(f"{USERS}/?{query}", headers=admin.headers), 422, "malformed_request")


@pytest.mark.parametrize("path", ["users/", "files"])
def test_deep_page_by_skip_is_refused_with_a_hint_to_the_cursor(client: httpx.Client, admin: Account, path: str) -> None:
    refused = client.get(f"/api/v1/{path}", params={"skip": 10_001}, headers=admin.headers)

    assert client.get(f"/api/v1/{path}", params={"skip": 10_000}, headers=admin.headers).status_code == 200
    assert_problem(refused, 422, "malformed_request")
    assert "must be at most 10000; to read further, send the X-Next-Cursor of a page as cursor" in refused.json()["detail"]


def test_only_the_owner_and_superusers_can_read_an_account(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    path = f"{USERS}/{owner.id}"

    assert_unauthenticated(client.get(path))
    assert_problem(client.get(path, headers=stranger.headers), 403, "permission_denied")
    assert client.get(path, headers=owner.headers).json()["email"] == owner.email
    assert client.get(path, headers=admin.headers).json()["email"] == owner.email


def test_unknown_account_returns_404_to_superusers_and_403_to_others(client: httpx.Client, owner: Account, admin: Account) -> None:
    path = f"{USERS}/{uuid4()}"

    assert_problem(client.get(path, headers=admin.headers), 404, "user_not_found")
    assert_problem(client.put(path, json={"is_active": False}, headers=admin.headers), 404, "user_not_found")
    assert_problem(client.get(path, headers=owner.headers), 403, "permission_denied")


def test_own_account_requires_an_access_token(client: httpx.Client) -> None:
    assert_unauthenticated(client.get(f"{USERS}/me"))
    assert_unauthenticated(client.put(f"{USERS}/me", json={}))
    assert_unauthenticated(client.put(f"{USERS}/{uuid4()}", json={}))


@pytest.mark.parametrize("path", [f"{USERS}/me", f"{USERS}/{{id}}"])
def test_password_change_requires_the_current_password(client: httpx.Client, owner: Account, path: str) -> None:
    path = path.format(id=owner.id)
    new = "a new good password"
    for current in ({}, {"current_password": "wrong password"}, {"current_password": None}):
        assert_problem(client.put(path, json={"password": new, **current}, headers=owner.headers), 403, "current_password_required")

    response = client.put(path, json={"password": new, "current_password": owner.password}, headers=owner.headers)

    assert response.status_code == 200
    assert sign_in(client, email=owner.email, password=new)
    assert_problem(client.post("/api/v1/login/token", data={"username": owner.email, "password": owner.password}), 401, "bad_credentials")


def test_email_change_requires_the_password_and_an_unused_address(client: httpx.Client, owner: Account, stranger: Account) -> None:
    new = f"moved-{uuid4()}@example.com"
    proof = {"current_password": owner.password}

    assert_problem(client.put(f"{USERS}/me", json={"email": new}, headers=owner.headers), 403, "current_password_required")
    assert_problem(client.put(f"{USERS}/me", json={"email": stranger.email} | proof, headers=owner.headers), 409, "email_taken")
    changed = client.put(f"{USERS}/me", json={"email": new.upper()} | proof, headers=owner.headers)

    assert changed.json()["email"] == new
    assert client.get(f"{USERS}/me", headers=owner.headers).json() == changed.json()


@pytest.mark.parametrize("field", ["email", "password", "is_active", "is_superuser"])
def test_field_cannot_be_null(client: httpx.Client, owner: Account, field: str) -> None:
    assert_problem(client.put(f"{USERS}/{owner.id}", json={field: None}, headers=owner.headers), 422, "malformed_request")


def test_update_without_changes_returns_the_account(client: httpx.Client, owner: Account) -> None:
    before = client.get(f"{USERS}/me", headers=owner.headers).json()

    assert client.put(f"{USERS}/me", json={}, headers=owner.headers).json() == before


@pytest.mark.parametrize("field", ["is_superuser", "is_active"])
def test_users_cannot_change_their_own_roles(client: httpx.Client, owner: Account, field: str) -> None:
    assert_problem(client.put(f"{USERS}/{owner.id}", json={field: True}, headers=owner.headers), 403, "permission_denied")
    assert_problem(client.put(f"{USERS}/me", json={field: True}, headers=owner.headers), 422, "malformed_request")

    assert client.get(f"{USERS}/me", headers=owner.headers).json()["is_superuser"] is False


def test_stranger_cannot_change_an_account(client: httpx.Client, owner: Account, stranger: Account) -> None:
    response = client.put(f"{USERS}/{owner.id}", json={"password": "a stolen account"}, headers=stranger.headers)

    assert_problem(response, 403, "permission_denied")
    assert sign_in(client, email=owner.email, password=owner.password)


def test_superuser_can_change_roles_and_passwords(client: httpx.Client, owner: Account, admin: Account) -> None:
    path = f"{USERS}/{owner.id}"

    proof = {"current_password": admin.password}

    promoted = client.put(path, json={"is_superuser": True} | proof, headers=admin.headers)
    reset = client.put(path, json={"password": "reset by an admin"} | proof, headers=admin.headers)
    disabled = client.put(path, json={"is_active": False}, headers=admin.headers)

    assert promoted.json()["is_superuser"] is True
    assert reset.status_code == 200
    assert disabled.json()["is_active"] is False
    assert_unauthenticated(client.get(f"{USERS}/me", headers=owner.headers))
    client.put(path, json={"is_active": True}, headers=admin.headers)
    assert sign_in(client, email=owner.email, password="reset by an admin")


def test_superuser_cannot_remove_their_own_role(client: httpx.Client, admin: Account) -> None:
    for change in ({"is_superuser": False}, {"is_active": False}):
        assert_problem(client.put(f"{USERS}/{admin.id}", json=change, headers=admin.headers), 409, "own_role")


def test_refused_update_changes_nothing(client: httpx.Client, owner: Account, stranger: Account) -> None:
    before = client.get(f"{USERS}/me", headers=owner.headers).json()

    client.put(f"{USERS}/me", json={"email": f"x-{uuid4()}@example.com", "password": "anything 123"}, headers=owner.headers)

    assert client.get(f"{USERS}/me", headers=owner.headers).json() == before


def test_accounts_are_paged_by_cursor(client: httpx.Client, admin: Account, make_user: Callable[..., Account]) -> None:
    made = [str(make_user().id) for _ in range(3)]

    paged, address = [], f"{USERS}?limit=2&is_active=true&search=user-"
    while address:
        response = client.get(address, headers=admin.headers)
        paged += [user["id"] for user in response.json()]
        address = f"{USERS}{response.links['next']['url']}" if "next" in response.links else ""
        assert ("x-next-cursor" in response.headers) == bool(address)

    assert len(paged) == len(set(paged))
    assert [user_id for user_id in paged if user_id in made] == made
    mixed = client.get(USERS, params={"skip": 1, "cursor": "x"}, headers=admin.headers)
    assert_problem(mixed, 422, "skip_with_cursor")
    assert_problem(client.get(USERS, params={"cursor": "x"}, headers=admin.headers), 422, "bad_cursor")
