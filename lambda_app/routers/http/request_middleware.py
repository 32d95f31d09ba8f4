"""The outermost middleware: request id, origin verification, body limit, access log, and the response to unexpected errors."""

import logging
import time
from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_app.core import logs
from lambda_app.core.errors import AppError, NotFoundError, TooLargeError, UnavailableError
from lambda_app.core.request_context import RequestContext, request_context, reset_request_context, set_request_context
from lambda_app.core.security.origin_verifier import ORIGIN_VERIFY_HEADER, VIEWER_ADDRESS_HEADER, DirectAccessError, OriginVerifier
from lambda_app.routers.http.html_errors import with_html_errors
from lambda_app.routers.http.problems import HTTP_CODES, problem_response
from lambda_app.routers.http.security_headers import set_defaults

logger = logging.getLogger(__name__)

USER_AGENT_MAX_LENGTH = 200
BODY_MAX_BYTES = 256 * 1024
"""The largest valid body has 200 kB (5,000 file ids); file content is never sent through the API."""

UNRECOGNISED_PATH = "we_upload.unrecognised_path"
"""Key of the ASGI scope: whether the gateway did not recognise the path and its rate limit for the route did not apply."""


class PathSpellingError(NotFoundError):
    """The path contains a percent-encoded character, or the gateway did not recognise it.

    No URL of the API needs one, and a second spelling of a route would avoid what other software decides by its path: rate limits,
    firewall rules and log filters.
    """

    code = HTTP_CODES[404]
    message = "Not Found"


class RequestMiddleware:
    """ASGI middleware around the whole application. With an `origin_verifier` it refuses requests that bypass CloudFront.

    It gets the verifier for each request, because a rehearsal (`routers/http/rehearsal`) replaces the services of the application.
    """

    def __init__(self, app: ASGIApp, *, origin_verifier: Callable[[], OriginVerifier | None] = lambda: None) -> None:
        self._app = app
        self._get_origin_verifier = origin_verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_at = time.perf_counter()
        request_id = _request_id(scope)
        token = logs.request_id.set(request_id)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        context = set_request_context(_context(scope, headers))
        status: int | None = None
        verifier = self._get_origin_verifier()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                set_defaults(message)
                message["headers"].append((b"x-request-id", request_id.encode()))
            await send(message)

        try:
            _verify_origin(headers, verifier)
            _refuse_other_spelling(scope)
            body = await _read_body(headers, receive)
            await self._app(scope, _replay(body, receive), send_with_headers)
        except (TooLargeError, DirectAccessError, PathSpellingError, UnavailableError) as error:
            if error.status >= AppError.status:
                logger.error("refused: %s", error.code, exc_info=error)
            response = problem_response(status=error.status, code=error.code, detail=error.message, headers={"Connection": "close"})
            await response(scope, receive, with_html_errors(scope, send_with_headers))
        except Exception:
            # The outermost edge: unexpected errors are logged here once, and the response contains no details.
            logger.exception("unexpected error")
            if status is not None:
                raise
            await problem_response(status=AppError.status, code=AppError.code, detail=AppError.message)(scope, receive, send_with_headers)
        finally:
            _log_access(scope, status, time.perf_counter() - started_at, is_behind_cloudfront=verifier is not None)
            reset_request_context(context)
            logs.request_id.reset(token)


def _verify_origin(headers: Mapping[bytes, bytes], verifier: OriginVerifier | None) -> None:
    # The first request of a process fetches the secret, which blocks; in Lambda no other request has to wait for it.
    if verifier is None:
        return
    verifier.require(headers.get(ORIGIN_VERIFY_HEADER))
    # The peer is a CloudFront server that many callers share; rate limits by its address would affect them all.
    request_context().source_address = _address(headers.get(VIEWER_ADDRESS_HEADER, b"").decode("latin-1"))


def _refuse_other_spelling(scope: Scope) -> None:
    if b"%" in (scope.get("raw_path") or b"") or scope.get(UNRECOGNISED_PATH):
        raise PathSpellingError


async def _read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared[:20]) > BODY_MAX_BYTES:
        raise _too_large()
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(chunks)
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > BODY_MAX_BYTES:
            raise _too_large()
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large() -> TooLargeError:
    return TooLargeError(f"The body is larger than {BODY_MAX_BYTES} bytes; send file content to the upload URL", code="body_too_large")


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> MutableMapping[str, Any]:
        return pending.pop() if pending else await receive()

    return replay


def _request_id(scope: Scope) -> str:
    event = scope.get("aws.event")
    context = event.get("requestContext") if isinstance(event, dict) else None
    gateway_id = context.get("requestId") if isinstance(context, dict) else None
    is_valid = isinstance(gateway_id, str) and gateway_id.isascii() and gateway_id.isprintable() and 0 < len(gateway_id) <= 128
    return str(gateway_id if is_valid else uuid4())


def _context(scope: Scope, headers: Mapping[bytes, bytes]) -> RequestContext:
    # The peer of the socket, or in the gateway's event. X-Forwarded-For and similar headers are not used: the caller controls them.
    peer = scope.get("client")
    agent = headers.get(b"user-agent", b"").decode("latin-1")
    printable = (agent if agent.isprintable() else "".join(filter(str.isprintable, agent)))[:USER_AGENT_MAX_LENGTH]
    return RequestContext(source_address=_address(peer[0]) if peer and isinstance(peer[0], str) else None, user_agent=printable or None)


@lru_cache(maxsize=256)
def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _log_access(scope: Scope, status: int | None, seconds: float, *, is_behind_cloudfront: bool) -> None:
    # The route's template, not the path: a path may contain a secret.
    route = getattr(scope.get("route"), "path", None)
    fields: dict[str, Any] = {"method": scope["method"], "route": route, "status": status, "ms": round(seconds * 1000, 2)}
    if leaves := request_context().audit_leaves:
        fields["audit_leaves"] = leaves
    if is_behind_cloudfront:
        # The gateway's own log contains only CloudFront's address.
        fields["source_ip"] = request_context().source_address
    logger.info("request", extra={"fields": fields})
