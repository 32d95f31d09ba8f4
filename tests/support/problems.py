"""Assertions on problem documents."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx


def assert_problem(
    answer: httpx.Response, status: int, code: str | None = None, *, headers: Mapping[str, str] | None = None, **members: Any
) -> None:
    """Assert that the answer is a complete problem document with this status, code, headers and members."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"] == HTTPStatus(status).phrase
    assert body["type"] == "about:blank"
    assert body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    if code is not None:
        assert body["code"] == code
    for name, value in (headers or {}).items():
        assert answer.headers[name] == value
    for name, value in members.items():
        assert body[name] == value


def assert_unauthenticated(answer: httpx.Response) -> None:
    """Assert that the caller was told to prove who they are, and nothing else."""
    assert_problem(answer, 401, "not_authenticated", headers={"www-authenticate": "Bearer"})
