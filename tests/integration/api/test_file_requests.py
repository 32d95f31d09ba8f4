"""File requests: what guests can upload, what they cannot learn, and limits under concurrent uploads."""

import json
import os
import random
import secrets
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import time_machine
from pydantic import SecretStr
from sqlalchemy import text

from lambda_app.application import create_app
from lambda_app.core import clock
from lambda_app.core.errors import AppError, ConflictError, GoneError
from lambda_app.core.request_context import RequestContext, set_request_context
from lambda_app.core.security.keys import SigningKeys
from lambda_app.core.settings import Settings
from lambda_app.db.engine import create_database_engine
from lambda_app.db.session import create_session_factory
from lambda_app.factory import Services
from lambda_app.models import AttemptKind, File, FileRequest, FileStatus, User
from lambda_app.repositories.sharing import guest_throttle as guest_tries
from lambda_app.repositories.sharing.file_requests import REQUESTS_PER_USER
from lambda_app.repositories.sharing.guest_throttle import (
    FIRST_DELAY_SECONDS,
    FREE_POINTS,
    FREE_POINTS_OF_WIDER_NETWORK,
    POINTS_PER_REFUSAL,
)
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.schemas.accounts.users import UserUpdate
from lambda_app.schemas.files.files import DeclaredFile
from lambda_app.schemas.sharing.file_requests import MAX_SIZE_LIMIT_BYTES, FileRequestCreate, FileRequestUpdate
from lambda_app.services.files.idempotency import KeyedRequest
from lambda_app.services.sharing.public_uploads import FileRequestFullError, NoRoomError
from tests.support.accounts import Account, make_file, put_object
from tests.support.gateway import GatewayTransport, payload_v1
from tests.support.locks import hold_until_blocked
from tests.support.loopback import loopback_client
from tests.support.object_store import FakeObjectStore
from tests.support.problems import assert_problem
from tests.support.quota_assertions import assert_quota_is_exact

REQUESTS = "/api/v1/file-requests"
FILES = "/api/v1/files"
MakeUser = Callable[..., Account]
GUESTS, LIMIT = 100, 10
ROUNDS = int(os.environ.get("GUEST_ROUNDS", "6"))
"""`make test-slow SIZE=full` runs 20."""


def create_request(client: httpx.Client, owner: Account, **fields: Any) -> dict[str, Any]:
    response = client.post(REQUESTS, json={"title": "Photos", **fields}, headers=owner.headers)
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def declare(client: httpx.Client, token: str, body: bytes = b"hello", **fields: Any) -> httpx.Response:
    declared = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": len(body), **fields}
    return client.post(f"/r/{token}/files", json=declared)


def start_upload(client: httpx.Client, token: str, body: bytes = b"hello", **fields: Any) -> dict[str, Any]:
    response = declare(client, token, body, **fields)
    assert response.status_code == 201, response.text
    upload: dict[str, Any] = response.json()
    return upload


def complete(client: httpx.Client, token: str, upload: dict[str, Any], guest_token: str | None = None) -> httpx.Response:
    body = {"guest_token": guest_token or upload["guest_token"]}
    return client.post(f"/r/{token}/files/{upload['file_id']}/complete", json=body)


def upload_file(client: httpx.Client, token: str, body: bytes = b"hello", **fields: Any) -> dict[str, Any]:
    upload = start_upload(client, token, body, **fields)
    assert put_object(upload, body).status_code == 200
    assert complete(client, token, upload).status_code == 200
    return upload


def set_columns(services: Services, model: Any, row_id: Any, **values: Any) -> None:
    with services.unit_of_work() as session:
        session.query(model).filter(model.id == row_id).update(values)


def file_count_of(services: Services, request: dict[str, Any]) -> int:
    with services.unit_of_work() as session:
        return session.get_one(FileRequest, UUID(request["id"])).file_count


def in_days(days: float) -> str:
    return (clock.now() + timedelta(days=days)).isoformat()


# --- owner ------------------------------------------------------------------------------------------------


def test_request_is_created_with_limits_and_a_link(client: httpx.Client, services: Services, settings: Settings, owner: Account) -> None:
    created = client.post(REQUESTS, json={"title": "Photos of the day"}, headers=owner.headers)

    assert created.status_code == 201
    assert created.headers["cache-control"] == "no-store"
    request = created.json()
    assert request["url"] == f"/r/{request['token']}"
    assert len(request["token"]) >= 43
    expires_at = datetime.fromisoformat(request["expires_at"])
    assert abs(expires_at - clock.now() - timedelta(days=30)) < timedelta(minutes=1)
    limits = {name: request[name] for name in ("max_size_bytes", "max_files", "allowed_content_types", "note", "file_count")}
    assert limits == {"max_size_bytes": 2**30, "max_files": 100, "allowed_content_types": None, "note": None, "file_count": 0}
    restarted = client.get(f"{REQUESTS}/{request['id']}", headers=owner.headers)
    assert restarted.json() == {name: value for name, value in request.items() if name != "token"}
    with services.engine.connect() as connection:
        row = str(connection.execute(text("SELECT * FROM file_request WHERE id = :id"), {"id": request["id"]}).one())
        audit = str(connection.execute(text("SELECT * FROM audit_event WHERE subject = :s"), {"s": f"file_request:{request['id']}"}).all())
    assert request["token"] not in row + audit
    assert "file_request.created" in audit


