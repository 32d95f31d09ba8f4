"""Guests who upload files to a file request in parts, with real parts sent to S3."""

import os
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import time_machine

from lambda_app.core import clock
from lambda_app.factory import Services
from lambda_app.models import File, FileRequest, FileStatus
from lambda_app.repositories.files.transitions import FileTransitionRepository
from lambda_app.repositories.sharing.guest_throttle import FREE_POINTS, POINTS_PER_REFUSAL
from lambda_app.schemas.sharing.file_requests import MAX_SIZE_LIMIT_BYTES
from lambda_app.storage.object_store import SINGLE_PUT_MAX_BYTES
from lambda_app.storage.parts import MULTIPART_MAX_BYTES
from tests.support.accounts import Account, put_object, sha256_hex
from tests.support.problems import assert_problem
from tests.support.quota_assertions import assert_quota_is_exact

REQUESTS = "/api/v1/file-requests"
FILES = "/api/v1/files"
PART_BYTES = 8 * 1024**2


def create_request(client: httpx.Client, owner: Account, **fields: Any) -> dict[str, Any]:
    created: dict[str, Any] = client.post(REQUESTS, json={"title": "Films", **fields}, headers=owner.headers).json()
    return created


def declare(client: httpx.Client, token: str, size_bytes: int = PART_BYTES + 5, **fields: Any) -> httpx.Response:
    declared = {"filename": "film.mp4", "content_type": "video/mp4", "size_bytes": size_bytes, **fields}
    return client.post(f"/r/{token}/multipart", json=declared)


def start(client: httpx.Client, token: str, size_bytes: int = PART_BYTES + 5, **fields: Any) -> dict[str, Any]:
    response = declare(client, token, size_bytes, **fields)
    assert response.status_code == 201, response.text
    started: dict[str, Any] = response.json()
    return started


def call(client: httpx.Client, token: str, upload: dict[str, Any], action: str, **body: Any) -> httpx.Response:
    body = {"guest_token": upload["guest_token"], **body}
    return client.post(f"/r/{token}/files/{upload['file_id']}/{action}", json=body)


def send_parts(client: httpx.Client, token: str, upload: dict[str, Any], bodies: dict[int, bytes], *, digests: bool = False) -> None:
    parts = [{"number": number, **({"sha256": sha256_hex(body)} if digests else {})} for number, body in bodies.items()]
    signed = call(client, token, upload, "parts", parts=parts)
    assert signed.status_code == 200, signed.text
    for part in signed.json()["parts"]:
        headers = {name: value for name, value in part["headers"].items() if name != "Content-Length"}
        with httpx.Client(trust_env=False) as s3:
            assert s3.request(part["method"], part["upload_url"], content=bodies[part["number"]], headers=headers).status_code == 200


def file_count_of(services: Services, request: dict[str, Any]) -> int:
    with services.unit_of_work() as session:
        return session.get_one(FileRequest, UUID(request["id"])).file_count


def uploads_in_s3(services: Services) -> set[str]:
    return {upload.upload_id for upload in services.store.list_uploads(after_key="", limit=1000).uploads}


def test_guest_uploads_in_parts_and_resumes(client: httpx.Client, services: Services, owner: Account) -> None:
    request = create_request(client, owner)
    token, body = request["token"], os.urandom(PART_BYTES + 5)
    upload = start(client, token, has_part_digests=True)
    assert (upload["part_size_bytes"], upload["part_count"]) == (PART_BYTES, 2)
    send_parts(client, token, upload, {2: body[PART_BYTES:]}, digests=True)

    listed = call(client, token, upload, "uploaded-parts").json()
    assert_problem(call(client, token, upload, "complete"), 409, "parts_missing", missing_parts=[1], missing_count=1)
    send_parts(client, token, upload, {1: body[:PART_BYTES]}, digests=True)
    completed = call(client, token, upload, "complete")

    assert [(part["number"], part["size_bytes"], part["sha256"]) for part in listed["parts"]] == [(2, 5, sha256_hex(body[PART_BYTES:]))]
    assert completed.json() == {"file_id": upload["file_id"], "status": "available"}
    assert call(client, token, upload, "complete").json() == completed.json()
    url = client.get(f"{FILES}/download/{upload['file_id']}", headers=owner.headers).json()["download_url"]
    with httpx.Client(trust_env=False) as s3:
        assert s3.get(url).content == body
    assert client.get(f"{FILES}?file_request_id={request['id']}", headers=owner.headers).json()[0]["id"] == upload["file_id"]
    assert file_count_of(services, request) == 1
    assert_quota_is_exact(services, [owner.id])


