"""Concurrent requests, as under uvicorn: more requests than threads, and more threads than connections."""

import asyncio
import socket
import time
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from tests.support.accounts import Account
from tests.support.event_loops import run_in_new_loop
from tests.support.wire import WireProxy

BURST = 150
"""Number of requests: more than three times the 40 threads that serve routes."""


@pytest.mark.parametrize("pool_size", [1, 5])
def test_burst_of_requests_is_served_completely(settings: Settings, services: Services, owner: Account, pool_size: int) -> None:
    small_pool = settings.model_copy(update={"database_pool_size": pool_size})
    services_with_pool = Services.build(small_pool)
    app = create_app(small_pool, services_with_pool)

    async def burst() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api.test") as client:
            return await asyncio.gather(*(client.get("/api/v1/files", headers=owner.headers) for _ in range(BURST)))

    for _ in range(3):
        responses = run_in_new_loop(burst())
        assert [response.status_code for response in responses] == [200] * BURST
    services_with_pool.engine.dispose()


@pytest.mark.slow
@pytest.mark.timing
def test_database_health_responds_in_time_when_dns_hangs(client: httpx.Client, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    getaddrinfo = socket.getaddrinfo

    def slow_getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        time.sleep(3)
        return getaddrinfo(*args, **kwargs)

    time.sleep(1.1)  # until the last successful probe is stale
    monkeypatch.setattr(socket, "getaddrinfo", slow_getaddrinfo)
    started_at = time.monotonic()

    response = client.get("/health/db")

    assert response.status_code == 503
    assert time.monotonic() - started_at < 2
    monkeypatch.undo()
    time.sleep(3)  # until the abandoned probe has ended
    assert client.get("/health/db").status_code == 200


def test_concurrent_health_checks_use_one_connection(settings: Settings) -> None:
    url = settings.database_url.get_secret_value()
    with WireProxy(url) as proxy:
        proxied = settings.model_copy(update={"database_url": SecretStr(proxy.url_for(url))})
        app = create_app(proxied, Services.build(proxied))

        async def check_concurrently() -> list[httpx.Response]:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api.test") as client:
                return await asyncio.gather(*(client.get("/health/db") for _ in range(20)))

        with proxy.count() as wire:
            responses = run_in_new_loop(check_concurrently())

    assert [response.status_code for response in responses] == [200] * 20
    assert wire.connections == 1
