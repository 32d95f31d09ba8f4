"""Malformed input: always a problem document, never a 500, and the next request in the same process works."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.routers.http.request_middleware import BODY_MAX_BYTES
from tests.support.accounts import Account, make_file
from tests.support.gateway import payload_v2, unused_address
from tests.support.problems import assert_problem

JSON = {"Content-Type": "application/json"}
HUGE = "x" * 10_000_000
VALUES: dict[str, str] = {
    "NUL": r'"a\u0000b"',
    "lone surrogate": r'"\ud800"',
    "other lone surrogate": r'"a\udfffb"',
    "control": r'"\u0001"',
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "1e999": "1e999",
    "huge integer": "9" * 400,
    "huger integer than int() takes": "9" * 5000,
    "negative": "-1",
    "fraction": "1.5",
    "true": "true",
    "null in a list": "[null]",
    "object": '{"a": 1}',
    "deep list": "[" * 20_000 + "]" * 20_000,
    "deep object": '{"a":' * 20_000 + "1" + "}" * 20_000,
    "number as text": '"5"',
    "empty": '""',
    "long": json.dumps("x" * 100_000),
}
ROUTES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "register": ("POST", "/api/v1/users/", {"email": "someone@example.com", "password": "a good password"}),
    "change me": ("PUT", "/api/v1/users/me", {"email": "x@example.com", "password": "a good password", "current_password": "x"}),
    "change user": ("PUT", "/api/v1/users/{user}", {"is_active": True, "is_superuser": True}),
    "upload": (
        "POST",
        "/api/v1/files/upload",
        {"filename": "a", "content_type": "a/b", "size_bytes": 1, "sha256": "0" * 64, "description": "d", "is_public": False},
    ),
    "change file": ("PUT", "/api/v1/files/{file}", {"filename": "a", "description": "d", "is_public": False}),
}
FIELDS = [(route, field) for route, (_, _, body) in ROUTES.items() for field in body]
# Values of the list above that are valid for a field.
ACCEPTED = {
    ("is_public", "true"),
    ("is_active", "true"),
    ("is_superuser", "true"),
    ("description", "empty"),
    ("content_type", "empty"),
    ("description", "number as text"),
}
ACCEPTED |= {("filename", "number as text"), ("current_password", "empty"), ("current_password", "number as text")}
ACCEPTED |= {(field, control) for field in ("password", "current_password") for control in ("NUL", "control")}


@pytest.fixture(scope="module")
def paths(client: httpx.Client, make_user: Any) -> dict[str, Any]:
    account = make_user()
    return {"account": account, "user": account.id, "file": make_file(client, account, status="pending")["id"]}


@pytest.mark.parametrize(("route", "field"), FIELDS)
def test_hostile_value_in_any_field_returns_422(client: httpx.Client, paths: dict[str, Any], route: str, field: str) -> None:
    method, path, body = ROUTES[route]
    account: Account = paths["account"]
    for name, value in VALUES.items():
        other_fields = {key: item for key, item in body.items() if key != field}
        text = json.dumps(other_fields)[:-1] + (", " if other_fields else "") + f'"{field}": {value}}}'

        response = client.request(method, path.format(**paths), content=text, headers=JSON | account.headers)

        if (field, name) in ACCEPTED:
            assert response.status_code < 500, (name, response.text)
        else:
            assert_problem(response, response.status_code)
            assert 400 <= response.status_code < 500, (name, response.text)
        me = client.get("/api/v1/users/me", headers=account.headers)
        assert me.json()["id"] == str(account.id), name


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b'"x"', "application/json"),
        (b"\xff\xfe\x00", "application/json"),
        (b'{"filename": "a"} trailing', "application/json"),
        (b'{"\\ud800": 1}', "application/json"),
        (b'{"' + b"k" * 60_000 + b'": 1}', "application/json"),
        (json.dumps({f"k{number}": 1 for number in range(10_000)}).encode(), "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"filename": "a", "content_type": "a/b", "size_bytes": 1}', "text/plain"),
        (b'{"filename": "a", "content_type": "a/b", "size_bytes": 1}', "application/xml"),
        (b'{"filename": "a", "content_type": "a/b", "size_bytes": 1}', ""),
        (b"filename=a", "application/x-www-form-urlencoded"),
        (b"x", "application/json; charset=nonsense"),
        (b'{"filename": "a"}', "application/json/x"),
    ],
)
def test_malformed_body_is_refused(client: httpx.Client, owner: Account, content: bytes, content_type: Any) -> None:
    headers = {"Content-Type": content_type} | owner.headers

    response = client.post("/api/v1/files/upload", content=content, headers=headers)

    assert_problem(response, response.status_code)
    assert response.status_code in (400, 413, 415, 422)
    assert len(response.content) < 10_000
    assert client.get("/api/v1/users/me", headers=owner.headers).status_code == 200


@pytest.mark.parametrize("field", ["username", "password", "grant_type", "scope"])
def test_hostile_value_in_the_sign_in_form_is_refused(
    client: httpx.Client, client_from: Callable[[str], httpx.Client], owner: Account, field: str
) -> None:
    texts = ["", "a\x00b", "\x01", "NaN", "9" * 5000, "x" * 5000, "x" * 200_000, "\u0301" * 50_000, "'; --", "%00", "a@" + "b." * 500]
    for text in texts:
        # A multipart form sends every byte unencoded.
        form = {name: (None, text if name == field else "x") for name in ("username", "password", field)}

        # From a different address each time: many failures from one address would be throttled.
        with client_from(unused_address()) as stranger:
            response = stranger.post("/api/v1/login/token", files=form)

        assert_problem(response, response.status_code)
        assert response.status_code in (400, 401, 413, 422), (text[:20], response.text)
        assert client.get("/api/v1/users/me", headers=owner.headers).json()["id"] == str(owner.id)


@pytest.mark.parametrize("length", [None, "5", "-1", "9" * 50, "x"])
def test_body_over_the_limit_returns_413_for_any_content_length(handler: GatewayHandler, length: str | None) -> None:
    event = payload_v2(httpx.Request("POST", "https://api.test/api/v1/users/", content=b"x" * (BODY_MAX_BYTES + 1)))
    event["headers"] = {"host": "api.test", "content-type": "application/json"} | ({"content-length": length} if length else {})

    assert handler(event, None)["statusCode"] == 413


@pytest.mark.parametrize("path", ["/api/v1/files/upload", "/api/v1/login/token", "/api/v1/users/", "/health", "/nowhere"])
def test_body_over_the_limit_returns_413_on_every_route(client: httpx.Client, path: str) -> None:
    response = client.post(path, content=b"x" * (BODY_MAX_BYTES + 1), headers=JSON)

    assert_problem(response, 413, "body_too_large")


def test_body_at_the_limit_is_accepted(client: httpx.Client, owner: Account) -> None:
    body = json.dumps({"filename": "a", "content_type": "a/b", "size_bytes": 1}).encode().ljust(BODY_MAX_BYTES)

    assert client.post("/api/v1/files/upload", content=body, headers=JSON | owner.headers).status_code == 201


def test_ten_megabytes_of_text_return_413(client: httpx.Client) -> None:
    assert_problem(client.post("/api/v1/users/", json={"email": HUGE, "password": HUGE}), 413, "body_too_large")


def test_error_never_echoes_the_value(client: httpx.Client) -> None:
    response = client.post("/api/v1/users/", json={"email": "not an address", "password": "hunter2", "extra": "s3cr3t"})

    assert_problem(response, 422, "malformed_request")
    assert "hunter2" not in response.text
    assert "s3cr3t" not in response.text
    assert {tuple(error["loc"]) for error in response.json()["errors"]} == {("body", "email"), ("body", "password"), ("body", "extra")}


@pytest.mark.parametrize(
    "path",
    ["/api/v1/files/%00", "/api/v1/files/%ff", "/api/v1/files/..%2f..%2fetc", "/api/v1/files/%252f", "/api/v1/files/" + "9" * 5000, "/%"],
)
def test_hostile_path_is_refused(client: httpx.Client, owner: Account, path: str) -> None:
    response = client.get(path, headers=owner.headers)

    assert_problem(response, response.status_code)
    assert response.status_code in (404, 422)
