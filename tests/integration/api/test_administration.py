"""Routes for superusers: user search, statistics and revoking the sessions of a user."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.accounts import Account, make_file, sign_in
from tests.support.problems import assert_problem, assert_unauthenticated

USERS, STATS = "/api/v1/users", "/api/v1/admin/stats"


def test_search_finds_users_by_part_of_the_address(client: httpx.Client, owner: Account, admin: Account) -> None:
    fragment = owner.email.split("@")[0][5:25]

    found = client.get(USERS, params={"search": fragment.upper()}, headers=admin.headers).json()

    assert [user["id"] for user in found] == [str(owner.id)]
    assert client.get(USERS, params={"search": "%"}, headers=admin.headers).json() == []
    assert client.get(USERS, params={"search": f"{fragment}_"}, headers=admin.headers).json() == []


def test_users_are_filtered_by_is_active(client: httpx.Client, owner: Account, admin: Account) -> None:
    client.put(f"{USERS}/{owner.id}", json={"is_active": False}, headers=admin.headers)

    def ids(is_active: bool) -> list[str]:
        query: dict[str, str | bool] = {"search": owner.email, "is_active": is_active}
        return [user["id"] for user in client.get(USERS, params=query, headers=admin.headers).json()]

    assert ids(False) == [str(owner.id)]
    assert ids(True) == []


@pytest.mark.parametrize("query", [{"search": ""}, {"search": "x" * 255}, {"search": "\x00"}, {"is_active": "maybe"}])
def test_invalid_search_returns_422(client: httpx.Client, admin: Account, query: dict[str, Any]) -> None:
    assert_problem(client.get(USERS, params=query, headers=admin.headers), 422, "malformed_request")


def test_stats_count_users_files_and_bytes(client: httpx.Client, owner: Account, admin: Account) -> None:
    before = client.get(STATS, headers=admin.headers).json()
    make_file(client, owner, b"12345", status="pending")
    make_file(client, owner, b"1234567")

    after = client.get(STATS, headers=admin.headers).json()

    def total(stats: dict[str, Any], status: str, field: str) -> int:
        return sum(item[field] for item in stats["files"] if item["status"] == status)

    assert total(after, "pending", "bytes") - total(before, "pending", "bytes") == 5
    assert total(after, "available", "bytes") - total(before, "available", "bytes") == 7
    assert total(after, "available", "files") - total(before, "available", "files") == 1
    uploads = [sum(day["uploads"] for day in stats["uploads_by_day"]) for stats in (before, after)]
    assert uploads[1] - uploads[0] == 2
    assert after["users"]["total"] >= after["users"]["active"] >= after["users"]["superusers"] >= 1
    assert_problem(client.get(STATS, headers=owner.headers), 403, "permission_denied")


def test_revoking_sessions_of_an_unknown_user_returns_404(client: httpx.Client, owner: Account, admin: Account) -> None:
    assert_problem(client.delete(f"{USERS}/{uuid4()}/sessions", headers=admin.headers), 404, "user_not_found")
    assert_problem(client.delete(f"{USERS}/{owner.id}/sessions", headers=owner.headers), 403, "permission_denied")


def test_demoted_superuser_loses_access_on_the_next_request(client: httpx.Client, make_user: Any, admin: Account) -> None:
    other: Account = make_user(is_superuser=True)
    assert client.get(STATS, headers=other.headers).status_code == 200

    demotion = {"is_superuser": False, "current_password": admin.password}
    assert client.put(f"{USERS}/{other.id}", json=demotion, headers=admin.headers).status_code == 200

    assert_unauthenticated(client.get(STATS, headers=other.headers))
    signed_in_again = {"Authorization": f"Bearer {sign_in(client, email=other.email, password=other.password)}"}
    assert_problem(client.get(STATS, headers=signed_in_again), 403, "permission_denied")
    assert_unauthenticated(client.get(STATS))
