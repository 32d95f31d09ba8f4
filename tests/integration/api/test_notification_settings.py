"""Notification settings of an account, and the choices of links and file requests that follow from them."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from lambda_app.factory import Services
from tests.support.accounts import Account, make_account, make_file
from tests.support.problems import assert_problem
from tests.support.shares import change_share, make_share

SETTINGS = "/api/v1/users/me/notifications"
DEFAULTS = {"link_downloads": False, "request_uploads": False, "link_expiry": False, "new_sign_ins": True}


@pytest.fixture
def owner(client: httpx.Client, services: Services) -> Account:
    return make_account(services)


def change(client: httpx.Client, owner: Account, **changes: Any) -> httpx.Response:
    return client.patch(SETTINGS, json=changes, headers=owner.headers)


def make_request(client: httpx.Client, owner: Account, **fields: Any) -> dict[str, Any]:
    response = client.post("/api/v1/file-requests", json={"title": "Photos", **fields}, headers=owner.headers)
    created: dict[str, Any] = response.raise_for_status().json()
    return created


def test_only_new_sign_ins_are_announced_by_default(client: httpx.Client, owner: Account) -> None:
    assert client.get(SETTINGS, headers=owner.headers).json() == DEFAULTS


def test_changes_keep_other_settings_and_are_audited(client: httpx.Client, services: Services, owner: Account) -> None:
    assert change(client, owner, link_expiry=True).json() == {**DEFAULTS, "link_expiry": True}
    assert change(client, owner, new_sign_ins=False).json() == {**DEFAULTS, "link_expiry": True, "new_sign_ins": False}
    assert change(client, owner).json() == client.get(SETTINGS, headers=owner.headers).json()

    with services.engine.connect() as connection:
        query = text("SELECT details FROM audit_event WHERE subject = :subject AND action = 'notifications.changed' ORDER BY seq")
        details = connection.execute(query, {"subject": f"user:{owner.id}"}).scalars().all()
    assert details == ['{"link_expiry": true}', '{"new_sign_ins": false}']


@pytest.mark.parametrize("body", [{"link_expiry": None}, {"link_expiry": "yes"}, {"link_expiry": 1}, {"user_id": "x"}], ids=str)
def test_other_values_are_refused(client: httpx.Client, owner: Account, body: dict[str, Any]) -> None:
    assert_problem(client.patch(SETTINGS, json=body, headers=owner.headers), 422, "malformed_request")


def test_new_links_and_requests_begin_with_the_settings_of_the_account(client: httpx.Client, owner: Account) -> None:
    file_id = make_file(client, owner)["id"]
    before = make_share(client, owner, file_id)["notify_on_download"], make_request(client, owner)["notify_on_upload"]
    change(client, owner, link_downloads=True, request_uploads=True).raise_for_status()

    link, request = make_share(client, owner, file_id), make_request(client, owner)
    silent = make_share(client, owner, file_id, notify_on_download=False), make_request(client, owner, notify_on_upload=False)

    assert before == (False, False)
    assert (link["notify_on_download"], request["notify_on_upload"]) == (True, True)
    assert (silent[0]["notify_on_download"], silent[1]["notify_on_upload"]) == (False, False)
    stored = client.get(f"/api/v1/shares/{link['id']}", headers=owner.headers).json()
    assert stored["notify_on_download"] is True


def test_links_and_requests_can_be_changed(client: httpx.Client, owner: Account) -> None:
    link, request = make_share(client, owner, make_file(client, owner)["id"]), make_request(client, owner)
    path = f"/api/v1/file-requests/{request['id']}"

    assert change_share(client, owner, link, notify_on_download=True)["notify_on_download"] is True
    assert client.patch(path, json={"notify_on_upload": True}, headers=owner.headers).json()["notify_on_upload"] is True
    refused = client.patch(path, json={"notify_on_upload": None}, headers=owner.headers)

    assert_problem(refused, 422, "malformed_request")


def test_repeated_request_with_a_key_returns_the_same_choice(client: httpx.Client, owner: Account) -> None:
    body = {"file_ids": [make_file(client, owner)["id"]], "notify_on_download": True}
    headers = {**owner.headers, "Idempotency-Key": "once"}

    first, second = (client.post("/api/v1/shares", json=body, headers=headers).json() for _ in range(2))
    other = client.post("/api/v1/shares", json={**body, "notify_on_download": False}, headers=headers)

    assert first == second
    assert first["notify_on_download"] is True
    assert_problem(other, 422, "idempotency_key_reused")
