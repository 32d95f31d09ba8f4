"""A TCP proxy for PostgreSQL that closes a connection at one chosen protocol message, after running a callback such as a restart."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from sqlalchemy.engine import make_url

CHUNK_BYTES = 64 * 1024
ENDS_FLUSH = (b"S", b"Q")
"""Sync and Query: after these, the client waits for the response."""
READY = b"Z"
TERMINATE = b"X"

_HEADER = struct.Struct("!ci")


@dataclass(frozen=True, slots=True)
class Point:
    """The point at which the connection is closed."""

    flush: int
    """Number of the flush, from 1; flushes during the sign-in do not count."""
    in_answer: bool
    """Whether the point is in the response to the flush instead of in the flush itself."""
    messages: int
    """Number of messages that pass before the connection is closed."""


@dataclass(slots=True)
class Flush:
    """The number of messages in a flush and in its response."""

    sent: int = 0
    answered: int = 0


def points_of(flushes: list[Flush]) -> Iterator[Point]:
    """Yield every point: before each message of each flush and response, and after the last message of a flush."""
    for number, flush in enumerate(flushes, 1):
        for messages in range(flush.sent + 1):
            yield Point(number, in_answer=False, messages=messages)
        for messages in range(flush.answered):
            yield Point(number, in_answer=True, messages=messages)


class FaultInjector:
    """Listens on 127.0.0.1 and forwards to the server of `upstream`, a database URL. The port of the server can change."""

    def __init__(self, upstream: str) -> None:
        self.upstream_port = make_url(upstream).port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._flushes: list[Flush] = []
        self._plan: tuple[Point, Callable[[], None]] | None = None
        self.was_tripped = threading.Event()
        self.hold = threading.Lock()
        """While it is held, the proxy delays new connections and close notifications. The tests cover the kill of a server, not its
        downtime."""
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; open connections stay until either end closes them."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(timeout=5)

    def url_for(self, url: str) -> str:
        """Return `url` with the address of this proxy."""
        return make_url(url).set(host="127.0.0.1", port=self.port).render_as_string(hide_password=False)

    def watch(self) -> list[Flush]:
        """Return a list to which each flush from now on is appended."""
        with self._lock:
            self._flushes, self._plan = [], None
            return self._flushes

    def break_at(self, point: Point, *, first: Callable[[], None] = lambda: None) -> None:
        """Call `first` and close the connection when the point is reached; once, counting flushes from now on."""
        with self._lock:
            self._flushes, self._plan = [], (point, first)
            self.was_tripped.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self.hold:
                    server = socket.create_connection(("127.0.0.1", self.upstream_port))
            except OSError:
                client.close()
                continue
            _Line(self, client, server).start()

    def _begun(self) -> Flush:
        with self._lock:
            self._flushes.append(Flush())
            return self._flushes[-1]

    def _due(self, flush: Flush, *, in_answer: bool, messages: int) -> Callable[[], None] | None:
        with self._lock:
            if self._plan is None or not self._flushes or flush is not self._flushes[-1]:
                return None
            here = Point(len(self._flushes), in_answer=in_answer, messages=messages)
            if self._plan[0] != here:
                return None
            first, self._plan = self._plan[1], None
        self.was_tripped.set()
        return first


class _BrokenConnection(Exception):  # noqa: N818  # not an error: the test requested it
    """The point is reached."""


class _Line:
    """Both sockets of one connection, and a thread for each direction."""

    def __init__(self, injector: FaultInjector, client: socket.socket, server: socket.socket) -> None:
        self._saboteur, self._client, self._server = injector, client, server
        self._is_signed_in = False
        self._flush: Flush | None = None
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        for pump in (self._pass_requests, self._pass_answers):
            threading.Thread(target=self._until_broken, args=(pump,), daemon=True).start()

    def _until_broken(self, pump: Callable[[], None]) -> None:
        with suppress(OSError, _BrokenConnection):
            pump()
        with self._saboteur.hold:
            pass
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _pass_requests(self) -> None:
        unread = b""
        while data := self._client.recv(CHUNK_BYTES):
            if not self._is_signed_in:
                self._server.sendall(data)
                continue
            unread += data
            messages, unread = _split(unread)
            for message in messages:
                self._pass_request(message)

    def _pass_request(self, message: bytes) -> None:
        code = message[:1]
        if code == TERMINATE:
            self._server.sendall(message)
            return
        flush = self._flush = self._flush or self._saboteur._begun()
        self._break_if_due(flush, in_answer=False, messages=flush.sent)
        self._server.sendall(message)
        flush.sent += 1
        if code in ENDS_FLUSH:
            self._break_if_due(flush, in_answer=False, messages=flush.sent)

    def _pass_answers(self) -> None:
        unread = b""
        while data := self._server.recv(CHUNK_BYTES):
            unread += data
            messages, unread = _split(unread)
            for message in messages:
                flush = self._flush
                if flush is not None:
                    self._break_if_due(flush, in_answer=True, messages=flush.answered)
                    flush.answered += 1
                if message[:1] == READY:
                    # Reset before the client receives the message and sends the next flush.
                    self._is_signed_in, self._flush = True, None
                self._client.sendall(message)

    def _break_if_due(self, flush: Flush, *, in_answer: bool, messages: int) -> None:
        first = self._saboteur._due(flush, in_answer=in_answer, messages=messages)
        if first is not None:
            with self._saboteur.hold:
                first()
            raise _BrokenConnection


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the complete protocol messages, and the remaining bytes."""
    messages = []
    while len(data) >= _HEADER.size:
        end = 1 + _HEADER.unpack_from(data)[1]
        if len(data) < end:
            break
        messages.append(data[:end])
        data = data[end:]
    return messages, data
