"""Files over HTTP, with real uploads to S3."""

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest

from lambda_app.core import clock
from lambda_app.factory import Services
from lambda_app.models import File, FileStatus
from lambda_app.storage.keys import object_key
from lambda_app.storage.object_store import SINGLE_PUT_MAX_BYTES
from tests.support.accounts import Account, make_file, put_object, sha256_hex, start_upload
from tests.support.loopback import loopback_client
from tests.support.problems import assert_problem, assert_unauthenticated

FILES = "/api/v1/files"
UNKNOWN_ID = "6f3c1e1e-0000-4000-8000-000000000000"


def set_status(services: Services, file_id: str, status: FileStatus) -> None:
    with services.unit_of_work() as session:
        session.query(File).filter(File.id == file_id).update({"status": status})


def rows_of(services: Services, account: Account) -> list[File]:
    with services.unit_of_work() as session:
        return session.query(File).filter(File.owner_id == account.id).all()


def download_object(url: str) -> httpx.Response:
    with loopback_client() as s3:
        return s3.get(url)


# --- upload and completion -------------------------------------------------------------------------------------------


def test_downloaded_file_equals_the_uploaded_file(client: httpx.Client, owner: Account) -> None:
    body = b"PK\3\4" + os.urandom(3_000_000)
    upload = start_upload(
        client,
        owner,
        body,
        filename='größe "x" 報告.bin',
        content_type="application/zip",
        sha256=sha256_hex(body),
        description="all\nof it",
    )

    assert put_object(upload, body).status_code == 200
    completed = client.post(f"{FILES}/{upload['file_id']}/complete", headers=owner.headers)
    download = client.get(f"{FILES}/download/{upload['file_id']}", headers=owner.headers)
    fetched = download_object(download.json()["download_url"])

    assert completed.status_code == 200
    file = completed.json()
    assert file | {"created_at": None, "updated_at": None} == {
        "id": upload["file_id"],
        "filename": 'größe "x" 報告.bin',
        "content_type": "application/zip",
        "size_bytes": len(body),
        "sha256": sha256_hex(body),
        "description": "all\nof it",
        "is_public": False,
        "s3_key": f"uploads/{upload['file_id']}",
        "owner_id": str(owner.id),
        "status": "available",
        "detected_content_type": None,
        "scan_status": "none",
        "is_withheld": False,
        "owner_display_name": None,
        "is_multipart": False,
        "part_size_bytes": None,
        "upload_expires_at": None,
        "purge_at": None,
        "file_request_id": None,
        "public_path": None,
        "created_at": None,
        "updated_at": None,
    }
    assert set(download.json()) == {"download_url", "filename", "content_type", "disposition", "expires_at"}
    assert fetched.content == body
    assert fetched.headers["content-type"] == "application/zip"
    assert fetched.headers["content-disposition"].startswith("attachment;")


def test_upload_response_lists_all_required_headers(client: httpx.Client, owner: Account) -> None:
    before = clock.now()
    upload = start_upload(client, owner, b"hello", sha256=sha256_hex(b"hello"))

    assert set(upload) == {"upload_url", "file_id", "method", "headers", "expires_at"}
    assert upload["method"] == "PUT"
    assert {name.lower() for name in upload["headers"]} == {"content-length", "content-type", "if-none-match", "x-amz-checksum-sha256"}
    expires_at = datetime.fromisoformat(upload["expires_at"])
    assert before + timedelta(seconds=898) <= expires_at <= clock.now() + timedelta(seconds=900)


def test_empty_file_can_be_uploaded(client: httpx.Client, owner: Account) -> None:
    assert make_file(client, owner, b"")["size_bytes"] == 0


@pytest.mark.parametrize(
    ("sent", "headers"),
    [
        (b"hello!", {}),
        (b"hell", {}),
        (b"hello", {"Content-Type": "text/html"}),
        (b"jello", {}),
        (b"hello", {"If-None-Match": ""}),
    ],
)
def test_s3_refuses_content_that_was_not_declared(client: httpx.Client, owner: Account, sent: bytes, headers: dict[str, str]) -> None:
    upload = start_upload(client, owner, b"hello", sha256=sha256_hex(b"hello"))
    length = {"Content-Length": str(len(sent))}

    refused = put_object(upload, sent, **length, **headers)

    assert 400 <= refused.status_code < 500
    assert_problem(client.post(f"{FILES}/{upload['file_id']}/complete", headers=owner.headers), 409, "upload_missing")


