"""Multipart uploads over HTTP, with real parts sent to S3."""

import os
from typing import Any
from uuid import UUID

import httpx
import pytest

from lambda_app.factory import Services
from lambda_app.models import File, FileStatus
from lambda_app.storage.parts import MULTIPART_MAX_BYTES
from tests.support.accounts import Account, sha256_hex, start_upload
from tests.support.loopback import loopback_client
from tests.support.problems import assert_problem, assert_unauthenticated
from tests.support.quota_assertions import assert_quota_is_exact

FILES = "/api/v1/files"
PART_BYTES = 8 * 1024**2


def start(client: httpx.Client, owner: Account, size_bytes: int = PART_BYTES + 5, **fields: Any) -> dict[str, Any]:
    metadata = {"filename": "film.mp4", "content_type": "video/mp4", "size_bytes": size_bytes, **fields}
    response = client.post(f"{FILES}/multipart", json=metadata, headers=owner.headers)
    assert response.status_code == 201, response.text
    started: dict[str, Any] = response.json()
    return started


def sign(client: httpx.Client, owner: Account, file_id: str, *parts: dict[str, Any]) -> httpx.Response:
    return client.post(f"{FILES}/{file_id}/parts", json={"parts": parts}, headers=owner.headers)


def send(part: dict[str, Any], body: bytes) -> int:
    # httpx sets Content-Length to the length of the body, like every HTTP client.
    headers = {name: value for name, value in part["headers"].items() if name != "Content-Length"}
    with loopback_client() as s3:
        return s3.request(part["method"], part["upload_url"], content=body, headers=headers).status_code


def send_parts(client: httpx.Client, owner: Account, file_id: str, bodies: dict[int, bytes], *, digests: bool = False) -> None:
    parts = [{"number": number, **({"sha256": sha256_hex(body)} if digests else {})} for number, body in bodies.items()]
    signed = sign(client, owner, file_id, *parts)
    assert signed.status_code == 200, signed.text
    for part in signed.json()["parts"]:
        assert send(part, bodies[part["number"]]) == 200


def complete(client: httpx.Client, owner: Account, file_id: str, body: Any = None) -> httpx.Response:
    return client.post(f"{FILES}/{file_id}/complete", json=body, headers=owner.headers)


@pytest.mark.parametrize("digests", [False, True])
def test_multipart_upload_is_downloaded_unchanged(client: httpx.Client, services: Services, owner: Account, digests: bool) -> None:
    body = os.urandom(PART_BYTES + 5)
    started = start(client, owner, has_part_digests=digests)
    assert {**started, "file_id": "", "expires_at": ""} == {
        "file_id": "",
        "part_size_bytes": PART_BYTES,
        "part_count": 2,
        "expires_at": "",
    }

    send_parts(client, owner, started["file_id"], {1: body[:PART_BYTES], 2: body[PART_BYTES:]}, digests=digests)
    stored = client.get(f"{FILES}/{started['file_id']}/parts", headers=owner.headers).json()
    response = complete(client, owner, started["file_id"])

    assert [(part["number"], part["size_bytes"]) for part in stored["parts"]] == [(1, PART_BYTES), (2, 5)]
    assert (response.status_code, response.json()["status"]) == (200, "available")
    assert complete(client, owner, started["file_id"]).json() == response.json()
    url = client.get(f"{FILES}/download/{started['file_id']}", headers=owner.headers).json()["download_url"]
    with loopback_client() as s3:
        assert s3.get(url).content == body
    assert_quota_is_exact(services, [owner.id])


def test_upload_completes_after_the_missing_parts_are_sent(client: httpx.Client, owner: Account) -> None:
    started = start(client, owner)
    send_parts(client, owner, started["file_id"], {2: b"12345"})

    assert_problem(complete(client, owner, started["file_id"]), 409, "parts_missing", missing_parts=[1], missing_count=1)

    send_parts(client, owner, started["file_id"], {1: bytes(PART_BYTES)})
    assert complete(client, owner, started["file_id"]).json()["status"] == "available"


def test_upload_that_s3_no_longer_has_can_be_deleted(client: httpx.Client, services: Services, owner: Account) -> None:
    started = start(client, owner)
    with services.unit_of_work() as session:
        row = services.files(session)._files.get(UUID(started["file_id"]))
        assert row is not None
        assert row.upload_id is not None
        services.store.abort_multipart(row.s3_key, row.upload_id)

    assert_problem(complete(client, owner, started["file_id"]), 409, "upload_lost")
    assert_problem(client.get(f"{FILES}/{started['file_id']}/parts", headers=owner.headers), 409, "upload_lost")
    assert client.delete(f"{FILES}/{started['file_id']}", headers=owner.headers).status_code == 204
    assert_quota_is_exact(services, [owner.id])


def test_parts_of_an_upload_that_s3_no_longer_has_are_not_signed(client: httpx.Client, services: Services, owner: Account) -> None:
    file_id = start(client, owner)["file_id"]
    assert sign(client, owner, file_id, {"number": 1}).status_code == 200
    with services.unit_of_work() as session:
        file = session.get_one(File, UUID(file_id))
    assert file.upload_id is not None
    services.store.abort_multipart(file.s3_key, file.upload_id)

    assert_problem(sign(client, owner, file_id, {"number": 1}), 409, "upload_lost")
    assert_problem(client.get(f"{FILES}/{file_id}/parts", headers=owner.headers), 409, "upload_lost")
    assert_problem(complete(client, owner, file_id), 409, "upload_lost")
    assert client.delete(f"{FILES}/{file_id}", headers=owner.headers).status_code == 204


