"""Assertions on problem documents."""

from collections.abc import Mapping
from typing import Any

import httpx

# RFC 9110 and, for 429, RFC 6585.
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    410: "Gone",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


def assert_problem(
    answer: httpx.Response, status: int, code: str | None = None, *, headers: Mapping[str, str] | None = None, **members: Any
) -> None:
    """Assert that the response is a complete problem document with this status, code, headers and members."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"] == TITLES[status]
    assert body["type"] == "about:blank"
    assert body["detail"]
    assert body["request_id"] == answer.headers.get("x-request-id")
    if code is not None:
        assert body["code"] == code
    for name, value in (headers or {}).items():
        assert answer.headers[name] == value
    for name, value in members.items():
        assert body[name] == value


def assert_unauthenticated(answer: httpx.Response) -> None:
    """Assert that the response is 401 without further information."""
    assert_problem(answer, 401, "not_authenticated", headers={"www-authenticate": "Bearer"})
