"""Pages of the named origins may call the API, others may not, and errors can be read by them too."""

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

PAGE = "https://app.example.com"
ELSEWHERE = "https://evil.example"


@pytest.fixture
def browser(settings: Settings, services: Services) -> Iterator[httpx.Client]:
    app = create_app(settings.model_copy(update={"backend_cors_origins": (PAGE,)}), services)
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
    answer = preflight(browser, PAGE)

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers


def test_cross_origin_pages_can_change_and_open_share_links(browser: httpx.Client) -> None:
    for method, header in (("PATCH", "authorization"), ("GET", "x-share-pass")):
        headers = {"Origin": PAGE, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": header}
        assert browser.options("/api/v1/shares/x", headers=headers).status_code == 200


def test_preflight_of_another_origin_is_refused(browser: httpx.Client) -> None:
    answer = preflight(browser, ELSEWHERE)

    assert_problem(answer, 403, "cors_refused", request_id=None)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "size", "status"), [("GET", "/api/v1/files", 0, 401), ("POST", "/", BODY_MAX_BYTES + 1, 413), ("GET", "/x", 0, 404)]
)
def test_cross_origin_pages_can_read_errors(browser: httpx.Client, method: str, path: str, size: int, status: int) -> None:
    answer = browser.request(method, path, content=b"x" * size, headers={"Origin": PAGE})

    assert_problem(answer, status)
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "X-Next-Cursor" in answer.headers["access-control-expose-headers"]


def test_no_origin_is_allowed_by_default(client: httpx.Client) -> None:
    assert "access-control-allow-origin" not in client.get("/health", headers={"Origin": PAGE}).headers
