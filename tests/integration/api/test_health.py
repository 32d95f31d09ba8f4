"""Signs of life, and that nothing hangs when the database is away."""

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


@pytest.fixture(params=["nobody listens", "nobody answers"])
def cut_off(request: pytest.FixtureRequest, settings: Settings) -> Iterator[httpx.Client]:
    """An API whose database port is closed, or takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if request.param == "nobody listens":
            listener.close()
        away = settings.model_copy(
            update={"database_url": SecretStr(f"postgresql://app@127.0.0.1:{port}/app"), "database_timeout_seconds": 1.0}
        )
        services = Services.build(away)
        transport = GatewayTransport(GatewayHandler(create_app(away, services)))
        with httpx.Client(transport=transport, base_url="https://api.test") as client:
            yield client
        services.engine.dispose()


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_health_answers_everywhere(client: httpx.Client, prefix: str) -> None:
    for path in ("/health", "/health/db"):
        answer = client.get(prefix + path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_liveness_does_not_need_the_database(cut_off: httpx.Client) -> None:
    assert cut_off.get("/health").status_code == 200


@pytest.mark.timing
def test_database_health_is_a_problem_within_two_seconds(cut_off: httpx.Client) -> None:
    started_at = time.monotonic()

    answer = cut_off.get("/health/db")

    assert time.monotonic() - started_at < 2
    assert_problem(answer, 503, "database_unreachable")


def test_requests_are_refused_not_crashed(cut_off: httpx.Client, owner: Account) -> None:
    assert_problem(cut_off.get("/api/v1/users/me", headers=owner.headers), 503)
    assert_problem(cut_off.post("/api/v1/login/token", data={"username": owner.email, "password": "x"}), 503)
