"""The Lambda entry point: both event formats, stages, and malformed events."""

import base64
import json
import logging
import sys
from importlib import import_module
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from infra.config import HEALTH_REQUEST
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account, make_file
from tests.support.gateway import GatewayTransport, payload_v1, payload_v2
from tests.support.problems import assert_problem


def named_api_on_a_custom_domain(request: httpx.Request) -> dict[str, Any]:
    event = payload_v2(request)
    event["requestContext"]["stage"] = "api"
    return event


EVENTS = {
    "HTTP API": payload_v2,
    "HTTP API with a stage": lambda request: payload_v2(request, stage="dev"),
    "HTTP API with a stage named api": lambda request: payload_v2(request, stage="api"),
    "HTTP API with a stage named api on a custom domain": named_api_on_a_custom_domain,
    "REST API": payload_v1,
    "REST API on a custom domain": lambda request: custom_domain(payload_v1(request)),
}


def custom_domain(event: dict[str, Any]) -> dict[str, Any]:
    event["requestContext"]["path"] = event["path"]
    return event


@pytest.fixture(params=EVENTS)
def any_client(request: pytest.FixtureRequest, handler: GatewayHandler) -> httpx.Client:
    return httpx.Client(transport=GatewayTransport(handler, EVENTS[request.param]), base_url="https://api.test")


def test_every_event_format_is_served(any_client: httpx.Client, owner: Account) -> None:
    file = make_file(any_client, owner, filename="ünï.txt")

    listed = any_client.get("/api/v1/files", params={"limit": 5}, headers=owner.headers)

    assert listed.json() == [file]
    assert any_client.get("/health").json() == {"status": "ok"}
    assert any_client.delete(f"/api/v1/files/{file['id']}", headers=owner.headers).status_code == 204


def test_request_of_the_schedule_that_keeps_the_snapshot_is_served(handler: GatewayHandler) -> None:
    answer = handler(HEALTH_REQUEST, None)

    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"status": "ok"})


def test_problem_is_text_in_every_event_format(any_client: httpx.Client) -> None:
    assert_problem(any_client.get("/api/v1/users/me"), 401, "not_authenticated")
    assert_problem(any_client.get("/nowhere"), 404, "no_such_route")
    assert_problem(any_client.patch("/api/v1/files"), 405, "method_not_allowed")


def test_request_id_comes_from_the_gateway(handler: GatewayHandler) -> None:
    event = payload_v2(httpx.Request("GET", "https://api.test/health"))

    response = handler(event, None)

    assert response["headers"]["x-request-id"] == event["requestContext"]["requestId"]


@pytest.mark.parametrize(
    ("make_event", "prefix"),
    [(payload_v2, ""), (lambda request: payload_v2(request, stage="dev"), "/dev"), (payload_v1, "/dev")],
)
def test_docs_work_below_a_stage(handler: GatewayHandler, make_event: Any, prefix: str) -> None:
    client = httpx.Client(transport=GatewayTransport(handler, make_event), base_url="https://api.test")

    docs = client.get("/docs")
    document = client.get("/openapi.json")

    assert docs.status_code == 200
    assert f"{prefix}/openapi.json" in docs.text
    assert document.json().get("servers", [{"url": ""}])[0]["url"] == (prefix or "/")
    assert "/api/v1/files/upload" in document.json()["paths"]


def test_text_and_base64_bodies_arrive_complete(client: httpx.Client, handler: GatewayHandler, owner: Account) -> None:
    declared = {"filename": "ü", "content_type": "a/b", "size_bytes": 1}
    event = payload_v2(client.build_request("POST", "/api/v1/files/upload", json=declared, headers=owner.headers))
    encoded = event | {"body": base64.b64encode(event["body"].encode()).decode(), "isBase64Encoded": True}

    assert handler(event, None)["statusCode"] == handler(encoded, None)["statusCode"] == 201


@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "Forwarded"])
def test_links_ignore_host_and_forwarded_headers(client: httpx.Client, owner: Account, header: str) -> None:
    for _ in range(2):
        make_file(client, owner, status="pending")
    headers = owner.headers | {header: "evil.example"}

    response = client.get("/api/v1/files", params={"limit": 1}, headers=headers)
    upload = client.post("/api/v1/files/upload", json={"filename": "a", "content_type": "a/b", "size_bytes": 1}, headers=headers)
    slash = client.get("/api/v1/users/me/", headers=headers)

    assert "evil" not in str(response.headers) + str(upload.headers) + upload.text + str(slash.headers)
    assert slash.status_code == 200


@pytest.mark.parametrize("request_id", ["", "x" * 129, "a\nb", "ä", None, 5])
def test_malformed_request_id_is_replaced(handler: GatewayHandler, request_id: Any) -> None:
    event = payload_v2(httpx.Request("GET", "https://api.test/health"))
    event["requestContext"]["requestId"] = request_id

    assert str(UUID(handler(event, None)["headers"]["x-request-id"])) != request_id


