"""One byte stream to the server, with a deadline on every answer: TCP with or without TLS, or a Unix socket."""

import select
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from time import monotonic
from typing import Any, Self

from lambda_app.db.errors import CANNOT_CONNECT, ConnectionLostError

CHUNK_BYTES = 64 * 1024
KEEPALIVE_IDLE_SECONDS = 30
KEEPALIVE_INTERVAL_SECONDS = 10
KEEPALIVE_PROBES = 3

_SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
_HEADER = Struct("!ci")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens: host and port, or a Unix socket's path instead."""

    host: str
    port: int
    unix_path: str | None = None


class Transport:
    """The stream. It stands in for the socket and its file that pg8000 would make, and adds a read buffer it can answer for."""

    def __init__(self, connected: socket.socket, *, timeout_seconds: float, deadline: float) -> None:
        self.timeout_seconds = timeout_seconds
        self._socket = connected
        self._deadline = deadline
        self._unread = b""
        self._position = 0
        self._unsent = b""

    @classmethod
    def open(cls, address: Address, *, tls: ssl.SSLContext | None, timeout_seconds: float) -> Self:
        """Connect, and shake hands when `tls` is given; signing in has to end within the same `timeout_seconds`.

        Raises ConnectionLostError (08001): unreachable, too slow, no TLS, a certificate that is not the host's.
        """
        deadline = monotonic() + timeout_seconds
        try:
            plain = _connected(address, deadline)
        except (OSError, UnicodeError) as error:
            raise ConnectionLostError(f"Cannot connect to the database: {error}", sqlstate=CANNOT_CONNECT) from error
        try:
            connected = plain if tls is None else _encrypted(plain, address.host, tls, deadline)
        except (OSError, ValueError) as error:
            plain.close()
            raise ConnectionLostError(f"No verified TLS to the database: {error}", sqlstate=CANNOT_CONNECT) from error
        return cls(connected, timeout_seconds=timeout_seconds, deadline=deadline)

    def makefile(self, mode: str) -> Self:  # noqa: ARG002  # what pg8000 asks of a socket
        """Return the stream itself: it reads, writes and flushes as a file does."""
        return self

    def write(self, data: bytes) -> None:
        """Keep bytes for the next flush; pg8000 signs in this way."""
        self._unsent += data

    def flush(self) -> None:
        """Send what was written, under the deadline that is running."""
        data, self._unsent = self._unsent, b""
        try:
            self._socket.settimeout(self._remaining())
            self._socket.sendall(data)
        except TimeoutError as error:
            raise ConnectionLostError("The database took too long to take a request") from error
        except OSError as error:
            raise ConnectionLostError(f"The database is gone: {error}", peer_is_gone=True) from error

    def send(self, data: bytes) -> None:
        """Send one flush; its whole answer has to be there within `timeout_seconds` from now."""
        self._deadline = monotonic() + self.timeout_seconds
        self._unsent = data
        self.flush()

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes. Raises ConnectionLostError."""
        end = self._position + size
        if end > len(self._unread):
            self._fill(size)
            end = size
        data = self._unread[self._position : end]
        self._position = end
        return data

    def read_message(self) -> tuple[bytes, bytes]:
        """Return the next message's code and payload. Raises ConnectionLostError."""
        code, length = _HEADER.unpack(self.read(_HEADER.size))
        return code, self.read(length - 4)

    def is_quiet(self) -> bool:
        """Whether nothing waits to be read, which between statements can only be a farewell or the end.

        Asks the kernel, not the server: no round trip.
        """
        if self._position < len(self._unread):
            return False
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close the stream, whatever its state."""
        self._socket.close()

    def _fill(self, size: int) -> None:
        chunks = [self._unread[self._position :]]
        missing = size - len(chunks[0])
        while missing > 0:
            chunk = self._received()
            chunks.append(chunk)
            missing -= len(chunk)
        self._unread, self._position = b"".join(chunks), 0

    def _received(self) -> bytes:
        try:
            self._socket.settimeout(self._remaining())
            chunk = self._socket.recv(CHUNK_BYTES)
        except TimeoutError as error:
            raise ConnectionLostError("The database did not answer in time") from error
        except OSError as error:
            raise ConnectionLostError(f"The database is gone: {error}", peer_is_gone=True) from error
        if not chunk:
            raise ConnectionLostError("The database closed the connection", peer_is_gone=True)
        return chunk

    def _remaining(self) -> float:
        return _seconds_until(self._deadline)


def _seconds_until(deadline: float) -> float:
    remaining = deadline - monotonic()
    if remaining <= 0:
        raise TimeoutError("timed out")
    return remaining


def _connected(address: Address, deadline: float) -> socket.socket:
    if address.unix_path is not None:
        candidates = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, address.unix_path)]
        return _first_to_answer(iter(candidates), count=1, deadline=deadline)
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    connected = _first_to_answer(((family, kind, proto, target) for family, kind, proto, _, target in found), len(found), deadline)
    _keep_alive(connected)
    return connected


def _first_to_answer(candidates: Iterator[tuple[int, int, int, str | tuple[Any, ...]]], count: int, deadline: float) -> socket.socket:
    failure: OSError = OSError("the name has no address")
    for left, (family, kind, proto, target) in zip(range(count, 0, -1), candidates, strict=True):
        candidate = socket.socket(family, kind, proto)
        try:
            # A silent address must leave time for the next: an RDS endpoint resolves to one address in each zone.
            candidate.settimeout(_seconds_until(deadline) / left)
            candidate.connect(target)
        except OSError as error:
            candidate.close()
            failure = error
        else:
            return candidate
    raise failure


def _keep_alive(connected: socket.socket) -> None:
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_SECONDS),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_SECONDS),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    ):
        if hasattr(socket, option):  # macOS names the first one otherwise
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _encrypted(plain: socket.socket, host: str, tls: ssl.SSLContext, deadline: float) -> ssl.SSLSocket:
    plain.settimeout(_seconds_until(deadline))
    plain.sendall(_SSL_REQUEST)
    # One byte and no more: what a man in the middle adds in plain text must not reach the buffer (CVE-2021-23222).
    if plain.recv(1) != b"S":
        raise ConnectionRefusedError("the server does not offer TLS")
    plain.settimeout(_seconds_until(deadline))
    return tls.wrap_socket(plain, server_hostname=host)
