"""A TCP proxy for PostgreSQL that counts round trips, records statements, and can close connections."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

from sqlalchemy.engine import make_url

CHUNK_BYTES = 64 * 1024
MID_REPLY_BYTES = 3
"""Bytes of a response that pass before the connection is closed in its middle: less than a message header."""

_STARTUP_HEADER = struct.Struct("!ii")
_HEADER = struct.Struct("!ci")
_PROTOCOL_3 = 196608


class Cut(Enum):
    """The point at which a connection is closed."""

    BEFORE = "the server does not receive the flush"
    AFTER = "the server has responded, the client does not receive the response"
    MID_REPLY = "the client receives the first bytes of the response"


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the client: its type, for Parse and Query the SQL text, and for Parse the name of the statement."""

    kind: str
    sql: str = ""
    name: str = ""


@dataclass(slots=True)
class Count:
    """The traffic on all connections during a block."""

    round_trips: int = 0
    """How often a client sent data and then received a response, including the sign-in."""
    connections: int = 0
    """Number of opened connections."""
    sent_bytes: int = 0
    """Bytes sent by the clients."""
    received_bytes: int = 0
    """Bytes sent by the server."""
    messages: list[Message] = field(default_factory=list)

    @property
    def statements(self) -> list[str]:
        """The SQL texts, including BEGIN and COMMIT, in the order in which they were sent."""
        return [message.sql for message in self.messages if message.kind in "PQ"]


class WireProxy:
    """Listens on 127.0.0.1 and forwards to the server of `upstream`, a database URL."""

    def __init__(self, upstream: str) -> None:
        url = make_url(upstream)
        self._upstream = (url.host or "127.0.0.1", url.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.delay_seconds = 0.0
        """Added to every round trip."""
        self.is_refusing = False
        """While true, new connections are closed immediately."""
        self.messages: list[Message] = []
        """All messages of all clients since the start."""
        self._lock = threading.Lock()
        self._counts: list[Count] = []
        self._pairs: list[_Pair] = []
        self._cut: tuple[int, Cut] | None = None
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url_for(self, url: str) -> str:
        """Return `url` with the address of this proxy."""
        return make_url(url).set(host="127.0.0.1", port=self.port).render_as_string(hide_password=False)

    @contextmanager
    def count(self) -> Iterator[Count]:
        """Count the traffic during the block."""
        counted = Count()
        with self._lock:
            self._counts.append(counted)
        try:
            yield counted
        finally:
            with self._lock:
                self._counts.remove(counted)

    def cut(self, where: Cut, *, at_flush: int = 1) -> None:
        """Close, once, the connection that sends the `at_flush`-th flush from now on, at the given point."""
        with self._lock:
            self._cut = (at_flush, where)

    def kill_all(self, *, reset: bool = False) -> None:
        """Close every connection, and return when the clients can see it; with `reset` by a TCP reset, as after a crash of the host."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.close(reset=reset)
        for pair in pairs:
            pair.join()

    def close(self) -> None:
        """Stop listening and close every connection."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.kill_all()
        self._acceptor.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_refusing:
                client.close()
                continue
            pair = _Pair(self, client, socket.create_connection(self._upstream))
            with self._lock:
                self._pairs.append(pair)
                for count in self._counts:
                    count.connections += 1
            pair.start()

    def _spoken(self, messages: list[Message], size: int) -> None:
        with self._lock:
            self.messages += messages
            for count in self._counts:
                count.messages += messages
                count.sent_bytes += size

    def _answered(self, size: int, *, is_first: bool) -> None:
        with self._lock:
            for count in self._counts:
                count.round_trips += is_first
                count.received_bytes += size

    def _cut_due(self) -> Cut | None:
        with self._lock:
            if self._cut is None:
                return None
            left, where = self._cut
            self._cut = (left - 1, where) if left > 1 else None
            return where if left == 1 else None


class _Pair:
    """Both sockets of one connection, and a thread for each direction."""

    def __init__(self, proxy: WireProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._reader = _FrontendReader()
        self._client_waits = False
        self._cut: Cut | None = None
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        self._pumps = [threading.Thread(target=pump, daemon=True) for pump in (self._pass_requests, self._pass_answers)]

    def start(self) -> None:
        for pump in self._pumps:
            pump.start()

    def join(self) -> None:
        """Wait until both threads have released the sockets: the kernel closes a socket when its last user is gone."""
        for pump in self._pumps:
            if pump.ident is not None and pump is not threading.current_thread():
                pump.join(timeout=5)

    def close(self, *, reset: bool = False) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Another thread blocked in recv() keeps the connection open. SHUT_RD unblocks it without sending anything.
                end.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
            end.close()

    def _pass_requests(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(CHUNK_BYTES):
                self._proxy._spoken(self._reader.feed(data), len(data))
                if not self._client_waits:
                    self._client_waits = True
                    self._cut = self._proxy._cut_due()
                    time.sleep(self._proxy.delay_seconds)
                if self._cut is Cut.BEFORE:
                    break
                self._server.sendall(data)
        self.close()

    def _pass_answers(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(CHUNK_BYTES):
                is_first, self._client_waits = self._client_waits, False
                self._proxy._answered(len(data), is_first=is_first)
                if self._cut is Cut.MID_REPLY:
                    self._client.sendall(data[:MID_REPLY_BYTES])
                if self._cut is not None:
                    break
                self._client.sendall(data)
        self.close()


class _FrontendReader:
    """Splits the data of a client into messages."""

    def __init__(self) -> None:
        self._unread = b""
        self._is_starting = True

    def feed(self, data: bytes) -> list[Message]:
        self._unread += data
        messages = []
        while (message := self._next()) is not None:
            messages.append(message)
        return messages

    def _next(self) -> Message | None:
        if self._is_starting:
            return self._next_startup()
        if len(self._unread) < _HEADER.size:
            return None
        kind, length = _HEADER.unpack_from(self._unread)
        payload = self._taken(offset=1, length=length)
        return None if payload is None else _parse(kind.decode(), payload)

    def _next_startup(self) -> Message | None:
        if len(self._unread) < _STARTUP_HEADER.size:
            return None
        length, code = _STARTUP_HEADER.unpack_from(self._unread)
        payload = self._taken(offset=0, length=length)
        if payload is None:
            return None
        self._is_starting = code != _PROTOCOL_3
        return Message("startup" if code == _PROTOCOL_3 else "request")

    def _taken(self, *, offset: int, length: int) -> bytes | None:
        end = offset + length
        if len(self._unread) < end:
            return None
        payload, self._unread = self._unread[offset + 4 : end], self._unread[end:]
        return payload


def _parse(kind: str, payload: bytes) -> Message:
    if kind == "P":
        name, sql, _ = payload.split(b"\0", 2)
        return Message(kind, sql=sql.decode(), name=name.decode())
    if kind == "Q":
        return Message(kind, sql=payload.rstrip(b"\0").decode())
    return Message(kind)