def test_deleting_an_unfinished_upload_deletes_its_parts(client: httpx.Client, services: Services, owner: Account) -> None:
    started = start(client, owner)
    send_parts(client, owner, started["file_id"], {2: b"12345"})
    signed = sign(client, owner, started["file_id"], {"number": 1}).json()["parts"][0]

    assert client.delete(f"{FILES}/{started['file_id']}", headers=owner.headers).status_code == 204

    assert send(signed, bytes(PART_BYTES)) == 404
    keys = {upload.key for upload in services.store.list_uploads(after_key="", limit=1000).uploads}
    assert f"uploads/{started['file_id']}" not in keys
    assert client.get("/api/v1/users/me/usage", headers=owner.headers).json()["bytes_used"] == 0


def test_part_url_accepts_only_its_part_number_and_length(client: httpx.Client, owner: Account) -> None:
    started = start(client, owner)
    signed = sign(client, owner, started["file_id"], {"number": 2}).json()["parts"][0]

    assert send(signed, b"123456") == 403
    assert send(signed, b"1234") == 403
    assert send({**signed, "upload_url": signed["upload_url"].replace("partNumber=2", "partNumber=1")}, b"12345") == 403
    assert send(signed, b"12345") == 200


def test_part_digests_are_required_or_refused_as_declared(client: httpx.Client, owner: Account) -> None:
    with_digests, without = (start(client, owner, has_part_digests=flag)["file_id"] for flag in (True, False))

    assert_problem(sign(client, owner, with_digests, {"number": 1}), 422, "part_digests_differ")
    assert_problem(sign(client, owner, without, {"number": 1, "sha256": "0" * 64}), 422, "part_digests_differ")


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([{"number": 3}], "no_such_part"),
        ([{"number": 0}], "malformed_request"),
        ([{"number": 10_001}], "malformed_request"),
        ([{"number": 1}, {"number": 1}], "malformed_request"),
        ([], "malformed_request"),
        ([{"number": number} for number in range(1, 102)], "malformed_request"),
        ([{"number": 1, "sha256": "x"}], "malformed_request"),
        ([{"number": True}], "malformed_request"),
    ],
)
def test_invalid_parts_are_refused(client: httpx.Client, owner: Account, parts: list[dict[str, Any]], code: str) -> None:
    assert_problem(sign(client, owner, start(client, owner)["file_id"], *parts), 422, code)


def test_single_request_upload_has_no_parts(client: httpx.Client, owner: Account) -> None:
    single = start_upload(client, owner)["file_id"]

    assert_problem(sign(client, owner, single, {"number": 1}), 409, "not_in_parts", file_status="pending")
    assert_problem(client.get(f"{FILES}/{single}/parts", headers=owner.headers), 409, "not_in_parts")


def test_empty_and_too_large_files_are_refused(client: httpx.Client, owner: Account) -> None:
    metadata = {"filename": "a", "content_type": "a/b"}

    assert_problem(client.post(f"{FILES}/multipart", json={**metadata, "size_bytes": 0}, headers=owner.headers), 422)
    too_large = client.post(f"{FILES}/multipart", json={**metadata, "size_bytes": MULTIPART_MAX_BYTES + 1}, headers=owner.headers)
    assert_problem(too_large, 413, "too_large", max_bytes=MULTIPART_MAX_BYTES)


def test_digest_of_the_whole_file_is_refused(client: httpx.Client, owner: Account) -> None:
    metadata = {"filename": "a", "content_type": "a/b", "size_bytes": 5, "sha256": "0" * 64}

    assert_problem(client.post(f"{FILES}/multipart", json=metadata, headers=owner.headers), 422, "malformed_request")


def test_other_users_can_neither_list_nor_sign_parts(client: httpx.Client, owner: Account, stranger: Account) -> None:
    file_id = start(client, owner, is_public=True)["file_id"]

    assert_problem(sign(client, stranger, file_id, {"number": 1}), 403, "file_forbidden")
    assert_problem(client.get(f"{FILES}/{file_id}/parts", headers=stranger.headers), 403, "file_forbidden")
    assert_unauthenticated(client.get(f"{FILES}/{file_id}/parts"))
    assert_unauthenticated(client.post(f"{FILES}/{file_id}/parts", json={"parts": [{"number": 1}]}))


def test_completion_accepts_a_checksum_and_refuses_malformed_ones(client: httpx.Client, owner: Account) -> None:
    file_id = start(client, owner)["file_id"]

    assert_problem(complete(client, owner, file_id, {"crc64nvme": "x"}), 422, "malformed_request")
    assert_problem(complete(client, owner, file_id, {"etag": "x"}), 422, "malformed_request")
    assert_problem(complete(client, owner, file_id, {"crc64nvme": "AAAAAAAAAAA="}), 409, "parts_missing")


def test_content_that_contradicts_its_type_is_served_as_octet_stream(client: httpx.Client, owner: Account) -> None:
    started = start(client, owner, size_bytes=200, content_type="image/png")
    send_parts(client, owner, started["file_id"], {1: b"<!DOCTYPE html><html><script>alert(1)</script>".ljust(200)})

    file = complete(client, owner, started["file_id"]).json()
    download = client.get(f"{FILES}/download/{started['file_id']}", headers=owner.headers).json()

    assert (file["status"], file["content_type"], file["detected_content_type"]) == (FileStatus.AVAILABLE, "image/png", "text/html")
    assert download["content_type"] == "application/octet-stream"
    with loopback_client() as s3:
        assert s3.get(download["download_url"]).headers["content-type"] == "application/octet-stream"
