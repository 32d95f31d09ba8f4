"""An API that sends mail to a folder, and a test double of SES with a configurable delay."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.gateway import GatewayTransport, payload_v2

ORIGIN = "https://api.test"


class Mailing(NamedTuple):
    """An API that writes its mail to a folder."""

    client: httpx.Client
    folder: Path
    services: Services
    handler: GatewayHandler

    def client_from(self, address: str) -> httpx.Client:
        """Return a client with another source address."""
        return httpx.Client(transport=GatewayTransport(self.handler, partial(payload_v2, source_ip=address)), base_url=ORIGIN)

    def sent(self) -> list[tuple[str, str]]:
        """Return recipient and text of each mail, oldest first."""
        paths = sorted(self.folder.glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
        messages = [message_from_bytes(path.read_bytes(), policy=default) for path in paths]
        return [(str(message["To"]), message.get_body(("plain",)).get_content()) for message in messages]  # type: ignore[union-attr]

    def mails(self) -> list[str]:
        """Return the text of each mail, oldest first."""
        return [body for _, body in self.sent()]

    def token(self, number: int = -1) -> str:
        """Return the token in the link of a mail, by default of the newest one."""
        found = re.search(r"token=([\w-]+)", self.mails()[number])
        assert found is not None
        return found[1]


@contextmanager
def mailing(settings: Settings, folder: Path, **changes: Any) -> Iterator[Mailing]:
    """Provide an API with `settings` and `changes`."""
    built = Services.build(settings.model_copy(update={"mail_folder": str(folder), "public_url": "https://files.test", **changes}))
    handler = GatewayHandler(create_app(built.settings, built))
    with httpx.Client(transport=GatewayTransport(handler), base_url=ORIGIN) as client:
        yield Mailing(client, folder, built, handler)
    built.engine.dispose()


class SesDouble:
    """Responds like version 2 of the SES API, after `delay_seconds`, with `status`."""

    def __init__(self, delay_seconds: float, status: int = 200) -> None:
        self.received: list[dict[str, Any]] = []
        self.answered = threading.Semaphore(0)
        """Released after each response."""
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                double.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                time.sleep(delay_seconds)
                body = b'{"MessageId": "1"}' if status == 200 else b'{"message": "not today"}'
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                double.answered.release()

            def log_message(self, *args: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
