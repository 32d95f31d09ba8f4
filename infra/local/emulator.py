"""Start the S3 emulator with its administration closed; run by the emulator's own interpreter, which knows nothing of this project.

Its `/_ministack/...` paths ask for no credentials: any web page open in the developer's browser could send `POST /_ministack/reset`
to the port and wipe every stored file. Only the health check stays.

Presigned requests with unsigned `x-amz-` headers are refused, as S3 refuses them: the emulator would apply such headers.
"""

import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import ministack.app

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PARENT_CHECK_SECONDS = 1.0
HEALTH_PATH = "/_ministack/health"
CLOSED_PREFIXES = ("/_ministack/", "/_localstack/", "/_aws/")
UNSIGNED_HEADERS = (
    b"<Error><Code>AccessDenied</Code><Message>There were headers present in the request which were not signed</Message></Error>"
)

_emulator = ministack.app.app


async def guarded(scope: Message, receive: Receive, send: Send) -> None:
    """Answer 404 to the administration and 403 to unsigned headers, and hand everything else to the emulator."""
    path = scope.get("path", "")
    if scope["type"] == "http" and path.startswith(CLOSED_PREFIXES) and path != HEALTH_PATH:
        await _respond(send, 404)
    elif scope["type"] == "http" and has_unsigned_headers(scope):
        await _respond(send, 403, UNSIGNED_HEADERS)
    else:
        await _emulator(scope, receive, send)


def has_unsigned_headers(scope: Message) -> bool:
    """Return whether a presigned request has `x-amz-` headers that its signature does not cover."""
    signed = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("X-Amz-SignedHeaders")
    if signed is None:
        return False
    names = {name.decode("latin-1").lower() for name, _ in scope["headers"]}
    return any(name.startswith("x-amz-") for name in names - set(signed.split(";")))


async def _respond(send: Send, status: int, body: bytes = b"") -> None:
    headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/xml")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def end_with_parent(parent: int) -> None:
    """End in order once our parent, the leash, is gone without a word: killed, and unable to end us."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, args=[os.getppid()], daemon=True).start()
    ministack.app.app = guarded
    ministack.app.main()
