"""Requests that overlap, as they do under uvicorn: more of them than threads, and more threads than connections."""

import asyncio
import socket
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from tests.support.accounts import Account
from tests.support.wire import WireProxy

BURST = 150
"""More than three times the 40 threads that serve routes."""


def in_a_loop_of_its_own(work: Coroutine[Any, Any, list[httpx.Response]]) -> list[httpx.Response]:
    """Run it in another thread: asyncio.run would take the current event loop from this one, which Mangum needs."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.mark.parametrize("pool_size", [1, 5])
def test_burst_of_requests_is_served_in_full(settings: Settings, services: Services, owner: Account, pool_size: int) -> None:
    small = settings.model_copy(update={"database_pool_size": pool_size})
    built = Services.build(small)
    app = create_app(small, built)

    async def burst() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api.test") as client:
            return await asyncio.gather(*(client.get("/api/v1/files", headers=owner.headers) for _ in range(BURST)))

    for _ in range(3):
        answers = in_a_loop_of_its_own(burst())
        assert [answer.status_code for answer in answers] == [200] * BURST
    built.engine.dispose()


@pytest.mark.timing
def test_database_health_is_known_in_time_when_names_do_not_resolve(
    client: httpx.Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(3)
        return real(*args, **kwargs)

    time.sleep(1.1)  # until the last good answer is stale
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    started_at = time.monotonic()

    answer = client.get("/health/db")

    assert answer.status_code == 503
    assert time.monotonic() - started_at < 2
    monkeypatch.undo()
    time.sleep(3)  # the probe that was left behind ends
    assert client.get("/health/db").status_code == 200


def test_crowd_asking_for_the_databases_health_costs_one_connection(settings: Settings) -> None:
    url = settings.database_url.get_secret_value()
    with WireProxy(url) as proxy:
        counted = settings.model_copy(update={"database_url": SecretStr(proxy.url_for(url))})
        app = create_app(counted, Services.build(counted))

        async def crowd() -> list[httpx.Response]:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api.test") as client:
                return await asyncio.gather(*(client.get("/health/db") for _ in range(20)))

        with proxy.count() as wire:
            answers = in_a_loop_of_its_own(crowd())

    assert [answer.status_code for answer in answers] == [200] * 20
    assert wire.connections == 1
