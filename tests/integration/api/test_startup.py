"""What the application has done before its first request."""

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies import utils

from lambda_app.main import create_app
from lambda_app.routers.gateway import GatewayHandler
from tests.support.gateway import GatewayTransport


def test_first_request_builds_no_route(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = create_app(app.state.services.settings, app.state.services)

    def fail(**_: object) -> None:
        pytest.fail("A route was built during a request")

    monkeypatch.setattr(utils, "analyze_param", fail)
    with httpx.Client(transport=GatewayTransport(GatewayHandler(whole)), base_url="https://api.test") as client:
        assert client.get("/api/v1/files").status_code == 401
