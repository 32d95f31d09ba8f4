"""Rehearses requests before a SnapStart snapshot, so that it contains what the first requests load.

docs/adr/0031-rehearsed-snapshots.md gives the reasons.
"""

import logging
from typing import Any
from uuid import UUID, uuid4

from fastapi import FastAPI

from lambda_app.factory import Services  # noqa: TC001 - as everywhere
from lambda_app.routers.http.gateway import GatewayHandler

_NO_FILE = UUID(int=0)
_UPLOAD = '{"filename": "a", "content_type": "text/plain", "size_bytes": 1}'


class RehearsalFailedError(RuntimeError):
    """A rehearsed request did not reach the end of its statement."""


def rehearse(app: FastAPI, handler: GatewayHandler) -> None:
    """Send the most frequent requests to the application, without a database, keys or credentials of AWS.

    Nothing of it remains but loaded modules and filled caches. Raises RehearsalFailedError when a request does not end as expected.
    """
    services = app.state.services
    rehearsal: Services = services.for_rehearsal()
    token = rehearsal.tokens.issue(uuid4(), session_id=uuid4(), token_epoch=0).value
    app.state.services = rehearsal
    disabled = logging.root.manager.disable
    # Not what an operator looks for in the logs.
    logging.disable(logging.CRITICAL)
    try:
        for method, path, body in _requests(services.settings.api_v1_str):
            response = handler(_event(method, path, body, token), None)
            if response["statusCode"] not in _EXPECTED:
                raise RehearsalFailedError(f"{method} {path} returned {response['statusCode']}")
    finally:
        logging.disable(disabled)
        app.state.services = services
        rehearsal.engine.dispose()


_EXPECTED = (200, 401)
"""The database has no rows, so no session is in force."""


def _requests(prefix: str) -> tuple[tuple[str, str, str | None], ...]:
    return (
        ("GET", f"{prefix}/config", None),
        ("GET", f"{prefix}/users/me", None),
        ("GET", f"{prefix}/files/{_NO_FILE}", None),
        ("GET", f"{prefix}/files/download/{_NO_FILE}", None),
        ("GET", f"{prefix}/files", None),
        ("POST", f"{prefix}/files/upload", _UPLOAD),
    )


def _event(method: str, path: str, body: str | None, token: str) -> dict[str, Any]:
    """Return the event of an HTTP API (payload 2.0)."""
    headers = {"accept": "application/json", "host": "rehearsal", "user-agent": "rehearsal", "authorization": f"Bearer {token}"}
    if body is not None:
        headers |= {"content-type": "application/json", "content-length": str(len(body))}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "rehearsal"},
            "stage": "$default",
            "requestId": "rehearsal",
        },
        "body": body,
        "isBase64Encoded": False,
    }
