"""Upload tokens and the routes of stock Uppy 6: limits, quota, isolation of uploads, and what ends a token."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import time_machine
from sqlalchemy import select, text, update

from lambda_app.core import clock
from lambda_app.factory import Services
from lambda_app.models import AuditEvent, UploadToken, UploadTokenFile
from tests.support.accounts import Account
from tests.support.loopback import loopback_client
from tests.support.problems import assert_problem, assert_unauthenticated

TOKENS = "/api/v1/upload-tokens"
MIB = 1024**2
CONTENT = b"a small file in one part"
MakeUser = Callable[..., Account]


def create(client: httpx.Client, owner: Account, headers: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    response = client.post(TOKENS, json=options, headers=headers or owner.headers)
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def uploads_of(created: dict[str, Any]) -> str:
    return f"/uppy/{created['token']}/s3/multipart"


def start(client: httpx.Client, created: dict[str, Any], size: int = len(CONTENT), **fields: Any) -> httpx.Response:
    # As Uppy 6 sends it: no credentials, and members that this API does not know.
    metadata = {"name": "note.txt", "type": "text/plain", "relativePath": None, "caption": "from the page", "size": size}
    body = {"filename": "note.txt", "type": "text/plain", "metadata": metadata, "allowedMetaFields": True, **fields}
    return client.post(uploads_of(created), json=body, headers={"Accept": "*/*"})


def started(client: httpx.Client, created: dict[str, Any], size: int = len(CONTENT), **fields: Any) -> str:
    response = start(client, created, size, **fields)
    assert response.status_code == 200, response.text
    return str(response.json()["uploadId"])


def put(url: str, content: bytes) -> httpx.Response:
    with loopback_client() as store:
        return store.put(url, content=content)


def put_parts(client: httpx.Client, created: dict[str, Any], upload: str, content: bytes, part_size: int) -> None:
    for number, offset in enumerate(range(0, len(content), part_size), start=1):
        signed = client.get(f"{uploads_of(created)}/{upload}/{number}", params={"key": upload})
        assert signed.status_code == 200, signed.text
        assert put(signed.json()["url"], content[offset : offset + part_size]).status_code == 200


def test_new_token_has_its_limits_and_the_endpoint(client: httpx.Client, owner: Account) -> None:
    response = client.post(
        TOKENS,
        json={"expires_in_hours": 2, "max_bytes": 1000, "max_files": 3, "allowed_content_types": ["image/"]},
        headers=owner.headers,
    )

    body = response.json()
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    assert body["companion_endpoint"] == f"/uppy/{body['token']}"
    assert {name: body[name] for name in ("max_bytes", "max_files", "max_size_bytes", "allowed_content_types")} == {
        "max_bytes": 1000,
        "max_files": 3,
        "max_size_bytes": 1000,
        "allowed_content_types": ["image/*"],
    }
    assert (body["bytes_started"], body["files_started"]) == (0, 0)
    listed = client.get(TOKENS, headers=owner.headers).json()
    assert listed == [{name: value for name, value in body.items() if name not in ("token", "companion_endpoint")}]


@pytest.mark.parametrize("hours", [0, 25])
def test_lifetime_is_hours(client: httpx.Client, owner: Account, hours: int) -> None:
    assert_problem(client.post(TOKENS, json={"expires_in_hours": hours}, headers=owner.headers), 422, "malformed_request")


def test_uppy_uploads_in_parts_and_lists_them_as_a_bare_array(client: httpx.Client, owner: Account) -> None:
    created = create(client, owner)
    content = bytes(range(256)) * (9 * 4096)
    response = start(client, created, len(content))
    upload = response.json()["uploadId"]
    assert response.json() == {"key": upload, "uploadId": upload, "bucket": "we-upload"}

    put_parts(client, created, upload, content, 8 * MIB)

    listed = client.get(f"{uploads_of(created)}/{upload}", params={"key": upload})
    assert [(part["PartNumber"], part["Size"]) for part in listed.json()] == [(1, 8 * MIB), (2, MIB)]
    assert all(part["ETag"] for part in listed.json())
    # The etags of a page cannot be relied on.
    completed = client.post(f"{uploads_of(created)}/{upload}/complete?key={upload}", json={"parts": [{"PartNumber": 1, "ETag": "other"}]})
    assert completed.status_code == 200, completed.text
    assert completed.json() == {"location": f"/api/v1/files/{upload}", "key": upload, "bucket": "we-upload"}
    file = client.get(f"/api/v1/files/{upload}", headers=owner.headers).json()
    assert (file["status"], file["filename"], file["size_bytes"], file["is_public"]) == ("available", "note.txt", len(content), False)
    # Repeated, as after a lost answer.
    assert client.post(f"{uploads_of(created)}/{upload}/complete", json={"parts": []}).status_code == 200


def test_store_refuses_a_part_of_another_size(client: httpx.Client, owner: Account) -> None:
    created = create(client, owner)
    upload = started(client, created)
    url = client.get(f"{uploads_of(created)}/{upload}/1").json()["url"]

    assert put(url, CONTENT + b"more").status_code == 403
    assert_problem(client.post(f"{uploads_of(created)}/{upload}/complete", json={"parts": []}), 409, "parts_missing", missing_parts=[1])
    assert_problem(client.get(f"{uploads_of(created)}/{upload}/2"), 422, "no_such_part")


def test_size_is_required(client: httpx.Client, owner: Account) -> None:
    response = start(client, create(client, owner), metadata={"name": "note.txt"})

    assert_problem(response, 422, "malformed_request", detail="The request is malformed: size is required")


@pytest.mark.parametrize("kind", ["", None, "not a media type", "*/*"])
def test_unknown_type_is_accepted_as_bytes(client: httpx.Client, owner: Account, kind: str | None) -> None:
    upload = started(client, create(client, owner), filename="data.unknown-ending", type=kind)

    assert client.get(f"/api/v1/files/{upload}", headers=owner.headers).json()["content_type"] == "application/octet-stream"


def test_type_can_be_absent(client: httpx.Client, owner: Account) -> None:
    created = create(client, owner)

    response = client.post(uploads_of(created), json={"filename": "data.unknown-ending", "metadata": {"size": 1}})

    assert response.status_code == 200
    file = client.get(f"/api/v1/files/{response.json()['uploadId']}", headers=owner.headers).json()
    assert file["content_type"] == "application/octet-stream"


def test_limits_of_the_token_are_enforced(client: httpx.Client, owner: Account) -> None:
    created = create(client, owner, max_bytes=100, max_size_bytes=60, max_files=2, allowed_content_types=["text/plain"])

    assert_problem(start(client, created, 61), 413, "file_too_large", max_size_bytes=60)
    refused = start(client, created, 10, type="image/png", filename="a.png")
    assert_problem(refused, 409, "content_type_refused", allowed_content_types=["text/plain"])
    started(client, created, 60)
    assert_problem(start(client, created, 41), 413, "token_quota_exceeded", bytes_left=40, files_left=1)
    started(client, created, 40)
    assert_problem(start(client, created, 1), 413, "token_quota_exceeded", bytes_left=0, files_left=0)


def test_restrictions_show_what_is_left(client: httpx.Client, owner: Account) -> None:
    created = create(client, owner, max_bytes=100, max_size_bytes=60, max_files=2, allowed_content_types=["text/plain"])
    started(client, created, 60)

    assert client.get(f"/uppy/{created['token']}").json() == {
        "maxFileSize": 40,
        "maxTotalFileSize": 40,
        "maxNumberOfFiles": 1,
        "allowedFileTypes": ["text/plain"],
    }


def test_quota_of_the_owner_is_enforced_and_gives_the_bytes_back(client: httpx.Client, owner: Account, admin: Account) -> None:
    client.patch(f"/api/v1/users/{owner.id}", json={"quota_bytes": 50}, headers=admin.headers)
    created = create(client, owner, max_bytes=100)

    assert_problem(start(client, created, 51), 413, "quota_exceeded", bytes_left=50)
    assert client.get(f"/uppy/{created['token']}").json()["maxTotalFileSize"] == 50
    assert client.get(TOKENS, headers=owner.headers).json()[0]["bytes_started"] == 0


def test_cancelled_upload_gives_its_bytes_back_once(client: httpx.Client, owner: Account) -> None:
    created = create(client, owner, max_bytes=100)
    upload = started(client, created, 60)

    response = client.delete(f"{uploads_of(created)}/{upload}", params={"key": upload})

    assert (response.status_code, response.json()) == (200, {})
    assert_problem(client.delete(f"{uploads_of(created)}/{upload}"), 404, "not_found")
    assert_problem(client.get(f"/api/v1/files/{upload}", headers=owner.headers), 404, "file_not_found")
    assert client.get(f"/uppy/{created['token']}").json()["maxTotalFileSize"] == 100
    assert client.get(TOKENS, headers=owner.headers).json()[0]["files_started"] == 1


def test_completed_file_cannot_be_cancelled(client: httpx.Client, owner: Account) -> None:
    created = create(client, owner)
    upload = started(client, created)
    put_parts(client, created, upload, CONTENT, len(CONTENT))
    assert client.post(f"{uploads_of(created)}/{upload}/complete", json={"parts": []}).status_code == 200

    assert_problem(client.delete(f"{uploads_of(created)}/{upload}"), 409, "not_in_parts")
    assert client.get(f"/api/v1/files/{upload}", headers=owner.headers).json()["status"] == "available"


def calls(path: str) -> list[tuple[str, str, Any]]:
    body: dict[str, Any] = {"parts": []}
    return [("GET", path, None), ("GET", f"{path}/1", None), ("POST", f"{path}/complete", body), ("DELETE", path, None)]


def assert_all_closed(client: httpx.Client, path: str) -> None:
    for method, target, body in calls(path):
        assert_problem(client.request(method, target, json=body), 404, "not_found")


def test_token_of_another_user_reaches_no_upload(client: httpx.Client, owner: Account, stranger: Account) -> None:
    upload = started(client, create(client, owner))

    assert_all_closed(client, f"{uploads_of(create(client, stranger))}/{upload}")
    assert client.get(f"/api/v1/files/{upload}", headers=owner.headers).json()["status"] == "pending"


def test_other_token_of_the_same_user_reaches_no_upload(client: httpx.Client, owner: Account) -> None:
    first, second = create(client, owner), create(client, owner)
    upload = started(client, first)

    assert_all_closed(client, f"{uploads_of(second)}/{upload}")
    assert client.get(f"{uploads_of(first)}/{upload}").status_code == 200


def test_token_of_a_superuser_reaches_no_file_of_others(client: httpx.Client, owner: Account, admin: Account) -> None:
    declared = {"filename": "x", "content_type": "text/plain", "size_bytes": 10}
    foreign = client.post("/api/v1/files/multipart", json=declared, headers=owner.headers).json()["file_id"]
    own = client.post("/api/v1/files/multipart", json=declared, headers=admin.headers).json()["file_id"]
    created = create(client, admin)

    for upload in (foreign, own, str(uuid4()), "not-an-id", created["id"]):
        assert_all_closed(client, f"{uploads_of(created)}/{upload}")


def test_token_is_no_credential_of_other_routes(client: httpx.Client, owner: Account) -> None:
    created = create(client, owner)
    upload = started(client, created)

    for token in (created["token"], created["id"]):
        assert_unauthenticated(client.get("/api/v1/files", headers={"Authorization": f"Bearer {token}"}))
    for path in (f"/r/{created['token']}", f"/s/{created['token']}", f"/uppy/{created['id']}"):
        assert client.get(path).status_code == 404
    assert_problem(client.get(f"/p/{upload}"), 404, "file_not_found")


def assert_closed(client: httpx.Client, created: dict[str, Any], upload: str) -> None:
    assert_problem(client.get(f"/uppy/{created['token']}"), 404, "not_found")
    assert_problem(start(client, created), 404, "not_found")
    assert_all_closed(client, f"{uploads_of(created)}/{upload}")


def test_revoked_token_is_refused_on_the_next_request(client: httpx.Client, owner: Account) -> None:
    created = create(client, owner)
    upload = started(client, created)

    assert client.delete(f"{TOKENS}/{created['id']}", headers=owner.headers).status_code == 204

    assert_closed(client, created, upload)
    assert_problem(client.delete(f"{TOKENS}/{created['id']}", headers=owner.headers), 404, "upload_token_not_found")
    assert client.get(TOKENS, headers=owner.headers).json() == []


def test_expired_token_is_refused(client: httpx.Client, owner: Account) -> None:
    created = create(client, owner, expires_in_hours=1)
    upload = started(client, created)

    with time_machine.travel(clock.now() + timedelta(hours=1, seconds=1), tick=False):
        assert_closed(client, created, upload)


def test_token_ends_with_all_sessions_of_its_owner(client: httpx.Client, make_user: MakeUser) -> None:
    user = make_user()
    created = create(client, user)
    upload = started(client, created)

    assert client.post("/api/v1/login/logout-everywhere", headers=user.headers).status_code == 204

    assert_closed(client, created, upload)


def test_token_of_a_disabled_account_is_refused(client: httpx.Client, make_user: MakeUser, admin: Account) -> None:
    user = make_user()
    created = create(client, user)
    upload = started(client, created)

    assert client.patch(f"/api/v1/users/{user.id}", json={"is_active": False}, headers=admin.headers).status_code == 200

    assert_closed(client, created, upload)


def test_token_ends_with_the_api_key_that_created_it(client: httpx.Client, owner: Account) -> None:
    body = {"name": "page", "scopes": ["files:write"]}
    key = client.post("/api/v1/users/me/api-keys", json=body, headers=owner.headers).json()
    created = create(client, owner, headers={"Authorization": f"Bearer {key['key']}"})
    upload = started(client, created)

    assert client.delete(f"/api/v1/users/me/api-keys/{key['id']}", headers=owner.headers).status_code == 204

    assert_closed(client, created, upload)


def test_other_users_cannot_revoke_a_token(client: httpx.Client, owner: Account, stranger: Account) -> None:
    created = create(client, owner)

    assert_problem(client.delete(f"{TOKENS}/{created['id']}", headers=stranger.headers), 404, "upload_token_not_found")
    assert client.get(f"/uppy/{created['token']}").status_code == 200


def test_account_has_at_most_100_valid_tokens(client: httpx.Client, make_user: MakeUser, services: Services) -> None:
    user = make_user()
    created = create(client, user)
    with services.engine.begin() as connection:
        columns = "owner_id, token_epoch, max_bytes, max_files, max_size_bytes, created_at, expires_at"
        statement = f"""INSERT INTO upload_token (id, token_hash, {columns})
            SELECT gen_random_uuid(), encode(sha256(n::text::bytea || id::text::bytea), 'hex'), {columns}
            FROM upload_token, generate_series(1, 99) AS n WHERE id = :id"""  # noqa: S608 - no value of a caller
        connection.execute(text(statement), {"id": UUID(created["id"])})

    assert_problem(client.post(TOKENS, json={}, headers=user.headers), 409, "too_many_upload_tokens")


def test_database_stores_no_token_and_the_audit_log_names_its_id(client: httpx.Client, owner: Account, services: Services) -> None:
    created = create(client, owner)
    upload = started(client, created)
    client.delete(f"{TOKENS}/{created['id']}", headers=owner.headers)

    with services.engine.begin() as connection:
        row = connection.execute(select(UploadToken).where(UploadToken.id == UUID(created["id"]))).one()
        linked = connection.execute(select(UploadTokenFile.file_id).where(UploadTokenFile.upload_token_id == row.id)).scalars().all()
        events = connection.execute(select(AuditEvent.action).where(AuditEvent.subject == f"upload_token:{row.id}")).scalars().all()
    assert created["token"] not in str(row)
    assert linked == [UUID(upload)]
    assert sorted(events) == ["upload_token.created", "upload_token.revoked"]


def test_purge_deletes_tokens_that_expired_long_ago(client: httpx.Client, owner: Account, services: Services) -> None:
    created = create(client, owner)
    started(client, created)

    with services.engine.begin() as connection:
        long_ago = clock.now() - timedelta(days=60)
        connection.execute(update(UploadToken).where(UploadToken.id == UUID(created["id"])).values(expires_at=long_ago))

    with services.unit_of_work() as session:
        assert services.maintenance(session).purge()["upload_tokens"] >= 1

    with services.engine.begin() as connection:
        assert connection.execute(select(UploadToken.id).where(UploadToken.id == UUID(created["id"]))).all() == []
