"""Security headers of responses."""

import base64
import hashlib
import re

import httpx
import pytest

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.routers.http.security_headers import DEFAULTS
from tests.support.accounts import Account
from tests.support.gateway import GatewayTransport


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/health"), ("GET", "/nowhere"), ("GET", "/api/v1/users/me"), ("PATCH", "/health"), ("GET", "/openapi.json")],
)
def test_every_response_has_the_default_headers(client: httpx.Client, method: str, path: str) -> None:
    response = client.request(method, path)

    assert {name: response.headers[name] for name, _ in DEFAULTS} == dict(DEFAULTS)


def test_responses_to_users_are_not_cached(client: httpx.Client, owner: Account) -> None:
    assert client.get("/api/v1/users/me", headers=owner.headers).headers["cache-control"] == "no-store"


def test_malformed_event_and_preflight_get_the_default_headers(handler: GatewayHandler, settings: Settings, services: Services) -> None:
    assert dict(DEFAULTS).items() <= handler({}, None)["headers"].items()

    app = create_app(settings.model_copy(update={"backend_cors_origins": ("https://page.test",)}), services)
    with httpx.Client(transport=GatewayTransport(GatewayHandler(app)), base_url="https://api.test") as client:
        for origin in ("https://page.test", "https://other.test"):
            preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            response = client.options("/api/v1/files", headers=preflight)
            assert {name: response.headers[name] for name, _ in DEFAULTS} == dict(DEFAULTS)


def test_docs_contain_all_that_their_policy_allows(client: httpx.Client) -> None:
    docs = client.get("/docs")
    policy = docs.headers["content-security-policy"]

    assert docs.headers.get_list("content-security-policy") == [policy]
    for kind in ("script", "style"):
        (inline,) = re.findall(rf"<{kind}>(.*?)</{kind}>", docs.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    # Nothing is loaded from elsewhere, so that the page works without internet access.
    assert not re.search(r"https?://|<link|\ssrc=", docs.text + policy)