def test_owner_sees_the_link_again_until_the_request_is_revoked(client: httpx.Client, services: Services, owner: Account) -> None:
    request = create_request(client, owner)
    path = f"{REQUESTS}/{request['id']}"

    changed = client.patch(path, json={"title": "y"}, headers=owner.headers)
    client.delete(path, headers=owner.headers)

    assert changed.json()["url"] == request["url"]
    with services.engine.connect() as connection:
        query = text("SELECT encrypted_token FROM file_request WHERE id = :id")
        assert connection.execute(query, {"id": request["id"]}).scalar_one() is None


def test_new_address_replaces_the_old_one_and_keeps_limits_and_files(
    client: httpx.Client, services: Services, owner: Account, stranger: Account, admin: Account
) -> None:
    old = create_request(client, owner, max_files=3)
    upload_file(client, old["token"])
    with services.engine.begin() as connection:
        # As a version created it that did not store tokens.
        connection.execute(text("UPDATE file_request SET encrypted_token = NULL WHERE id = :id"), {"id": old["id"]})
    assert client.get(f"{REQUESTS}/{old['id']}", headers=owner.headers).json()["url"] is None

    response = client.post(f"{REQUESTS}/{old['id']}/rotate", headers=owner.headers)

    new = response.json()
    assert response.headers["cache-control"] == "no-store"
    assert new == old | {"token": new["token"], "url": f"/r/{new['token']}", "file_count": 1, "updated_at": new["updated_at"]}
    assert_problem(client.get(old["url"]), 404, "link_not_found")
    assert client.get(new["url"]).json()["files_left"] == 2
    assert [request["url"] for request in client.get(REQUESTS, headers=owner.headers).json()] == [new["url"]]
    events = client.get("/api/v1/admin/audit", params={"subject": f"file_request:{old['id']}"}, headers=admin.headers).json()
    assert (events[0]["action"], events[0]["details"]) == ("file_request.address_replaced", {"fields": []})
    for other in (stranger, admin):
        assert_problem(client.post(f"{REQUESTS}/{old['id']}/rotate", headers=other.headers), 404, "file_request_not_found")
    client.delete(f"{REQUESTS}/{old['id']}", headers=owner.headers)
    assert_problem(client.post(f"{REQUESTS}/{old['id']}/rotate", headers=owner.headers), 404, "file_request_not_found")


def test_owner_lists_changes_and_revokes_requests(client: httpx.Client, services: Services, owner: Account) -> None:
    created = [create_request(client, owner, title=f"Request {number}") for number in range(3)]
    first = client.get(REQUESTS, params={"limit": 2}, headers=owner.headers)
    second = client.get(f"{REQUESTS}{first.links['next']['url']}", headers=owner.headers)
    assert [row["title"] for row in first.json() + second.json()] == ["Request 2", "Request 1", "Request 0"]
    assert "link" not in second.headers
    path = f"{REQUESTS}/{created[0]['id']}"

    changed = client.patch(path, json={"note": "Bring\nall", "max_files": 7, "allowed_content_types": ["Image/*"]}, headers=owner.headers)

    assert (changed.json()["note"], changed.json()["max_files"]) == ("Bring\nall", 7)
    assert changed.json()["allowed_content_types"] == ["image/*"]
    assert changed.json()["title"] == "Request 0"
    cleared = client.patch(path, json={"note": None, "allowed_content_types": None}, headers=owner.headers).json()
    assert (cleared["note"], cleared["allowed_content_types"], cleared["max_files"]) == (None, None, 7)
    assert client.patch(path, json={}, headers=owner.headers).json() == cleared
    assert client.delete(path, headers=owner.headers).status_code == 204
    for response in (
        client.get(path, headers=owner.headers),
        client.patch(path, json={"max_files": 9}, headers=owner.headers),
        client.patch(path, json={}, headers=owner.headers),
        client.delete(path, headers=owner.headers),
    ):
        assert_problem(response, 404, "file_request_not_found")
    assert [row["title"] for row in client.get(REQUESTS, headers=owner.headers).json()] == ["Request 2", "Request 1"]
    with services.engine.connect() as connection:
        query = text("SELECT action FROM audit_event WHERE subject = :s ORDER BY seq")
        actions = list(connection.execute(query, {"s": f"file_request:{created[0]['id']}"}).scalars())
    assert actions == ["file_request.created", "file_request.updated", "file_request.updated", "file_request.revoked"]


