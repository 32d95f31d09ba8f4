"""Who runs the blocking steps of a request: the request itself under a gateway, threads of their own under an ASGI server."""

import threading

import httpx
import pytest
from fastapi import FastAPI

from lambda_app.core.clock import now
from lambda_app.routers.http.gateway import GatewayHandler
from tests.integration.api.test_concurrency import in_a_loop_of_its_own
from tests.support.accounts import Account
from tests.support.gateway import GatewayTransport


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The threads that the clock was asked in: by the token, and by the query of its session."""
    threads: set[int] = set()

    def note() -> object:
        threads.add(threading.get_ident())
        return now()

    monkeypatch.setattr("lambda_app.core.clock.now", note)
    return threads


def list_files_over_asgi(app: FastAPI, owner: Account) -> set[int]:
    """List files as an ASGI server would serve it; return the threads of the event loops."""
    loops: set[int] = set()

    async def ask() -> list[httpx.Response]:
        loops.add(threading.get_ident())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api.test") as client:
            return [await client.get("/api/v1/files", headers=owner.headers)]

    (answer,) = in_a_loop_of_its_own(ask())
    assert answer.status_code == 200
    return loops


def test_request_of_a_gateway_stays_in_its_thread(app: FastAPI, owner: Account, seen: set[int]) -> None:
    with httpx.Client(transport=GatewayTransport(GatewayHandler(app)), base_url="https://api.test") as client:
        assert client.get("/api/v1/files", headers=owner.headers).status_code == 200

    assert seen == {threading.get_ident()}


def test_request_of_an_asgi_server_does_not_block_the_others(app: FastAPI, owner: Account, seen: set[int]) -> None:
    loops = list_files_over_asgi(app, owner)

    assert seen
    assert seen.isdisjoint(loops)


def test_request_that_fails_under_a_gateway_leaves_no_trace_for_the_next_one(app: FastAPI, owner: Account, seen: set[int]) -> None:
    with httpx.Client(transport=GatewayTransport(GatewayHandler(app)), base_url="https://api.test") as client:
        assert client.get("/api/v1/files?limit=0", headers=owner.headers).status_code == 422
    seen.clear()

    loops = list_files_over_asgi(app, owner)

    assert seen
    assert seen.isdisjoint(loops)
