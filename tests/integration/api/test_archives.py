"""Archives over HTTP: creating, polling, downloading, and refusals."""

import io
import zipfile
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from lambda_app.factory import Services
from lambda_app.handlers.archive import build_archives
from lambda_app.schemas.archives import ARCHIVE_MAX_FILES
from lambda_app.storage.keys import archive_key, archive_request_key
from tests.support.accounts import Account, make_file
from tests.support.archives_api import run_worker
from tests.support.loopback import loopback_client
from tests.support.problems import assert_problem
from tests.support.s3_events import batch, s3_message

ARCHIVES = "/api/v1/archives"
HOSTILE = (
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\Windows\\win.ini",
    "..",
    "...",
    "con.txt",
    "a\u202etxt.exe",
    "stream.txt:evil",
    'what?*<>|".txt',
    "naïve.txt",
    "nai\u0308ve.txt",
    "NAÏVE.TXT",
    "日本語 🗂.txt",
    "a" * 255,
    "ü" * 250 + ".txt",
    ".hidden",
    "trailing. . .",
    "a (2).txt",
    "a.txt",
    "A.txt",
)


def create_archive(client: httpx.Client, account: Account, *files: dict[str, Any], **fields: Any) -> httpx.Response:
    return client.post(ARCHIVES, json={"file_ids": [file["id"] for file in files], **fields}, headers=account.headers)


def get_archive(client: httpx.Client, account: Account, archive: dict[str, Any]) -> dict[str, Any]:
    response = client.get(f"{ARCHIVES}/{archive['id']}", headers=account.headers)
    assert response.status_code == 200, response.text
    state: dict[str, Any] = response.json()
    return state


def download(state: dict[str, Any]) -> httpx.Response:
    with loopback_client() as s3:
        return s3.get(state["download_url"])


def test_zip_is_requested_built_and_downloaded(client: httpx.Client, services: Services, owner: Account) -> None:
    files = [make_file(client, owner, f"body {number}".encode(), filename="same.txt") for number in range(3)]

    created = create_archive(client, owner, *files, filename="photos")
    before = get_archive(client, owner, created.json())
    queue_marker = services.store.head(archive_request_key(created.json()["id"]))
    result = run_worker(services, created.json())
    after = get_archive(client, owner, created.json())
    fetched = download(after)

    assert created.status_code == 202
    assert created.headers["location"] == f"{ARCHIVES}/{created.json()['id']}"
    assert created.json() == {
        "id": created.json()["id"],
        "filename": "photos.zip",
        "status": "queued",
        "file_count": 3,
        "size_bytes": len(fetched.content),
        "done_bytes": 0,
        "error_code": None,
        "created_at": created.json()["created_at"],
        "expires_at": None,
    }
    assert (before["status"], before["download_url"], before["done_bytes"]) == ("queued", None, 0)
    assert queue_marker is not None
    assert result == {"batchItemFailures": []}
    assert (after["status"], after["done_bytes"]) == ("ready", after["size_bytes"])
    assert after["expires_at"] > after["created_at"]
    assert fetched.headers["content-disposition"].startswith('attachment; filename="photos.zip"')
    assert fetched.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(fetched.content)) as unzipped:
        assert unzipped.testzip() is None
        assert {entry.filename: unzipped.read(entry) for entry in unzipped.infolist()} == {
            "same.txt": b"body 0",
            "same (2).txt": b"body 1",
            "same (3).txt": b"body 2",
        }
    assert services.store.head(archive_request_key(created.json()["id"])) is None


def test_hostile_names_unpack_into_one_directory(client: httpx.Client, services: Services, owner: Account) -> None:
    files = [make_file(client, owner, str(number).encode(), filename=name) for number, name in enumerate(HOSTILE)]
    archive = create_archive(client, owner, *files).json()
    run_worker(services, archive)

    with zipfile.ZipFile(io.BytesIO(download(get_archive(client, owner, archive)).content)) as unzipped:
        names = unzipped.namelist()
        assert [unzipped.read(name) for name in names] == [str(number).encode() for number in range(len(HOSTILE))]

    assert len({name.casefold() for name in names}) == len(HOSTILE)
    for name in names:
        assert not set(name) & set('/\\:<>|?*"\u202e')
        assert 0 < len(name.encode()) <= 255
        assert name.strip(".")
        assert name.isprintable()
    assert "日本語 🗂.txt" in names
    assert "_con.txt" in names