def test_upload_url_works_once(client: httpx.Client, owner: Account) -> None:
    upload = start_upload(client, owner, b"first")

    assert put_object(upload, b"first").status_code == 200
    assert put_object(upload, b"other").status_code == 412

    client.post(f"{FILES}/{upload['file_id']}/complete", headers=owner.headers)
    download = client.get(f"{FILES}/download/{upload['file_id']}", headers=owner.headers).json()
    assert download_object(download["download_url"]).content == b"first"


def test_completion_is_idempotent(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner)

    repeated = client.post(f"{FILES}/{file['id']}/complete", headers=owner.headers)

    assert repeated.status_code == 200
    assert repeated.json() == file


def test_completion_before_the_upload_can_be_retried(client: httpx.Client, owner: Account) -> None:
    upload = start_upload(client, owner)
    path = f"{FILES}/{upload['file_id']}"

    assert_problem(client.post(f"{path}/complete", headers=owner.headers), 409, "upload_missing")
    assert client.get(path, headers=owner.headers).json()["status"] == "pending"
    put_object(upload, b"hello")
    assert client.post(f"{path}/complete", headers=owner.headers).json()["status"] == "available"


@pytest.mark.parametrize("declared", [{"size_bytes": 4}, {"sha256": sha256_hex(b"other")}])
def test_object_that_differs_from_the_declaration_is_rejected_and_deleted(
    client: httpx.Client, services: Services, owner: Account, declared: dict[Any, Any]
) -> None:
    """The presigned URL admits no such object, so the test changes the row, as a restored backup or a leaked AWS key would."""
    upload = start_upload(client, owner, b"hello", sha256=sha256_hex(b"hello"))
    put_object(upload, b"hello")
    with services.unit_of_work() as session:
        session.query(File).filter(File.id == upload["file_id"]).update(declared)
    path = f"{FILES}/{upload['file_id']}"

    assert_problem(client.post(f"{path}/complete", headers=owner.headers), 409, "upload_rejected")

    assert client.get(path, headers=owner.headers).json()["status"] == "rejected"
    assert services.store.head(f"uploads/{upload['file_id']}") is None
    assert_problem(client.post(f"{path}/complete", headers=owner.headers), 409, "upload_rejected")
    assert_problem(client.get(f"{FILES}/download/{upload['file_id']}", headers=owner.headers), 409, "file_not_available")


def test_upload_larger_than_one_put_returns_413(client: httpx.Client, services: Services, owner: Account) -> None:
    declared = {"filename": "big", "content_type": "a/b", "size_bytes": SINGLE_PUT_MAX_BYTES + 1}

    response = client.post(f"{FILES}/upload", json=declared, headers=owner.headers)

    assert_problem(response, 413, "single_upload_too_large", max_bytes=SINGLE_PUT_MAX_BYTES)
    assert rows_of(services, owner) == []


# --- only available files are served ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [FileStatus.PENDING, FileStatus.REJECTED, FileStatus.EXPIRED])
@pytest.mark.parametrize("is_public", [True, False])
def test_only_available_files_can_be_downloaded(
    client: httpx.Client, services: Services, owner: Account, admin: Account, status: FileStatus, is_public: bool
) -> None:
    file = make_file(client, owner, is_public=is_public)
    set_status(services, file["id"], status)
    path = f"{FILES}/download/{file['id']}"

    for headers in (owner.headers, admin.headers):
        assert_problem(client.get(path, headers=headers), 409, "file_not_available", file_status=status)


