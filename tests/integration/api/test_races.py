"""What happens to a file while S3 is being asked about it, and to everybody else when S3 takes its time."""

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

FILES = "/api/v1/files"


class Meddled:
    """A store on which something happens just before one of its methods, once."""

    def __init__(self, store: Any, method: str, happen: Callable[[], Any]) -> None:
        self._store, self._method, self._happen = store, method, happen

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name != self._method:
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            happen, self._happen = self._happen, lambda: None
            happen()
            return method(*args, **kwargs)

        return call


class MailRequester:
    """Sends requests to the same application on a store that is meddled with, each from a thread and an event loop of its own."""

    def __init__(self, settings: Settings, services: Services, method: str, happen: Callable[[], Any]) -> None:
        store: Any = Meddled(services.store, method, happen)
        self._app = create_app(settings, replace(services, store=store))

    def ask(self, verb: str, path: str, account: Account) -> httpx.Response:
        """Send it and wait for the answer."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._send(verb, path, account)).result()

    async def _send(self, verb: str, path: str, account: Account) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="https://api.test") as client:
            return await client.request(verb, path, headers=account.headers)


def uploaded(client: httpx.Client, owner: Account, body: bytes = b"hello") -> str:
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


def test_file_deleted_while_s3_is_asked_does_not_come_back(
    client: httpx.Client, settings: Settings, services: Services, owner: Account
) -> None:
    file_id = uploaded(client, owner)
    slow = MailRequester(settings, services, "head", lambda: delete(services, owner, file_id))

    answer = slow.ask("POST", f"{FILES}/{file_id}/complete", owner)

    assert_problem(answer, 404, "file_not_found")
    assert row_of(services, file_id) is None


def test_two_completions_at_once_agree(client: httpx.Client, settings: Settings, services: Services, owner: Account) -> None:
    file_id = uploaded(client, owner)
    path = f"{FILES}/{file_id}/complete"
    slow = MailRequester(settings, services, "head", lambda: complete(services, owner, file_id))

    answer = slow.ask("POST", path, owner)

    assert answer.json()["status"] == "available"
    assert answer.json() == client.get(f"{FILES}/{file_id}", headers=owner.headers).json()


def test_file_rejected_by_another_call_is_rejected_by_this_one(
    client: httpx.Client, settings: Settings, services: Services, owner: Account
) -> None:
    file_id = uploaded(client, owner)

    def reject() -> None:
        with services.unit_of_work() as session:
            session.query(File).filter(File.id == file_id).update({"status": FileStatus.REJECTED})

    slow = MailRequester(settings, services, "head", reject)

    assert_problem(slow.ask("POST", f"{FILES}/{file_id}/complete", owner), 409, "upload_rejected")
    row = row_of(services, file_id)
    assert row is not None
    assert row.status == FileStatus.REJECTED


def test_upload_whose_time_is_over_cannot_be_completed(client: httpx.Client, services: Services, owner: Account) -> None:
    file_id = uploaded(client, owner)
    with services.unit_of_work() as session:
        session.query(File).filter(File.id == file_id).update({"status": FileStatus.EXPIRED})

    assert_problem(client.post(f"{FILES}/{file_id}/complete", headers=owner.headers), 409, "file_not_available", file_status="expired")


def test_rejected_object_that_could_not_be_deleted_is_deleted_by_the_next_call(
    client: httpx.Client, settings: Settings, services: Services, owner: Account
) -> None:
    file_id = uploaded(client, owner)
    with services.unit_of_work() as session:
        session.query(File).filter(File.id == file_id).update({"size_bytes": 4})

    def fail() -> None:
        raise UnavailableError

    assert_problem(MailRequester(settings, services, "delete", fail).ask("POST", f"{FILES}/{file_id}/complete", owner), 503, "unavailable")
    assert services.store.head(f"uploads/{file_id}") is not None

    assert_problem(client.post(f"{FILES}/{file_id}/complete", headers=owner.headers), 409, "upload_rejected")
    assert services.store.head(f"uploads/{file_id}") is None


@pytest.mark.parametrize("method", ["head", "delete"])
def test_slow_s3_keeps_no_connection_from_others(
    client: httpx.Client, settings: Settings, services: Services, owner: Account, method: str
) -> None:
    """With one connection in all, a request that waits for S3 must not hold it."""
    assert settings.database_pool_size == 1
    file_id = uploaded(client, owner)
    is_asked, may_answer = threading.Event(), threading.Event()

    def wait() -> None:
        is_asked.set()
        assert may_answer.wait(10)

    slow = MailRequester(settings, services, method, wait)
    verb, path = ("POST", f"{FILES}/{file_id}/complete") if method == "head" else ("DELETE", f"{FILES}/{file_id}")
    with ThreadPoolExecutor(1) as thread:
        pending = thread.submit(slow.ask, verb, path, owner)
        assert is_asked.wait(10)

        meanwhile = client.get("/api/v1/users/me", headers=owner.headers)

        may_answer.set()
        assert pending.result().is_success
    assert meanwhile.status_code == 200
