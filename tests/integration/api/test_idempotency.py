"""Idempotency keys: requests that are repeated sequentially, concurrently, and after a crash."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import time_machine

from lambda_app.core import clock
from lambda_app.core.settings import Settings
from lambda_app.db.engine import create_database_engine
from lambda_app.db.session import create_session_factory
from lambda_app.factory import Services
from lambda_app.models import File, IdempotencyKey, User
from lambda_app.schemas.files.files import FileCreate
from lambda_app.services.files.idempotency import KeyedRequest, RequestInProgressError
from tests.support.accounts import Account, put_object
from tests.support.problems import assert_problem
from tests.support.quota_assertions import assert_quota_is_exact

FILES = "/api/v1/files"
BODY = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": 5}


def start(client: httpx.Client, account: Account, key: str = "k-1", path: str = "upload", **fields: Any) -> httpx.Response:
    return client.post(f"{FILES}/{path}", json={**BODY, **fields}, headers={**account.headers, "Idempotency-Key": key})


def files_of(services: Services, account: Account) -> list[File]:
    with services.unit_of_work() as session:
        return session.query(File).filter(File.owner_id == account.id).all()


def test_repeated_start_returns_the_same_file_with_a_new_url(client: httpx.Client, services: Services, owner: Account) -> None:
    first = start(client, owner)
    with time_machine.travel(clock.now() + timedelta(seconds=5)):
        second = start(client, owner)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["file_id"] == second.json()["file_id"]
    assert second.json()["expires_at"] > first.json()["expires_at"]
    assert len(files_of(services, owner)) == 1
    assert_quota_is_exact(services, [owner.id])
    assert put_object(second.json(), b"hello").status_code == 200
    completed = client.post(f"{FILES}/{first.json()['file_id']}/complete", headers=owner.headers)
    assert completed.json()["status"] == "available"
    assert start(client, owner).json()["file_id"] == first.json()["file_id"]


def test_repeated_start_extends_the_upload_to_the_new_url(client: httpx.Client, services: Services, owner: Account) -> None:
    start(client, owner)
    before = files_of(services, owner)[0].upload_expires_at

    with time_machine.travel(clock.now() + timedelta(minutes=9)):
        start(client, owner)

    assert files_of(services, owner)[0].upload_expires_at >= before + timedelta(minutes=8)


def test_repeated_multipart_start_returns_the_same_file(client: httpx.Client, services: Services, owner: Account) -> None:
    responses = [start(client, owner, path="multipart") for _ in range(2)]

    assert responses[0].json() == responses[1].json()
    assert len(files_of(services, owner)) == 1


def test_key_with_another_body_is_refused(client: httpx.Client, owner: Account) -> None:
    start(client, owner)

    assert_problem(start(client, owner, filename="b.txt"), 422, "idempotency_key_reused")


def test_key_is_scoped_to_user_and_route(client: httpx.Client, owner: Account, make_user: Callable[..., Account]) -> None:
    other_user = make_user()

    def start_all() -> list[str]:
        responses = [
            start(client, owner),
            start(client, other_user),
            start(client, owner, path="multipart"),
            start(client, owner, key="k-2"),
        ]
        return [response.json()["file_id"] for response in responses]

    ids = start_all()

    assert len(set(ids)) == 4
    assert start_all() == ids


def test_key_expires_after_a_day(client: httpx.Client, services: Services, owner: Account) -> None:
    first = start(client, owner).json()["file_id"]
    with services.unit_of_work() as session:
        expired_at = clock.now() - timedelta(hours=24, seconds=1)
        session.query(IdempotencyKey).filter(IdempotencyKey.user_id == owner.id).update({"created_at": expired_at})

    assert start(client, owner, filename="another.txt").json()["file_id"] != first


def test_refused_request_releases_its_key(client: httpx.Client, owner: Account, admin: Account) -> None:
    client.put(f"/api/v1/users/{owner.id}", json={"quota_bytes": 1}, headers=admin.headers)
    assert_problem(start(client, owner), 413, "quota_exceeded")
    client.put(f"/api/v1/users/{owner.id}", json={"quota_bytes": 100}, headers=admin.headers)

    assert start(client, owner).status_code == 201


@pytest.mark.parametrize("path", ["upload", "multipart"])
def test_repeated_start_reserves_no_further_quota(client: httpx.Client, owner: Account, admin: Account, path: str) -> None:
    client.put(f"/api/v1/users/{owner.id}", json={"quota_bytes": 5}, headers=admin.headers)

    responses = [start(client, owner, path=path) for _ in range(2)]

    assert [response.status_code for response in responses] == [201, 201]
    assert responses[0].json()["file_id"] == responses[1].json()["file_id"]


def test_key_of_a_deleted_file_returns_410(client: httpx.Client, owner: Account) -> None:
    file_id = start(client, owner).json()["file_id"]
    client.delete(f"{FILES}/{file_id}", headers=owner.headers)

    assert_problem(start(client, owner), 410, "idempotent_file_gone")


def test_request_in_progress_returns_409_until_its_lock_expires(client: httpx.Client, services: Services, owner: Account) -> None:
    declared = FileCreate.model_validate(BODY)
    keyed = KeyedRequest.of(user_id=owner.id, route="POST /files/upload", key="k-1", body=declared.model_dump_json())
    with services.unit_of_work() as session:
        # The state after a process crashed between claiming the key and creating the file.
        assert services.uploads(session)._idempotency.claim(keyed, UUID(int=1)) is None

    assert_problem(start(client, owner), 409, "idempotency_key_in_flight", headers={"retry-after": "1"})
    assert_problem(start(client, owner, filename="b"), 422, "idempotency_key_reused")
    with services.unit_of_work() as session:
        session.query(IdempotencyKey).filter(IdempotencyKey.user_id == owner.id).update({"locked_until": clock.now()})
    assert start(client, owner).status_code == 201
    assert len(files_of(services, owner)) == 1


def test_request_that_lost_its_key_creates_nothing(settings: Settings, services: Services, owner: Account) -> None:
    other_services = Services.build(settings)
    declared = FileCreate.model_validate(BODY)
    keyed = KeyedRequest.of(user_id=owner.id, route="POST /files/upload", key="k-1", body=declared.model_dump_json())
    with services.unit_of_work() as session:
        uploads = services.uploads(session)
        user = session.get_one(User, owner.id)
        sign = uploads._store.presign_upload

        def sign_late(**parameters: Any) -> Any:
            with other_services.unit_of_work() as other:
                other.query(IdempotencyKey).filter(IdempotencyKey.user_id == owner.id).update({"resource_id": UUID(int=2)})
            return sign(**parameters)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(uploads._store, "presign_upload", sign_late)
            with pytest.raises(RequestInProgressError):
                uploads.start_upload(user, declared, keyed=keyed)
    other_services.engine.dispose()

    assert files_of(services, owner) == []
    assert_quota_is_exact(services, [owner.id])


def test_concurrent_requests_with_one_key_create_one_file(settings: Settings, services: Services, owner: Account) -> None:
    engine = create_database_engine(settings.model_copy(update={"database_pool_size": 20, "database_timeout_seconds": 30.0}))
    concurrent_services = replace(services, engine=engine, session_factory=create_session_factory(engine))
    declared = FileCreate.model_validate(BODY)
    keyed = KeyedRequest.of(user_id=owner.id, route="POST /files/upload", key="k", body=declared.model_dump_json())
    with concurrent_services.unit_of_work() as session:
        user = session.get_one(User, owner.id)

    def start_once(_: int) -> UUID | None:
        try:
            with concurrent_services.unit_of_work() as session:
                return concurrent_services.uploads(session).start_upload(user, declared, keyed=keyed).file.id
        except RequestInProgressError:
            return None

    with ThreadPoolExecutor(20) as threads:
        file_ids = set(threads.map(start_once, range(100))) - {None}
    engine.dispose()

    assert len(file_ids) == 1
    assert {file.id for file in files_of(services, owner)} == file_ids
    assert_quota_is_exact(services, [owner.id])


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "ü", "a\tb"])
def test_invalid_keys_return_422(client: httpx.Client, owner: Account, key: str) -> None:
    headers = {**owner.headers, "Idempotency-Key": key.encode()}

    assert_problem(client.post(f"{FILES}/upload", json=BODY, headers=headers), 422, "malformed_request")  # type: ignore[arg-type]  # bytes, because httpx refuses non-ASCII str