def test_file_being_deleted_returns_404_everywhere(client: httpx.Client, services: Services, owner: Account) -> None:
    file = make_file(client, owner, is_public=True)
    set_status(services, file["id"], FileStatus.DELETING)
    path = f"{FILES}/{file['id']}"

    assert_problem(client.get(path, headers=owner.headers), 404, "file_not_found", detail="File not found")
    assert_problem(client.get(f"{FILES}/download/{file['id']}", headers=owner.headers), 404, "file_not_found")
    assert_problem(client.put(path, json={"description": "x"}, headers=owner.headers), 404, "file_not_found")
    assert_problem(client.post(f"{path}/complete", headers=owner.headers), 404, "file_not_found")
    assert client.get(FILES, headers=owner.headers).json() == []
    assert client.delete(path, headers=owner.headers).status_code == 204


@pytest.mark.parametrize(
    ("content_type", "filename"),
    [
        ("text/html", "x.html"),
        ("TEXT/HTML; charset=utf-8", "x.html"),
        ("image/svg+xml", "x.svg"),
        ("application/xhtml+xml", "x"),
        ("text/xml", "x.xml"),
        ("application/xml", "x.xml"),
        ("application/rss+xml", "x.rss"),
        ("text/javascript", "x.js"),
        ("application/javascript", "x.js"),
        ("application/x-javascript", "x.js"),
    ],
)
def test_active_content_is_served_as_an_attachment_of_octet_stream(
    client: httpx.Client, owner: Account, content_type: str, filename: str
) -> None:
    body = b"<script>alert(1)</script>"
    file = make_file(client, owner, body, content_type=content_type, filename=filename)

    download = client.get(f"{FILES}/download/{file['id']}", headers=owner.headers).json()
    fetched = download_object(download["download_url"])

    assert download["content_type"] == "application/octet-stream"
    assert fetched.headers["content-type"] == "application/octet-stream"
    assert fetched.headers["content-disposition"].startswith("attachment;")
    assert fetched.content == body


def test_uploader_cannot_make_a_download_cacheable(client: httpx.Client, owner: Account) -> None:
    upload = start_upload(client, owner, b"hello")
    caching = {"Cache-Control": "public, immutable", "Expires": "Fri, 01 Jan 2100 00:00:00 GMT", "Content-Language": "tlh"}
    assert put_object(upload, b"hello", **caching).status_code == 200
    client.post(f"{FILES}/{upload['file_id']}/complete", headers=owner.headers)

    url = client.get(f"{FILES}/download/{upload['file_id']}", headers=owner.headers).json()["download_url"]
    headers = download_object(url).headers

    assert headers["cache-control"] == "private, no-store"
    assert (headers["expires"], headers["content-language"]) == ("Thu, 01 Jan 1970 00:00:00 GMT", "und")


def test_download_url_is_valid_for_a_minute_for_all_but_the_owner(
    client: httpx.Client, owner: Account, stranger: Account, admin: Account, make_user: Callable[..., Account]
) -> None:
    file, grantee = make_file(client, owner), make_user()
    client.put(f"{FILES}/{file['id']}/grants", json={"user_id": str(grantee.id), "role": "viewer"}, headers=owner.headers)
    published = make_file(client, owner, is_public=True)

    def lifetime(file_id: str, headers: dict[str, str]) -> int:
        url = client.get(f"{FILES}/download/{file_id}", headers=headers).json()["download_url"]
        return int(parse_qs(urlsplit(url).query)["X-Amz-Expires"][0])

    assert [lifetime(file["id"], account.headers) for account in (owner, grantee, admin)] == [900, 60, 60]
    assert [lifetime(published["id"], headers) for headers in (owner.headers, stranger.headers, {})] == [900, 60, 60]


def test_altered_download_url_is_refused(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner, b"<b>", content_type="text/html")
    url = client.get(f"{FILES}/download/{file['id']}", headers=owner.headers).json()["download_url"]

    assert download_object(url).status_code == 200
    assert download_object(url.replace("octet-stream", "xhtml%2Bxml")).status_code == 403
    assert download_object(url.replace("attachment", "inline")).status_code == 403
    assert download_object(url.replace(file["id"], str(uuid4()))).status_code == 403


# --- permissions ---------------------------------------------------------------------------------------------------------


