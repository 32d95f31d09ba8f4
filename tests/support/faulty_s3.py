"""An HTTP proxy for S3 that fails one call in five, with faults of S3 and of the network."""

import http.client
import random
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

FAULTY_SHARE = 0.2
ERROR_BODY = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code><Message>It failed</Message></Error>'
HOP_HEADERS = frozenset({"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"})
"""Headers that the proxy sets itself and does not forward."""


class Fault(Enum):
    """A fault of a call. The caller cannot distinguish most of them."""

    INTERNAL_ERROR = "500, not executed"
    SLOW_DOWN = "503, not executed"
    NOT_AMAZON = "502 with an HTML page, not executed"
    CUT_BEFORE = "connection closed, not executed"
    LATE_BEFORE = "timeout, executed after the caller has given up"
    DONE_BUT_ERROR = "500, executed"
    DONE_BUT_CUT = "connection closed before the response, executed"
    DONE_BUT_LATE = "timeout, executed"
    CUT_SHORT = "connection closed in the middle of the response, executed"
    GARBLED = "200 with an HTML page, executed"
    TORN = "200 with a truncated body and a matching length, executed"
    ERROR_IN_200 = "200 with an error in the body, not executed"
    DONE_BUT_ERROR_IN_200 = "200 with an error in the body, executed"


UNDONE = frozenset({Fault.INTERNAL_ERROR, Fault.SLOW_DOWN, Fault.NOT_AMAZON, Fault.CUT_BEFORE, Fault.ERROR_IN_200})
"""These calls do not reach the object store."""

_IN_200 = (Fault.ERROR_IN_200, Fault.DONE_BUT_ERROR_IN_200)
"""Only for CompleteMultipartUpload, which sends the status before it has finished."""
_GARBLED = (Fault.GARBLED, Fault.TORN)
"""Only for XML responses: the content of an object cannot be checked, and its length is known."""
_LATE = (Fault.LATE_BEFORE, Fault.DONE_BUT_LATE)
_QUICK = tuple(fault for fault in Fault if fault not in (*_IN_200, *_LATE, *_GARBLED))
_EVERYWHERE = (*_QUICK, *_QUICK, *_LATE)
"""Slow faults are half as frequent."""


class FaultyS3:
    """Listens on 127.0.0.1 and forwards requests to `upstream` unchanged, including the signed Host header.

    `late_seconds` must exceed the timeout of the callers. While `is_healthy`, no call fails, except that every CompleteMultipartUpload
    fails with `completion_fault` if that is set.
    """

    def __init__(self, upstream: str, *, seed: int, late_seconds: float) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.late_seconds = late_seconds
        self.is_healthy = False
        self.completion_fault: Fault | None = None
        self.calls = 0
        self.under_way = 0
        self.faults: Counter[Fault] = Counter()
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening, and wait for calls in progress."""
        self._server.shutdown()
        self._thread.join()
        self._server.close_idle_connections()
        self._server.server_close()

    def choose_fault(self, method: str, path: str) -> Fault | None:
        """Choose the fault of one call at random, or None."""
        with self._lock:
            self.calls += 1
            self.under_way += 1
            query = urlsplit(path).query
            is_join = method == "POST" and query.startswith("uploadId")
            if is_join and self.completion_fault is not None:
                return self.completion_fault
            if self.is_healthy or self._dice.random() >= FAULTY_SHARE:
                return None
            if is_join:
                choices = (*_QUICK, *_LATE, *_GARBLED, *_IN_200, *_IN_200)
            elif method == "POST" or query.startswith(("list-type", "uploads")):
                choices = (*_EVERYWHERE, *_GARBLED)
            else:
                choices = _EVERYWHERE
            fault = self._dice.choice(choices)
            self.faults[fault] += 1
            return fault

    def end_call(self) -> None:
        """Record the end of a call."""
        with self._lock:
            self.under_way -= 1

    def wait_for_delayed_calls(self) -> None:
        """Wait for the calls whose callers have timed out."""
        while self.under_way:
            time.sleep(0.01)


class _Server(ThreadingHTTPServer):
    # The threads are joined at the end, so that a delayed call does not run after the test.
    daemon_threads = False
    block_on_close = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in its own thread."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def close_idle_connections(self) -> None:
        """Close kept-alive connections, whose threads wait for another request."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore callers that have disconnected."""


class _Handler(BaseHTTPRequestHandler):
    proxy: ClassVar[FaultyS3]
    protocol_version = "HTTP/1.1"

    def serve(self) -> None:
        """Serve one request with its fault."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy.choose_fault(self.command, self.path)
        try:
            self._apply(fault, body)
        finally:
            self.proxy.end_call()

    def _apply(self, fault: Fault | None, body: bytes) -> None:
        if fault is Fault.LATE_BEFORE:
            time.sleep(self.proxy.late_seconds)
        if fault in UNDONE:
            self._answer_undone(fault)
            return
        answer, answered = self._forward(body)
        match fault:
            case None:
                self._answer(answer.status, answered, answer.getheaders())
            case Fault.DONE_BUT_ERROR:
                self._answer(500, ERROR_BODY % b"InternalError")
            case Fault.DONE_BUT_ERROR_IN_200:
                self._answer(200, ERROR_BODY % b"InternalError")
            case Fault.GARBLED:
                self._answer(200, b"<html><body>Sign in to the network<br></body></html>")
            case Fault.TORN:
                self._answer(answer.status, answered[: len(answered) // 2])
            case Fault.CUT_SHORT:
                self._answer(answer.status, answered, answer.getheaders(), sent=len(answered) // 2)
                self.close_connection = True
            case _:
                if fault is Fault.DONE_BUT_LATE:
                    time.sleep(self.proxy.late_seconds)
                self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve  # noqa: N815  # names required by http.server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in http.server
        """Log nothing."""

    def _answer_undone(self, fault: Fault) -> None:
        match fault:
            case Fault.INTERNAL_ERROR:
                self._answer(500, ERROR_BODY % b"InternalError")
            case Fault.SLOW_DOWN:
                self._answer(503, ERROR_BODY % b"SlowDown")
            case Fault.NOT_AMAZON:
                self._answer(502, b"<html><body>Bad gateway</body></html>")
            case Fault.ERROR_IN_200:
                self._answer(200, ERROR_BODY % b"InternalError")
            case _:
                self.close_connection = True

    def _forward(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        upstream = http.client.HTTPConnection(self.proxy.upstream, timeout=30)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            return answer, answer.read()
        finally:
            upstream.close()

    def _answer(self, status: int, body: bytes, headers: list[tuple[str, str]] | None = None, *, sent: int | None = None) -> None:
        self.send_response_only(status)
        length = str(len(body))
        for name, value in headers or []:
            if self.command == "HEAD" and name.lower() == "content-length":
                length = value
            if name.lower() not in HOP_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])
