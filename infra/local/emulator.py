"""Start the S3 emulator with its administration closed; run by the emulator's own interpreter, which knows nothing of this project.

Its `/_ministack/...` paths ask for no credentials: any web page open in the developer's browser could send `POST /_ministack/reset`
to the port and wipe every stored file. Only the health check stays.
"""

import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import ministack.app

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PARENT_CHECK_SECONDS = 1.0
HEALTH_PATH = "/_ministack/health"
CLOSED_PREFIXES = ("/_ministack/", "/_localstack/", "/_aws/")

_emulator = ministack.app.app


async def guarded(scope: Message, receive: Receive, send: Send) -> None:
    """Answer 404 to the administration, and hand everything else to the emulator."""
    path = scope.get("path", "")
    if scope["type"] == "http" and path.startswith(CLOSED_PREFIXES) and path != HEALTH_PATH:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
        return
    await _emulator(scope, receive, send)


def end_with_parent(parent: int) -> None:
    """End in order once our parent, the leash, is gone without a word: killed, and unable to end us."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, args=[os.getppid()], daemon=True).start()
    ministack.app.app = guarded
    ministack.app.main()