def test_private_file_is_readable_only_by_owner_and_superusers(
    client: httpx.Client, owner: Account, stranger: Account, admin: Account
) -> None:
    file = make_file(client, owner)
    for path in (f"{FILES}/{file['id']}", f"{FILES}/download/{file['id']}"):
        assert_unauthenticated(client.get(path))
        assert_problem(
            client.get(path, headers=stranger.headers), 403, "file_forbidden", detail="Not enough permissions to access this file"
        )
        assert client.get(path, headers=owner.headers).status_code == 200
        assert client.get(path, headers=admin.headers).status_code == 200


def test_public_file_is_readable_by_all_and_changeable_only_by_its_owner(client: httpx.Client, owner: Account, stranger: Account) -> None:
    file = make_file(client, owner, b"open", is_public=True)
    path = f"{FILES}/{file['id']}"

    assert download_object(client.get(f"{FILES}/download/{file['id']}").json()["download_url"]).content == b"open"
    assert client.get(f"{FILES}/download/{file['id']}", headers=stranger.headers).status_code == 200
    assert client.get(path, headers=stranger.headers).status_code == 200
    assert_unauthenticated(client.get(path))
    assert_problem(client.put(path, json={"is_public": False}, headers=stranger.headers), 403, "file_forbidden")
    assert_problem(client.delete(path, headers=stranger.headers), 403, "file_forbidden")
    assert_problem(client.post(f"{path}/complete", headers=stranger.headers), 403, "file_forbidden")

    client.put(path, json={"is_public": False}, headers=owner.headers)
    assert_unauthenticated(client.get(f"{FILES}/download/{file['id']}"))
    assert_problem(client.get(f"{FILES}/download/{file['id']}", headers=stranger.headers), 403, "file_forbidden")


def test_anonymous_caller_cannot_learn_which_files_exist(client: httpx.Client, owner: Account) -> None:
    private = client.get(f"{FILES}/download/{make_file(client, owner)['id']}")
    unknown = client.get(f"{FILES}/download/{UNKNOWN_ID}")

    assert {**private.json(), "request_id": None} == {**unknown.json(), "request_id": None}
    assert private.status_code == unknown.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"{FILES}/{{id}}", None),
        ("GET", f"{FILES}/download/{{id}}", None),
        ("PUT", f"{FILES}/{{id}}", {"description": "x"}),
        ("DELETE", f"{FILES}/{{id}}", None),
        ("POST", f"{FILES}/{{id}}/complete", None),
    ],
)
def test_file_route_returns_the_expected_status_for_each_caller(
    client: httpx.Client, make_user: Callable[..., Account], stranger: Account, admin: Account, method: str, path: str, body: Any
) -> None:
    owner = make_user()
    file = make_file(client, owner)

    def send(headers: dict[str, str] | None = None, file_id: str = file["id"]) -> httpx.Response:
        return client.request(method, path.format(id=file_id), json=body, headers=headers)

    assert_unauthenticated(send())
    assert_problem(send(stranger.headers), 403, "file_forbidden")
    assert_problem(send(stranger.headers, UNKNOWN_ID), 404, "file_not_found", detail="File not found")
    assert_problem(send(admin.headers, UNKNOWN_ID), 404, "file_not_found")
    assert_problem(send(owner.headers, "not-an-id"), 422, "malformed_request")
    assert send(admin.headers).is_success
    if method != "DELETE":
        assert send(owner.headers).is_success


@pytest.mark.parametrize("method_path", [("POST", f"{FILES}/upload"), ("GET", FILES)])
def test_collection_routes_require_a_token(client: httpx.Client, method_path: tuple[str, str]) -> None:
    assert_unauthenticated(client.request(*method_path, json={}))


# --- change and delete -----------------------------------------------------------------------------------------------


