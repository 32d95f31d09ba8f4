"""Pages of the configured origins can call the API and read its errors; pages of other origins cannot."""

from collections.abc import Iterator

import httpx
import pytest

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.routers.http.request_middleware import BODY_MAX_BYTES
from tests.support.gateway import GatewayTransport
from tests.support.problems import assert_problem

ALLOWED_ORIGIN = "https://app.example.com"
OTHER_ORIGIN = "https://evil.example"


@pytest.fixture
def browser(settings: Settings, services: Services) -> Iterator[httpx.Client]:
    app = create_app(settings.model_copy(update={"backend_cors_origins": (ALLOWED_ORIGIN,)}), services)
    with httpx.Client(transport=GatewayTransport(GatewayHandler(app)), base_url="https://api.test") as client:
        yield client


def preflight(browser: httpx.Client, origin: str) -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    return browser.options("/api/v1/files/upload", headers=headers)


def test_preflight_of_a_configured_origin_is_allowed(browser: httpx.Client) -> None:
    response = preflight(browser, ALLOWED_ORIGIN)

    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
    assert "PUT" in response.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in response.headers


def test_cross_origin_pages_can_change_and_open_share_links(browser: httpx.Client) -> None:
    for method, header in (("PATCH", "authorization"), ("GET", "x-share-pass")):
        headers = {"Origin": ALLOWED_ORIGIN, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": header}
        assert browser.options("/api/v1/shares/x", headers=headers).status_code == 200


def test_preflight_of_another_origin_is_refused(browser: httpx.Client) -> None:
    response = preflight(browser, OTHER_ORIGIN)

    assert_problem(response, 403, "cors_refused", request_id=None)
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "size", "status"), [("GET", "/api/v1/files", 0, 401), ("POST", "/", BODY_MAX_BYTES + 1, 413), ("GET", "/x", 0, 404)]
)
def test_cross_origin_pages_can_read_errors(browser: httpx.Client, method: str, path: str, size: int, status: int) -> None:
    response = browser.request(method, path, content=b"x" * size, headers={"Origin": ALLOWED_ORIGIN})

    assert_problem(response, status)
    assert response.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
    exposed = {name.strip() for name in response.headers["access-control-expose-headers"].split(",")}
    # When to try again, where a created resource is, how to continue a list, and the version of a file.
    assert {"Retry-After", "Location", "Link", "X-Next-Cursor", "X-Total-Count", "ETag", "X-Request-Id"} <= exposed


@pytest.mark.parametrize("header", ["if-match", "if-none-match", "idempotency-key", "x-share-pass"])
def test_cross_origin_pages_can_send_the_headers_of_the_routes(browser: httpx.Client, header: str) -> None:
    headers = {"Origin": ALLOWED_ORIGIN, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": header}

    assert browser.options("/api/v1/files/x", headers=headers).status_code == 200


def test_no_origin_is_allowed_by_default(client: httpx.Client) -> None:
    assert "access-control-allow-origin" not in client.get("/health", headers={"Origin": ALLOWED_ORIGIN}).headers
