"""Profiles: name, language and time zone of an account, and who sees the name."""

import json
from typing import Any

import httpx
import pytest

from tests.support.accounts import Account, make_file
from tests.support.problems import assert_problem
from tests.support.shares import BROWSER, make_share

ME = "/api/v1/users/me"
JSON = {"Content-Type": "application/json"}
PROFILE = {"display_name": "Dana Ölund", "locale": "de-AT", "time_zone": "Europe/Vienna", "shows_name_on_links": True}


def test_profile_is_stored_without_the_password(client: httpx.Client, owner: Account) -> None:
    changed = client.patch(ME, json=PROFILE, headers=owner.headers)

    assert changed.status_code == 200
    read = client.get(ME, headers=owner.headers).json()
    assert {name: read[name] for name in PROFILE} == PROFILE
    assert changed.json() == read


def test_absent_fields_stay_and_null_clears_one(client: httpx.Client, owner: Account) -> None:
    client.patch(ME, json=PROFILE, headers=owner.headers)

    read = client.patch(ME, json={"display_name": None, "locale": None}, headers=owner.headers).json()

    assert {name: read[name] for name in PROFILE} == PROFILE | {"display_name": None, "locale": None}


def test_spaces_around_a_name_are_removed(client: httpx.Client, owner: Account) -> None:
    assert client.patch(ME, json={"display_name": "  Dana "}, headers=owner.headers).json()["display_name"] == "Dana"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("display_name", ""),
        ("display_name", "   "),
        ("display_name", "x" * 101),
        ("display_name", "two\nlines"),
        ("display_name", "exe.\u202egpj"),
        ("display_name", "\ud800"),
        ("display_name", 7),
        ("locale", "german"),
        ("locale", "d"),
        ("locale", "de_AT"),
        ("time_zone", "Europe/"),
        ("time_zone", "../../etc/passwd"),
        ("time_zone", "x" * 65),
        ("shows_name_on_links", None),
        ("shows_name_on_links", "yes"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_bad_value_changes_nothing_and_is_named(client: httpx.Client, owner: Account, field: str, value: Any) -> None:
    before = client.get(ME, headers=owner.headers).json()

    answer = client.patch(ME, content=json.dumps({"display_name": "Dana", field: value}), headers=owner.headers | JSON)

    assert_problem(answer, 422, "malformed_request")
    assert field in answer.text
    assert client.get(ME, headers=owner.headers).json() == before


def test_profile_is_audited_without_its_content(client: httpx.Client, owner: Account, admin: Account) -> None:
    client.patch(ME, json=PROFILE, headers=owner.headers)

    events = client.get("/api/v1/admin/audit", params={"subject": f"user:{owner.id}", "limit": 1}, headers=admin.headers).json()

    assert events[0]["action"] == "user.profile_changed"
    assert events[0]["details"] == {"fields": sorted(PROFILE)}


@pytest.mark.parametrize("is_shown", [True, False])
def test_visitors_of_links_read_the_name_only_if_the_owner_shows_it(client: httpx.Client, owner: Account, is_shown: bool) -> None:
    client.patch(ME, json=PROFILE | {"shows_name_on_links": is_shown}, headers=owner.headers)
    share = make_share(client, owner, make_file(client, owner)["id"])

    opened = client.get(share["url"])
    page = client.get(share["url"], headers=BROWSER)

    assert opened.json()["sender_name"] == (PROFILE["display_name"] if is_shown else None)
    assert ("Dana Ölund" in page.text) is is_shown


@pytest.mark.parametrize("is_shown", [True, False])
def test_guests_of_file_requests_read_the_name_only_if_the_owner_shows_it(client: httpx.Client, owner: Account, is_shown: bool) -> None:
    client.patch(ME, json=PROFILE | {"shows_name_on_links": is_shown}, headers=owner.headers)
    created = client.post("/api/v1/file-requests", json={"title": "Photos"}, headers=owner.headers).json()

    opened = client.get(created["url"])
    page = client.get(created["url"], headers=BROWSER)

    assert opened.json()["requester_name"] == (PROFILE["display_name"] if is_shown else None)
    assert ("Dana Ölund" in page.text) is is_shown


@pytest.mark.parametrize("is_shown", [True, False])
def test_recipients_of_a_file_read_the_name_only_if_the_owner_shows_it(
    client: httpx.Client, owner: Account, stranger: Account, is_shown: bool
) -> None:
    client.patch(ME, json=PROFILE | {"shows_name_on_links": is_shown}, headers=owner.headers)
    file = make_file(client, owner, filename="ab.txt")
    assert file["owner_display_name"] is None
    grant = {"user_id": str(stranger.id), "role": "viewer"}
    assert client.put(f"/api/v1/files/{file['id']}/grants", json=grant, headers=owner.headers).status_code == 200

    # A text of fewer than three characters is searched by another statement.
    for query in ({}, {"q": "ab.txt"}, {"q": "ab"}):
        listed = client.get("/api/v1/files", params={"shared": "with_me", **query}, headers=stranger.headers).json()[0]
        assert (listed["id"], listed["owner_display_name"]) == (file["id"], PROFILE["display_name"] if is_shown else None)
    own = client.get("/api/v1/files", params={"shared": "by_me"}, headers=owner.headers).json()[0]
    assert (own["id"], own["owner_display_name"]) == (file["id"], None)


def test_markup_in_a_name_is_shown_as_text(client: httpx.Client, owner: Account) -> None:
    client.patch(ME, json={"display_name": "<script>alert(1)</script>", "shows_name_on_links": True}, headers=owner.headers)
    share = make_share(client, owner, make_file(client, owner)["id"])

    page = client.get(share["url"], headers=BROWSER).text

    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_superuser_can_clear_an_offensive_name(client: httpx.Client, owner: Account, admin: Account) -> None:
    client.patch(ME, json=PROFILE, headers=owner.headers)

    cleared = client.patch(f"/api/v1/users/{owner.id}", json={"display_name": None}, headers=admin.headers)

    assert cleared.status_code == 200
    assert client.get(ME, headers=owner.headers).json()["display_name"] is None
