"""The outermost layer of every request: its id, the front door, the body limit, the access log, and the last resort for errors."""

import logging
import time
from collections.abc import MutableMapping
from ipaddress import ip_address
from typing import Any
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_app.core import logs
from lambda_app.core.errors import AppError, TooLargeError, UnavailableError
from lambda_app.core.request_context import RequestContext, request_context, reset_request_context, set_request_context
from lambda_app.core.security.origin_verifier import ADDRESS_HEADER, PROOF_HEADER, DirectAccessError, OriginVerifier
from lambda_app.routers.http.html_errors import with_html_errors
from lambda_app.routers.http.problems import problem_response
from lambda_app.routers.http.security_headers import set_defaults

logger = logging.getLogger(__name__)

USER_AGENT_MAX_LENGTH = 200
BODY_MAX_BYTES = 256 * 1024
"""Our largest honest body has about 10 kB; the bytes of files never pass through here."""


class RequestMiddleware:
    """ASGI middleware around the whole application. With a `origin_verifier` it refuses whoever comes by another."""

    def __init__(self, app: ASGIApp, *, origin_verifier: OriginVerifier | None = None) -> None:
        self._app = app
        self._front_door = origin_verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_at = time.perf_counter()
        request_id = _request_id(scope)
        token = logs.request_id.set(request_id)
        origin = set_request_context(_origin(scope))
        status: int | None = None

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                set_defaults(message)["X-Request-Id"] = request_id
            await send(message)

        try:
            self._verify_origin(scope)
            body = await _read_body(scope, receive)
            await self._app(scope, _replay(body, receive), send_marked)
        except (TooLargeError, DirectAccessError, UnavailableError) as error:
            if error.status >= AppError.status:
                logger.error("refused: %s", error.code, exc_info=error)
            response = problem_response(status=error.status, code=error.code, detail=error.message, headers={"Connection": "close"})
            await response(scope, receive, with_html_errors(scope, send_marked))
        except Exception:
            # The outermost edge: whatever nobody foresaw is logged here, once, and answered without a word of it.
            logger.exception("unexpected error")
            if status is not None:
                raise
            await problem_response(status=AppError.status, code=AppError.code, detail=AppError.message)(scope, receive, send_marked)
        finally:
            _log_access(scope, status, time.perf_counter() - started_at, is_behind_cloudfront=self._front_door is not None)
            reset_request_context(origin)
            logs.request_id.reset(token)

    def _verify_origin(self, scope: Scope) -> None:
        # The first request of a process fetches the key, which blocks; in Lambda there is no other request to wait for it.
        if self._front_door is None:
            return
        headers = dict(scope["headers"])
        self._front_door.require(headers.get(PROOF_HEADER))
        # The peer is one of CloudFront's own machines, which callers share: throttled by it they would be throttled together.
        request_context().source_address = _address(headers.get(ADDRESS_HEADER, b"").decode("latin-1"))


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    declared = dict(scope["headers"]).get(b"content-length", b"")
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
    return TooLargeError(f"The body is larger than {BODY_MAX_BYTES} bytes; files go to S3 by their upload URL", code="body_too_large")


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> MutableMapping[str, Any]:
        return pending.pop() if pending else await receive()

    return replay


def _request_id(scope: Scope) -> str:
    event = scope.get("aws.event")
    context = event.get("requestContext") if isinstance(event, dict) else None
    given = context.get("requestId") if isinstance(context, dict) else None
    return given if isinstance(given, str) and given.isascii() and given.isprintable() and 0 < len(given) <= 128 else str(uuid4())


def _origin(scope: Scope) -> RequestContext:
    # The peer that the gateway's event names, or the socket's. X-Forwarded-For and its like are the caller's own words.
    peer = scope.get("client")
    agent = dict(scope["headers"]).get(b"user-agent", b"").decode("latin-1")
    printable = "".join(char for char in agent if char.isprintable())[:USER_AGENT_MAX_LENGTH]
    return RequestContext(source_address=_address(peer[0]) if peer else None, user_agent=printable or None)


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _log_access(scope: Scope, status: int | None, seconds: float, *, is_behind_cloudfront: bool) -> None:
    # The route's template, not the path: a path may hold a secret.
    route = getattr(scope.get("route"), "path", None)
    fields = {"method": scope["method"], "route": route, "status": status, "ms": round(seconds * 1000, 2)}
    if is_behind_cloudfront:
        # The gateway's own log has no more than CloudFront's address.
        fields["source_ip"] = request_context().source_address
    logger.info("request", extra={"fields": fields})
