"""The events of the own account, names in the audit log, devices of sessions, and what superusers see of one account."""

from collections.abc import Callable
from typing import Any

import httpx

from tests.support.accounts import Account, make_file
from tests.support.problems import assert_problem
from tests.support.shares import make_share

AUDIT, OWN_AUDIT, SESSIONS = "/api/v1/admin/audit", "/api/v1/users/me/audit", "/api/v1/users/me/sessions"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def own_events(client: httpx.Client, account: Account, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(OWN_AUDIT, params=query, headers=account.headers)
    assert answer.status_code == 200, answer.text
    events: list[dict[str, Any]] = answer.json()
    return events


def test_audit_log_names_actors_and_subjects(client: httpx.Client, owner: Account, admin: Account) -> None:
    file = make_file(client, owner, filename="plan.pdf")
    client.post("/api/v1/file-requests", json={"title": "Your papers"}, headers=owner.headers)
    client.patch(f"/api/v1/users/{owner.id}", json={"quota_files": 5}, headers=admin.headers)

    own = client.get(AUDIT, params={"actor_id": str(owner.id)}, headers=admin.headers).json()
    about = client.get(AUDIT, params={"subject": f"user:{owner.id}"}, headers=admin.headers).json()

    names = {event["action"]: (event["actor_name"], event["subject_name"]) for event in (*own, *about)}
    assert names["file.available"] == (owner.email, "plan.pdf")
    assert names["file_request.created"] == (owner.email, "Your papers")
    assert names["user.quota_changed"] == (admin.email, owner.email)
    assert names["sign_in.succeeded"] == (owner.email, None)
    assert client.delete(f"/api/v1/files/{file['id']}", headers=owner.headers).status_code == 204
    deleted = client.get(AUDIT, params={"subject": f"file:{file['id']}"}, headers=admin.headers).json()[0]
    assert (deleted["action"], deleted["subject_name"]) == ("file.deleted", None)


def test_user_reads_the_events_of_the_own_account_only(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    theirs = make_file(client, stranger, filename="secret plan.pdf")
    client.put(f"/api/v1/files/{theirs['id']}/grants", json={"user_id": str(owner.id)}, headers=stranger.headers)
    client.get(f"/api/v1/files/download/{theirs['id']}", headers=owner.headers)
    make_file(client, owner, filename="mine.txt")
    client.patch(f"/api/v1/users/{owner.id}", json={"quota_files": 5}, headers=admin.headers)
    client.post("/api/v1/login/token", data={"username": owner.email, "password": "wrong password"})

    events = own_events(client, owner)

    actions = {event["action"]: event for event in events}
    assert [event["seq"] for event in events] == sorted((event["seq"] for event in events), reverse=True)
    assert "file.shared" not in actions
    assert actions["file.available"]["subject_name"] == "mine.txt"
    assert (actions["file.available"]["is_own"], actions["file.available"]["network"]) == (True, "203.0.113.0/24")
    changed = actions["user.quota_changed"]
    assert [changed[name] for name in ("is_own", "credential", "source_address", "network")] == [False, None, None, None]
    failed = actions["sign_in.failed"]
    assert [failed[name] for name in ("is_own", "source_address", "network")] == [False, None, "203.0.113.0/24"]
    assert str(admin.id) not in str(events)
    assert "secret plan.pdf" not in str(events)
    assert all(event["subject"] != f"user:{owner.id}" for event in own_events(client, stranger))


def test_own_events_are_paged_and_filtered_by_time(client: httpx.Client, owner: Account) -> None:
    for _ in range(3):
        client.patch("/api/v1/users/me", json={"display_name": "x"}, headers=owner.headers)
    everything = own_events(client, owner)

    found, cursor = [], None
    while True:
        answer = client.get(OWN_AUDIT, params={"limit": 2} | ({} if cursor is None else {"cursor": cursor}), headers=owner.headers)
        found += answer.json()
        cursor = answer.headers.get("X-Next-Cursor")
        if cursor is None:
            break

    assert found == everything
    assert len({event["seq"] for event in found}) == len(found)
    middle = everything[1]["at"]
    assert [event["seq"] for event in own_events(client, owner, since=middle)] == [event["seq"] for event in everything[:2]]
    assert [event["seq"] for event in own_events(client, owner, until=middle)] == [event["seq"] for event in everything[2:]]
    assert_problem(client.get(OWN_AUDIT, params={"actor_id": str(owner.id)}, headers=owner.headers), 422, "unknown_parameter")


def test_sessions_name_browser_system_and_network(client: httpx.Client, owner: Account) -> None:
    form = {"username": owner.email, "password": owner.password}
    client.post("/api/v1/login/token", data=form, headers={"User-Agent": FIREFOX})

    newest = client.get(SESSIONS, headers=owner.headers).json()[0]

    shown = {name: newest[name] for name in ("browser", "system", "network", "source_address", "user_agent")}
    assert shown == {
        "browser": "Firefox",
        "system": "Linux",
        "network": "203.0.113.0/24",
        "source_address": "203.0.113.7",
        "user_agent": FIREFOX,
    }


def test_superuser_reads_and_ends_sessions_links_and_requests_of_a_user(
    client: httpx.Client, owner: Account, stranger: Account, admin: Account, make_user: Callable[..., Account]
) -> None:
    share = make_share(client, owner, make_file(client, owner)["id"])
    request = client.post("/api/v1/file-requests", json={"title": "Send"}, headers=owner.headers).json()
    path = f"/api/v1/users/{owner.id}"

    lists = {name: client.get(f"{path}/{name}", headers=admin.headers).json() for name in ("sessions", "shares", "file-requests")}

    assert [row["is_current"] for row in lists["sessions"]] == [False]
    assert [(row["id"], row["url"]) for row in lists["shares"]] == [(share["id"], None)]
    assert [(row["id"], row["url"]) for row in lists["file-requests"]] == [(request["id"], None)]
    assert share["url"].rpartition("/")[2] not in str(lists)
    assert share["id"] not in str(client.get("/api/v1/shares", headers=admin.headers).json())
    for name in ("sessions", "shares", "file-requests"):
        assert_problem(client.get(f"{path}/{name}", headers=stranger.headers), 403, "permission_denied")
    other = make_user()
    session_id, request_id = lists["sessions"][0]["id"], request["id"]
    wrong = f"/api/v1/users/{other.id}"
    assert_problem(client.delete(f"{wrong}/sessions/{session_id}", headers=admin.headers), 404, "session_not_found")
    assert_problem(client.delete(f"{wrong}/file-requests/{request_id}", headers=admin.headers), 404, "file_request_not_found")
    assert client.delete(f"{path}/file-requests/{request_id}", headers=admin.headers).status_code == 204
    assert client.delete(f"/api/v1/shares/{share['id']}", headers=admin.headers).status_code == 204
    assert client.get(share["url"]).status_code == 404
    assert client.get(request["url"]).status_code == 404
    assert client.delete(f"{path}/sessions/{session_id}", headers=admin.headers).status_code == 204
    assert client.get("/api/v1/users/me", headers=owner.headers).status_code == 401


def test_superuser_pages_the_sessions_of_a_user(client: httpx.Client, owner: Account, admin: Account) -> None:
    client.post("/api/v1/login/token", data={"username": owner.email, "password": owner.password})
    path = f"/api/v1/users/{owner.id}/sessions"

    first = client.get(path, params={"limit": 1}, headers=admin.headers)
    second = client.get(path, params={"limit": 1, "cursor": first.headers["X-Next-Cursor"]}, headers=admin.headers)

    assert len({first.json()[0]["id"], second.json()[0]["id"]}) == 2
    assert "X-Next-Cursor" not in second.headers
