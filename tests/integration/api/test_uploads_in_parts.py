"""Uploads in parts over HTTP, with real parts sent to S3."""

import os
from typing import Any
from uuid import UUID

import httpx
import pytest

from lambda_app.factory import Services
from lambda_app.models import FileStatus
from lambda_app.storage.parts import MULTIPART_MAX_BYTES
from tests.support.accounts import Account, sha256_hex, start_upload
from tests.support.problems import assert_problem, assert_unauthenticated
from tests.support.quota_assertions import assert_quota_is_exact

FILES = "/api/v1/files"
PART_BYTES = 8 * 1024**2


def start(client: httpx.Client, owner: Account, size_bytes: int = PART_BYTES + 5, **fields: Any) -> dict[str, Any]:
    declared = {"filename": "film.mp4", "content_type": "video/mp4", "size_bytes": size_bytes, **fields}
    answer = client.post(f"{FILES}/multipart", json=declared, headers=owner.headers)
    assert answer.status_code == 201, answer.text
    started: dict[str, Any] = answer.json()
    return started


def sign(client: httpx.Client, owner: Account, file_id: str, *wanted: dict[str, Any]) -> httpx.Response:
    return client.post(f"{FILES}/{file_id}/parts", json={"parts": wanted}, headers=owner.headers)


def send(part: dict[str, Any], body: bytes) -> int:
    # As in every HTTP client the length is that of the body, whatever the headers say.
    headers = {name: value for name, value in part["headers"].items() if name != "Content-Length"}
    with httpx.Client(trust_env=False) as s3:
        return s3.request(part["method"], part["upload_url"], content=body, headers=headers).status_code


def send_parts(client: httpx.Client, owner: Account, file_id: str, bodies: dict[int, bytes], *, digests: bool = False) -> None:
    wanted = [{"number": number, **({"sha256": sha256_hex(body)} if digests else {})} for number, body in bodies.items()]
    signed = sign(client, owner, file_id, *wanted)
    assert signed.status_code == 200, signed.text
    for part in signed.json()["parts"]:
        assert send(part, bodies[part["number"]]) == 200


def complete(client: httpx.Client, owner: Account, file_id: str, body: Any = None) -> httpx.Response:
    return client.post(f"{FILES}/{file_id}/complete", json=body, headers=owner.headers)


@pytest.mark.parametrize("digests", [False, True])
def test_file_in_parts_goes_up_and_comes_back_the_same(client: httpx.Client, services: Services, owner: Account, digests: bool) -> None:
    body = os.urandom(PART_BYTES + 5)
    started = start(client, owner, has_part_digests=digests)
    assert {**started, "file_id": "", "expires_at": ""} == {
        "file_id": "",
        "part_size_bytes": PART_BYTES,
        "part_count": 2,
        "expires_at": "",
    }

    send_parts(client, owner, started["file_id"], {1: body[:PART_BYTES], 2: body[PART_BYTES:]}, digests=digests)
    held = client.get(f"{FILES}/{started['file_id']}/parts", headers=owner.headers).json()
    answer = complete(client, owner, started["file_id"])

    assert [(part["number"], part["size_bytes"]) for part in held["parts"]] == [(1, PART_BYTES), (2, 5)]
    assert (answer.status_code, answer.json()["status"]) == (200, "available")
    assert complete(client, owner, started["file_id"]).json() == answer.json()
    url = client.get(f"{FILES}/download/{started['file_id']}", headers=owner.headers).json()["download_url"]
    with httpx.Client(trust_env=False) as s3:
        assert s3.get(url).content == body
    assert_quota_is_exact(services, [owner.id])


def test_upload_goes_on_after_missing_parts_are_named(client: httpx.Client, owner: Account) -> None:
    started = start(client, owner)
    send_parts(client, owner, started["file_id"], {2: b"12345"})

    assert_problem(complete(client, owner, started["file_id"]), 409, "parts_missing", missing_parts=[1], missing_count=1)

    send_parts(client, owner, started["file_id"], {1: bytes(PART_BYTES)})
    assert complete(client, owner, started["file_id"]).json()["status"] == "available"


def test_upload_that_the_store_has_lost_can_be_deleted(client: httpx.Client, services: Services, owner: Account) -> None:
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


def test_deleting_an_upload_under_way_deletes_its_parts(client: httpx.Client, services: Services, owner: Account) -> None:
    started = start(client, owner)
    send_parts(client, owner, started["file_id"], {2: b"12345"})
    signed = sign(client, owner, started["file_id"], {"number": 1}).json()["parts"][0]

    assert client.delete(f"{FILES}/{started['file_id']}", headers=owner.headers).status_code == 204

    assert send(signed, bytes(PART_BYTES)) == 404
    keys = {upload.key for upload in services.store.list_uploads(after_key="", limit=1000).uploads}
    assert f"uploads/{started['file_id']}" not in keys
    assert client.get("/api/v1/users/me/usage", headers=owner.headers).json()["bytes_used"] == 0


