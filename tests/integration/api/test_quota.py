"""Quotas: what counts, what is refused, and that concurrent uploads cannot exceed a limit."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest

from lambda_app.core import clock
from lambda_app.core.settings import Settings
from lambda_app.db.engine import create_database_engine
from lambda_app.db.session import create_session_factory
from lambda_app.factory import Services
from lambda_app.models import Tombstone, User
from lambda_app.schemas.files.files import FileCreate
from lambda_app.services.files.quota import QuotaExceededError
from tests.support.accounts import Account, make_file, put_object, start_upload
from tests.support.problems import assert_problem, assert_unauthenticated
from tests.support.quota_assertions import assert_quota_is_exact

FILES = "/api/v1/files"
STARTS = 200
CAPACITY = 50
ROUNDS = 20
CONNECTIONS = 200
"""One for each upload, so that all of them run at once. The PostgreSQL of the tests accepts 300."""


def usage_of(client: httpx.Client, account: Account) -> dict[str, Any]:
    response = client.get("/api/v1/users/me/usage", headers=account.headers)
    assert response.status_code == 200, response.text
    usage: dict[str, Any] = response.json()
    return usage


def set_quota(client: httpx.Client, admin: Account, account: Account, **quota: int | None) -> None:
    response = client.put(f"/api/v1/users/{account.id}", json=quota, headers=admin.headers)
    assert response.status_code == 200, response.text


def request_upload(client: httpx.Client, account: Account, size_bytes: int, path: str = "upload") -> httpx.Response:
    declared = {"filename": "a", "content_type": "a/b", "size_bytes": size_bytes}
    return client.post(f"{FILES}/{path}", json=declared, headers=account.headers)


def test_usage_counts_from_the_start_of_an_upload_to_its_deletion(
    client: httpx.Client, settings: Settings, services: Services, owner: Account
) -> None:
    total, files = settings.user_quota_bytes, settings.user_quota_files
    empty = {
        "bytes_used": 0,
        "files_count": 0,
        "quota_bytes": total,
        "quota_files": files,
        "bytes_left": total,
        "files_left": files,
        "trash_bytes": 0,
        "trash_files": 0,
    }
    assert usage_of(client, owner) == empty

    upload = start_upload(client, owner, b"hello")
    assert usage_of(client, owner) == empty | {
        "bytes_used": 5,
        "files_count": 1,
        "bytes_left": total - 5,
        "files_left": files - 1,
    }
    put_object(upload, b"hello")
    client.post(f"{FILES}/{upload['file_id']}/complete", headers=owner.headers)
    assert usage_of(client, owner)["bytes_used"] == 5

    client.delete(f"{FILES}/{upload['file_id']}", headers=owner.headers)
    assert usage_of(client, owner)["bytes_used"] == 5
    expire_upload_urls(services, owner)
    assert usage_of(client, owner) == empty


def expire_upload_urls(services: Services, account: Account) -> None:
    """Let the URLs of deleted and rejected uploads expire, and sweep."""
    with services.unit_of_work() as session:
        of_account = session.query(Tombstone).filter(Tombstone.owner_id == account.id, Tombstone.charged_until.is_not(None))
        assert of_account.update({"charged_until": clock.now()}) == 1
    with services.unit_of_work() as session:
        assert services.sweep(session).run(budget_seconds=600).ended_charges >= 1


def test_rejected_upload_is_charged_until_its_url_expires(client: httpx.Client, services: Services, owner: Account) -> None:
    upload = start_upload(client, owner, b"hello")
    services.store._aws.call(  # type: ignore[attr-defined]  # bypasses the presigned URL, which allows only the declared length
        "s3", "put_object", Bucket=services.settings.s3_bucket_name, Key=f"uploads/{upload['file_id']}", Body=b"other length"
    )

    assert_problem(client.post(f"{FILES}/{upload['file_id']}/complete", headers=owner.headers), 409, "upload_rejected")

    assert usage_of(client, owner)["bytes_used"] == 5
    assert client.delete(f"{FILES}/{upload['file_id']}", headers=owner.headers).status_code == 204
    assert usage_of(client, owner)["bytes_used"] == 5
    expire_upload_urls(services, owner)
    assert usage_of(client, owner)["bytes_used"] == 0


@pytest.mark.parametrize("path", ["upload", "multipart"])
def test_upload_over_the_quota_is_refused_with_the_remaining_quota(client: httpx.Client, owner: Account, admin: Account, path: str) -> None:
    set_quota(client, admin, owner, quota_bytes=100, quota_files=2)

    assert request_upload(client, owner, 60).status_code == 201
    assert_problem(request_upload(client, owner, 41, path), 413, "quota_exceeded", bytes_left=40, files_left=1)
    assert request_upload(client, owner, 40, path).status_code == 201
    assert_problem(request_upload(client, owner, 1, path), 413, "quota_exceeded", bytes_left=0, files_left=0)


def test_superuser_can_set_and_reset_quotas(client: httpx.Client, settings: Settings, owner: Account, admin: Account) -> None:
    set_quota(client, admin, owner, quota_bytes=0)
    assert_problem(request_upload(client, owner, 1), 413, "quota_exceeded")

    set_quota(client, admin, owner, quota_bytes=None)
    assert usage_of(client, owner)["quota_bytes"] == settings.user_quota_bytes
    usage = client.get(f"/api/v1/users/{owner.id}/usage", headers=admin.headers)
    assert usage.json() == usage_of(client, owner)


def test_users_cannot_set_quotas_or_read_usage_of_others(client: httpx.Client, owner: Account, stranger: Account) -> None:
    for quota in ({"quota_bytes": 10**15}, {"quota_files": None}):
        assert_problem(client.put(f"/api/v1/users/{owner.id}", json=quota, headers=owner.headers), 403, "permission_denied")
        assert_problem(client.put("/api/v1/users/me", json=quota, headers=owner.headers), 422)
    assert_problem(client.get(f"/api/v1/users/{owner.id}/usage", headers=stranger.headers), 403, "permission_denied")
    assert_unauthenticated(client.get("/api/v1/users/me/usage"))


def test_upload_does_not_change_the_usage_of_others(client: httpx.Client, owner: Account, make_user: Callable[..., Account]) -> None:
    other = make_user()
    make_file(client, owner)

    assert usage_of(client, other)["bytes_used"] == 0


@pytest.mark.slow
def test_concurrent_uploads_fill_the_quota_exactly(settings: Settings, services: Services, make_user: Callable[..., Account]) -> None:
    engine = create_database_engine(settings.model_copy(update={"database_pool_size": CONNECTIONS, "database_timeout_seconds": 60.0}))
    crowd = replace(services, engine=engine, session_factory=create_session_factory(engine))
    declared = FileCreate(filename="a", content_type="a/b", size_bytes=7)

    def start(user: User) -> bool:
        try:
            with crowd.unit_of_work() as session:
                crowd.uploads(session).start_upload(user, declared)
        except QuotaExceededError:
            return False
        return True

    admitted = []
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for round_number in range(ROUNDS):
            account = make_user()
            # The rounds alternate between exhausting the bytes and exhausting the number of files.
            quota_bytes, quota_files = (7 * CAPACITY + 6, STARTS) if round_number % 2 else (7 * STARTS, CAPACITY)
            with crowd.unit_of_work() as session:
                session.query(User).filter(User.id == account.id).update({"quota_bytes": quota_bytes, "quota_files": quota_files})
            with crowd.unit_of_work() as session:
                user = session.get_one(User, account.id)
            admitted.append(sum(threads.map(start, [user] * STARTS)))
            assert_quota_is_exact(services, [account.id])
    engine.dispose()

    assert admitted == [CAPACITY] * ROUNDS