@pytest.mark.parametrize("action", ["parts", "uploaded-parts", "abort"])
def test_only_the_guest_who_started_an_upload_continues_it(client: httpx.Client, owner: Account, stranger: Account, action: str) -> None:
    token, other = create_request(client, owner)["token"], create_request(client, stranger)["token"]
    upload, foreign = start(client, token), start(client, token)
    body = {"parts": [{"number": 1}]} if action == "parts" else {}

    responses = [
        call(client, token, upload, action, **body, guest_token=foreign["guest_token"]),
        call(client, other, upload, action, **body),
        call(client, token, upload | {"file_id": "x"}, action, **body),
        call(client, token, upload | {"file_id": str(UUID(int=0))}, action, **body),
    ]

    for response in responses:
        assert_problem(response, 404, "link_not_found")
    assert call(client, token, upload, "uploaded-parts").status_code == 200


def test_closed_request_stops_its_uploads(client: httpx.Client, owner: Account) -> None:
    request = create_request(client, owner)
    token, upload = request["token"], start(client, request["token"])

    client.delete(f"{REQUESTS}/{request['id']}", headers=owner.headers)

    assert_problem(declare(client, token), 404, "link_not_found")
    for action, body in (("parts", {"parts": [{"number": 1}]}), ("uploaded-parts", {}), ("complete", {}), ("abort", {})):
        assert_problem(call(client, token, upload, action, **body), 404, "link_not_found")


def test_limits_of_the_request_hold_for_parts_and_nothing_stays_in_s3(
    client: httpx.Client, services: Services, admin: Account, owner: Account
) -> None:
    request = create_request(client, owner, max_size_bytes=10, max_files=2, allowed_content_types=["video/*"])
    token = request["token"]
    before = uploads_in_s3(services)

    assert_problem(declare(client, token, 11), 413, "file_too_large", max_size_bytes=10)
    assert_problem(declare(client, token, 10, content_type="text/plain", filename="a.txt"), 409, "content_type_refused")
    client.put(f"/api/v1/users/{owner.id}", json={"quota_bytes": 19}, headers=admin.headers)
    start(client, token, 10)
    assert_problem(declare(client, token, 10), 409, "no_room")
    start(client, token, 9)
    assert_problem(declare(client, token, 1), 409, "file_request_full")

    assert len(uploads_in_s3(services) - before) == 2
    assert file_count_of(services, request) == 2
    assert_quota_is_exact(services, [owner.id])


def test_guests_cannot_probe_the_owners_quota_with_parts(client: httpx.Client, services: Services, admin: Account, owner: Account) -> None:
    token = create_request(client, owner)["token"]
    client.put(f"/api/v1/users/{owner.id}", json={"quota_bytes": 10}, headers=admin.headers)
    refusals = FREE_POINTS // POINTS_PER_REFUSAL + 1

    codes = {declare(client, token, 11 + number).json()["code"] for number in range(refusals)}

    assert codes == {"no_room"}
    before = uploads_in_s3(services)
    assert_problem(declare(client, token, 11), 429, "too_many_uploads")
    assert_problem(declare(client, token, 1), 429, "too_many_uploads")
    assert uploads_in_s3(services) == before


