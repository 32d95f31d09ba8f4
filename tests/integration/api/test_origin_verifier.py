"""The API behind CloudFront: who comes past it is refused, and callers keep the addresses of their own."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import httpx
import pytest
import time_machine

from lambda_app.application import create_app
from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.core.logs import JsonFormatter
from lambda_app.core.security.origin_verifier import OriginVerifier
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account
from tests.support.gateway import GatewayTransport, payload_v1, payload_v2, unused_address
from tests.support.problems import assert_problem

KEY, OLD_KEY = "k" * 64, "o" * 64
LOGIN = "/api/v1/login/token"


def caller(
    app_of: Callable[[OriginVerifier], GatewayHandler], door: OriginVerifier, *, peer: str, event: Callable[..., object]
) -> httpx.Client:
    transport = GatewayTransport(app_of(door), partial(event, source_ip=peer))  # type: ignore[arg-type]  # either event
    return httpx.Client(transport=transport, base_url="https://files.test")


@pytest.fixture(scope="module")
def app_of(settings: Settings, services: Services) -> Callable[[OriginVerifier], GatewayHandler]:
    """Make the application with a front door."""
    with_origin = settings.model_copy(update={"backend_cors_origins": ("https://app.test",)})
    return lambda door: GatewayHandler(create_app(with_origin, replace(services, origin_verifier=door)))


@pytest.fixture(scope="module", params=[payload_v2, payload_v1])
def edge(request: pytest.FixtureRequest, app_of: Callable[[OriginVerifier], GatewayHandler]) -> Iterator[httpx.Client]:
    """What reaches the API directly, from one of CloudFront's machines or from anybody else."""
    door = OriginVerifier([lambda: KEY, lambda: OLD_KEY])
    with caller(app_of, door, peer=unused_address(), event=request.param) as client:
        yield client


def through(address: str = "198.51.100.7", key: str = KEY) -> dict[str, str]:
    """Return what CloudFront adds to a request from this address."""
    return {"X-Origin-Verify": key, "X-Viewer-Address": address}


@pytest.mark.parametrize("path", ["/health", "/health/db", "/api/v1/health", "/openapi.json", "/docs", "/api/v1/files", "/no/such/route"])
def test_request_past_cloudfront_is_refused_whatever_it_asks(edge: httpx.Client, path: str) -> None:
    assert_problem(edge.get(path), 403, "side_door")
    assert_problem(edge.get(path, headers=through(key="guess")), 403, "side_door")


def test_refusal_comes_before_the_body_is_looked_at(edge: httpx.Client) -> None:
    assert_problem(edge.post("/api/v1/users/", content=b"x" * 300_000), 403, "side_door")


def test_valid_token_does_not_open_the_side_door(edge: httpx.Client, owner: Account) -> None:
    assert_problem(edge.get("/api/v1/users/me", headers=owner.headers), 403, "side_door")


@pytest.mark.parametrize("key", [KEY, OLD_KEY])
def test_request_through_cloudfront_is_served_with_either_key(edge: httpx.Client, owner: Account, key: str) -> None:
    assert edge.get("/health", headers=through(key=key)).json() == {"status": "ok"}
    assert edge.get("/api/v1/users/me", headers=owner.headers | through(key=key)).json()["email"] == owner.email


def test_key_sent_twice_is_no_key(edge: httpx.Client) -> None:
    doubled = edge.get("/health", headers=[("X-Origin-Verify", "guess"), ("X-Origin-Verify", "guess")])

    assert_problem(doubled, 403, "side_door")


def test_callers_behind_one_machine_of_cloudfront_are_throttled_apart(edge: httpx.Client, owner: Account) -> None:
    attacker, home = unused_address(), unused_address()
    wrong = {"username": owner.email, "password": "wrong password"}
    with time_machine.travel(clock.now(), tick=False):
        guesses = [edge.post(LOGIN, data=wrong, headers=through(attacker)).status_code for _ in range(7)]

        assert guesses == [401] * 6 + [429]
        assert edge.post(LOGIN, data={**wrong, "password": owner.password}, headers=through(home)).status_code == 200


def test_ipv6_callers_have_addresses_too(edge: httpx.Client, owner: Account, admin: Account) -> None:
    signed_in = edge.post(LOGIN, data={"username": owner.email, "password": owner.password}, headers=through("2001:DB8::7"))

    assert signed_in.status_code == 200
    listed = edge.get("/api/v1/admin/audit", headers=admin.headers | through(), params={"limit": 20})
    assert "2001:db8::7" in [entry["source_address"] for entry in listed.json()]


@pytest.mark.parametrize("address", ["", "nonsense", "203.0.113.7:443", "203.0.113.7, 10.0.0.1", "x" * 5000])
def test_address_that_is_none_does_not_break_a_request(edge: httpx.Client, address: str) -> None:
    assert edge.get("/health", headers=through(address)).status_code == 200


def test_address_header_is_nothing_where_there_is_no_front_door(client_from: Callable[[str], httpx.Client], owner: Account) -> None:
    wrong = {"username": owner.email, "password": "wrong password"}
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False):
        answers = [attacker.post(LOGIN, data=wrong, headers=through(unused_address())).status_code for _ in range(7)]

    assert answers == [401] * 6 + [429]


def test_key_that_cannot_be_fetched_keeps_the_door_shut(app_of: Callable[[OriginVerifier], GatewayHandler]) -> None:
    def fetch() -> str:
        raise UnavailableError

    with caller(app_of, OriginVerifier([fetch]), peer=unused_address(), event=payload_v2) as client:
        assert_problem(client.get("/health", headers=through()), 503, "unavailable")


def test_refusal_tells_a_page_of_ours_what_it_is(edge: httpx.Client) -> None:
    refused = edge.get("/health", headers={"Origin": "https://app.test"})

    assert_problem(refused, 403, "side_door")
    assert refused.headers["access-control-allow-origin"] == "https://app.test"


def test_log_names_the_caller_and_never_the_key(edge: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="lambda_app"):
        logging.getLogger("lambda_app").addHandler(caplog.handler)
        edge.get("/health", headers=through("198.51.100.9"))
        edge.get("/health", headers=through(key="a-guess"))
        logging.getLogger("lambda_app").removeHandler(caplog.handler)

    lines = [JsonFormatter().format(record) for record in caplog.records]
    addresses = [json.loads(line).get("source_ip") for line in lines]
    assert "198.51.100.9" in addresses
    assert KEY not in "".join(lines)
    assert "a-guess" not in "".join(lines)