def test_owner_can_change_name_description_and_visibility(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner, description="old")
    path = f"{FILES}/{file['id']}"

    changed = client.put(path, json={"filename": "new.txt", "is_public": True}, headers=owner.headers).json()
    cleared = client.put(path, json={"description": None}, headers=owner.headers).json()
    unchanged = client.put(path, json={}, headers=owner.headers).json()

    assert (changed["filename"], changed["is_public"], changed["description"]) == ("new.txt", True, "old")
    assert changed["updated_at"] > file["updated_at"]
    assert (cleared["filename"], cleared["description"]) == ("new.txt", None)
    assert unchanged == cleared == client.get(path, headers=owner.headers).json()


def test_change_of_visibility_is_audited(client: httpx.Client, owner: Account, admin: Account) -> None:
    file = make_file(client, owner, status="pending")

    client.put(f"{FILES}/{file['id']}", json={"is_public": True}, headers=owner.headers)
    client.put(f"{FILES}/{file['id']}", json={"description": "x"}, headers=owner.headers)

    events = client.get("/api/v1/admin/audit", params={"subject": f"file:{file['id']}"}, headers=admin.headers).json()
    assert [(event["action"], event["actor_id"], event["details"]) for event in events] == [
        ("file.visibility_changed", str(owner.id), {"is_public": True})
    ]


def test_deletion_removes_row_and_object(client: httpx.Client, services: Services, owner: Account) -> None:
    file = make_file(client, owner)
    url = client.get(f"{FILES}/download/{file['id']}", headers=owner.headers).json()["download_url"]

    response = client.delete(f"{FILES}/{file['id']}", headers=owner.headers)

    assert (response.status_code, response.content) == (204, b"")
    assert rows_of(services, owner) == []
    assert services.store.head(file["s3_key"]) is None
    assert download_object(url).status_code == 404
    assert_problem(client.delete(f"{FILES}/{file['id']}", headers=owner.headers), 404, "file_not_found")


@pytest.mark.parametrize("status", [FileStatus.PENDING, FileStatus.REJECTED, FileStatus.EXPIRED, FileStatus.DELETING])
def test_file_can_be_deleted_in_any_status(client: httpx.Client, services: Services, owner: Account, status: FileStatus) -> None:
    file = make_file(client, owner, status="pending")
    set_status(services, file["id"], status)

    assert client.delete(f"{FILES}/{file['id']}", headers=owner.headers).status_code == 204
    assert rows_of(services, owner) == []


# --- lists -----------------------------------------------------------------------------------------------------------


def test_list_returns_own_files_newest_first(client: httpx.Client, owner: Account, stranger: Account) -> None:
    make_file(client, stranger, status="pending")
    file_ids = [make_file(client, owner, status="pending", filename=f"{number}.txt") for number in range(3)]

    for path in (FILES, f"{FILES}/"):
        response = client.get(path, headers=owner.headers)
        assert response.json() == file_ids[::-1]
        assert "x-next-cursor" not in response.headers


def test_superusers_list_own_files_unless_they_ask_for_others(
    client: httpx.Client, owner: Account, make_user: Callable[..., Account]
) -> None:
    superuser = make_user(is_superuser=True)
    own, theirs = (make_file(client, account, status="pending") for account in (superuser, owner))

    def listed(**params: Any) -> tuple[list[Any], str]:
        response = client.get(FILES, params={"limit": 2, "count": True} | params, headers=superuser.headers)
        assert response.status_code == 200, response.text
        return response.json(), response.headers["x-total-count"]

    assert listed() == listed(all=False) == listed(owner_id=str(superuser.id)) == ([own], "1")
    assert listed(owner_id=str(owner.id)) == ([theirs], "1")
    assert listed(owner_id=str(uuid4())) == ([], "0")
    everything, total = listed(all=True)
    assert everything == [theirs, own]
    assert int(total) >= 2


