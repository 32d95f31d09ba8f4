"""Frequent reads that a server executes on its event loop: the same responses as in Lambda, in one round trip each."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from lambda_app.application import create_app, create_app_from_environment
from lambda_app.core.security.keys import SigningKeys
from lambda_app.core.settings import Settings
from lambda_app.db.compiled import Steps
from lambda_app.db.loop_reader import LoopReader
from lambda_app.dependencies.callers import create_loop_reader
from lambda_app.factory import Services
from tests.support.accounts import Account, make_file
from tests.support.event_loops import run_in_new_loop
from tests.support.wire import WireProxy

FILES = "/api/v1/files"
ME = "/api/v1/users/me"

T = TypeVar("T")


class Recorder:
    """A reader that counts what it completes."""

    def __init__(self, reader: LoopReader) -> None:
        self.reader = reader
        self.completed = 0

    async def complete(self, steps: Steps[T]) -> T:
        self.completed += 1
        return await self.reader.complete(steps)


def content(response: httpx.Response) -> tuple[Any, ...]:
    body = response.json() if response.content else None
    if isinstance(body, dict):
        body.pop("request_id", None)
    names = ("etag", "www-authenticate", "link", "x-next-cursor", "x-total-count", "x-total-count-relation")
    return response.status_code, body, *(response.headers.get(name) for name in names)


def make_key(client: httpx.Client, account: Account, scope: str) -> str:
    key: str = client.post(f"{ME}/api-keys", json={"name": "key", "scopes": [scope]}, headers=account.headers).json()["key"]
    return key


def test_every_caller_gets_the_response_of_the_handler(
    client: httpx.Client, settings: Settings, services: Services, make_user: Callable[..., Account]
) -> None:
    owner, stranger, signed_out = make_user(), make_user(), make_user()
    assert client.post("/api/v1/login/logout", headers=signed_out.headers).status_code == 204
    private, public = make_file(client, owner), make_file(client, owner, is_public=True)
    keys = [make_key(client, owner, "files:read"), make_key(client, owner, "admin")]
    sessions = [owner.headers["Authorization"], stranger.headers["Authorization"], signed_out.headers["Authorization"], "Bearer invalid"]
    others = [*(f"Bearer {key}" for key in keys), "Bearer ", "Basic x", None]
    on_loop_paths = [f"{FILES}/{private['id']}", f"{FILES}/{public['id']}", f"{FILES}/{uuid4()}", ME, FILES, f"{FILES}?limit=1&count=true"]
    paths = [*on_loop_paths, f"{FILES}/no-id", f"{FILES}?owner_id={owner.id}", f"{FILES}?all=true", f"{FILES}?limit=0"]
    requests = [
        (path, {name: value for name, value in (("Authorization", authorization), ("If-None-Match", version)) if value is not None})
        for path in paths
        for authorization in (*sessions, *others)
        for version in (None, "*")
    ]
    expected = [content(client.get(path, headers=headers)) for path, headers in requests]
    url = settings.database_url.get_secret_value()

    async def responses(proxy: WireProxy, proxied: Settings, built: Services) -> list[tuple[Any, ...]]:
        app = create_app(proxied, built, reads_on_loop=True)
        recorder = app.state.loop_reader = Recorder(app.state.loop_reader)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api.test") as on_loop:
            # The first one opens the connection.
            await on_loop.get(ME, headers=owner.headers)
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
            recorder.completed = 0
            found = [content(await on_loop.get(path, headers=headers)) for path, headers in requests]
            # For each session, with and without a version.
            assert recorder.completed == len(on_loop_paths) * len(sessions) * 2
            for path in on_loop_paths:
                expected_status = 404 if path == on_loop_paths[2] else 200
                with proxy.count() as counted:
                    assert (await on_loop.get(path, headers=owner.headers)).status_code == expected_status
                assert (counted.round_trips, counted.connections) == (1, 0)
        await recorder.reader.close()
        return found

    with WireProxy(url) as proxy:
        proxied = settings.model_copy(update={"database_url": SecretStr(proxy.url_for(url))})
        built = replace(Services.build(proxied), store=services.store)
        found = run_in_new_loop(responses(proxy, proxied, built))
        built.engine.dispose()

    for request, theirs, ours in zip(requests, expected, found, strict=True):
        assert ours == theirs, request
    assert {status for status, *_ in found} == {200, 304, 401, 403, 404, 422}


def test_keys_that_are_fetched_are_never_read_on_the_loop(services: Services) -> None:
    assert create_loop_reader(services) is not None
    assert create_loop_reader(replace(services, keys=SigningKeys(lambda: "x" * 32))) is None


def test_servers_read_on_their_loop(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "from_environment", lambda: settings)

    assert isinstance(create_app_from_environment().state.loop_reader, LoopReader)
    assert create_app(settings).state.loop_reader is None
