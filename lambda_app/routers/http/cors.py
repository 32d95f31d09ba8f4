"""Cross-origin requests: Starlette's middleware, with refusals like all the others."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from lambda_app.routers.http.problems import problem_response
from lambda_app.routers.http.security_headers import DEFAULTS

MAX_AGE_SECONDS = 600
"""How long a browser may remember a preflight's answer."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "X-Share-Pass")
EXPOSED_HEADERS = ("ETag", "Link", "X-Next-Cursor", "X-Request-Id", "X-Total-Count")
"""What a page's script may read of an answer beside the body."""


class Cors(CORSMiddleware):
    """Lets pages of the named origins call the API; they never send cookies: the only one, of a share page, is for that page."""

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
        """Answer a preflight."""
        answer = super().preflight_response(request_headers)
        if answer.status_code >= 400:
            answer = problem_response(status=403, code="cors_refused", detail=bytes(answer.body).decode(), headers={"Vary": "Origin"})
        for name, value in DEFAULTS:
            answer.headers.setdefault(name, value)
        return answer