def test_archive_takes_public_files_and_refuses_private_files_of_others(
    client: httpx.Client, services: Services, owner: Account, stranger: Account, admin: Account
) -> None:
    own, private, public = make_file(client, owner), make_file(client, stranger), make_file(client, stranger, is_public=True)

    refused = create_archive(client, owner, own, private, {"id": str(uuid4())})
    with_public_file = create_archive(client, owner, own, public)
    by_superuser = create_archive(client, admin, own, private)

    assert_problem(refused, 404, "files_not_found")
    assert refused.json()["missing_count"] == 2
    assert refused.json()["file_ids"][0] == private["id"]
    assert (with_public_file.status_code, by_superuser.status_code) == (202, 202)
    for archive, account in ((with_public_file.json(), owner), (by_superuser.json(), admin)):
        run_worker(services, archive)
        assert get_archive(client, account, archive)["status"] == "ready"


def test_refusal_names_files_that_are_not_available(client: httpx.Client, owner: Account) -> None:
    ready, pending = make_file(client, owner), make_file(client, owner, status="pending")

    response = create_archive(client, owner, ready, pending)

    assert_problem(response, 409, "files_not_available")
    assert response.json()["file_ids"] == [pending["id"]]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"file_ids": []},
        {"file_ids": ["x"]},
        {"file_ids": [str(uuid4())] * 2},
        {"file_ids": [str(uuid4()) for _ in range(ARCHIVE_MAX_FILES + 1)]},
        {"file_ids": [str(uuid4())], "filename": "a\u0000b"},
        {"file_ids": [str(uuid4())], "filename": ""},
        {"file_ids": [str(uuid4())], "else": 1},
        {"file_ids": None},
    ],
    ids=range(9),
)
def test_malformed_request_returns_422(client: httpx.Client, owner: Account, body: dict[str, Any]) -> None:
    assert_problem(client.post(ARCHIVES, json=body, headers=owner.headers), 422, "malformed_request")


def test_maximum_number_of_files_fits_into_a_request(client: httpx.Client, owner: Account) -> None:
    response = client.post(ARCHIVES, json={"file_ids": [str(uuid4()) for _ in range(ARCHIVE_MAX_FILES)]}, headers=owner.headers)

    assert_problem(response, 404, "files_not_found")
    assert len(response.json()["file_ids"]) == 100


def test_files_larger_than_an_archive_return_413(client: httpx.Client, services: Services, owner: Account) -> None:
    file = make_file(client, owner)
    with services.unit_of_work() as session:
        session.execute(text("UPDATE file SET size_bytes = :size WHERE id = :id"), {"size": 100 * 1024**3, "id": file["id"]})

    response = create_archive(client, owner, file)

    assert_problem(response, 413, "archive_too_large")
    assert response.json()["max_bytes"] == 100 * 1024**3


def test_sixth_unfinished_archive_returns_429(client: httpx.Client, services: Services, owner: Account) -> None:
    files = [make_file(client, owner) for _ in range(6)]
    archives = [create_archive(client, owner, file) for file in files]

    assert [response.status_code for response in archives] == [202] * 5 + [429]
    assert_problem(archives[5], 429, "too_many_archives")
    assert int(archives[5].headers["retry-after"]) > 0
    assert create_archive(client, owner, files[0]).json()["id"] == archives[0].json()["id"]
    assert client.delete(f"{ARCHIVES}/{archives[0].json()['id']}", headers=owner.headers).status_code == 204
    assert create_archive(client, owner, files[5]).status_code == 202


def test_archive_is_visible_only_to_the_user_who_requested_it(
    client: httpx.Client, services: Services, owner: Account, stranger: Account, admin: Account
) -> None:
    archive = create_archive(client, owner, make_file(client, owner, is_public=True)).json()

    for account in (stranger, admin):
        for method in ("GET", "DELETE"):
            assert_problem(client.request(method, f"{ARCHIVES}/{archive['id']}", headers=account.headers), 404, "archive_not_found")
        assert archive["id"] not in [row["id"] for row in client.get(ARCHIVES, headers=account.headers).json()]
    assert get_archive(client, owner, archive)["status"] == "queued"


