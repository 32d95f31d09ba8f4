"""Compares responses with the committed OpenAPI document, so that each test that sees an undocumented response fails."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import httpx

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
PROBLEM_MEDIA_TYPE = "application/problem+json"
HEADERS = ("ETag", "Link", "X-Next-Cursor", "X-Total-Count", "X-Total-Count-Relation", "Location", "Retry-After")
"""Headers that an operation must document if it returns them."""
UNDOCUMENTED_CODES = {
    "internal_error",
    "no_such_route",
    "method_not_allowed",
    "http_error",
    "malformed_event",
    "cors_refused",
    "side_door",
}
"""Codes of responses that no route makes. The operations do not list them."""


@cache
def document() -> dict[str, Any]:
    """Return the committed document."""
    loaded: dict[str, Any] = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    return loaded


def assert_documented(response: httpx.Response, *, prefix: str = "") -> None:
    """Assert that the document lists the error code and the headers of a response. `prefix` is the stage before the path."""
    found = _operation(response.request.method, response.request.url.path.removeprefix(prefix))
    if found is None:
        return
    name, operation = found
    status = str(response.status_code)
    documented = operation["responses"].get(status, {})
    if response.headers.get("content-type") == PROBLEM_MEDIA_TYPE:
        code = response.json()["code"]
        listed = _codes(documented)
        assert code in listed or code in UNDOCUMENTED_CODES, (
            f"{name} returned {status} {code}, which its document does not list. Add the code to problem_responses(…) of the route "
            "and run: make openapi"
        )
        if code in UNDOCUMENTED_CODES:
            return
    elif status in operation["responses"]:
        missing = [header for header in HEADERS if header in response.headers and header not in documented.get("headers", {})]
        assert not missing, f"{name} returned the headers {missing} with {status}, which its document does not list"


def _codes(response: dict[str, Any]) -> set[str]:
    schema = response.get("content", {}).get(PROBLEM_MEDIA_TYPE, {}).get("schema", {})
    schemas = document()["components"]["schemas"]
    names = [choice["$ref"].rpartition("/")[2] for choice in schema.get("oneOf", [schema]) if "$ref" in choice]
    return {code for name in names for part in schemas[name].get("allOf", ()) for code in _enum(part)}


def _enum(schema: dict[str, Any]) -> list[str]:
    codes: list[str] = schema.get("properties", {}).get("code", {}).get("enum", [])
    return codes


def _operation(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    for pattern, template, operations in _patterns():
        if pattern.fullmatch(path):
            found: dict[str, Any] | None = operations.get(method.lower())
            return None if found is None else (f"{method} {template}", found)
    return None


@cache
def _patterns() -> list[tuple[re.Pattern[str], str, dict[str, Any]]]:
    # A path with a literal segment comes before one whose parameter matches the same path.
    templates = sorted(document()["paths"], key=lambda template: (template.count("{"), template))
    return [
        (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template.rstrip("/"))) + "/*"), template, document()["paths"][template])
        for template in templates
    ]
