"""Requests to identity providers, with limits of time and size. Redirects are not followed, and proxies are not used."""

import json
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import SHUT_RDWR, socket
from time import monotonic
from typing import Any
from urllib.parse import urlencode, urlsplit

from lambda_app.core.errors import UnavailableError
from lambda_app.core.identity.providers import is_allowed_url

TIMEOUT_SECONDS = 5.0
"""For one request, from the connection to the end of the response."""
BODY_MAX_BYTES = 64 * 1024
"""Largest response. Discovery documents, key sets and token responses have a few kilobytes."""


class ProviderUnavailableError(UnavailableError):
    """The identity provider does not respond in time, or its response cannot be used. The text of the cause is for the log only."""

    code = "provider_unavailable"
    message = "The sign-in provider does not respond as expected at the moment; try again shortly"


class ProviderResponseError(ProviderUnavailableError):
    """The provider answered with another status than 200. `oauth_error` is the error code of its body (RFC 6749, section 5.2)."""

    def __init__(self, status: int, oauth_error: str | None) -> None:
        super().__init__()
        self.http_status = status
        self.oauth_error = oauth_error


def get_json(url: str, *, accepts_loopback: bool) -> dict[str, Any]:
    """Return the JSON object at the URL. Raises ProviderUnavailableError, ProviderResponseError."""
    return _send("GET", url, None, {}, accepts_loopback=accepts_loopback)


def post_form(url: str, form: Mapping[str, str], headers: Mapping[str, str], *, accepts_loopback: bool) -> dict[str, Any]:
    """Send a form, and return the JSON object of the response. Raises ProviderUnavailableError, ProviderResponseError."""
    body = urlencode(form).encode()
    return _send("POST", url, body, {**headers, "Content-Type": "application/x-www-form-urlencoded"}, accepts_loopback=accepts_loopback)


def _send(method: str, url: str, body: bytes | None, headers: Mapping[str, str], *, accepts_loopback: bool) -> dict[str, Any]:
    if not is_allowed_url(url, accepts_loopback=accepts_loopback):
        raise ProviderUnavailableError from ValueError("the URL is not https")
    parts = urlsplit(url)
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    deadline = monotonic() + TIMEOUT_SECONDS
    connection = _connection(parts.scheme, parts.hostname or "", parts.port)
    # The timeout of a socket restarts with every byte, so a slow server could hold the function for minutes.
    sockets: list[socket] = []
    timer = threading.Timer(TIMEOUT_SECONDS, _abort, [connection, sockets])
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        # `getresponse` takes the socket away from the connection.
        sockets.append(connection.sock)
        connection.request(method, path, body, {"Accept": "application/json", "Connection": "close", **headers})
        response = connection.getresponse()
        status, content = response.status, response.read(BODY_MAX_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise ProviderUnavailableError from error
    finally:
        timer.cancel()
        connection.close()
    if monotonic() >= deadline:
        raise ProviderUnavailableError from TimeoutError("the response took too long")
    if len(content) > BODY_MAX_BYTES:
        raise ProviderUnavailableError from ValueError("the response is too large")
    return _read(status, content)


def _read(status: int, content: bytes) -> dict[str, Any]:
    try:
        members = json.loads(content)
    except (ValueError, RecursionError) as error:
        if status != 200:
            raise ProviderResponseError(status, None) from error
        raise ProviderUnavailableError from error
    if not isinstance(members, dict):
        raise ProviderUnavailableError from ValueError("the response is not a JSON object")
    if status != 200:
        code = members.get("error")
        raise ProviderResponseError(status, code if isinstance(code, str) else None)
    return members


def _connection(scheme: str, host: str, port: int | None) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    return HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=_tls())


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _abort(connection: HTTPConnection, sockets: list[socket]) -> None:
    for open_socket in sockets or [connection.sock]:
        # None: the connection is not made yet, which the timeout of the socket limits.
        if open_socket is not None:
            with suppress(OSError):
                open_socket.shutdown(SHUT_RDWR)
