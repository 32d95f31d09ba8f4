"""Races between requests about one file during calls to S3, and slow S3 calls that must not block other requests."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from lambda_app.application import create_app
from lambda_app.core.errors import UnavailableError
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.models import File, FileStatus, User
from tests.support.accounts import Account, put_object, sha256_hex, start_upload
from tests.support.problems import assert_problem
from tests.support.racing_store import RacingStore

FILES = "/api/v1/files"


class InterceptedApi:
    """The application with an intercepted store. Each request runs in its own thread and event loop."""

    def __init__(self, settings: Settings, services: Services, method: str, before: Callable[[], Any]) -> None:
        store: Any = RacingStore(services.store, method, before)
        self._app = create_app(settings, replace(services, store=store))

    def send(self, verb: str, path: str, account: Account) -> httpx.Response:
        """Send the request and wait for its response."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._send(verb, path, account)).result()

    async def _send(self, verb: str, path: str, account: Account) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="https://api.test") as client:
            return await client.request(verb, path, headers=account.headers)


def put_file(client: httpx.Client, owner: Account, body: bytes = b"hello") -> str:
    upload = start_upload(client, owner, body, sha256=sha256_hex(body))
    assert put_object(upload, body).status_code == 200
    file_id: str = upload["file_id"]
    return file_id


def delete(services: Services, owner: Account, file_id: str) -> None:
    with services.unit_of_work() as session:
        services.files(session).delete_file(session.get_one(User, owner.id), UUID(file_id))


def complete(services: Services, owner: Account, file_id: str) -> None:
    with services.unit_of_work() as session:
        services.uploads(session).complete_upload(session.get_one(User, owner.id), UUID(file_id))


def row_of(services: Services, file_id: str) -> File | None:
    with services.unit_of_work() as session:
        return session.query(File).filter(File.id == file_id).one_or_none()


def test_file_deleted_during_completion_stays_deleted(client: httpx.Client, settings: Settings, services: Services, owner: Account) -> None:
    file_id = put_file(client, owner)
    slow = InterceptedApi(settings, services, "read_small", lambda: delete(services, owner, file_id))

    response = slow.send("POST", f"{FILES}/{file_id}/complete", owner)

    assert_problem(response, 404, "file_not_found")
    assert row_of(services, file_id) is None


def test_concurrent_completions_return_the_same_file(client: httpx.Client, settings: Settings, services: Services, owner: Account) -> None:
    file_id = put_file(client, owner)
    path = f"{FILES}/{file_id}/complete"
    slow = InterceptedApi(settings, services, "read_small", lambda: complete(services, owner, file_id))

    response = slow.send("POST", path, owner)

    assert response.json()["status"] == "available"
    assert response.json() == client.get(f"{FILES}/{file_id}", headers=owner.headers).json()


def test_file_rejected_by_a_concurrent_request_is_refused(
    client: httpx.Client, settings: Settings, services: Services, owner: Account
) -> None:
    file_id = put_file(client, owner)

    def reject() -> None:
        with services.unit_of_work() as session:
            session.query(File).filter(File.id == file_id).update({"status": FileStatus.REJECTED})

    slow = InterceptedApi(settings, services, "read_small", reject)

    assert_problem(slow.send("POST", f"{FILES}/{file_id}/complete", owner), 409, "upload_rejected")
    row = row_of(services, file_id)
    assert row is not None
    assert row.status == FileStatus.REJECTED


def test_expired_upload_cannot_be_completed(client: httpx.Client, services: Services, owner: Account) -> None:
    file_id = put_file(client, owner)
    with services.unit_of_work() as session:
        session.query(File).filter(File.id == file_id).update({"status": FileStatus.EXPIRED})

    assert_problem(client.post(f"{FILES}/{file_id}/complete", headers=owner.headers), 409, "file_not_available", file_status="expired")


def test_next_completion_deletes_a_rejected_object_that_remained(
    client: httpx.Client, settings: Settings, services: Services, owner: Account
) -> None:
    file_id = put_file(client, owner)
    with services.unit_of_work() as session:
        session.query(File).filter(File.id == file_id).update({"size_bytes": 4})

    def fail() -> None:
        raise UnavailableError

    assert_problem(
        InterceptedApi(settings, services, "delete", fail).send("POST", f"{FILES}/{file_id}/complete", owner), 503, "unavailable"
    )
    assert services.store.head(f"uploads/{file_id}") is not None

    assert_problem(client.post(f"{FILES}/{file_id}/complete", headers=owner.headers), 409, "upload_rejected")
    assert services.store.head(f"uploads/{file_id}") is None


@pytest.mark.parametrize("method", ["read_small", "delete"])
def test_slow_s3_does_not_hold_a_database_connection(
    client: httpx.Client, settings: Settings, services: Services, owner: Account, method: str
) -> None:
    """The pool has one connection. A request that waits for S3 must not hold it."""
    assert settings.database_pool_size == 1
    file_id = put_file(client, owner)
    is_called, can_return = threading.Event(), threading.Event()

    def wait() -> None:
        is_called.set()
        assert can_return.wait(10)

    slow = InterceptedApi(settings, services, method, wait)
    verb, path = ("POST", f"{FILES}/{file_id}/complete") if method == "read_small" else ("DELETE", f"{FILES}/{file_id}")
    with ThreadPoolExecutor(1) as thread:
        pending = thread.submit(slow.send, verb, path, owner)
        assert is_called.wait(10)

        meanwhile = client.get("/api/v1/users/me", headers=owner.headers)

        can_return.set()
        assert pending.result().is_success
    assert meanwhile.status_code == 200
