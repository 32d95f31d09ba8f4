"""Renders all errors as `application/problem+json` (RFC 9457)."""

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.params import Form
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from lambda_app.core import logs
from lambda_app.core.errors import AppError, DatabaseStartingError, MalformedRequestError
from lambda_app.dependencies.callers import refusal_before
from lambda_app.routers.http.validation_messages import validation_message
from lambda_app.schemas.error_codes import ERRORS

logger = logging.getLogger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"
JSON_MEDIA_TYPE = "application/json"
FORM_MEDIA_TYPE = "application/x-www-form-urlencoded"
_FORMATS = {JSON_MEDIA_TYPE: "JSON", FORM_MEDIA_TYPE: "a form"}
LOC_PART_MAX_LENGTH = 64
"""Characters of a field name in an error, because the caller can send names of any length."""
ERRORS_MAX_COUNT = 20
"""Field errors in one response; further ones are left out."""
RETRY_AFTER_SECONDS = 2
"""When to repeat a request that failed because a service did not respond, unless the error states another time."""

ERROR_CODES_KEY = "x-error-codes"
"""Key of a declared response, for `routers/http/openapi/errors`. The document does not contain it."""

_PROBLEM_REF = "#/components/schemas/Problem"

_NEW_PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}

HTTP_CODES = {400: "bad_request", 404: "no_such_route", 405: "method_not_allowed"}
"""Codes of errors that Starlette's router raises."""


def title_of(status: int) -> str:
    """Return the reason phrase of a status in RFC 9110. Python before 3.13 has older phrases for two of them."""
    return _NEW_PHRASES.get(status) or HTTPStatus(status).phrase


def problem_body(
    *, status: int, code: str, detail: str, extra: Mapping[str, Any] | None = None, request_id: str | None = None
) -> dict[str, Any]:
    """Return the members of a problem document."""
    return {
        "type": "about:blank",
        "title": title_of(status),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id or logs.request_id.get(),
        **(extra or {}),
    }


def problem_response(
    *, status: int, code: str, detail: str, extra: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a problem document as an HTTP response."""
    headers = {"Cache-Control": "no-store", **(headers or {})}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    if (retry_after := headers.get("Retry-After", "")).isdigit():
        # Also in the body, for pages of other origins that cannot read the header, and for people.
        extra = {"retry_after_seconds": int(retry_after), **(extra or {})}
    # json.dumps escapes to ASCII; a lone surrogate in a field name could not be encoded as UTF-8.
    body = json.dumps(problem_body(status=status, code=code, detail=detail, extra=extra)).encode()
    return Response(body, status_code=status, headers=headers, media_type=PROBLEM_MEDIA_TYPE)


def problem_responses(*errors: int | str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route for its error codes, and for 422.

    `routers/http/openapi/errors` adds the codes that follow from the route's body, credentials and dependencies. A status without a code
    is accepted, so that a route can be declared before its codes are known; a test reports it.
    """
    codes = [error for error in errors if isinstance(error, str)]
    statuses = {422, *(ERRORS[error].status if isinstance(error, str) else error for error in errors)}
    return {
        status: {
            "description": title_of(status),
            "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": _PROBLEM_REF}}},
            ERROR_CODES_KEY: [code for code in codes if ERRORS[code].status == status],
        }
        for status in sorted(statuses)
    }


def install_problem_handlers(app: FastAPI) -> None:
    """Render all errors of the application as problem documents."""

    @app.exception_handler(AppError)
    async def _app_error(request: Request, error: AppError) -> Response:
        if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            error = await refusal_before(request) or error
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            # A database that starts is no fault to notify the operator of.
            level = logging.INFO if isinstance(error, DatabaseStartingError) else logging.ERROR
            logger.log(level, "refused: %s", error.code, exc_info=error)
        return problem_response(status=error.status, code=error.code, detail=error.message, extra=error.extra, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def _malformed(request: Request, error: RequestValidationError) -> Response:
        refusal = await refusal_before(request)
        if refusal is not None:
            return await _app_error(request, refusal)
        errors = error.errors()
        expected = _expected_media_type(request, errors)
        if expected is not None:
            detail = f"Send {_FORMATS[expected]} with Content-Type: {expected}"
            return problem_response(status=415, code="unsupported_media_type", detail=detail)
        problems = _field_problems(errors)
        return problem_response(
            status=MalformedRequestError.status,
            code=MalformedRequestError.code,
            detail=f"{MalformedRequestError.message}: {_sentence(problems[0])}",
            extra={"errors": problems},
        )

    @app.exception_handler(HTTPException)
    async def _http_exception(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_allowed_methods(request))
        return problem_response(
            status=error.status_code,
            code=HTTP_CODES.get(error.status_code, "http_error"),
            detail=str(error.detail),
            headers=headers,
        )


def _allowed_methods(request: Request) -> list[str]:
    # RFC 9110, section 15.5.6. Starlette lists only the methods of the first matching route, but each method here is a route of its own.
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    routes = [route for route in request.app.router.routes if isinstance(route, Route)]
    found = next((route.path for route in routes if route.path_regex.fullmatch(path)), None)
    return sorted({method for route in routes if route.path == found for method in route.methods or ()})


def _expected_media_type(request: Request, errors: Sequence[Any]) -> str | None:
    """Return the media type that the route needs, if the body was sent with another one and therefore could not be read."""
    if all(error["loc"][:1] != ("body",) for error in errors) or not request.headers.get("content-length", "0").strip("0"):
        return None
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = getattr(request.scope.get("route"), "body_field", None)
    if body is None:
        # A route that reads its body itself, in more than one format.
        return None
    if isinstance(body.field_info, Form):
        return None if sent in (FORM_MEDIA_TYPE, "multipart/form-data") else FORM_MEDIA_TYPE
    return None if sent == JSON_MEDIA_TYPE or sent.endswith("+json") else JSON_MEDIA_TYPE


def _sentence(problem: Mapping[str, Any]) -> str:
    """Return the problem of a field with the name of the field, which is the last part of its location that is not a position."""
    names = [part for part in problem["loc"][1:] if isinstance(part, str)]
    return f"{names[-1] if names else problem['loc'][0]} {problem['msg']}"


def _field_problems(errors: Sequence[Any]) -> list[dict[str, Any]]:
    # Only location, message and type: `input` and `ctx` would echo passwords, NaN and lone surrogates.
    return [
        {
            "loc": [part if isinstance(part, int) else str(part)[:LOC_PART_MAX_LENGTH] for part in error["loc"]],
            "msg": validation_message(error),
            "type": error["type"],
        }
        for error in errors[:ERRORS_MAX_COUNT]
    ]
