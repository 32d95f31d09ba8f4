"""Each route has one spelling: encoded paths are not routed, and costly routes cannot be reached past the gateway's rate limit."""

from functools import partial
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Route

from lambda_app.routers.http.costly_routes import COSTLY_ROUTES, is_costly
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account
from tests.support.event_loops import run_in_new_loop
from tests.support.gateway import GatewayTransport, payload_v1, payload_v2
from tests.support.problems import assert_problem

TOKEN = "/api/v1/login/token"
ENCODED = [
    "/api/v1/login/%74oken",
    "/api/v1/login%2Ftoken",
    "/api/v1/login%2ftoken",
    "/%61pi/v1/login/token",
    "/login/toke%6E",
    "/api/v1/login/token%2f",
    "/api/v1/login/%2574oken",
]
HASHED_FIELDS = ("password", "account_password", "current_password")


def form_of(account: Account) -> dict[str, str]:
    return {"username": account.email, "password": account.password}


@pytest.mark.parametrize("path", ENCODED)
def test_server_does_not_route_an_encoded_path(app: FastAPI, owner: Account, path: str) -> None:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api.test") as client:
            return await client.post(path, data=form_of(owner))

    assert_problem(run_in_new_loop(send()), 404, "no_such_route")


def encoded_event(make_event: Any, request: httpx.Request) -> dict[str, Any]:
    """Return the event of a gateway that leaves the path as it was sent."""
    event: dict[str, Any] = make_event(request)
    raw_path = request.url.raw_path.decode()
    if event["version"] == "2.0":
        event["rawPath"] = event["requestContext"]["http"]["path"] = raw_path
    else:
        event["path"], event["requestContext"]["path"] = raw_path, f"/dev{raw_path}"
    return event


@pytest.mark.parametrize("make_event", [payload_v1, payload_v2])
@pytest.mark.parametrize("path", ENCODED)
def test_function_does_not_route_an_encoded_path(handler: GatewayHandler, owner: Account, path: str, make_event: Any) -> None:
    transport = GatewayTransport(handler, partial(encoded_event, make_event))
    with httpx.Client(transport=transport, base_url="https://api.test") as client:
        assert_problem(client.post(path, data=form_of(owner)), 404, "no_such_route")
        assert client.post(TOKEN, data=form_of(owner)).status_code == 200


def decoded_once(request: httpx.Request) -> dict[str, Any]:
    event = payload_v2(request)
    event["rawPath"] = event["requestContext"]["http"]["path"] = unquote(request.url.raw_path.decode())
    return event


def test_path_that_was_encoded_twice_is_not_routed_behind_a_gateway_that_decodes_once(handler: GatewayHandler, owner: Account) -> None:
    with httpx.Client(transport=GatewayTransport(handler, decoded_once), base_url="https://api.test") as client:
        assert_problem(client.post("/api/v1/login/%2574oken", data=form_of(owner)), 404, "no_such_route")


def routed_event(request: httpx.Request, *, stage: str, route_key: str) -> dict[str, Any]:
    event = payload_v2(request, stage=stage)
    event["routeKey"] = event["requestContext"]["routeKey"] = route_key
    return event


@pytest.mark.parametrize("stage", ["$default", "dev"])
def test_costly_route_is_refused_on_the_default_route_of_the_gateway(app: FastAPI, owner: Account, stage: str) -> None:
    """The gateway decodes the path of the event, so only its route key shows that it did not recognise the path."""
    handler = GatewayHandler(app, has_costly_routes=True)

    def send(path: str, route_key: str, method: str = "POST", **options: Any) -> httpx.Response:
        transport = GatewayTransport(handler, partial(routed_event, stage=stage, route_key=route_key))
        with httpx.Client(transport=transport, base_url="https://api.test") as client:
            return client.request(method, path, **options)

    assert_problem(send(TOKEN, "$default", data=form_of(owner)), 404, "no_such_route")
    assert_problem(send(f"{TOKEN}/", "$default", data=form_of(owner)), 404, "no_such_route")
    assert send(TOKEN, f"POST {TOKEN}", data=form_of(owner)).status_code == 200
    assert send("/api/v1/users/", "$default", json={}).status_code == 422
    assert send("/api/v1/users/me", "$default", "GET", headers=owner.headers).status_code == 200


def test_gateway_without_costly_routes_serves_all_routes(client: httpx.Client, owner: Account) -> None:
    assert client.post(TOKEN, data=form_of(owner)).status_code == 200


def _properties(schema: Any, document: dict[str, Any]) -> set[str]:
    """Return the names of all properties in the schema, with those of the schemas that it refers to."""
    if isinstance(schema, list):
        return set().union(*(_properties(part, document) for part in schema))
    if not isinstance(schema, dict):
        return set()
    names = set(schema.get("properties", {}))
    if "$ref" in schema:
        names |= _properties(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], document)
    return names.union(*(_properties(part, document) for part in schema.values()))


def test_every_route_that_takes_a_password_is_a_costly_route(app: FastAPI) -> None:
    document = app.openapi()
    taking_passwords = {
        f"{method.upper()} {path.rstrip('/')}"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if _properties(operation.get("requestBody", {}), document) & set(HASHED_FIELDS)
    }

    assert len(taking_passwords) >= 9
    assert taking_passwords <= set(COSTLY_ROUTES)


def test_every_costly_route_is_a_route_of_the_api(app: FastAPI) -> None:
    api_routes = [route for route in app.router.routes if isinstance(route, Route)]
    routes = {f"{method} {route.path.rstrip('/')}" for route in api_routes for method in route.methods or ()}

    assert set(COSTLY_ROUTES) <= routes


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/api/v1/login/token", True),
        ("POST", "/login/token//", True),
        ("PUT", "/api/v1/users/6f3c1e1e-0000-4000-8000-000000000000", True),
        ("POST", "/s/Summer", True),
        ("POST", "/s/Summer/archives", False),
        ("GET", "/s/Summer", False),
        ("POST", "/api/v1/users/", False),
        ("POST", "/api/v1/login/token.", False),
    ],
)
def test_costly_routes_are_recognised_by_method_and_path(method: str, path: str, expected: bool) -> None:
    assert is_costly(method, path) is expected
