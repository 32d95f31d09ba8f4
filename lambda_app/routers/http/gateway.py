"""Converts API Gateway events to ASGI requests and responses back, with Mangum and fixes for what it does not cover."""

import json
import logging
import re
from typing import Any

from mangum import Mangum
from mangum.adapter import DEFAULT_TEXT_MIME_TYPES
from starlette.types import ASGIApp, Receive, Scope, Send

from lambda_app.core.errors import AppError
from lambda_app.dependencies import inline_threadpool
from lambda_app.routers.http.costly_routes import is_costly
from lambda_app.routers.http.problems import PROBLEM_MEDIA_TYPE, problem_body, problem_response
from lambda_app.routers.http.request_middleware import UNRECOGNISED_PATH
from lambda_app.routers.http.security_headers import DEFAULTS

logger = logging.getLogger(__name__)

DEFAULT_ROUTE = "$default"
"""The route key of requests for which the gateway has no other route."""
MALFORMED_EVENT = "malformed_event"
MALFORMED_EVENT_DETAIL = "The event is not an API Gateway request"

WITHOUT_SLASH = "we_upload.stage_without_slash"
"""Key of the scope: whether the request is for the root of a stage without its trailing slash (`/dev`). The path is `/` in both cases."""

_PREFIX = re.compile(r"(/[A-Za-z0-9_.~-]+)+")


class GatewayHandler:
    """The Lambda entry point for HTTP API (payload 2.0) and REST API (payload 1.0) events.

    Other events get a problem document with status 400. A crash instead would show as a 502 without details and cost the next caller a
    cold start.
    """

    def __init__(self, app: ASGIApp, *, api_prefix: str = "/api/v1", has_costly_routes: bool = False) -> None:
        self._app = app
        self._api_prefix = api_prefix
        self._has_costly_routes = has_costly_routes
        self._is_entered = False
        inline_threadpool.install()
        # lifespan="off": "auto" would start and stop the application at every invocation.
        self._mangum = Mangum(self._enter, lifespan="off", text_mime_types=[*DEFAULT_TEXT_MIME_TYPES, PROBLEM_MEDIA_TYPE])

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        """Return the API Gateway response to one event."""
        self._is_entered = False
        try:
            return self._mangum(event, context)
        except Exception:
            # The outermost edge of the process. Mangum catches errors of the application, so an error before the application was
            # entered can only mean a malformed event.
            logger.warning("event refused" if not self._is_entered else "response failed", exc_info=True)
        if self._is_entered:
            return _response(status=AppError.status, code=AppError.code, detail=AppError.message)
        return _response(status=400, code=MALFORMED_EVENT, detail=MALFORMED_EVENT_DETAIL)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not isinstance(scope["method"], str):
            refusal = problem_response(status=400, code=MALFORMED_EVENT, detail=MALFORMED_EVENT_DETAIL)
            await refusal(scope, receive, send)
            return
        self._is_entered = True
        event = scope["aws.event"]
        root_path, path = _split_stage(event, scope["path"], api_prefix=self._api_prefix)
        scope["root_path"], scope["path"] = root_path, root_path + (path or "/")
        scope[WITHOUT_SLASH] = not path
        # Mangum leaves it out. An HTTP API decodes the path once before it makes the event, the other gateways do not.
        scope["raw_path"] = str(event.get("rawPath", event.get("path"))).encode(errors="replace")
        # The gateway did not recognise the path of a costly route, and its lower rate limit did not apply.
        is_default = self._has_costly_routes and event.get("routeKey") == DEFAULT_ROUTE
        scope[UNRECOGNISED_PATH] = is_default and is_costly(scope["method"], path)
        with inline_threadpool.InlineThreadpool():
            await self._app(scope, receive, send)


def _split_stage(event: dict[str, Any], path: str, *, api_prefix: str) -> tuple[str, str]:
    """Return the prefix that the gateway adds to the path, and the path without it.

    An HTTP API keeps its stage in the path, except behind a custom domain. A REST API removes the stage from the path and reports it
    only in the request context. For the root of a stage without its trailing slash, the path is empty.
    """
    context = event["requestContext"]
    stage = context.get("stage")
    prefix = f"/{stage}"
    if isinstance(stage, str) and _PREFIX.fullmatch(prefix) and (path == prefix or path.startswith(f"{prefix}/")):
        rest = path[len(prefix) :]
        # A stage may be named like the first segment of the API prefix (`api`); only the rest of the path shows whether it is present.
        if not path.startswith(f"{api_prefix}/") or rest.startswith(f"{api_prefix}/"):
            return prefix, rest
    full = context.get("path")
    if path == "/" and isinstance(full, str) and _PREFIX.fullmatch(full):
        return full, ""
    if isinstance(full, str) and full != path and full.endswith(path) and _PREFIX.fullmatch(full.removesuffix(path)):
        return full.removesuffix(path), path
    return "", path


def _response(*, status: int, code: str, detail: str) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {"content-type": PROBLEM_MEDIA_TYPE, **dict(DEFAULTS)},
        "body": json.dumps(problem_body(status=status, code=code, detail=detail)),
        "isBase64Encoded": False,
    }
