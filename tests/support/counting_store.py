"""An HTTP proxy for the S3 emulator that counts the uploads it has answered, and can hold further ones."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlsplit

HOP_HEADERS = frozenset({"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"})
"""Headers that the proxy sets itself and does not forward."""


class CountingStore:
    """Listens on 127.0.0.1 and forwards requests unchanged, including the signed Host header.

    `answered` lists the completely sent PUTs, each as the path and the part number. While `hold_after` is a number, PUTs beyond it wait.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.answered: list[tuple[str, str]] = []
        self.hold_after: int | None = None
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self._admitted = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"store": self}))
        self._server.daemon_threads = True
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def hold(self, after: int) -> None:
        """Let so many further PUTs pass, and let others wait for `release`."""
        with self.changed:
            self.answered.clear()
            self._admitted, self.hold_after = 0, after

    def release(self) -> None:
        """Let all requests pass."""
        with self.changed:
            self.hold_after = None
            self.changed.notify_all()

    def admit(self) -> None:
        """Wait until a PUT may pass."""
        with self.changed:
            self._admitted += 1
            number = self._admitted
            self.changed.wait_for(lambda: self.hold_after is None or number <= self.hold_after)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: ClassVar[CountingStore]

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self._forward(b"")

    def do_PUT(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        self.store.admit()
        self._forward(body)

    def _forward(self, body: bytes) -> None:
        connection = http.client.HTTPConnection(self.store.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_HEADERS - {"date", "content-length"}}
        connection.request(self.command, self.path, body=body if self.command == "PUT" else None, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if self.command == "PUT" and answer.status < 300:
            url = urlsplit(self.path)
            with self.store.lock:
                self.store.answered.append((url.path, "".join(parse_qs(url.query).get("partNumber", []))))
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
