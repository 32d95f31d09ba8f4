"""An HTTP proxy before S3 that fails one call in five, in the ways in which S3 and the way to it fail."""

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
ITS_OWN_HEADERS = frozenset({"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"})
"""What the proxy says for itself."""


class Fault(Enum):
    """What happens to a call. Whoever made it cannot tell most of them apart."""

    INTERNAL_ERROR = "500, nothing done"
    SLOW_DOWN = "503, nothing done"
    NOT_AMAZON = "502 with a page of HTML, nothing done"
    CUT_BEFORE = "the connection ends, nothing done"
    LATE_BEFORE = "no answer in time, and done after the caller has left"
    DONE_BUT_ERROR = "500, and done"
    DONE_BUT_CUT = "the connection ends before the answer, and done"
    DONE_BUT_LATE = "no answer in time, and done"
    CUT_SHORT = "half an answer"
    GARBLED = "200 with a page of HTML, and done"
    TORN = "200 with the beginning of an answer, as if it were all, and done"
    ERROR_IN_200 = "200 and then an error, nothing done"
    DONE_BUT_ERROR_IN_200 = "200 and then an error, and done"


UNDONE = frozenset({Fault.INTERNAL_ERROR, Fault.SLOW_DOWN, Fault.NOT_AMAZON, Fault.CUT_BEFORE, Fault.ERROR_IN_200})
"""The object store never hears of these."""

_IN_200 = (Fault.ERROR_IN_200, Fault.DONE_BUT_ERROR_IN_200)
"""Only of CompleteMultipartUpload, which answers before it knows."""
_GARBLED = (Fault.GARBLED, Fault.TORN)
"""Only where the answer is XML: bytes say nothing about themselves, and objects' lengths are known."""
_LATE = (Fault.LATE_BEFORE, Fault.DONE_BUT_LATE)
_QUICK = tuple(fault for fault in Fault if fault not in (*_IN_200, *_LATE, *_GARBLED))
_EVERYWHERE = (*_QUICK, *_QUICK, *_LATE)
"""Those that cost time come half as often."""


class FaultyS3:
    """Listens on 127.0.0.1 and passes requests on to `upstream` to the letter, Host included: it is signed.

    `late_seconds` is longer than the callers wait. While `is_healed`, nothing fails. `joins_fail_by` is what every attempt to join parts
    meets all the same.
    """

    def __init__(self, upstream: str, *, seed: int, late_seconds: float) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.late_seconds = late_seconds
        self.is_healed = False
        self.joins_fail_by: Fault | None = None
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
        """Stop listening, and wait for what is still on its way."""
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()

    def fate_of(self, method: str, path: str) -> Fault | None:
        """Throw the dice for one call."""
        with self._lock:
            self.calls += 1
            self.under_way += 1
            query = urlsplit(path).query
            is_join = method == "POST" and query.startswith("uploadId")
            if is_join and self.joins_fail_by is not None:
                return self.joins_fail_by
            if self.is_healed or self._dice.random() >= FAULTY_SHARE:
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
        """Take note that a call is over, whatever became of it."""
        with self._lock:
            self.under_way -= 1

    def wait_for_stragglers(self) -> None:
        """Return when nothing that somebody has given up waiting for can still happen."""
        while self.under_way:
            time.sleep(0.01)


class _Server(ThreadingHTTPServer):
    # Joined at the end: a request that is done late must not outlive the test.
    daemon_threads = False
    block_on_close = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection in a thread of its own."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End one connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Let nobody wait for another request on a connection that is kept alive."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that went away is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    proxy: ClassVar[FaultyS3]
    protocol_version = "HTTP/1.1"

    def serve(self) -> None:
        """Answer one request, or not."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy.fate_of(self.command, self.path)
        try:
            self._meet(fault, body)
        finally:
            self.proxy.end_call()

    def _meet(self, fault: Fault | None, body: bytes) -> None:
        if fault is Fault.LATE_BEFORE:
            time.sleep(self.proxy.late_seconds)
        if fault in UNDONE:
            self._answer_undone(fault)
            return
        answer, answered = self._pass_on(body)
        match fault:
            case None:
                self._answer(answer.status, answered, answer.getheaders())
            case Fault.DONE_BUT_ERROR:
                self._answer(500, ERROR_BODY % b"InternalError")
            case Fault.DONE_BUT_ERROR_IN_200:
                self._answer(200, ERROR_BODY % b"InternalError")
            case Fault.GARBLED:
                self._answer(200, b"<html><body>Sign in to the network first<br></body></html>")
            case Fault.TORN:
                self._answer(answer.status, answered[: len(answered) // 2])
            case Fault.CUT_SHORT:
                self._answer(answer.status, answered, answer.getheaders(), sent=len(answered) // 2)
                self.close_connection = True
            case _:
                if fault is Fault.DONE_BUT_LATE:
                    time.sleep(self.proxy.late_seconds)
                self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve  # noqa: N815  # names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in http.server
        """Say nothing."""

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

    def _pass_on(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
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
            if name.lower() not in ITS_OWN_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])
