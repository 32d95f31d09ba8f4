"""The thread that runs blocking code: the request's own thread behind a gateway, a worker thread under an ASGI server."""

import threading

import httpx
import pytest
from fastapi import FastAPI

from lambda_app.core.clock import now
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account
from tests.support.event_loops import run_in_new_loop
from tests.support.gateway import GatewayTransport


@pytest.fixture
def clock_threads(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The ids of the threads that read the clock, for the check of the token and of its session."""
    threads: set[int] = set()

    def record() -> object:
        threads.add(threading.get_ident())
        return now()

    monkeypatch.setattr("lambda_app.core.clock.now", record)
    return threads


def list_files_over_asgi(app: FastAPI, owner: Account) -> set[int]:
    """List files as an ASGI server serves the request; return the threads of the event loops."""
    loops: set[int] = set()

    async def send() -> httpx.Response:
        loops.add(threading.get_ident())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api.test") as client:
            return await client.get("/api/v1/files", headers=owner.headers)

    assert run_in_new_loop(send()).status_code == 200
    return loops


def test_gateway_request_runs_in_its_own_thread(app: FastAPI, owner: Account, clock_threads: set[int]) -> None:
    with httpx.Client(transport=GatewayTransport(GatewayHandler(app)), base_url="https://api.test") as client:
        assert client.get("/api/v1/files", headers=owner.headers).status_code == 200

    assert clock_threads == {threading.get_ident()}


def test_asgi_request_does_not_block_the_event_loop(app: FastAPI, owner: Account, clock_threads: set[int]) -> None:
    loops = list_files_over_asgi(app, owner)

    assert clock_threads
    assert clock_threads.isdisjoint(loops)


def test_failed_gateway_request_does_not_affect_the_next_asgi_request(app: FastAPI, owner: Account, clock_threads: set[int]) -> None:
    with httpx.Client(transport=GatewayTransport(GatewayHandler(app)), base_url="https://api.test") as client:
        assert client.get("/api/v1/files?limit=0", headers=owner.headers).status_code == 422
    clock_threads.clear()

    loops = list_files_over_asgi(app, owner)

    assert clock_threads
    assert clock_threads.isdisjoint(loops)
