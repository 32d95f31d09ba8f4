"""Titles and summaries of share links, and changes of their files."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from lambda_app.factory import Services
from lambda_app.models import User
from lambda_app.services.sharing.link_files import TooManyLinkFilesError
from tests.support.accounts import Account, make_file, start_upload
from tests.support.problems import assert_problem
from tests.support.shares import BROWSER, change_share, counts_of, make_share, share_pass_header

SHARES = "/api/v1/shares"
SUMMARY = ("file_count", "size_bytes", "first_filenames")


def add(client: httpx.Client, account: Account, share: dict[str, Any], *file_ids: str) -> httpx.Response:
    return client.post(f"{SHARES}/{share['id']}/files", json={"file_ids": file_ids}, headers=account.headers)


def remove(client: httpx.Client, account: Account, share: dict[str, Any], file_id: str) -> httpx.Response:
    return client.delete(f"{SHARES}/{share['id']}/files/{file_id}", headers=account.headers)


def test_title_is_shown_to_the_owner_and_to_visitors(client: httpx.Client, owner: Account) -> None:
    title = 'Plans <b>"2027"</b> \N{RIGHT-TO-LEFT OVERRIDE}x'
    share = make_share(client, owner, make_file(client, owner)["id"], title=title)

    visitors, page = client.get(share["url"]).json(), client.get(share["url"], headers=BROWSER).text

    assert (share["title"], visitors["title"]) == (title, title)
    shown = "Plans &lt;b&gt;&#34;2027&#34;&lt;/b&gt; x"
    assert f"<bdi>{shown}</bdi></h1>" in page
    assert f'<meta property="og:title" content="{shown}">' in page
    assert change_share(client, owner, share, title=None)["title"] is None
    assert ">Shared files</bdi></h1>" in client.get(share["url"], headers=BROWSER).text


def test_page_of_a_link_with_a_password_has_no_title(client: httpx.Client, owner: Account) -> None:
    share = make_share(client, owner, make_file(client, owner)["id"], title="Merger", password="swordfish")

    locked = client.get(share["url"], headers=BROWSER)

    assert "protected with a password" in locked.text
    assert "Merger" not in locked.text
    assert client.get(share["url"], headers=share_pass_header(client, share, "swordfish")).json()["title"] == "Merger"


@pytest.mark.parametrize("title", ["", "   ", "two\nlines", "x" * 201], ids=["empty", "blank", "lines", "long"])
def test_bad_title_is_refused(client: httpx.Client, owner: Account, title: str) -> None:
    response = client.post(SHARES, json={"file_ids": [str(uuid4())], "title": title}, headers=owner.headers)

    assert_problem(response, 422, "malformed_request")


def test_link_has_names_number_and_size_of_the_files_that_it_opens(client: httpx.Client, owner: Account) -> None:
    files = [make_file(client, owner, b"x" * size, filename=f"{size}.txt")["id"] for size in (4, 3, 2, 1)]
    share = make_share(client, owner, *files)
    assert {name: share[name] for name in SUMMARY} == {"file_count": 4, "size_bytes": 10, "first_filenames": ["4.txt", "3.txt", "2.txt"]}

    client.delete(f"/api/v1/files/{files[1]}", headers=owner.headers)

    (listed,) = client.get(SHARES, headers=owner.headers).json()
    assert {name: listed[name] for name in SUMMARY} == {"file_count": 3, "size_bytes": 7, "first_filenames": ["4.txt", "2.txt", "1.txt"]}


def test_links_are_found_by_title(client: httpx.Client, owner: Account, stranger: Account) -> None:
    file = make_file(client, owner)["id"]
    titles = {title: make_share(client, owner, file, title=title)["id"] for title in ("Caf\u00e9 photos", "Invoices 100%", "Old invoices")}
    make_share(client, owner, file)
    make_share(client, stranger, make_file(client, stranger)["id"], title="Invoices of a stranger")
    client.delete(f"{SHARES}/{titles['Old invoices']}", headers=owner.headers)

    def found(title: str) -> list[str]:
        return [share["title"] for share in client.get(SHARES, params={"title": title}, headers=owner.headers).json()]

    assert found("invoice") == ["Invoices 100%"]
    assert found("%") == ["Invoices 100%"]
    assert found("CAFE\u0301") == ["Caf\u00e9 photos"]


def test_files_are_added_behind_the_others_and_counters_stay(client: httpx.Client, owner: Account) -> None:
    first, second, third = (make_file(client, owner, filename=name)["id"] for name in ("a", "b", "c"))
    share = make_share(client, owner, first, max_downloads=5, password="swordfish")
    share_pass = share_pass_header(client, share, "swordfish")
    client.get(share["url"], headers=share_pass)
    client.get(f"{share['url']}/files/{first}", headers=share_pass)
    counts = counts_of(client, owner, share)

    response = add(client, owner, share, third, first, second)

    assert response.status_code == 200, response.text
    assert response.json()["file_ids"] == [first, third, second]
    assert response.json()["url"] == share["url"]
    assert counts_of(client, owner, share) == counts == (1, 1)
    assert [file["id"] for file in client.get(share["url"], headers=share_pass).json()["files"]] == [first, third, second]
    assert add(client, owner, share, second).json()["file_ids"] == [first, third, second]


def test_file_that_the_owner_cannot_share_is_not_added(client: httpx.Client, owner: Account, stranger: Account) -> None:
    share = make_share(client, owner, make_file(client, owner)["id"])
    own, foreign = make_file(client, owner)["id"], make_file(client, stranger)["id"]
    granted = make_file(client, stranger)["id"]
    grant = {"user_id": str(owner.id), "role": "editor"}
    assert client.put(f"/api/v1/files/{granted}/grants", json=grant, headers=stranger.headers).status_code == 200
    pending = start_upload(client, owner)["file_id"]

    assert_problem(add(client, owner, share, own, foreign), 403, "file_forbidden", file_id=foreign)
    assert_problem(add(client, owner, share, own, granted), 403, "file_forbidden", file_id=granted)
    assert_problem(add(client, owner, share, own, pending), 409, "file_not_available", file_id=pending, file_status="pending")
    assert_problem(add(client, owner, share, own, missing := str(uuid4())), 404, "file_not_found", file_id=missing)
    assert client.get(f"{SHARES}/{share['id']}", headers=owner.headers).json()["file_ids"] == share["file_ids"]


def test_superuser_cannot_add_files_to_a_link_of_another_user(client: httpx.Client, owner: Account, admin: Account) -> None:
    file = make_file(client, owner)["id"]
    share = make_share(client, owner, file)

    assert_problem(add(client, admin, share, make_file(client, admin)["id"]), 404, "share_not_found")
    assert remove(client, admin, share, file).status_code == 204


def test_link_that_gets_a_foreign_file_needs_the_superuser_role(client: httpx.Client, owner: Account, admin: Account) -> None:
    share = make_share(client, admin, make_file(client, admin)["id"])
    scoped = client.post("/api/v1/users/me/api-keys", json={"name": "n", "scopes": ["shares"]}, headers=admin.headers).json()["key"]
    key = {"Authorization": f"Bearer {scoped}"}
    foreign = make_file(client, owner)["id"]
    body = {"file_ids": [foreign]}
    assert_problem(client.post(f"{SHARES}/{share['id']}/files", json=body, headers=key), 403, "file_forbidden", file_id=foreign)
    assert client.get(f"{SHARES}/{share['id']}", headers=key).status_code == 200

    assert add(client, admin, share, foreign).status_code == 200

    assert_problem(client.get(f"{SHARES}/{share['id']}", headers=key), 404, "share_not_found")
    assert len(client.get(share["url"]).json()["files"]) == 2


def test_concurrent_requests_do_not_exceed_the_files_of_a_link(
    client: httpx.Client, services: Services, owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_app.services.sharing.link_files.FILES_PER_SHARE", 3)
    files = [make_file(client, owner)["id"] for _ in range(6)]
    share = make_share(client, owner, files[0])

    def add_one(file_id: str) -> str:
        with services.unit_of_work() as session:
            user = session.get_one(User, owner.id)
            try:
                services.link_files(session).add(user, UUID(share["id"]), [UUID(file_id)])
            except TooManyLinkFilesError as error:
                return error.code
            return "added"

    with ThreadPoolExecutor(5) as threads:
        outcomes = Counter(threads.map(add_one, files[1:]))

    assert outcomes == {"added": 2, "too_many_link_files": 3}
    assert len(client.get(f"{SHARES}/{share['id']}", headers=owner.headers).json()["file_ids"]) == 3
    assert_problem(add(client, owner, share, files[5], files[4]), 409, "too_many_link_files", file_count=3)


def test_removed_file_is_closed_at_once_and_counters_stay(client: httpx.Client, owner: Account) -> None:
    kept, removed = make_file(client, owner)["id"], make_file(client, owner)["id"]
    share = make_share(client, owner, kept, removed)
    assert client.get(f"{share['url']}/files/{removed}").status_code == 302

    response = remove(client, owner, share, removed)

    assert response.status_code == 204
    assert_problem(client.get(f"{share['url']}/files/{removed}"), 404, "link_not_found")
    assert_problem(client.get(f"{share['url']}/files/{removed}", headers={"Range": "bytes=1-"}), 404, "link_not_found")
    assert counts_of(client, owner, share)[1] == 1
    assert client.get(f"/api/v1/files/{removed}", headers=owner.headers).status_code == 200
    assert_problem(remove(client, owner, share, removed), 404, "file_not_found")


def test_files_of_revoked_and_foreign_links_cannot_be_changed(client: httpx.Client, owner: Account, stranger: Account) -> None:
    file = make_file(client, owner)["id"]
    share = make_share(client, owner, file)

    assert_problem(add(client, stranger, share, make_file(client, stranger)["id"]), 404, "share_not_found")
    assert_problem(remove(client, stranger, share, file), 404, "share_not_found")
    client.delete(f"{SHARES}/{share['id']}", headers=owner.headers)
    assert_problem(add(client, owner, share, file), 409, "share_revoked")
    assert_problem(remove(client, owner, share, file), 409, "share_revoked")


def test_changes_of_the_files_are_audited(client: httpx.Client, owner: Account, admin: Account) -> None:
    first, second = make_file(client, owner)["id"], make_file(client, owner)["id"]
    share = make_share(client, owner, first)

    add(client, owner, share, second)
    remove(client, owner, share, first)
    remove(client, owner, share, first)

    events = client.get("/api/v1/admin/audit", params={"subject": f"share:{share['id']}"}, headers=admin.headers).json()
    assert [(event["action"], event["details"]) for event in events[:-1]] == [
        ("share.file_removed", {"file_id": first}),
        ("share.files_added", {"file_ids": [second]}),
    ]
