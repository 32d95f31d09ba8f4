"""Many uploads started by one request: quota, idempotency keys, errors of single files."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import time_machine
from sqlalchemy import func, select

from lambda_app.core import clock
from lambda_app.core.settings import Settings
from lambda_app.db.engine import create_database_engine
from lambda_app.db.session import create_session_factory
from lambda_app.factory import Services
from lambda_app.models import AuditEvent, File, IdempotencyKey, User
from lambda_app.schemas.files.files import FileCreate
from lambda_app.services.files.idempotency import KeyedRequest
from lambda_app.services.files.upload_batches import StartedBatchUpload
from tests.support.accounts import Account, put_object, sha256_hex, sign_in
from tests.support.problems import assert_problem
from tests.support.quota_assertions import assert_quota_is_exact

FILES = "/api/v1/files"
TOO_LARGE = 5 * 1024**3 + 1


def declared(size: int = 5, **fields: Any) -> dict[str, Any]:
    return {"filename": "note.txt", "content_type": "text/plain", "size_bytes": size, **fields}


def start(client: httpx.Client, account: Account, *files: dict[str, Any], key: str | None = None, **fields: Any) -> httpx.Response:
    headers = account.headers if key is None else {**account.headers, "Idempotency-Key": key}
    return client.post(f"{FILES}/uploads", json={"files": files, **fields}, headers=headers)


def results_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    assert all((result["upload"] is None) != (result["error"] is None) for result in results)
    return results


def codes_of(response: httpx.Response) -> list[str | None]:
    return [None if result["error"] is None else result["error"]["code"] for result in results_of(response)]


def ids_of(response: httpx.Response) -> list[str | None]:
    return [None if result["upload"] is None else result["upload"]["file_id"] for result in results_of(response)]


def files_of(services: Services, account: Account) -> list[File]:
    with services.unit_of_work() as session:
        return session.query(File).filter(File.owner_id == account.id).all()


def limit(client: httpx.Client, admin: Account, account: Account, **quota: int) -> None:
    assert client.put(f"/api/v1/users/{account.id}", json=quota, headers=admin.headers).status_code == 200


def test_started_uploads_store_their_bytes_and_become_available(client: httpx.Client, services: Services, owner: Account) -> None:
    bodies = [b"", b"hello", "grüße 🎉".encode()]
    names = ["empty", 'quote".txt', "grüße 🎉.txt"]
    files = [declared(len(body), filename=name, sha256=sha256_hex(body)) for name, body in zip(names, bodies, strict=True)]

    response = start(client, owner, *files)

    assert response.headers["Cache-Control"] == "no-store"
    for result, body, name in zip(results_of(response), bodies, names, strict=True):
        upload = result["upload"]
        assert put_object(upload, body).status_code == 200
        file = client.post(f"{FILES}/{upload['file_id']}/complete", headers=owner.headers).json()
        assert (file["status"], file["filename"], file["size_bytes"]) == ("available", name, len(body))
    assert_quota_is_exact(services, [owner.id])


def test_batch_stores_the_same_rows_as_single_starts(client: httpx.Client, services: Services, owner: Account) -> None:
    bodies = [declared(), declared(0, content_type="", description="two\nlines"), declared(7, sha256="AB" * 32, filename="x" * 255)]
    with time_machine.travel(clock.now(), tick=False):
        for body in bodies:
            assert client.post(f"{FILES}/upload", json=body, headers=owner.headers).status_code == 201
        results_of(start(client, owner, *bodies))

    rows = sorted(
        tuple(getattr(file, name) for name in File.__table__.columns.keys() if name not in ("id", "s3_key"))  # noqa: SIM118  # columns are no dict
        for file in files_of(services, owner)
    )

    assert len(rows) == 6
    assert rows[::2] == rows[1::2]
    assert all(file.s3_key == f"uploads/{file.id}" for file in files_of(services, owner))


def test_hundred_uploads_are_started_and_one_more_is_refused(client: httpx.Client, services: Services, owner: Account) -> None:
    assert len(set(ids_of(start(client, owner, *[declared()] * 100)))) == 100

    assert_problem(start(client, owner, *[declared()] * 101), 422, "malformed_request")
    assert_problem(start(client, owner), 422, "malformed_request")
    assert len(files_of(services, owner)) == 100
    assert_quota_is_exact(services, [owner.id])


def test_files_that_fit_are_started_and_the_others_exceed_the_quota(
    client: httpx.Client, services: Services, owner: Account, admin: Account
) -> None:
    limit(client, admin, owner, quota_bytes=10)

    response = start(client, owner, declared(6), declared(5), declared(4), declared(0), declared(1))

    assert codes_of(response) == [None, "quota_exceeded", None, None, "quota_exceeded"]
    error = results_of(response)[1]["error"]
    single = client.post(f"{FILES}/upload", json=declared(5), headers=owner.headers).json()
    left = {name: single[name] for name in ("bytes_left", "files_left")}
    assert error == {"status": 413, "code": single["code"], "detail": single["detail"], "extra": left}
    assert left["bytes_left"] == 0
    assert sum(file.size_bytes for file in files_of(services, owner)) == 10
    assert_quota_is_exact(services, [owner.id])


def test_number_of_files_is_limited_too(client: httpx.Client, services: Services, owner: Account, admin: Account) -> None:
    limit(client, admin, owner, quota_files=2)

    assert codes_of(start(client, owner, *[declared(0)] * 4)) == [None, None, "quota_exceeded", "quota_exceeded"]
    assert codes_of(start(client, owner, declared(0))) == ["quota_exceeded"]
    assert_quota_is_exact(services, [owner.id])


def test_quota_below_what_is_stored_refuses_all_files(client: httpx.Client, owner: Account, admin: Account) -> None:
    start(client, owner, declared(9))
    limit(client, admin, owner, quota_bytes=1, quota_files=1)

    response = start(client, owner, declared(0), declared(1))

    assert codes_of(response) == ["quota_exceeded", "quota_exceeded"]
    assert results_of(response)[0]["error"]["extra"] == {"bytes_left": 0, "files_left": 0}


def test_all_or_nothing_starts_nothing_if_one_file_does_not_fit(
    client: httpx.Client, services: Services, owner: Account, admin: Account
) -> None:
    limit(client, admin, owner, quota_bytes=10)

    response = start(client, owner, declared(6), declared(5), all_or_nothing=True)

    assert_problem(response, 413, "quota_exceeded", bytes_left=10)
    assert files_of(services, owner) == []
    assert_quota_is_exact(services, [owner.id])
    assert codes_of(start(client, owner, declared(5), declared(5), all_or_nothing=True)) == [None, None]


def test_too_large_file_has_the_error_of_a_single_start(client: httpx.Client, services: Services, owner: Account) -> None:
    single = client.post(f"{FILES}/upload", json=declared(TOO_LARGE), headers=owner.headers).json()

    results = results_of(start(client, owner, declared(TOO_LARGE), declared()))

    error = results[0]["error"]
    assert (error["status"], error["code"], error["detail"]) == (413, "single_upload_too_large", single["detail"])
    assert error["extra"] == {"max_bytes": TOO_LARGE - 1}
    assert results[1]["error"] is None
    assert_problem(start(client, owner, declared(), declared(TOO_LARGE), all_or_nothing=True), 413, "single_upload_too_large")
    assert len(files_of(services, owner)) == 1


@pytest.mark.parametrize(
    "fields", [{"size_bytes": -1}, {"filename": ""}, {"filename": "a\u0000"}, {"sha256": "x"}, {"owner_id": str(UUID(int=1))}]
)
def test_malformed_file_refuses_the_whole_request(client: httpx.Client, services: Services, owner: Account, fields: dict[str, Any]) -> None:
    assert_problem(start(client, owner, declared(), declared() | fields), 422, "malformed_request")

    assert files_of(services, owner) == []


def test_used_deletion_allowance_refuses_the_whole_request(client: httpx.Client, services: Services, owner: Account) -> None:
    with services.unit_of_work() as session:
        session.query(User).filter(User.id == owner.id).update({"deleted_bytes": 2**60, "deleted_bytes_at": clock.now()})

    response = start(client, owner, declared(0))

    assert_problem(response, 429, "deletion_allowance_used")
    assert int(response.headers["Retry-After"]) > 0
    assert files_of(services, owner) == []


def test_room_of_ended_upload_urls_is_used(client: httpx.Client, services: Services, owner: Account, admin: Account) -> None:
    limit(client, admin, owner, quota_bytes=10)
    (file_id,) = ids_of(start(client, owner, declared(8)))
    assert client.delete(f"{FILES}/{file_id}", headers=owner.headers).status_code == 204
    assert codes_of(start(client, owner, declared(2), declared(5))) == [None, "quota_exceeded"]

    with time_machine.travel(clock.now() + timedelta(hours=1)):
        owner = replace(owner, token=sign_in(client, email=owner.email, password=owner.password))
        response = start(client, owner, declared(8), declared(1))

    assert codes_of(response) == [None, "quota_exceeded"]
    assert_quota_is_exact(services, [owner.id])


def test_public_files_are_audited(client: httpx.Client, services: Services, owner: Account) -> None:
    ids = ids_of(start(client, owner, declared(is_public=True), declared(), declared(is_public=True)))

    with services.unit_of_work() as session:
        subjects = session.scalars(
            select(AuditEvent.subject).where(AuditEvent.actor_id == owner.id, AuditEvent.action == "file.visibility_changed")
        )
        assert set(subjects) == {f"file:{ids[0]}", f"file:{ids[2]}"}


def test_api_key_without_the_scope_shares_starts_only_private_files(
    client: httpx.Client, owner: Account, make_key: Callable[..., Account]
) -> None:
    uploader = make_key(owner, "files:write")

    results = results_of(start(client, uploader, declared(is_public=True), declared()))

    assert (results[0]["error"]["status"], results[0]["error"]["code"]) == (403, "insufficient_scope")
    assert results[1]["error"] is None
    assert_problem(start(client, uploader, declared(is_public=True), all_or_nothing=True), 403, "insufficient_scope")
    assert codes_of(start(client, make_key(owner, "files:write", "shares"), declared(is_public=True))) == [None]


def test_repeated_request_returns_the_same_files_with_new_urls(
    client: httpx.Client, services: Services, owner: Account, admin: Account
) -> None:
    limit(client, admin, owner, quota_bytes=10)
    files = (declared(6), declared(7), declared(4))
    first = start(client, owner, *files, key="k")
    with time_machine.travel(clock.now() + timedelta(seconds=5)):
        second = start(client, owner, *files, key="k")

    assert codes_of(first) == codes_of(second) == [None, "quota_exceeded", None]
    assert ids_of(first) == ids_of(second)
    assert results_of(second)[0]["upload"]["expires_at"] > results_of(first)[0]["upload"]["expires_at"]
    assert len(files_of(services, owner)) == 2
    assert_quota_is_exact(services, [owner.id])


def test_repeated_request_extends_the_uploads_to_the_new_urls(client: httpx.Client, services: Services, owner: Account) -> None:
    start(client, owner, declared(), key="k")
    before = files_of(services, owner)[0].upload_expires_at

    with time_machine.travel(clock.now() + timedelta(minutes=9)):
        start(client, owner, declared(), key="k")

    assert files_of(services, owner)[0].upload_expires_at >= before + timedelta(minutes=8)


def test_refused_file_of_a_repeated_request_stays_refused(client: httpx.Client, services: Services, owner: Account, admin: Account) -> None:
    limit(client, admin, owner, quota_bytes=5)
    assert codes_of(start(client, owner, declared(5), declared(6), key="k")) == [None, "quota_exceeded"]
    limit(client, admin, owner, quota_bytes=100)

    assert codes_of(start(client, owner, declared(5), declared(6), key="k")) == [None, "quota_exceeded"]
    assert len(files_of(services, owner)) == 1


def test_request_of_which_all_files_were_refused_leaves_its_key_free(client: httpx.Client, owner: Account, admin: Account) -> None:
    limit(client, admin, owner, quota_bytes=1)
    assert codes_of(start(client, owner, declared(5), key="k")) == ["quota_exceeded"]
    assert_problem(start(client, owner, declared(6), key="k", all_or_nothing=True), 413, "quota_exceeded")
    limit(client, admin, owner, quota_bytes=100)

    assert codes_of(start(client, owner, declared(7), key="k")) == [None]


def test_deleted_file_of_a_repeated_request_is_gone(client: httpx.Client, with_trash: httpx.Client, owner: Account) -> None:
    first = start(client, owner, declared(), declared(), declared(), key="k")
    kept, removed, trashed = results_of(first)
    put_object(trashed["upload"], b"hello")
    client.post(f"{FILES}/{trashed['upload']['file_id']}/complete", headers=owner.headers)
    for result in (removed, trashed):
        assert with_trash.delete(f"{FILES}/{result['upload']['file_id']}", headers=owner.headers).status_code == 204

    second = start(client, owner, declared(), declared(), declared(), key="k")

    assert codes_of(second) == [None, "idempotent_file_gone", "idempotent_file_gone"]
    assert ids_of(second)[0] == kept["upload"]["file_id"]


def test_key_with_another_body_is_refused(client: httpx.Client, services: Services, owner: Account, admin: Account) -> None:
    start(client, owner, declared(), key="k")

    assert_problem(start(client, owner, declared(), declared(), key="k"), 422, "idempotency_key_reused")
    limit(client, admin, owner, quota_bytes=5)
    assert_problem(start(client, owner, declared(), declared(), key="k"), 422, "idempotency_key_reused")
    assert len(files_of(services, owner)) == 1


def test_key_is_scoped_to_user_and_route(client: httpx.Client, owner: Account, stranger: Account) -> None:
    key = str(uuid4())
    single = client.post(f"{FILES}/upload", json=declared(), headers={**owner.headers, "Idempotency-Key": key}).json()["file_id"]

    ids = [*ids_of(start(client, owner, declared(), key=key)), *ids_of(start(client, stranger, declared(), key=key))]

    assert len({single, *ids}) == 3


def test_key_expires_after_a_day(client: httpx.Client, services: Services, owner: Account, admin: Account) -> None:
    first = ids_of(start(client, owner, declared(), key="k"))
    with services.unit_of_work() as session:
        expired_at = clock.now() - timedelta(hours=24, seconds=1)
        session.query(IdempotencyKey).filter(IdempotencyKey.user_id == owner.id).update({"created_at": expired_at})

    assert ids_of(start(client, owner, declared(6), key="k")) != first
    with services.unit_of_work() as session:
        session.query(IdempotencyKey).filter(IdempotencyKey.user_id == owner.id).update({"created_at": expired_at})
    limit(client, admin, owner, quota_bytes=1)
    assert codes_of(start(client, owner, declared(7), key="k")) == ["quota_exceeded"]


def test_repeated_request_with_a_full_quota_returns_the_same_files(client: httpx.Client, owner: Account, admin: Account) -> None:
    limit(client, admin, owner, quota_bytes=10)

    responses = [start(client, owner, declared(5), declared(5), key="k", all_or_nothing=True) for _ in range(2)]

    assert ids_of(responses[0]) == ids_of(responses[1])


@pytest.fixture
def concurrent(settings: Settings, services: Services) -> Any:
    engine = create_database_engine(settings.model_copy(update={"database_pool_size": 8, "database_timeout_seconds": 30.0}))
    yield replace(services, engine=engine, session_factory=create_session_factory(engine))
    engine.dispose()


def test_concurrent_requests_with_one_key_start_their_files_once(concurrent: Services, owner: Account) -> None:
    files = [FileCreate.model_validate(declared())] * 3
    keyed = KeyedRequest.of(user_id=owner.id, route="POST /files/uploads", key="k", body="{}")

    def start_once(_: int) -> tuple[Any, ...]:
        with concurrent.unit_of_work() as session:
            user = session.get_one(User, owner.id)
            started = concurrent.upload_batches(session).start_uploads(user, files, keyed=keyed)
            return tuple(result.file_id for result in started if isinstance(result, StartedBatchUpload))

    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(start_once, range(24)))

    assert len(ids) == 1
    assert {file.id for file in files_of(concurrent, owner)} == set(*ids)
    assert_quota_is_exact(concurrent, [owner.id])


def test_concurrent_batches_and_single_starts_never_exceed_the_quota(
    client: httpx.Client, concurrent: Services, owner: Account, admin: Account
) -> None:
    limit(client, admin, owner, quota_bytes=100)
    sizes = [7, 13, 1, 29]

    def start_some(number: int) -> None:
        with concurrent.unit_of_work() as session:
            user = session.get_one(User, owner.id)
            if number % 3:
                files = [FileCreate.model_validate(declared(size)) for size in sizes]
                concurrent.upload_batches(session).start_uploads(user, files, all_or_nothing=number % 3 == 1)
            else:
                concurrent.uploads(session).start_upload(user, FileCreate.model_validate(declared(11)))

    with ThreadPoolExecutor(8) as threads:
        errors = [future.exception() for future in [threads.submit(start_some, number) for number in range(24)]]

    assert {getattr(error, "code", error) for error in errors} == {None, "quota_exceeded"}
    assert_quota_is_exact(concurrent, [owner.id])
    with concurrent.unit_of_work() as session:
        stored = session.execute(select(func.sum(File.size_bytes)).where(File.owner_id == owner.id)).scalar_one()
    assert 100 - min(sizes) < stored <= 100