def test_only_superusers_list_the_files_of_others(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    file = make_file(client, owner, status="pending")
    body = {"name": "n", "scopes": ["files:read"]}
    key = client.post("/api/v1/users/me/api-keys", json=body, headers=admin.headers).json()["key"]

    for headers in (stranger.headers, {"Authorization": f"Bearer {key}"}):
        for params in ({"all": True}, {"owner_id": str(owner.id)}, {"owner_id": str(uuid4())}):
            assert_problem(client.get(FILES, params=params, headers=headers), 403, "permission_denied")
    assert client.get(FILES, params={"owner_id": str(owner.id)}, headers=owner.headers).json() == [file]
    assert_problem(client.get(FILES, params={"all": True}, headers=owner.headers), 403, "permission_denied")


@pytest.mark.parametrize(
    "params", [{"all": True, "owner_id": str(uuid4())}, {"all": True, "shared": "with_me"}, {"owner_id": str(uuid4()), "shared": "by_me"}]
)
def test_filters_of_owners_cannot_be_combined(client: httpx.Client, admin: Account, params: dict[str, Any]) -> None:
    assert_problem(client.get(FILES, params=params, headers=admin.headers), 422, "conflicting_filters")


def test_cursor_returns_every_file_once_while_files_are_added(client: httpx.Client, owner: Account) -> None:
    file_ids = [make_file(client, owner, status="pending")["id"] for _ in range(7)]

    returned: list[str] = []
    response = client.get(FILES, params={"limit": 3}, headers=owner.headers)
    while True:
        returned += [file["id"] for file in response.json()]
        if "x-next-cursor" not in response.headers:
            break
        make_file(client, owner, status="pending")
        assert response.headers["link"].endswith('>; rel="next"')
        response = client.get(response.url.join(response.headers["link"].removeprefix("<").partition(">")[0]), headers=owner.headers)

    assert returned == file_ids[::-1]


def test_cursor_returns_files_with_equal_times_once(client: httpx.Client, services: Services, owner: Account) -> None:
    file_ids = {make_file(client, owner, status="pending")["id"] for _ in range(5)}
    with services.unit_of_work() as session:
        session.query(File).filter(File.owner_id == owner.id).update({"created_at": clock.now()})

    returned: list[str] = []
    params: dict[str, str | int] = {"limit": 2}
    while True:
        response = client.get(FILES, params=params, headers=owner.headers)
        returned += [file["id"] for file in response.json()]
        if "x-next-cursor" not in response.headers:
            break
        params = {"limit": 2, "cursor": response.headers["x-next-cursor"]}

    assert len(returned) == 5
    assert set(returned) == file_ids


def test_skip_and_limit_select_a_page(client: httpx.Client, owner: Account) -> None:
    file_ids = [make_file(client, owner, status="pending") for _ in range(4)][::-1]

    assert client.get(FILES, params={"skip": 1, "limit": 2}, headers=owner.headers).json() == file_ids[1:3]
    assert client.get(FILES, params={"skip": 4}, headers=owner.headers).json() == []


def test_cursor_of_another_user_returns_only_own_files(client: httpx.Client, owner: Account, make_user: Callable[..., Account]) -> None:
    other = make_user()
    for _ in range(3):
        make_file(client, other, status="pending")
    cursor = client.get(FILES, params={"limit": 1}, headers=other.headers).headers["x-next-cursor"]

    assert client.get(FILES, params={"cursor": cursor}, headers=owner.headers).json() == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("cursor=x", "bad_cursor"),
        ("cursor=" + "A" * 200, "bad_cursor"),
        ("cursor=%ff", "bad_cursor"),
        ("cursor=", "malformed_request"),
        ("cursor=" + "A" * 3000, "malformed_request"),
        ("cursor=abc&skip=1", "skip_with_cursor"),
        ("limit=0", "malformed_request"),
        ("limit=101", "malformed_request"),
        ("skip=-1", "malformed_request"),
        ("skip=1_0", "malformed_request"),
    ],
)
def test_invalid_page_parameters_return_422(client: httpx.Client, owner: Account, query: str, code: str) -> None:
    assert_problem(client.get(f"{FILES}?{query}", headers=owner.headers), 422, code)


def test_object_key_contains_ids_only(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner, status="pending", filename="../../etc/passwd")

    assert file["s3_key"] == f"uploads/{file['id']}"
    assert file["filename"] == "../../etc/passwd"


def test_object_key_depends_only_on_the_file_id() -> None:
    file_id = uuid4()

    assert object_key(file_id) == f"uploads/{file_id}"
