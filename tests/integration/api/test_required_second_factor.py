"""Second factors by policy: what a session may do before it is set up, and that nothing escapes the limit."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from lambda_app.core.settings import FactorRequirement, Settings
from lambda_app.dependencies.scopes import is_enrolment
from tests.support.accounts import Account, make_account, make_file
from tests.support.authorisation import PREFIX, routes
from tests.support.mailing import Mailing, mailing
from tests.support.problems import assert_problem
from tests.support.second_factor import FACTOR, set_up
from tests.support.shares import make_share

ME = "/api/v1/users/me"
OPEN = {
    "GET /users/me",
    "GET /users/me/identities",
    "POST /users/me/proof",
    "POST /users/me/second-factor",
    "POST /users/me/second-factor/confirm",
    "POST /login/logout",
    "POST /login/logout-everywhere",
    "POST /login/test-token",
    "POST /session",
    "DELETE /session",
}


@pytest.fixture
def strict_api(settings: Settings, tmp_path: Path) -> Iterator[Mailing]:
    """An API that requires a second factor of superusers."""
    with mailing(settings, tmp_path, require_second_factor=FactorRequirement.SUPERUSERS) as made:
        yield made


def refresh(client: httpx.Client, account: Account) -> dict[str, str]:
    answer = client.post("/api/v1/login/refresh", json={"refresh_token": account.refresh_token})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_session_without_the_factor_can_only_set_it_up(strict_api: Mailing) -> None:
    client = strict_api.client
    account = make_account(strict_api.services, is_superuser=True)
    key = client.post(f"{ME}/api-keys", json={"name": "k", "scopes": ["admin"]}, headers=account.headers)
    assert_problem(key, 403, "second_factor_enrolment_required")
    assert client.get(ME, headers=account.headers).json()["has_second_factor"] is False

    set_up(client, account)

    assert_problem(client.get("/api/v1/files", headers=account.headers), 403, "second_factor_enrolment_required")
    headers = refresh(client, account)
    assert client.get("/api/v1/files", headers=headers).status_code == 200
    assert client.get("/api/v1/users", headers=headers).status_code == 200


def test_every_other_route_is_closed(strict_api: Mailing, app: FastAPI) -> None:
    client = strict_api.client
    account = make_account(strict_api.services, is_superuser=True)
    ignoring = (
        "/config",
        "/health",
        "/login/",
        "/docs",
        "/openapi",
        "/session",
        "/.well-known",
        "/r/",
        "/p/",
        "/uppy/",
        "/assets",
        "/brand",
    )

    for method, path in routes(app):
        name = f"{method} {path.removeprefix(PREFIX).rstrip('/')}"
        is_api = path.startswith((PREFIX, "/s/"))
        if not is_api or name in OPEN or path.removeprefix(PREFIX).startswith(ignoring):
            continue
        url = re.sub(r"{part_number}", "1", path)
        url = re.sub(r"{token}", "x" * 22, url)
        url = re.sub(r"{\w+}", str(uuid4()), url)
        # The form of a link is read before its visitor is known.
        body = {"password": "x"} if path == "/s/{token}" else {}
        sent: dict[str, Any] = {"json": body} if method in ("POST", "PUT", "PATCH") else {}
        answer = client.request(method, url, headers=account.headers, **sent)
        # A request that is malformed must not be answered before the check.
        assert_problem(answer, 403, "second_factor_enrolment_required")


def test_open_routes_are_those_that_are_listed(app: FastAPI) -> None:
    found = {
        f"{method} {path.removeprefix(PREFIX).rstrip('/')}"
        for method, path in routes(app)
        if path.startswith(PREFIX) and is_enrolment(method, path)
    }

    assert found == OPEN


def test_setting_for_superusers_does_not_apply_to_users(strict_api: Mailing) -> None:
    account = make_account(strict_api.services)

    assert strict_api.client.get("/api/v1/files", headers=account.headers).status_code == 200


def test_setting_for_all_applies_to_users(settings: Settings, tmp_path: Path) -> None:
    with mailing(settings, tmp_path, require_second_factor=FactorRequirement.ALL) as api:
        account = make_account(api.services)

        assert_problem(api.client.get("/api/v1/files", headers=account.headers), 403, "second_factor_enrolment_required")
        answer = api.client.post(
            "/api/v1/files/upload", json={"filename": "a", "content_type": "a/b", "size_bytes": 1}, headers=account.headers
        )
        assert_problem(answer, 403, "second_factor_enrolment_required")
        assert api.client.get(f"{ME}", headers=account.headers).json()["id"] == str(account.id)


def test_superuser_requires_the_factor_of_one_account(client: httpx.Client, owner: Account, admin: Account, stranger: Account) -> None:
    path = f"/api/v1/users/{owner.id}"
    proof = {"requires_second_factor": True, "current_password": admin.password}

    assert_problem(client.patch(path, json={"requires_second_factor": True}, headers=admin.headers), 403, "current_password_required")
    own = {"requires_second_factor": False, "current_password": owner.password}
    assert_problem(client.patch(path, json=own, headers=owner.headers), 403, "permission_denied")
    changed = client.patch(path, json=proof, headers=admin.headers)
    assert changed.json()["requires_second_factor"] is True
    headers = refresh(client, owner)
    assert_problem(client.get("/api/v1/files", headers=headers), 403, "second_factor_enrolment_required")
    assert client.get(ME, headers=headers).json()["requires_second_factor"] is True
    action = client.get("/api/v1/admin/audit", params={"subject": f"user:{owner.id}"}, headers=admin.headers).json()[0]["action"]
    assert action == "second_factor.required"


def test_mandatory_factor_cannot_be_turned_off(client: httpx.Client, owner: Account, admin: Account) -> None:
    _, codes = set_up(client, owner)
    proof = {"requires_second_factor": True, "current_password": admin.password}
    client.patch(f"/api/v1/users/{owner.id}", json=proof, headers=admin.headers)

    answer = client.post(f"{FACTOR}/disable", json={"current_password": owner.password, "otp": codes[0]}, headers=owner.headers)

    assert_problem(answer, 409, "second_factor_mandatory")
    assert client.get(ME, headers=owner.headers).json()["has_second_factor"] is True


def test_share_page_refuses_an_account_that_must_set_up_a_factor(
    client: httpx.Client, owner: Account, admin: Account, stranger: Account
) -> None:
    share = make_share(client, stranger, make_file(client, stranger)["id"], audience="signed_in")
    proof = {"requires_second_factor": True, "current_password": admin.password}
    client.patch(f"/api/v1/users/{owner.id}", json=proof, headers=admin.headers)

    answer = client.post(share["url"], json={"email": owner.email, "account_password": owner.password})

    assert_problem(answer, 403, "second_factor_enrolment_required")


def test_api_keys_that_exist_stay_valid(client: httpx.Client, owner: Account, admin: Account) -> None:
    key = client.post(f"{ME}/api-keys", json={"name": "k", "scopes": ["files:read"]}, headers=owner.headers).json()["key"]
    proof = {"requires_second_factor": True, "current_password": admin.password}
    client.patch(f"/api/v1/users/{owner.id}", json=proof, headers=admin.headers)

    assert client.get("/api/v1/files", headers={"Authorization": f"Bearer {key}"}).status_code == 200