def test_part_url_admits_one_part_of_its_length(client: httpx.Client, owner: Account) -> None:
    started = start(client, owner)
    signed = sign(client, owner, started["file_id"], {"number": 2}).json()["parts"][0]

    assert send(signed, b"123456") == 403
    assert send(signed, b"1234") == 403
    assert send({**signed, "upload_url": signed["upload_url"].replace("partNumber=2", "partNumber=1")}, b"12345") == 403
    assert send(signed, b"12345") == 200


def test_parts_with_digests_need_them_and_others_take_none(client: httpx.Client, owner: Account) -> None:
    with_digests, without = (start(client, owner, has_part_digests=flag)["file_id"] for flag in (True, False))

    assert_problem(sign(client, owner, with_digests, {"number": 1}), 422, "part_digests_differ")
    assert_problem(sign(client, owner, without, {"number": 1, "sha256": "0" * 64}), 422, "part_digests_differ")


@pytest.mark.parametrize(
    ("wanted", "code"),
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
def test_senseless_parts_are_refused(client: httpx.Client, owner: Account, wanted: list[dict[str, Any]], code: str) -> None:
    assert_problem(sign(client, owner, start(client, owner)["file_id"], *wanted), 422, code)


def test_file_that_is_not_sent_in_parts_has_none(client: httpx.Client, owner: Account) -> None:
    single = start_upload(client, owner)["file_id"]

    assert_problem(sign(client, owner, single, {"number": 1}), 409, "not_in_parts", file_status="pending")
    assert_problem(client.get(f"{FILES}/{single}/parts", headers=owner.headers), 409, "not_in_parts")


def test_sizes_that_cannot_be(client: httpx.Client, owner: Account) -> None:
    declared = {"filename": "a", "content_type": "a/b"}

    assert_problem(client.post(f"{FILES}/multipart", json={**declared, "size_bytes": 0}, headers=owner.headers), 422)
    too_large = client.post(f"{FILES}/multipart", json={**declared, "size_bytes": MULTIPART_MAX_BYTES + 1}, headers=owner.headers)
    assert_problem(too_large, 413, "too_large", max_bytes=MULTIPART_MAX_BYTES)


def test_digest_of_the_whole_is_refused_because_nobody_could_check_it(client: httpx.Client, owner: Account) -> None:
    declared = {"filename": "a", "content_type": "a/b", "size_bytes": 5, "sha256": "0" * 64}

    assert_problem(client.post(f"{FILES}/multipart", json=declared, headers=owner.headers), 422, "malformed_request")


def test_strangers_neither_see_nor_sign_parts(client: httpx.Client, owner: Account, stranger: Account) -> None:
    file_id = start(client, owner, is_public=True)["file_id"]

    assert_problem(sign(client, stranger, file_id, {"number": 1}), 403, "file_forbidden")
    assert_problem(client.get(f"{FILES}/{file_id}/parts", headers=stranger.headers), 403, "file_forbidden")
    assert_unauthenticated(client.get(f"{FILES}/{file_id}/parts"))
    assert_unauthenticated(client.post(f"{FILES}/{file_id}/parts", json={"parts": [{"number": 1}]}))


def test_completion_takes_a_checksum_and_refuses_nonsense(client: httpx.Client, owner: Account) -> None:
    file_id = start(client, owner)["file_id"]

    assert_problem(complete(client, owner, file_id, {"crc64nvme": "x"}), 422, "malformed_request")
    assert_problem(complete(client, owner, file_id, {"etag": "x"}), 422, "malformed_request")
    assert_problem(complete(client, owner, file_id, {"crc64nvme": "AAAAAAAAAAA="}), 409, "parts_missing")


def test_bytes_that_contradict_their_type_are_recorded_and_served_as_bytes(client: httpx.Client, owner: Account) -> None:
    started = start(client, owner, size_bytes=200, content_type="image/png")
    send_parts(client, owner, started["file_id"], {1: b"<!DOCTYPE html><html><script>alert(1)</script>".ljust(200)})

    file = complete(client, owner, started["file_id"]).json()
    download = client.get(f"{FILES}/download/{started['file_id']}", headers=owner.headers).json()

    assert (file["status"], file["content_type"], file["detected_content_type"]) == (FileStatus.AVAILABLE, "image/png", "text/html")
    assert download["content_type"] == "application/octet-stream"
    with httpx.Client(trust_env=False) as s3:
        assert s3.get(download["download_url"]).headers["content-type"] == "application/octet-stream"