def test_request_of_another_user_returns_404(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    path = f"{REQUESTS}/{create_request(client, owner)['id']}"

    for account in (stranger, admin):
        for response in (
            client.get(path, headers=account.headers),
            client.patch(path, json={"max_files": 9}, headers=account.headers),
            client.delete(path, headers=account.headers),
        ):
            assert_problem(response, 404, "file_request_not_found")
    assert client.get(path, headers=owner.headers).json()["max_files"] == 100


@pytest.mark.parametrize(
    "fields",
    [
        {"title": " "},
        {"title": "a\r\nb"},
        {"title": "x" * 201},
        {"note": "\x00"},
        {"note": "x" * 2001},
        {"max_size_bytes": 0},
        {"max_size_bytes": MAX_SIZE_LIMIT_BYTES + 1},
        {"max_size_bytes": "5"},
        {"max_files": 0},
        {"max_files": 10_001},
        {"max_files": None},
        {"allowed_content_types": []},
        {"allowed_content_types": ["a/b"] * 51},
        {"allowed_content_types": ["*/*"]},
        {"allowed_content_types": ["image"]},
        {"allowed_content_types": ["image/*; q=1"]},
        {"allowed_content_types": ["a/b\r\nx: y"]},
        {"allowed_content_types": [None]},
        {"allowed_content_types": "image/*"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": in_days(367)},
        {"expires_at": "9999-12-31T23:59:59-14:00"},
        {"expires_at": "2027-01-01T00:00:00"},
        {"expires_at": "tomorrow"},
        {"token": "x"},
        {"owner_id": str(uuid4())},
        {"file_count": -5},
    ],
)
def test_invalid_request_returns_422(client: httpx.Client, owner: Account, fields: dict[str, Any]) -> None:
    request = create_request(client, owner)

    assert_problem(client.post(REQUESTS, json={"title": "x", **fields}, headers=owner.headers), 422)
    assert_problem(client.patch(f"{REQUESTS}/{request['id']}", json=fields, headers=owner.headers), 422)
    assert client.get(f"{REQUESTS}/{request['id']}", headers=owner.headers).json()["updated_at"] == request["updated_at"]


def test_repeated_creation_with_an_idempotency_key_returns_the_same_link(
    client: httpx.Client, settings: Settings, services: Services, owner: Account
) -> None:
    headers = owner.headers | {"Idempotency-Key": str(uuid4())}
    first = client.post(REQUESTS, json={"title": "x"}, headers=headers)
    again = client.post(REQUESTS, json={"title": "x"}, headers=headers)
    other = client.post(REQUESTS, json={"title": "x"}, headers=owner.headers | {"Idempotency-Key": str(uuid4())})

    assert first.json() == again.json()
    assert client.get(f"/r/{again.json()['token']}").status_code == 200
    assert other.json()["token"] != first.json()["token"]
    assert_problem(client.post(REQUESTS, json={"title": "y"}, headers=headers), 422, "idempotency_key_reused")
    assert len(client.get(REQUESTS, headers=owner.headers).json()) == 2
    # If the signing keys encrypt tokens: after one rotation the old key is still a verification key. After two the link works but cannot
    # be returned again.
    old = services.keys.current()
    for keys, status in (
        ({"current": {"kid": "new", "key": "n" * 40}, "previous": {"kid": old.kid, "key": old.secret}}, 201),
        ({"current": {"kid": "newer", "key": "m" * 40}}, 410),
    ):
        signing_keys = SigningKeys.fixed(json.dumps(keys))
        rotated = replace(services, keys=signing_keys, link_keys=signing_keys)
        with rotated.unit_of_work() as session:
            assert _create_again(rotated, session, owner, headers["Idempotency-Key"]) == status
    assert client.get(f"/r/{first.json()['token']}").status_code == 200
    client.delete(f"{REQUESTS}/{first.json()['id']}", headers=owner.headers)
    assert_problem(client.post(REQUESTS, json={"title": "x"}, headers=headers), 410, "idempotent_request_gone")


def _create_again(services: Services, session: Any, owner: Account, key: str) -> int:
    parameters = FileRequestCreate(title="x")
    keyed = KeyedRequest.of(user_id=owner.id, route="POST /file-requests", key=key, body=parameters.identity())
    try:
        services.file_requests(session).create(session.get_one(User, owner.id), parameters, keyed=keyed)
    except GoneError as error:
        return error.status
    return 201


def test_account_can_have_at_most_a_hundred_requests(client: httpx.Client, owner: Account) -> None:
    created = [create_request(client, owner) for _ in range(REQUESTS_PER_USER)]
    key = {"Idempotency-Key": str(uuid4())}

    assert_problem(client.post(REQUESTS, json={"title": "x"}, headers=owner.headers), 409, "too_many_file_requests")
    assert_problem(client.post(REQUESTS, json={"title": "x"}, headers=owner.headers | key), 409, "too_many_file_requests")

    client.delete(f"{REQUESTS}/{created[0]['id']}", headers=owner.headers)
    assert client.post(REQUESTS, json={"title": "x"}, headers=owner.headers | key).status_code == 201


# --- guests ------------------------------------------------------------------------------------------------


def test_guest_uploads_a_file_and_cannot_read_it(client: httpx.Client, services: Services, owner: Account) -> None:
    request = create_request(client, owner, title="Photos", note="All of them", max_files=3, allowed_content_types=["text/plain"])
    token = request["token"]

    responses_by_link = client.get(f"/r/{token}")
    upload = start_upload(client, token, b"hello", filename="holiday.txt", description="from Ann")
    assert put_object(upload, b"hello").status_code == 200
    completed = complete(client, token, upload)

    assert responses_by_link.json() == {
        "title": "Photos",
        "requester_name": None,
        "note": "All of them",
        "max_size_bytes": 2**30,
        "allowed_content_types": ["text/plain"],
        "expires_at": request["expires_at"],
        "files_left": 3,
    }
    assert set(upload) == {"upload_url", "file_id", "method", "headers", "expires_at", "guest_token"}
    assert completed.json() == {"file_id": upload["file_id"], "status": "available"}
    assert complete(client, token, upload).json() == completed.json()
    for response in (responses_by_link, completed):
        headers = {name: response.headers[name] for name in ("cache-control", "referrer-policy", "x-robots-tag")}
        assert headers == {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-robots-tag": "noindex, nofollow"}
        assert owner.email not in response.text
        assert str(owner.id) not in response.text
    assert client.get(f"/r/{token}").json()["files_left"] == 2
    (file,) = client.get(FILES, params={"file_request_id": request["id"]}, headers=owner.headers).json()
    assert (file["id"], file["filename"], file["status"]) == (upload["file_id"], "holiday.txt", "available")
    assert (file["owner_id"], file["file_request_id"], file["is_public"]) == (str(owner.id), request["id"], False)
    assert client.get(FILES, params={"file_request_id": str(uuid4())}, headers=owner.headers).json() == []
    assert_quota_is_exact(services, [owner.id])
    # Neither token gives the guest read access.
    for path in (f"{FILES}/{file['id']}", f"{FILES}/download/{file['id']}"):
        for credential in (token, upload["guest_token"]):
            assert_problem(client.get(path, headers={"Authorization": f"Bearer {credential}"}), 401)
    assert_problem(client.get(f"/p/{file['id']}"), 404)
    assert_problem(client.get(f"/r/{token}/files/{file['id']}"), 404)


def test_start_of_a_guest_upload_is_audited_with_the_source_address(
    client_from: Callable[[str], httpx.Client], client: httpx.Client, services: Services, owner: Account
) -> None:
    request = create_request(client, owner)
    with client_from("198.51.100.9") as guest:
        upload = start_upload(guest, request["token"])

    with services.engine.connect() as connection:
        query = text("SELECT actor_id, source_address, details FROM audit_event WHERE subject = :s AND action = :a")
        values = {"s": f"file_request:{request['id']}", "a": "file_request.upload_started"}
        ((actor, source, details),) = connection.execute(query, values).all()
    assert (actor, source) == (None, "198.51.100.9")
    assert json.loads(details) == {"file_id": upload["file_id"], "size_bytes": 5}


@pytest.mark.parametrize(
    ("rules", "content_type", "is_accepted"),
    [
        (["image/*"], "image/png", True),
        (["image/*"], "IMAGE/PNG; q=1", True),
        (["image/*"], "imagex/png", False),
        (["image/*"], "text/plain", False),
        (["image/png", "application/pdf"], "application/pdf", True),
        (["image/png", "application/pdf"], "application/pdfx", False),
        (["text/plain"], "text/plain;charset=utf-8", True),
        (None, "x/y", True),
    ],
)
def test_only_allowed_content_types_are_accepted(
    client: httpx.Client, owner: Account, rules: list[str] | None, content_type: str, is_accepted: bool
) -> None:
    request = create_request(client, owner, allowed_content_types=rules)

    response = declare(client, request["token"], content_type=content_type)

    if is_accepted:
        assert response.status_code == 201
    else:
        assert_problem(response, 409, "content_type_refused", allowed_content_types=rules)


@pytest.mark.parametrize(
    ("rules", "filename", "content_type", "stored_type"),
    [
        (["image/*"], "IMG_0001.HEIC", "application/octet-stream", "image/heic"),
        (["image/heif"], "a.b.heif", "APPLICATION/OCTET-STREAM; x=y", "image/heif"),
        (["video/*"], "film.mkv", "application/octet-stream", "video/x-matroska"),
        (None, "photo.heic", "application/octet-stream", "image/heic"),
        (["application/octet-stream"], "photo.heic", "application/octet-stream", "image/heic"),
        (["application/octet-stream"], "data.unknown", "application/octet-stream", "application/octet-stream"),
        (["text/plain"], "photo.heic", "text/plain", "text/plain"),
        (["image/*"], "heic", "application/octet-stream", None),
        (["image/*"], "a.html", "application/octet-stream", None),
        (["image/*"], "a.heic.exe", "application/octet-stream", None),
        (["image/*"], "photo.heic", "text/plain", None),
    ],
)
def test_type_that_the_browser_does_not_know_follows_from_the_extension(
    client: httpx.Client, owner: Account, rules: list[str] | None, filename: str, content_type: str, stored_type: str | None
) -> None:
    request = create_request(client, owner, allowed_content_types=rules)

    response = declare(client, request["token"], content_type=content_type, filename=filename)

    if stored_type is None:
        assert_problem(response, 409, "content_type_refused", allowed_content_types=rules)
        return
    assert response.status_code == 201
    assert response.json()["headers"]["Content-Type"] == stored_type
    assert put_object(response.json(), b"hello").status_code == 200
    assert complete(client, request["token"], response.json()).json()["status"] == "available"
    file = client.get(f"/api/v1/files/{response.json()['file_id']}", headers=owner.headers).json()
    assert file["content_type"] == stored_type


def test_bytes_that_contradict_the_extension_are_served_as_octet_stream(client: httpx.Client, owner: Account) -> None:
    request = create_request(client, owner, allowed_content_types=["image/*"])
    body = b"%PDF-1.7\n" + b"x" * 100

    upload = upload_file(client, request["token"], body, content_type="application/octet-stream", filename="photo.heic")

    file = client.get(f"/api/v1/files/{upload['file_id']}", headers=owner.headers).json()
    download = client.get(f"/api/v1/files/download/{upload['file_id']}", headers=owner.headers).json()
    assert (file["content_type"], file["detected_content_type"]) == ("image/heic", "application/pdf")
    assert download["content_type"] == "application/octet-stream"


def test_size_count_and_quota_limits_are_enforced(client: httpx.Client, services: Services, admin: Account, owner: Account) -> None:
    request = create_request(client, owner, max_size_bytes=10, max_files=2)
    token = request["token"]

    assert_problem(declare(client, token, size_bytes=11), 413, "file_too_large", max_size_bytes=10)
    assert declare(client, token, size_bytes=10).status_code == 201
    client.put(f"/api/v1/users/{owner.id}", json={"quota_bytes": 19}, headers=admin.headers)
    full = declare(client, token, size_bytes=10)
    assert_problem(full, 409, "no_room")
    assert {"bytes_left", "files_left"}.isdisjoint(full.json())
    assert file_count_of(services, request) == 1
    assert declare(client, token, size_bytes=9).status_code == 201
    assert_problem(declare(client, token, size_bytes=0), 409, "file_request_full")
    assert client.get(f"/r/{token}").json()["files_left"] == 0
    client.patch(f"{REQUESTS}/{request['id']}", json={"max_files": 1}, headers=owner.headers)
    assert client.get(f"/r/{token}").json()["files_left"] == 0
    assert_quota_is_exact(services, [owner.id])


@pytest.mark.parametrize(
    "fields",
    [
        {"filename": "a\r\nb"},
        {"filename": "\ud800"},
        {"filename": "x" * 256},
        {"filename": ""},
        {"content_type": "text/html\r\nx: y"},
        {"content_type": "text"},
        {"size_bytes": -1},
        {"size_bytes": 10**400},
        {"size_bytes": True},
        {"sha256": "x"},
        {"is_public": True},
        {"owner_id": str(uuid4())},
        {"file_request_id": str(uuid4())},
        {"description": "\x00"},
        {"filename": ["a"] * 1000},
    ],
)
def test_hostile_declaration_returns_422(client: httpx.Client, services: Services, owner: Account, fields: dict[str, Any]) -> None:
    request = create_request(client, owner)
    declared = {"filename": "a", "content_type": "a/b", "size_bytes": 1, **fields}

    response = client.post(f"/r/{request['token']}/files", content=json.dumps(declared), headers={"Content-Type": "application/json"})

    assert_problem(response, 422, "malformed_request")
    assert file_count_of(services, request) == 0


def test_active_content_of_a_guest_is_served_as_octet_stream(client: httpx.Client, owner: Account) -> None:
    token = create_request(client, owner)["token"]
    upload = upload_file(client, token, b"<script>alert(1)</script>", filename="a.html", content_type="text/html")

    download = client.get(f"{FILES}/download/{upload['file_id']}", headers=owner.headers).json()
    with loopback_client() as s3:
        fetched = s3.get(download["download_url"])

    assert fetched.headers["content-type"] == "application/octet-stream"
    assert fetched.headers["content-disposition"].startswith("attachment;")


def test_only_the_guest_who_started_an_upload_can_complete_it(client: httpx.Client, owner: Account, make_user: MakeUser) -> None:
    token = create_request(client, owner)["token"]
    other_token = create_request(client, owner)["token"]
    strangers_token = create_request(client, make_user())["token"]
    own_upload, others, elsewhere = start_upload(client, token), start_upload(client, token), start_upload(client, other_token)
    plain = make_file(client, owner, status="pending")
    for upload in (own_upload, others, elsewhere):
        assert put_object(upload, b"hello").status_code == 200

    for response in (
        complete(client, token, own_upload, others["guest_token"]),
        complete(client, token, own_upload, token),
        complete(client, token, own_upload, "x"),
        complete(client, other_token, own_upload),
        complete(client, strangers_token, own_upload),
        complete(client, token, elsewhere),
        complete(client, token, {"file_id": plain["id"]}, own_upload["guest_token"]),
        complete(client, token, {"file_id": str(uuid4())}, own_upload["guest_token"]),
        complete(client, token, {"file_id": "x"}, own_upload["guest_token"]),
        complete(client, own_upload["guest_token"], own_upload),
    ):
        assert_problem(response, 404, "link_not_found", detail="This link does not exist or is no longer available")
    assert client.get(f"{FILES}/{own_upload['file_id']}", headers=owner.headers).json()["status"] == "pending"
    assert complete(client, token, own_upload).json()["status"] == "available"


def test_closed_and_unknown_links_return_the_same_response(
    client: httpx.Client, services: Services, owner: Account, make_user: MakeUser
) -> None:
    disabled = make_user()
    requests = {
        "revoked": create_request(client, owner),
        "expired": create_request(client, owner),
        "disabled": create_request(client, disabled),
    }
    uploads = {name: start_upload(client, request["token"]) for name, request in requests.items()}
    for upload in uploads.values():
        assert put_object(upload, b"hello").status_code == 200

    client.delete(f"{REQUESTS}/{requests['revoked']['id']}", headers=owner.headers)
    set_columns(services, FileRequest, requests["expired"]["id"], expires_at=clock.now())
    set_columns(services, User, disabled.id, is_active=False)

    tokens = {name: request["token"] for name, request in requests.items()} | {"unknown": "A" * 43, "malformed": "%20", "long": "x" * 3000}
    tokens["of a file"] = uploads["revoked"]["file_id"]
    responses_by_link: dict[str, list[Any]] = {}
    for name, token in tokens.items():
        upload = uploads.get(name, uploads["revoked"])
        responses = [client.get(f"/r/{token}"), declare(client, token), complete(client, token, upload)]
        for response in responses:
            assert_problem(response, 404, "link_not_found")
        responses_by_link[name] = [_without_ids(response) for response in responses]
    assert all(other == responses_by_link["unknown"] for other in responses_by_link.values())
    assert client.get(f"{FILES}/{uploads['revoked']['file_id']}", headers=owner.headers).json()["status"] == "pending"
    assert (
        client.patch(f"{REQUESTS}/{requests['expired']['id']}", json={"expires_at": in_days(1)}, headers=owner.headers).status_code == 200
    )
    assert complete(client, tokens["expired"], uploads["expired"]).json()["status"] == "available"


def _without_ids(response: httpx.Response) -> Any:
    body = response.json() | {"request_id": None}
    return response.status_code, {name: value for name, value in response.headers.items() if name != "x-request-id"}, body


@pytest.mark.timing
def test_closed_and_unknown_links_take_the_same_time(client: httpx.Client, services: Services, owner: Account) -> None:
    expired, revoked = create_request(client, owner), create_request(client, owner)
    set_columns(services, FileRequest, expired["id"], expires_at=clock.now())
    client.delete(f"{REQUESTS}/{revoked['id']}", headers=owner.headers)
    tokens = [expired["token"], revoked["token"], "B" * 43]
    times: list[list[float]] = [[], [], []]
    for _ in range(60):
        for durations, token in zip(times, tokens, strict=True):
            started_at = time.perf_counter()
            client.get(f"/r/{token}")
            durations.append(time.perf_counter() - started_at)

    medians = [statistics.median(durations) for durations in times]
    print([f"{median * 1000:.2f} ms" for median in medians])
    # All three are one query by a unique index; noise of a shared machine is larger than what they could differ by.
    assert max(medians) < 1.5 * min(medians)


def test_links_work_behind_a_stage(handler: GatewayHandler, client: httpx.Client, owner: Account) -> None:
    token = create_request(client, owner)["token"]
    with httpx.Client(transport=GatewayTransport(handler, payload_v1), base_url="https://api.test") as staged:
        assert staged.get(f"/r/{token}").status_code == 200
        assert start_upload(staged, token)["file_id"]


# --- limits ----------------------------------------------------------------------------------------------------------


def test_failed_upload_no_longer_counts_against_the_request(client: httpx.Client, services: Services, owner: Account) -> None:
    request = create_request(client, owner, max_files=4)
    token = request["token"]
    completed_upload, mismatching, overdue, deleted = (start_upload(client, token) for _ in range(4))
    assert_problem(declare(client, token), 409, "file_request_full")
    assert put_object(completed_upload, b"hello").status_code == 200
    complete(client, token, completed_upload)

    services.store._aws.call(  # type: ignore[attr-defined]  # bypasses the presigned URL, which would refuse this content
        "s3", "put_object", Bucket=services.settings.s3_bucket_name, Key=f"uploads/{mismatching['file_id']}", Body=b"other length"
    )
    for _ in range(2):
        assert_problem(complete(client, token, mismatching), 409, "upload_rejected")
    assert file_count_of(services, request) == 3
    set_columns(services, File, overdue["file_id"], upload_expires_at=clock.now() - timedelta(seconds=1))
    with services.unit_of_work() as session:
        for _ in range(2):
            services.sweep(session)._transitions.expire(UUID(overdue["file_id"]), overdue_at=clock.now())
    assert file_count_of(services, request) == 2
    for _ in range(2):
        client.delete(f"{FILES}/{deleted['file_id']}", headers=owner.headers)
    assert file_count_of(services, request) == 1
    # A completed upload counts even after its deletion; deleting a rejected upload does not change the count.
    client.delete(f"{FILES}/{completed_upload['file_id']}", headers=owner.headers)
    client.delete(f"{FILES}/{mismatching['file_id']}", headers=owner.headers)
    assert file_count_of(services, request) == 1
    assert_quota_is_exact(services, [owner.id])


@pytest.fixture
def concurrent_services(settings: Settings, services: Services) -> Iterator[Services]:
    """Services with one connection per guest, so that all guests run concurrently, and a store that only signs."""
    engine = create_database_engine(settings.model_copy(update={"database_pool_size": GUESTS + 2, "database_timeout_seconds": 60.0}))
    yield replace(services, engine=engine, session_factory=create_session_factory(engine), store=FakeObjectStore())
    engine.dispose()


@pytest.mark.slow
def test_hundred_concurrent_guests_never_exceed_a_limit(
    client: httpx.Client, concurrent_services: Services, services: Services, make_user: MakeUser
) -> None:
    declared = DeclaredFile(filename="a", content_type="a/b", size_bytes=7)
    barrier = threading.Barrier(GUESTS, timeout=60)

    def start(token: str) -> bool:
        set_request_context(RequestContext(f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"))
        try:
            with concurrent_services.unit_of_work() as session:
                session.connection()
                barrier.wait()
                concurrent_services.public_uploads(session).start(token, declared)
        except (FileRequestFullError, NoRoomError):
            return False
        return True

    admitted, counted = [], []
    with ThreadPoolExecutor(GUESTS) as threads:
        for number in range(ROUNDS):
            owner = make_user()
            # The rounds exhaust in turn the limit of the request, the owner's byte quota and the owner's file quota.
            set_columns(
                services,
                User,
                owner.id,
                quota_bytes=7 * LIMIT + 6 if number % 3 == 1 else 7 * GUESTS,
                quota_files=LIMIT if number % 3 == 2 else GUESTS,
            )
            request = create_request(client, owner, max_files=GUESTS if number % 3 else LIMIT)
            admitted.append(sum(threads.map(start, [request["token"]] * GUESTS)))
            counted.append(file_count_of(services, request))
            assert_quota_is_exact(services, [owner.id])

    assert admitted == [LIMIT] * ROUNDS
    assert counted == [LIMIT] * ROUNDS


# --- throttle ----------------------------------------------------------------------------------------------------

REFUSALS = FREE_POINTS // POINTS_PER_REFUSAL + 1
"""Number of refusals after which the delay starts: those without delay, and one more."""


def set_quota(services: Services, account: Account, size_bytes: int) -> None:
    set_columns(services, User, account.id, quota_bytes=size_bytes)


def test_guests_cannot_probe_the_owners_quota(
    client: httpx.Client, client_from: Callable[[str], httpx.Client], services: Services, owner: Account
) -> None:
    token, other = create_request(client, owner)["token"], create_request(client, owner)["token"]
    pending = start_upload(client, token)
    put_object(pending, b"hello")
    set_quota(services, owner, 1005)

    # One fewer, because the started upload has also used points.
    codes = [declare(client, token, size_bytes=2000 - number) for number in range(REFUSALS - 1)]
    refused = declare(client, token, size_bytes=1500)

    assert {response.json()["code"] for response in codes} == {"no_room"}
    assert_problem(refused, 429, "too_many_uploads")
    assert 1 <= int(refused.headers["retry-after"]) <= FIRST_DELAY_SECONDS
    # Sizes that fit are refused too; otherwise the difference would reveal the remaining quota.
    assert_problem(declare(client, token, size_bytes=1), 429, "too_many_uploads")
    assert_problem(declare(client, token, size_bytes=2**31), 429, "too_many_uploads")
    # The throttle does not affect other guests, other requests, the started upload, or sign-ins from the same address.
    with client_from("198.51.100.9") as guest:
        assert declare(guest, token, size_bytes=1).status_code == 201
    assert declare(client, other, size_bytes=1).status_code == 201
    assert client.get(f"/r/{token}").status_code == 200
    assert complete(client, token, pending).json()["status"] == "available"
    assert client.post("/api/v1/login/token", data={"username": owner.email, "password": owner.password}).status_code == 200


def test_refusal_by_a_published_limit_costs_no_more_than_an_upload(client: httpx.Client, owner: Account) -> None:
    """Such refusals are user mistakes and reveal nothing about the owner's quota."""
    token = create_request(client, owner, allowed_content_types=["image/*"], max_size_bytes=100, max_files=1)["token"]

    refused = [declare(client, token, content_type="text/plain").json()["code"] for _ in range(REFUSALS)]
    refused += [declare(client, token, content_type="image/png", size_bytes=101).json()["code"] for _ in range(REFUSALS)]
    pending = declare(client, token, content_type="image/png", size_bytes=100)
    refused += [declare(client, token, content_type="image/png", size_bytes=100).json()["code"] for _ in range(REFUSALS)]

    assert pending.status_code == 201
    assert refused == [code for code in ("content_type_refused", "file_too_large", "file_request_full") for _ in range(REFUSALS)]


def test_each_further_refusal_doubles_the_delay(client: httpx.Client, services: Services, owner: Account) -> None:
    token = create_request(client, owner)["token"]
    set_quota(services, owner, 10)
    # In the past, so that files created here are not the newest ones for later tests.
    with time_machine.travel(clock.now() - timedelta(hours=3), tick=False) as travel:
        for _ in range(REFUSALS):
            declare(client, token, size_bytes=11)
        delays = []
        for _ in range(6):
            delays.append(int(declare(client, token, size_bytes=11).headers["retry-after"]))
            travel.shift(delays[-1])
            assert_problem(declare(client, token, size_bytes=11), 409, "no_room")
        travel.shift(3600)
        assert declare(client, token, size_bytes=1).status_code == 201

    assert delays == [60, 120, 240, 480, 900, 900]


def test_guest_is_throttled_only_past_the_upload_limit(
    client: httpx.Client, services: Services, owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest_tries, "FREE_POINTS", 5)
    request = create_request(client, owner)

    responses = [declare(client, request["token"]).status_code for _ in range(8)]

    assert responses == [201] * 6 + [429] * 2
    assert file_count_of(services, request) == 6
    assert_quota_is_exact(services, [owner.id])


@pytest.mark.parametrize(("kind", "shift"), [(AttemptKind.GUEST_56, 0), (AttemptKind.GUEST_48, 8)], ids=["56", "48"])
def test_guests_of_one_ipv6_site_probe_the_quota_together(
    client: httpx.Client,
    client_from: Callable[[str], httpx.Client],
    services: Services,
    owner: Account,
    monkeypatch: pytest.MonkeyPatch,
    kind: AttemptKind,
    shift: int,
) -> None:
    token, free = create_request(client, owner)["token"], {AttemptKind.GUEST_56: 300, AttemptKind.GUEST_48: 500}
    monkeypatch.setattr(guest_tries, "FREE_POINTS_OF_WIDER_NETWORK", free)
    set_quota(services, owner, 1000)
    site, codes = f"2001:db8:{uuid4().hex[:4]}", []

    with time_machine.travel(clock.now(), tick=False):
        for number in range(9):
            with client_from(f"{site}:{number << shift:x}::1") as guest:
                codes.append(declare(guest, token, size_bytes=1001).json()["code"])

    admitted = free[kind] // POINTS_PER_REFUSAL + 1
    assert codes == ["no_room"] * admitted + ["too_many_uploads"] * (9 - admitted)


def test_limits_of_an_ipv6_site_are_above_those_of_its_networks() -> None:
    assert FREE_POINTS < FREE_POINTS_OF_WIDER_NETWORK[AttemptKind.GUEST_56] < FREE_POINTS_OF_WIDER_NETWORK[AttemptKind.GUEST_48]


def test_unknown_links_leave_no_throttle_rows(client: httpx.Client, services: Services, owner: Account) -> None:
    revoked = create_request(client, owner)
    client.delete(f"{REQUESTS}/{revoked['id']}", headers=owner.headers)

    for token in (*("A" * 43,) * (REFUSALS + 2), revoked["token"]):
        assert_problem(declare(client, token), 404, "link_not_found")

    with services.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM sign_in_attempt WHERE kind IN (4, 7, 8)")).scalar_one() == 0


@pytest.mark.slow
@pytest.mark.parametrize("fitting", [0, 50])
def test_concurrent_probes_reveal_no_more_than_sequential_ones(
    client: httpx.Client, concurrent_services: Services, services: Services, owner: Account, fitting: int
) -> None:
    """All requests start before the first response. From the same attempt on, sizes that fit are refused too."""
    request = create_request(client, owner)
    set_quota(services, owner, 1000)

    def start(size_bytes: int) -> str:
        set_request_context(RequestContext("192.0.2.7"))
        declared = DeclaredFile(filename="a", content_type="a/b", size_bytes=size_bytes)
        try:
            with concurrent_services.unit_of_work() as session:
                concurrent_services.public_uploads(session).start(request["token"], declared)
        except AppError as error:
            return error.code
        return "started"

    sizes = [1] * fitting + [1001 + number for number in range(GUESTS - fitting)]
    with time_machine.travel(clock.now(), tick=False), ThreadPoolExecutor(GUESTS) as threads:
        with hold_until_blocked(
            concurrent_services.engine, "SELECT 1 FROM file_request WHERE id = :id FOR UPDATE", {"id": request["id"]}, count=GUESTS
        ):
            responses = [threads.submit(start, size_bytes) for size_bytes in random.sample(sizes, GUESTS)]
        codes = Counter(response.result() for response in responses)

    print(codes)
    assert codes["no_room"] in ((REFUSALS,) if fitting == 0 else (REFUSALS - 1, REFUSALS))
    assert codes["no_room"] + codes["started"] + codes["too_many_uploads"] == GUESTS
    assert file_count_of(services, request) == codes["started"]
    assert_quota_is_exact(services, [owner.id])


@pytest.mark.slow
def test_concurrent_guests_owner_and_sweep_keep_the_counters_consistent(
    client: httpx.Client, concurrent_services: Services, services: Services, owner: Account
) -> None:
    """Starts, rejections, deletions and changes of one request and owner lock some of the same rows."""
    request = create_request(client, owner, max_files=30)
    declared = DeclaredFile(filename="a", content_type="a/b", size_bytes=7)

    def act(number: int) -> None:
        set_request_context(RequestContext(f"192.0.2.{number}"))
        with concurrent_services.unit_of_work() as session:
            user = session.get_one(User, owner.id)
            if number % 10 == 0:
                limits = FileRequestUpdate(max_files=20 + number % 30)
                concurrent_services.file_requests(session).update(user, UUID(request["id"]), limits)
            elif number % 10 == 1:
                root = User(id=uuid4(), is_superuser=True)
                concurrent_services.users(session).update_user(root, owner.id, UserUpdate(quota_files=1000 + number))
            else:
                try:
                    file = concurrent_services.public_uploads(session).start(request["token"], declared).file
                except ConflictError:
                    return
                if number % 3 == 0:
                    concurrent_services.public_uploads(session)._transitions.reject(file.id)
                elif number % 3 == 1:
                    concurrent_services.files(session).delete_file(user, file.id)

    with ThreadPoolExecutor(40) as threads:
        list(threads.map(act, range(200)))

    with services.unit_of_work() as session:
        pending_count = session.query(File).filter(File.file_request_id == request["id"], File.status == FileStatus.PENDING).count()
    assert file_count_of(services, request) == pending_count
    assert pending_count > 0
    assert_quota_is_exact(services, [owner.id])


def test_link_works_after_key_rotation(client: httpx.Client, settings: Settings, services: Services, owner: Account) -> None:
    plain, keyed = (
        create_request(client, owner),
        client.post(REQUESTS, json={"title": "x"}, headers=owner.headers | {"Idempotency-Key": "k"}),
    )
    upload = start_upload(client, plain["token"])
    put_object(upload, b"hello")
    new_settings = settings.model_copy(update={"secret_key": SecretStr("another key of forty characters, at least")})
    rotated = replace(services, settings=new_settings, keys=SigningKeys.fixed("another key of forty characters, at least"))

    with httpx.Client(
        transport=GatewayTransport(GatewayHandler(create_app(new_settings, rotated))), base_url="https://api.test"
    ) as restarted:
        assert restarted.get(f"/r/{plain['token']}").status_code == 200
        assert restarted.get(f"/r/{keyed.json()['token']}").status_code == 200
        assert complete(restarted, plain["token"], upload).json()["status"] == "available"


def test_requests_are_listed_by_state(client: httpx.Client, services: Services, owner: Account, stranger: Account) -> None:
    active, expired, revoked = (create_request(client, owner) for _ in range(3))
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE file_request SET expires_at = now() WHERE id = :id"), {"id": expired["id"]})
    assert client.delete(f"{REQUESTS}/{revoked['id']}", headers=owner.headers).status_code == 204

    def listed(account: Account, **params: Any) -> list[tuple[str, bool, bool]]:
        rows = client.get(REQUESTS, params=params, headers=account.headers).json()
        return [(row["id"], row["url"] is None, row["revoked_at"] is None) for row in rows]

    assert listed(owner, state="active") == [(active["id"], False, True)]
    assert listed(owner, state="expired") == [(expired["id"], False, True)]
    assert listed(owner, state="revoked") == [(revoked["id"], True, False)]
    assert [row[0] for row in listed(owner)] == [expired["id"], active["id"]]
    assert {row[0] for row in listed(stranger, state="revoked")}.isdisjoint({revoked["id"]})
    assert_problem(client.get(REQUESTS, params={"state": "open"}, headers=owner.headers), 422, "malformed_request")
