"""A TCP proxy before PostgreSQL that breaks the line at one exact message of one exact flush, and may first have a server restarted."""

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
"""Sync and Query: what the client then waits behind."""
READY = b"Z"
FAREWELL = b"X"

_HEADER = struct.Struct("!ci")


@dataclass(frozen=True, slots=True)
class Point:
    """Where the line breaks: behind so many messages of a flush, or of its answer."""

    flush: int
    """From 1, and only flushes behind the sign-in count."""
    in_answer: bool
    messages: int


@dataclass(slots=True)
class Flush:
    """How many messages went either way."""

    sent: int = 0
    answered: int = 0


def points_of(flushes: list[Flush]) -> Iterator[Point]:
    """Yield every place between two messages, before the first, and behind the last that was sent."""
    for number, flush in enumerate(flushes, 1):
        for messages in range(flush.sent + 1):
            yield Point(number, in_answer=False, messages=messages)
        for messages in range(flush.answered):
            yield Point(number, in_answer=True, messages=messages)


class FaultInjector:
    """Listens on 127.0.0.1 and passes everything on to the server of `upstream`, a database URL, which may change its port."""

    def __init__(self, upstream: str) -> None:
        self.upstream_port = make_url(upstream).port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._flushes: list[Flush] = []
        self._plan: tuple[Point, Callable[[], None]] | None = None
        self.was_tripped = threading.Event()
        self.hold = threading.Lock()
        """While it is held, nobody hears that a server is gone: what is tested is the kill, not the time without a server."""
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; lines that are open stay until either end has enough."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(timeout=5)

    def url_for(self, url: str) -> str:
        """Return `url` with this proxy in the place of its server."""
        return make_url(url).set(host="127.0.0.1", port=self.port).render_as_string(hide_password=False)

    def watch(self) -> list[Flush]:
        """Return a list that grows by each flush from now on."""
        with self._lock:
            self._flushes, self._plan = [], None
            return self._flushes

    def break_at(self, point: Point, *, first: Callable[[], None] = lambda: None) -> None:
        """Do `first` and break the line, once, at that point from now on."""
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


class _BrokenConnection(Exception):  # noqa: N818  # no error: it is what was asked for
    """The point has come."""


class _Line:
    """The two ends of one connection and a thread for either direction."""

    def __init__(self, saboteur: FaultInjector, client: socket.socket, server: socket.socket) -> None:
        self._saboteur, self._client, self._server = saboteur, client, server
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
        if code == FAREWELL:
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
                    # Before the client hears it, and goes on with the next flush.
                    self._is_signed_in, self._flush = True, None
                self._client.sendall(message)

    def _break_if_due(self, flush: Flush, *, in_answer: bool, messages: int) -> None:
        first = self._saboteur._due(flush, in_answer=in_answer, messages=messages)
        if first is not None:
            with self._saboteur.hold:
                first()
            raise _BrokenConnection


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the whole messages of the protocol, and what is left."""
    messages = []
    while len(data) >= _HEADER.size:
        end = 1 + _HEADER.unpack_from(data)[1]
        if len(data) < end:
            break
        messages.append(data[:end])
        data = data[end:]
    return messages, data
