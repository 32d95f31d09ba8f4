"""Cross-origin requests: Starlette's CORS middleware, which returns errors as problem documents like the rest of the API."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from lambda_app.routers.http.problems import problem_response
from lambda_app.routers.http.security_headers import DEFAULTS

MAX_AGE_SECONDS = 600
"""How long a browser may cache the response to a preflight request."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-Share-Pass", "X-We-Upload-Session")
EXPOSED_HEADERS = ("ETag", "Link", "Location", "Retry-After", "X-Next-Cursor", "X-Request-Id", "X-Total-Count")
"""Response headers that a script of another origin may read."""


class Cors(CORSMiddleware):
    """Lets pages of the configured origins call the API, without cookies: share pages and browser sessions are same-origin."""

    def __init__(self, app: ASGIApp, *, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            max_age=MAX_AGE_SECONDS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the response to a preflight request."""
        response = super().preflight_response(request_headers)
        if response.status_code >= 400:
            response = problem_response(status=403, code="cors_refused", detail=bytes(response.body).decode(), headers={"Vary": "Origin"})
        for name, value in DEFAULTS:
            response.headers.setdefault(name, value)
        return response
