"""The errors of each operation: those that its route names, and those that follow from its body, credentials and dependencies."""

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi.routing import RouteContext

from lambda_app.dependencies.browser_sessions import require_same_origin_session
from lambda_app.dependencies.same_origin import require_trusted_origin
from lambda_app.dependencies.services import get_session
from lambda_app.routers.http.openapi.dependencies import calls_of
from lambda_app.routers.http.openapi.security import API_KEY
from lambda_app.routers.http.problems import ERROR_CODES_KEY, PROBLEM_MEDIA_TYPE, title_of
from lambda_app.routers.http.query_parameters import StrictRoute
from lambda_app.schemas.error_codes import ERRORS

_ALWAYS_DECLARED = "422"
_BODY = ("bad_request", "body_too_large", "unsupported_media_type")
_SERVICES = ("unavailable", "database_unavailable", "database_starting", "serialization_conflict")
"""Signing keys, secrets and the database: each request with credentials or a session needs them."""
_BY_DEPENDENCY = {
    require_trusted_origin: ("cross_site_form",),
    require_same_origin_session: ("session_header_missing", "cross_origin_session"),
    get_session: _SERVICES,
}
_BY_PARAMETER = {
    "cursor": ("bad_cursor",),
    "If-Match": ("file_changed",),
    "Idempotency-Key": ("idempotency_key_in_flight", "idempotency_key_reused"),
}


def schema_name(code: str) -> str:
    """Return the name of the schema of an error code."""
    return f"{''.join(word.capitalize() for word in code.split('_'))}Problem"


def codes_of(operation: dict[str, Any]) -> dict[str, list[str]]:
    """Return the error codes of a completed operation by status, as its document lists them."""
    found: dict[str, list[str]] = {}
    for status, response in operation["responses"].items():
        schema = response.get("content", {}).get(PROBLEM_MEDIA_TYPE, {}).get("schema")
        if schema is not None:
            names = [choice["$ref"].rpartition("/")[2] for choice in schema.get("oneOf", [schema])]
            found[status] = [code for code in ERRORS if schema_name(code) in names]
    return found


def complete(operation: dict[str, Any], route: RouteContext) -> None:
    """Replace the problem responses of an operation by one for each status, with the schema of each of its error codes."""
    responses = operation["responses"]
    # A route that names a status without a code: the response stays as it is, and the check of the conventions reports it.
    unnamed = {status for status, response in responses.items() if response.get(ERROR_CODES_KEY) == [] and status != _ALWAYS_DECLARED}
    codes = {*_declared(responses.values()), *_derived(operation, route)}
    by_status: dict[int, list[str]] = {}
    for code in ERRORS:
        if code in codes:
            by_status.setdefault(ERRORS[code].status, []).append(code)
    for status, listed in by_status.items():
        if str(status) in unnamed:
            continue
        # Pages have other types besides.
        others = {
            kind: content for kind, content in responses.get(str(status), {}).get("content", {}).items() if kind != PROBLEM_MEDIA_TYPE
        }
        responses[str(status)] = _response(status, listed)
        responses[str(status)]["content"] |= others
    operation["responses"] = dict(sorted(responses.items()))


def _declared(responses: Iterable[dict[str, Any]]) -> Iterator[str]:
    for response in responses:
        yield from response.pop(ERROR_CODES_KEY, ())


def _derived(operation: dict[str, Any], route: RouteContext) -> Iterator[str]:
    yield "malformed_request"
    if "requestBody" in operation:
        yield from _BODY
    if isinstance(route.original_route, StrictRoute):
        yield "unknown_parameter"
    calls = calls_of(route)
    for dependency, codes in _BY_DEPENDENCY.items():
        if dependency in calls:
            yield from codes
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            # A value with a percent-encoded character, or with a slash, reaches no route.
            yield "no_such_route"
        yield from _BY_PARAMETER.get(parameter["name"], ())
    if operation["security"]:
        yield "not_authenticated"
        yield "second_factor_enrolment_required"
        yield from _SERVICES
        if any(requirement.get(API_KEY) for requirement in operation["security"]):
            yield "insufficient_scope"


def _response(status: int, codes: list[str]) -> dict[str, Any]:
    schemas = [{"$ref": f"#/components/schemas/{schema_name(code)}"} for code in codes]
    listed = "\n".join(f"- `{code}`: {ERRORS[code].description}" for code in codes)
    return {
        "description": f"{title_of(status)}\n\n{listed}",
        "content": {PROBLEM_MEDIA_TYPE: {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}}},
    }