def test_aborted_upload_frees_its_place_and_quota(client: httpx.Client, services: Services, owner: Account) -> None:
    request = create_request(client, owner, max_files=1)
    token = request["token"]
    upload = start(client, token)
    send_parts(client, token, upload, {2: b"12345"})
    before = uploads_in_s3(services)

    assert call(client, token, upload, "abort").status_code == 204

    assert len(uploads_in_s3(services)) == len(before) - 1
    assert_problem(call(client, token, upload, "abort"), 404, "link_not_found")
    assert_problem(call(client, token, upload, "parts", parts=[{"number": 1}]), 404, "link_not_found")
    assert file_count_of(services, request) == 0
    assert_quota_is_exact(services, [owner.id])
    assert client.get("/api/v1/users/me/usage", headers=owner.headers).json()["bytes_used"] == 0
    start(client, token)


def test_guest_cannot_abort_what_is_stored(client: httpx.Client, services: Services, owner: Account) -> None:
    """A guest who could would use up the deletion allowance of the owner, or delete a file that the owner has received."""
    token = create_request(client, owner)["token"]
    declared = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": 5}
    single = client.post(f"/r/{token}/files", json=declared).json()
    put_object(single, b"hello")
    received = start(client, token, 5)
    send_parts(client, token, received, {1: b"hello"})
    assert call(client, token, received, "complete").status_code == 200

    assert_problem(call(client, token, single, "abort"), 409, "not_in_parts", file_status="pending")
    assert_problem(call(client, token, received, "abort"), 409, "not_in_parts", file_status="available")
    assert_problem(call(client, token, received, "parts", parts=[{"number": 1}]), 409, "not_in_parts", file_status="available")
    assert call(client, token, single, "complete").json()["status"] == "available"


@pytest.mark.parametrize(
    ("parts", "code"),
    [([{"number": 3}], "no_such_part"), ([{"number": 1, "sha256": "0" * 64}], "part_digests_differ"), ([{"number": 1}] * 2, None)],
    ids=["unknown part", "digest", "twice"],
)
def test_bad_parts_are_refused(client: httpx.Client, owner: Account, parts: list[dict[str, Any]], code: str | None) -> None:
    token = create_request(client, owner)["token"]

    assert_problem(call(client, token, start(client, token), "parts", parts=parts), 422, code)


def test_abandoned_upload_of_a_guest_ends_after_a_day(client: httpx.Client, services: Services, owner: Account) -> None:
    request = create_request(client, owner)
    upload = start(client, request["token"])

    with time_machine.travel(clock.now() + timedelta(days=1, minutes=1), tick=False), services.unit_of_work() as session:
        expired = FileTransitionRepository(session, deletion_allowance_bytes=0).expire(UUID(upload["file_id"]), overdue_at=clock.now())

    assert expired is not None
    assert expired.status == FileStatus.EXPIRED
    assert file_count_of(services, request) == 0


def test_request_accepts_files_that_need_parts(client: httpx.Client, services: Services, admin: Account, owner: Account) -> None:
    client.put(f"/api/v1/users/{owner.id}", json={"quota_bytes": 2**60}, headers=admin.headers)
    token = create_request(client, owner, max_size_bytes=MAX_SIZE_LIMIT_BYTES)["token"]
    declared = {"filename": "a", "content_type": "a/b", "size_bytes": SINGLE_PUT_MAX_BYTES + 1}

    assert MAX_SIZE_LIMIT_BYTES == MULTIPART_MAX_BYTES
    assert_problem(client.post(f"/r/{token}/files", json=declared), 413, "too_large_for_one_upload")
    upload = start(client, token, SINGLE_PUT_MAX_BYTES + 1)
    assert call(client, token, upload, "abort").status_code == 204


def test_start_in_parts_is_audited_like_every_other(client: httpx.Client, services: Services, admin: Account, owner: Account) -> None:
    request = create_request(client, owner)
    upload = start(client, request["token"])
    call(client, request["token"], upload, "abort")

    actions = [
        client.get("/api/v1/admin/audit", params={"subject": subject}, headers=admin.headers).json()[0]["action"]
        for subject in (f"file_request:{request['id']}", f"file:{upload['file_id']}")
    ]

    assert actions == ["file_request.upload_started", "file.upload_aborted"]
    with services.unit_of_work() as session:
        assert session.get(File, UUID(upload["file_id"])) is None
