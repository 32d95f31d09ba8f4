"""Many files by one request: states, downloads and changes. Each file has the permissions of the route for one file."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from lambda_app.factory import Services
from lambda_app.models import User
from tests.support.accounts import Account, make_file, put_object, sha256_hex, start_upload
from tests.support.problems import assert_problem
from tests.support.quota_assertions import assert_quota_is_exact

FILES = "/api/v1/files"


def statuses(client: httpx.Client, account: Account, *ids: str) -> list[str]:
    response = client.post(f"{FILES}/status", json={"file_ids": ids}, headers=account.headers)
    assert response.status_code == 200, response.text
    files = response.json()["files"]
    assert [file["id"] for file in files] == list(ids)
    return [file["status"] for file in files]


def downloads(client: httpx.Client, headers: dict[str, str], *ids: str) -> list[dict[str, Any]]:
    response = client.post(f"{FILES}/downloads", json={"file_ids": ids}, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "no-store"
    results: list[dict[str, Any]] = response.json()["results"]
    assert [result["id"] for result in results] == list(ids)
    assert all((result["download"] is None) != (result["error"] is None) for result in results)
    return results


@pytest.fixture
def files(client: httpx.Client, services: Services, owner: Account, make_user: Callable[..., Account]) -> dict[str, str]:
    """The ids of files of the owner, by what distinguishes them."""
    made = {
        "private": make_file(client, owner, b"private")["id"],
        "public": make_file(client, owner, b"public", is_public=True)["id"],
        "granted": make_file(client, owner, b"granted", filename="grüße.html", content_type="text/html")["id"],
        "pending": start_upload(client, owner)["file_id"],
        "public pending": start_upload(client, owner, is_public=True)["file_id"],
        "deleted": make_file(client, owner)["id"],
    }
    assert client.delete(f"{FILES}/{made['deleted']}?permanent=true", headers=owner.headers).status_code == 204
    disabled = make_user()
    made["public of a disabled owner"] = make_file(client, disabled, is_public=True)["id"]
    with services.unit_of_work() as session:
        session.get_one(User, disabled.id).is_active = False
    return made | {"unknown": str(uuid4())}


def grant(client: httpx.Client, owner: Account, file_id: str, grantee: Account) -> None:
    body = {"user_id": str(grantee.id)}
    assert client.put(f"{FILES}/{file_id}/grants", json=body, headers=owner.headers).status_code == 200


ROLES = ("owner", "viewer", "stranger", "superuser", "anonymous")


@pytest.mark.parametrize("role", ROLES)
def test_each_file_has_the_status_and_download_of_the_single_route(
    client: httpx.Client, owner: Account, admin: Account, make_user: Callable[..., Account], files: dict[str, str], role: str
) -> None:
    viewer = make_user()
    grant(client, owner, files["granted"], viewer)
    account = {"owner": owner, "viewer": viewer, "stranger": make_user(), "superuser": admin, "anonymous": None}[role]
    headers = {} if account is None else account.headers
    singles = {file_id: client.get(f"{FILES}/download/{file_id}", headers=headers) for file_id in files.values()}

    results = downloads(client, headers, *files.values())

    for result in results:
        single = singles[result["id"]]
        if single.status_code == 200:
            assert result["download"].keys() == single.json().keys()
            for name in ("filename", "content_type"):
                assert result["download"][name] == single.json()[name]
            urls = (result["download"]["download_url"], single.json()["download_url"])
            batched, alone = (httpx.get(url, trust_env=False).content for url in urls)
            assert batched == alone
        else:
            error = result["error"]
            problem = single.json()
            assert (error["status"], error["code"], error["detail"]) == (single.status_code, problem["code"], problem["detail"])
            assert error["extra"] == {name: problem[name] for name in ("file_status",) if name in problem}
    assert {result["download"] is not None for result in results} == {True, False}
    if account is not None:
        shown = {file_id: client.get(f"{FILES}/{file_id}", headers=headers) for file_id in files.values()}
        expected = [answer.json()["status"] if answer.status_code == 200 else "not_found" for answer in shown.values()]
        assert statuses(client, account, *files.values()) == expected


def test_download_is_short_lived_for_readers_other_than_the_owner(client: httpx.Client, owner: Account, stranger: Account) -> None:
    file = make_file(client, owner, is_public=True)["id"]

    (of_owner,), (of_stranger,) = (downloads(client, account.headers, file) for account in (owner, stranger))

    assert "X-Amz-Expires=900" in of_owner["download"]["download_url"]
    assert "X-Amz-Expires=60" in of_stranger["download"]["download_url"]


def test_unknown_and_foreign_files_have_the_same_status(client: httpx.Client, owner: Account, stranger: Account) -> None:
    foreign = make_file(client, owner)["id"]

    assert statuses(client, stranger, foreign, str(uuid4())) == ["not_found", "not_found"]


def test_status_follows_the_file(client: httpx.Client, with_trash: httpx.Client, owner: Account) -> None:
    first, second = make_file(client, owner)["id"], start_upload(client, owner)["file_id"]
    assert statuses(client, owner, second, first) == ["pending", "available"]

    assert with_trash.delete(f"{FILES}/{first}", headers=owner.headers).status_code == 204

    assert statuses(client, owner, first, second) == ["trashed", "pending"]


@pytest.mark.parametrize("path", ["complete", "status", "downloads", "delete", "purge", "restore", "visibility"])
@pytest.mark.parametrize(
    "ids", [[], ["x"], [str(uuid4())] * 2, [str(uuid4()) for _ in range(101)], None], ids=["none", "no id", "twice", "too many", "null"]
)
def test_invalid_lists_of_ids_return_422(client: httpx.Client, owner: Account, path: str, ids: list[str] | None) -> None:
    response = client.post(
        f"{FILES}/{path}", json={"file_ids": ids, **({"is_public": True} if path == "visibility" else {})}, headers=owner.headers
    )

    assert_problem(response, 422, "malformed_request")


def test_narrow_key_of_a_superuser_reaches_only_the_own_files(
    client: httpx.Client, owner: Account, admin: Account, make_key: Callable[..., Account]
) -> None:
    foreign, own = make_file(client, owner)["id"], make_file(client, admin)["id"]
    key = make_key(admin, "files:read")

    assert statuses(client, key, foreign, own) == ["not_found", "available"]
    of_foreign, of_own = downloads(client, key.headers, foreign, own)
    assert (of_foreign["error"]["code"], of_own["error"]) == ("file_forbidden", None)
    assert statuses(client, make_key(admin, "admin"), foreign, own) == ["available", "available"]


def test_batches_need_the_scope_of_the_single_routes(client: httpx.Client, owner: Account, make_key: Callable[..., Account]) -> None:
    body = {"file_ids": [make_file(client, owner)["id"]]}
    reader, writer = make_key(owner, "files:read"), make_key(owner, "files:write")

    for path in ("status", "downloads"):
        assert client.post(f"{FILES}/{path}", json=body, headers=reader.headers).status_code == 200
        assert_problem(client.post(f"{FILES}/{path}", json=body, headers=writer.headers), 403, "insufficient_scope")


def change(client: httpx.Client, account: Account, path: str, *ids: str, **fields: Any) -> list[str]:
    """Return the status of each file, or the code of its error."""
    response = client.post(f"{FILES}/{path}", json={"file_ids": ids, **fields}, headers=account.headers)
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    assert [result["id"] for result in results] == list(ids)
    assert all((result["status"] is None) != (result["error"] is None) for result in results)
    return [result["status"] or result["error"]["code"] for result in results]


def test_files_are_trashed_restored_and_deleted(with_trash: httpx.Client, owner: Account, stranger: Account) -> None:
    first, second = make_file(with_trash, owner)["id"], make_file(with_trash, owner)["id"]
    pending, foreign, unknown = start_upload(with_trash, owner)["file_id"], make_file(with_trash, stranger)["id"], str(uuid4())

    trashed = [change(with_trash, owner, "delete", first, pending, foreign, unknown) for _ in range(2)]
    assert trashed[0] == ["trashed", "deleted", "file_forbidden", "file_not_found"]
    assert trashed[1] == ["trashed", "file_not_found", "file_forbidden", "file_not_found"]
    for _ in range(2):
        assert change(with_trash, owner, "restore", first, second, foreign) == ["available", "available", "file_forbidden"]
    change(with_trash, owner, "delete", first)
    assert change(with_trash, owner, "purge", first, second, foreign) == ["deleted", "deleted", "file_forbidden"]
    assert statuses(with_trash, owner, first, second) == ["not_found", "not_found"]
    assert statuses(with_trash, stranger, foreign) == ["available"]


def test_errors_are_those_of_the_single_routes(client: httpx.Client, owner: Account) -> None:
    pending = start_upload(client, owner)["file_id"]
    single = client.post(f"{FILES}/{pending}/restore", headers=owner.headers).json()

    response = client.post(f"{FILES}/restore", json={"file_ids": [pending]}, headers=owner.headers)

    error = {name: single[name] for name in ("status", "code", "detail")} | {"extra": {"file_status": "pending"}}
    assert response.json()["results"] == [{"id": pending, "status": None, "error": error}]


def test_without_a_trash_files_are_deleted_at_once(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner)["id"]

    assert change(client, owner, "delete", file) == ["deleted"]


def test_visibility_decides_who_reads_the_files(client: httpx.Client, owner: Account, stranger: Account) -> None:
    ids = [make_file(client, owner)["id"] for _ in range(2)]

    assert change(client, owner, "visibility", *ids, is_public=True) == ["available", "available"]
    assert statuses(client, stranger, *ids) == ["available", "available"]
    assert change(client, stranger, "visibility", *ids, is_public=False) == ["file_forbidden", "file_forbidden"]
    assert change(client, owner, "visibility", *ids, is_public=False) == ["available", "available"]
    assert statuses(client, stranger, *ids) == ["not_found", "not_found"]


def test_grantee_cannot_change_files(client: httpx.Client, owner: Account, make_user: Callable[..., Account]) -> None:
    file, editor = make_file(client, owner)["id"], make_user()
    body = {"user_id": str(editor.id), "role": "editor"}
    assert client.put(f"{FILES}/{file}/grants", json=body, headers=owner.headers).status_code == 200

    for path in ("delete", "purge", "restore"):
        assert change(client, editor, path, file) == ["file_forbidden"]
    assert change(client, editor, "visibility", file, is_public=True) == ["file_forbidden"]


def test_changes_need_the_scopes_of_the_single_routes(client: httpx.Client, owner: Account, make_key: Callable[..., Account]) -> None:
    file = make_file(client, owner)["id"]
    reader, writer, both = (make_key(owner, *scopes) for scopes in (["files:read"], ["files:write"], ["files:write", "shares"]))

    for path in ("delete", "purge", "restore", "visibility"):
        body = {"file_ids": [file]} | ({"is_public": True} if path == "visibility" else {})
        assert_problem(client.post(f"{FILES}/{path}", json=body, headers=reader.headers), 403, "insufficient_scope")
    body = {"file_ids": [file], "is_public": True}
    assert_problem(client.post(f"{FILES}/visibility", json=body, headers=writer.headers), 403, "insufficient_scope")
    assert_problem(client.delete(f"{FILES}/trash", headers=reader.headers), 403, "insufficient_scope")
    assert change(client, both, "visibility", file, is_public=True) == ["available"]
    assert change(client, writer, "purge", file) == ["deleted"]


def test_narrow_key_of_a_superuser_changes_only_the_own_files(
    client: httpx.Client, owner: Account, admin: Account, make_key: Callable[..., Account]
) -> None:
    foreign, own = make_file(client, owner)["id"], make_file(client, admin)["id"]

    assert change(client, make_key(admin, "files:write"), "purge", foreign, own) == ["file_forbidden", "deleted"]
    assert change(client, make_key(admin, "admin"), "purge", foreign) == ["deleted"]


def test_emptied_trash_is_empty(with_trash: httpx.Client, owner: Account) -> None:
    kept = make_file(with_trash, owner)["id"]
    change(with_trash, owner, "delete", *[make_file(with_trash, owner)["id"] for _ in range(3)])

    answers = [with_trash.delete(f"{FILES}/trash", headers=owner.headers).json() for _ in range(2)]

    assert answers == [{"deleted_files": 3, "has_more": False}, {"deleted_files": 0, "has_more": False}]
    assert statuses(with_trash, owner, kept) == ["available"]
    assert with_trash.get(FILES, params={"status": "trashed"}, headers=owner.headers).json() == []


def test_uploads_of_a_batch_are_completed_together(client: httpx.Client, services: Services, owner: Account, stranger: Account) -> None:
    bodies = [b"%d" % number for number in range(12)]
    files = [
        {
            "filename": f"{body.decode()}.bin",
            "content_type": "application/octet-stream",
            "size_bytes": len(body),
            "sha256": sha256_hex(body),
        }
        for body in bodies
    ]
    started = client.post(f"{FILES}/uploads", json={"files": files}, headers=owner.headers).json()["results"]
    ids = [result["upload"]["file_id"] for result in started]
    for result, body in zip(started[:10], bodies, strict=False):
        assert put_object(result["upload"], body).status_code == 200
    refused = put_object(started[10]["upload"], b"00")

    of_stranger = change(client, stranger, "complete", *ids)
    after_stranger = statuses(client, owner, *ids)
    completed = change(client, owner, "complete", *ids)
    again = change(client, owner, "complete", *ids)

    # Only the digest differs: the store refuses it, so that the presence of an object proves its content.
    assert refused.status_code == 400
    assert of_stranger == ["file_forbidden"] * 12
    assert after_stranger == ["pending"] * 12
    assert completed == again == ["available"] * 10 + ["upload_missing"] * 2
    assert statuses(client, owner, *ids) == ["available"] * 10 + ["pending"] * 2
    assert_quota_is_exact(services, [owner.id])


def test_completion_needs_the_scope_of_the_single_route(client: httpx.Client, owner: Account, make_key: Callable[..., Account]) -> None:
    body = {"file_ids": [start_upload(client, owner)["file_id"]]}

    assert_problem(client.post(f"{FILES}/complete", json=body, headers=make_key(owner, "files:read").headers), 403, "insufficient_scope")
    assert client.post(f"{FILES}/complete", json=body, headers=make_key(owner, "files:write").headers).status_code == 200
