"""The API behind CloudFront: requests that bypass it are refused, and the callers' own addresses are used."""

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
    app_of: Callable[[OriginVerifier], GatewayHandler], verifier: OriginVerifier, *, peer: str, event: Callable[..., object]
) -> httpx.Client:
    transport = GatewayTransport(app_of(verifier), partial(event, source_ip=peer))  # type: ignore[arg-type]  # both event types
    return httpx.Client(transport=transport, base_url="https://files.test")


@pytest.fixture(scope="module")
def app_of(settings: Settings, services: Services) -> Callable[[OriginVerifier], GatewayHandler]:
    """Return a function that creates the application with an origin verifier."""
    with_origin = settings.model_copy(update={"backend_cors_origins": ("https://app.test",)})
    return lambda verifier: GatewayHandler(create_app(with_origin, replace(services, origin_verifier=verifier)))


@pytest.fixture(scope="module", params=[payload_v2, payload_v1])
def peer_client(request: pytest.FixtureRequest, app_of: Callable[[OriginVerifier], GatewayHandler]) -> Iterator[httpx.Client]:
    """A client that connects to the API directly. With the headers of `via_cloudfront` it sends what CloudFront would."""
    verifier = OriginVerifier([lambda: KEY, lambda: OLD_KEY])
    with caller(app_of, verifier, peer=unused_address(), event=request.param) as client:
        yield client


def via_cloudfront(address: str = "198.51.100.7", key: str = KEY) -> dict[str, str]:
    """Return the headers that CloudFront adds to a request from this address."""
    return {"X-Origin-Verify": key, "X-Viewer-Address": address}


@pytest.mark.parametrize("path", ["/health", "/health/db", "/api/v1/health", "/openapi.json", "/docs", "/api/v1/files", "/no/such/route"])
def test_request_that_bypasses_cloudfront_is_refused(peer_client: httpx.Client, path: str) -> None:
    assert_problem(peer_client.get(path), 403, "side_door")
    assert_problem(peer_client.get(path, headers=via_cloudfront(key="guess")), 403, "side_door")


def test_request_is_refused_before_its_body_is_checked(peer_client: httpx.Client) -> None:
    assert_problem(peer_client.post("/api/v1/users/", content=b"x" * 300_000), 403, "side_door")


def test_access_token_does_not_replace_the_origin_key(peer_client: httpx.Client, owner: Account) -> None:
    assert_problem(peer_client.get("/api/v1/users/me", headers=owner.headers), 403, "side_door")


@pytest.mark.parametrize("key", [KEY, OLD_KEY])
def test_request_through_cloudfront_succeeds_with_either_key(peer_client: httpx.Client, owner: Account, key: str) -> None:
    assert peer_client.get("/health", headers=via_cloudfront(key=key)).json() == {"status": "ok"}
    assert peer_client.get("/api/v1/users/me", headers=owner.headers | via_cloudfront(key=key)).json()["email"] == owner.email


def test_repeated_origin_key_is_refused(peer_client: httpx.Client) -> None:
    doubled = peer_client.get("/health", headers=[("X-Origin-Verify", "guess"), ("X-Origin-Verify", "guess")])

    assert_problem(doubled, 403, "side_door")


def test_callers_behind_one_edge_server_are_throttled_separately(peer_client: httpx.Client, owner: Account) -> None:
    attacker, home = unused_address(), unused_address()
    wrong = {"username": owner.email, "password": "wrong password"}
    with time_machine.travel(clock.now(), tick=False):
        guesses = [peer_client.post(LOGIN, data=wrong, headers=via_cloudfront(attacker)).status_code for _ in range(7)]

        assert guesses == [401] * 6 + [429]
        assert peer_client.post(LOGIN, data={**wrong, "password": owner.password}, headers=via_cloudfront(home)).status_code == 200


def test_ipv6_address_of_the_caller_is_audited(peer_client: httpx.Client, owner: Account, admin: Account) -> None:
    signed_in = peer_client.post(LOGIN, data={"username": owner.email, "password": owner.password}, headers=via_cloudfront("2001:DB8::7"))

    assert signed_in.status_code == 200
    listed = peer_client.get("/api/v1/admin/audit", headers=admin.headers | via_cloudfront(), params={"limit": 20})
    assert "2001:db8::7" in [entry["source_address"] for entry in listed.json()]


@pytest.mark.parametrize("address", ["", "nonsense", "203.0.113.7:443", "203.0.113.7, 10.0.0.1", "x" * 5000])
def test_malformed_viewer_address_does_not_fail_the_request(peer_client: httpx.Client, address: str) -> None:
    assert peer_client.get("/health", headers=via_cloudfront(address)).status_code == 200


def test_viewer_address_is_ignored_without_an_origin_verifier(client_from: Callable[[str], httpx.Client], owner: Account) -> None:
    wrong = {"username": owner.email, "password": "wrong password"}
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False):
        responses = [attacker.post(LOGIN, data=wrong, headers=via_cloudfront(unused_address())).status_code for _ in range(7)]

    assert responses == [401] * 6 + [429]


def test_request_returns_503_when_the_origin_key_cannot_be_fetched(app_of: Callable[[OriginVerifier], GatewayHandler]) -> None:
    def fetch() -> str:
        raise UnavailableError

    with caller(app_of, OriginVerifier([fetch]), peer=unused_address(), event=payload_v2) as client:
        assert_problem(client.get("/health", headers=via_cloudfront()), 503, "unavailable")


def test_refusal_has_cors_headers(peer_client: httpx.Client) -> None:
    refused = peer_client.get("/health", headers={"Origin": "https://app.test"})

    assert_problem(refused, 403, "side_door")
    assert refused.headers["access-control-allow-origin"] == "https://app.test"


def test_log_contains_the_callers_address_and_no_key(peer_client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="lambda_app"):
        logging.getLogger("lambda_app").addHandler(caplog.handler)
        peer_client.get("/health", headers=via_cloudfront("198.51.100.9"))
        peer_client.get("/health", headers=via_cloudfront(key="a-guess"))
        logging.getLogger("lambda_app").removeHandler(caplog.handler)

    lines = [JsonFormatter().format(record) for record in caplog.records]
    addresses = [json.loads(line).get("source_ip") for line in lines]
    assert "198.51.100.9" in addresses
    assert KEY not in "".join(lines)
    assert "a-guess" not in "".join(lines)