def test_responses_are_nosniff_and_secrets_no_store(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner)
    declared = {"filename": "a", "content_type": "a/b", "size_bytes": 1}
    upload = client.post("/api/v1/files/upload", json=declared, headers=owner.headers)
    download = client.get(f"/api/v1/files/download/{file['id']}", headers=owner.headers)

    assert upload.headers["cache-control"] == download.headers["cache-control"] == "no-store"
    assert client.get("/health").headers["x-content-type-options"] == client.get("/x").headers["x-content-type-options"] == "nosniff"


def test_access_log_contains_the_route_and_never_the_path(client: httpx.Client, owner: Account, caplog: pytest.LogCaptureFixture) -> None:
    file = make_file(client, owner, status="pending")
    caplog.clear()
    access_log = logging.getLogger("lambda_app.routers.http.request_middleware")
    access_log.addHandler(caplog.handler)
    try:
        client.get(f"/api/v1/files/{file['id']}?secret=s3cr3t", headers=owner.headers)
        client.get("/nowhere/s3cr3t")
    finally:
        access_log.removeHandler(caplog.handler)

    fields = [getattr(record, "fields", {}) for record in caplog.records]
    assert {(line["route"], line["status"]) for line in fields} == {("/api/v1/files/{file_id}", 422), (None, 404)}
    assert file["id"] not in str(fields) + caplog.text
    assert "s3cr3t" not in str(fields) + caplog.text


def test_unknown_parameter_is_never_echoed_in_full(client: httpx.Client, owner: Account) -> None:
    response = client.get("/api/v1/files", params={"limit": 1, "x" * 5000: "y" * 5000}, headers=owner.headers)

    assert_problem(response, 422, "unknown_parameter")
    assert "yyy" not in response.text
    assert len(response.text) < 1000


def http_event(**changes: Any) -> dict[str, Any]:
    return payload_v2(httpx.Request("POST", "https://api.test/api/v1/users/", json={})) | changes


def with_headers(**headers: Any) -> dict[str, Any]:
    event = http_event()
    return event | {"headers": event["headers"] | headers}


MALFORMED: dict[str, Any] = {
    "nothing": {},
    "None": None,
    "a list": [],
    "a string": "warm up",
    "an S3 event": {"Records": [{"eventSource": "aws:s3"}]},
    "a schedule": {"source": "aws.events", "detail-type": "Scheduled Event"},
    "bad base64": http_event(body="abc", isBase64Encoded=True),
    "headers null": http_event(headers=None),
    "headers a list": http_event(headers=[]),
    "header null": with_headers(**{"x-a": None}),
    "host of three parts": with_headers(host="a:b:c"),
    "host with a bad port": with_headers(host="a:b"),
    "forwarded port": with_headers(host="a", **{"x-forwarded-port": "http"}),
    "surrogate in the body": http_event(body='{"email": "\ud800"}'),
    "surrogate in a header": with_headers(**{"x-a": "\ud800"}),
    "body a number": http_event(body=5),
    "no request context": {key: value for key, value in http_event().items() if key != "requestContext"},
    "request context empty": http_event(requestContext={}),
    "request context null": http_event(requestContext=None),
    "no method": http_event(requestContext={"http": {"path": "/", "sourceIp": "x"}}),
    "raw query null": http_event(rawQueryString=None),
    "path a number": http_event(requestContext={"http": {"path": 5, "method": "GET", "sourceIp": "x"}, "stage": "$default"}),
    "method a list": http_event(requestContext={"http": {"path": "/health", "method": ["GET"], "sourceIp": "x"}, "stage": "$default"}),
    "method an object": http_event(requestContext={"http": {"path": "/health", "method": {}, "sourceIp": "x"}, "stage": "$default"}),
    "version unknown": http_event(version="9.0"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_event_returns_400_and_the_next_event_is_served(client: httpx.Client, handler: GatewayHandler, name: str) -> None:
    response = handler(MALFORMED[name], None)

    assert 400 <= response["statusCode"] < 500, response
    assert response["headers"]["content-type"] == "application/problem+json"
    assert json.loads(response["body"])["status"] == response["statusCode"]
    assert client.get("/health").json() == {"status": "ok"}


def test_unexpected_error_returns_a_problem_without_details(app: FastAPI, handler: GatewayHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambda_app.routers.health.Health", lambda: 1 / 0)
    client = httpx.Client(transport=GatewayTransport(handler), base_url="https://api.test")

    response = client.get("/health")

    assert_problem(response, 500, "internal_error", detail="Internal server error")
    assert "division" not in response.text


def test_entry_point_is_built_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "local")
    monkeypatch.setenv("DATABASE_URL", "postgresql://app@127.0.0.1:1/app")
    monkeypatch.setenv("SECRET_KEY", "x")
    monkeypatch.setenv("S3_BUCKET_NAME", "bucket")
    monkeypatch.delitem(sys.modules, "lambda_app.main", raising=False)

    main = import_module("lambda_app.main")

    assert isinstance(main.handler, GatewayHandler)
    assert isinstance(main.app, FastAPI)
    monkeypatch.delitem(sys.modules, "lambda_app.main")
