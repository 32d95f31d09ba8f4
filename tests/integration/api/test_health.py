"""Health checks, and behaviour without the database."""

import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account
from tests.support.gateway import GatewayTransport
from tests.support.problems import assert_problem


@pytest.fixture(params=["closed port", "no response"])
def client_without_database(request: pytest.FixtureRequest, settings: Settings) -> Iterator[httpx.Client]:
    """A client of an API whose database port is closed, or accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if request.param == "closed port":
            listener.close()
        unreachable = settings.model_copy(
            update={"database_url": SecretStr(f"postgresql://app@127.0.0.1:{port}/app"), "database_timeout_seconds": 1.0}
        )
        services = Services.build(unreachable)
        transport = GatewayTransport(GatewayHandler(create_app(unreachable, services)))
        with httpx.Client(transport=transport, base_url="https://api.test") as client:
            yield client
        services.engine.dispose()


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_health_responds_with_and_without_the_prefix(client: httpx.Client, prefix: str) -> None:
    for path in ("/health", "/health/db"):
        response = client.get(prefix + path)
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_liveness_does_not_need_the_database(client_without_database: httpx.Client) -> None:
    assert client_without_database.get("/health").status_code == 200


@pytest.mark.timing
def test_database_health_returns_503_within_two_seconds(client_without_database: httpx.Client) -> None:
    started_at = time.monotonic()

    response = client_without_database.get("/health/db")

    assert time.monotonic() - started_at < 2
    assert_problem(response, 503, "database_unreachable")


def test_requests_return_503_without_the_database(client_without_database: httpx.Client, owner: Account) -> None:
    assert_problem(
        client_without_database.get("/api/v1/users/me", headers=owner.headers), 503, "database_unavailable", headers={"retry-after": "2"}
    )
    assert_problem(
        client_without_database.post("/api/v1/login/token", data={"username": owner.email, "password": "x"}), 503, "database_unavailable"
    )