def test_deleting_an_archive_deletes_its_object(client: httpx.Client, services: Services, owner: Account) -> None:
    archive = create_archive(client, owner, make_file(client, owner)).json()
    run_worker(services, archive)
    url = get_archive(client, owner, archive)

    deleted = client.delete(f"{ARCHIVES}/{archive['id']}", headers=owner.headers)

    assert deleted.status_code == 204
    assert download(url).status_code == 404
    assert services.store.head(archive_key(archive["id"])) is None
    assert_problem(client.delete(f"{ARCHIVES}/{archive['id']}", headers=owner.headers), 404, "archive_not_found")


def test_archive_fails_when_a_file_in_it_stops_being_public(
    client: httpx.Client, services: Services, owner: Account, stranger: Account
) -> None:
    file = make_file(client, owner, is_public=True)
    archive = create_archive(client, stranger, file).json()
    run_worker(services, archive)
    assert get_archive(client, stranger, archive)["download_url"]

    client.put(f"/api/v1/files/{file['id']}", json={"is_public": False}, headers=owner.headers)
    state = get_archive(client, stranger, archive)

    assert (state["status"], state["error_code"], state["download_url"]) == ("failed", "files_changed", None)


def test_archives_are_listed_in_pages(client: httpx.Client, make_user: Callable[..., Account]) -> None:
    account = make_user()
    archive_ids = [create_archive(client, account, make_file(client, account)).json()["id"] for _ in range(3)]

    first = client.get(ARCHIVES, params={"limit": 2}, headers=account.headers)
    second = client.get(ARCHIVES, params={"limit": 2, "cursor": first.headers["x-next-cursor"]}, headers=account.headers)

    assert [row["id"] for row in first.json() + second.json()] == archive_ids[::-1]
    assert "x-next-cursor" not in second.headers
    assert_problem(client.get(ARCHIVES, params={"cursor": "x"}, headers=account.headers), 422, "bad_cursor")
    by_name = client.get("/api/v1/files", params={"sort": "name", "limit": 1}, headers=account.headers).headers["x-next-cursor"]
    assert_problem(client.get(ARCHIVES, params={"cursor": by_name}, headers=account.headers), 422, "bad_cursor")


def test_archives_do_not_count_against_the_quota(client: httpx.Client, services: Services, owner: Account) -> None:
    file = make_file(client, owner)
    before = client.get("/api/v1/users/me/usage", headers=owner.headers).json()

    run_worker(services, create_archive(client, owner, file).json())

    assert client.get("/api/v1/users/me/usage", headers=owner.headers).json() == before


def test_archive_is_refused_at_a_quota_of_zero(
    client: httpx.Client, owner: Account, admin: Account, make_user: Callable[..., Account]
) -> None:
    """Archives are stored at the operator's expense, and a user without storage could have public files of others zipped."""
    file = make_file(client, owner, is_public=True)
    stranger = make_user()
    client.put(f"/api/v1/users/{stranger.id}", json={"quota_bytes": 0}, headers=admin.headers)

    refused = create_archive(client, stranger, file)

    assert_problem(refused, 413, "quota_exceeded", bytes_left=0)
    assert client.get(ARCHIVES, headers=stranger.headers).json() == []


def test_worker_accepts_late_repeated_and_unknown_messages(client: httpx.Client, services: Services, owner: Account) -> None:
    archive = create_archive(client, owner, make_file(client, owner)).json()
    bucket = services.settings.s3_bucket_name
    keys = (archive_request_key(archive["id"]), archive_request_key(archive["id"]), archive_request_key(uuid4()), "archive-requests/x")
    bodies = [s3_message(key, bucket=bucket) for key in keys]

    result = build_archives(services, batch(*bodies, s3_message(keys[0], bucket="another"), "no json"), budget=lambda: 60.0)

    assert result == {"batchItemFailures": [{"itemIdentifier": "message-5"}]}
    assert get_archive(client, owner, archive)["status"] == "ready"
