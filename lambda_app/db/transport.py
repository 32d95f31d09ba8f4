"""The byte stream to the server, with a deadline for each reply: TCP with or without TLS, or a Unix socket."""

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
_READY = bytes.fromhex("5a 00000005")
"""Header of ReadyForQuery, the last message of a reply. One byte follows, the state of the transaction."""
READY_BYTES = len(_READY) + 1


@dataclass(frozen=True, slots=True)
class Address:
    """Address of the server: host and port, or the path of a Unix socket."""

    host: str
    port: int
    unix_path: str | None = None


class Transport:
    """The stream. It replaces the socket and socket file that pg8000 would create, and has its own read buffer.

    The buffer makes `has_unread_data` reliable: a buffered file object of the standard library cannot report what it has buffered.
    """

    def __init__(self, connection: socket.socket, *, timeout_seconds: float, deadline: float) -> None:
        self.timeout_seconds = timeout_seconds
        self._socket = connection
        self._deadline = deadline
        self._unread = b""
        self._position = 0
        self._unsent = b""
        self._arrived: list[bytes] = []
        """What `receive_available` has received, until the reply is complete."""
        self._tail = b""

    @classmethod
    def open(cls, address: Address, *, tls: ssl.SSLContext | None, timeout_seconds: float, sign_in_seconds: float | None = None) -> Self:
        """Connect, with a TLS handshake if `tls` is not None.

        `sign_in_seconds` (default: `timeout_seconds`) limits this and the sign-in that follows, `timeout_seconds` each later reply.
        Raises ConnectionLostError (08001): unreachable, timeout, no TLS, or an invalid certificate.
        """
        deadline = monotonic() + (timeout_seconds if sign_in_seconds is None else sign_in_seconds)
        try:
            plain = _connect(address, deadline)
        except (OSError, UnicodeError) as error:
            raise ConnectionLostError(f"Cannot connect to the database: {error}", sqlstate=CANNOT_CONNECT) from error
        try:
            connection = plain if tls is None else _start_tls(plain, address.host, tls, deadline)
        except (OSError, ValueError) as error:
            plain.close()
            raise ConnectionLostError(f"No verified TLS connection to the database: {error}", sqlstate=CANNOT_CONNECT) from error
        return cls(connection, timeout_seconds=timeout_seconds, deadline=deadline)

    def makefile(self, mode: str) -> Self:  # noqa: ARG002  # socket interface that pg8000 expects
        """Return the stream itself, which has the read, write and flush methods of a file."""
        return self

    def write(self, data: bytes) -> None:
        """Buffer bytes for the next flush; pg8000 uses this to sign in."""
        self._unsent += data

    def flush(self) -> None:
        """Send the buffered bytes before the current deadline."""
        data, self._unsent = self._unsent, b""
        try:
            self._socket.settimeout(self._remaining())
            self._socket.sendall(data)
        except TimeoutError as error:
            raise ConnectionLostError("Sending a request to the database timed out") from error
        except OSError as error:
            message = f"The connection to the database was lost: {error}"
            raise ConnectionLostError(message, peer_is_gone=True, is_unsent=True) from error

    def send(self, data: bytes) -> None:
        """Send one flush. The complete reply must arrive within `timeout_seconds` from now."""
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
        """Return the type code and payload of the next message. Raises ConnectionLostError."""
        code, length = _HEADER.unpack(self.read(_HEADER.size))
        return code, self.read(length - 4)

    def fileno(self) -> int:
        """Return the file descriptor, for an event loop that waits for data."""
        return self._socket.fileno()

    def receive_available(self) -> bool:
        """Receive what has arrived, without waiting. Return whether it ends like a complete reply, which can then be read.

        The bytes of ReadyForQuery could also stand at the end of an incomplete reply. Reading it then waits for the rest, which is on its
        way. Raises ConnectionLostError.
        """
        try:
            self._socket.settimeout(0)
            chunk = self._socket.recv(CHUNK_BYTES)
            while isinstance(self._socket, ssl.SSLSocket) and (pending := self._socket.pending()):
                chunk += self._socket.recv(pending)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError as error:
            raise ConnectionLostError(f"The connection to the database was lost: {error}", peer_is_gone=True) from error
        if not chunk:
            raise ConnectionLostError("The database closed the connection", peer_is_gone=True)
        self._arrived.append(chunk)
        self._tail = (self._tail + chunk[-READY_BYTES:])[-READY_BYTES:]
        if not self._tail.startswith(_READY):
            return False
        self._unread, self._position = b"".join((self._unread[self._position :], *self._arrived)), 0
        self._arrived, self._tail = [], b""
        return True

    def has_unread_data(self) -> bool:
        """Whether data or the end of the stream can be read. Between statements either means that the server has closed the connection.

        Queries the kernel only, without a round trip.
        """
        if self._position < len(self._unread):
            return True
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close the stream, in any state."""
        self._socket.close()

    def _fill(self, size: int) -> None:
        chunks = [self._unread[self._position :]]
        missing = size - len(chunks[0])
        while missing > 0:
            chunk = self._receive()
            chunks.append(chunk)
            missing -= len(chunk)
        self._unread, self._position = b"".join(chunks), 0

    def _receive(self) -> bytes:
        try:
            self._socket.settimeout(self._remaining())
            chunk = self._socket.recv(CHUNK_BYTES)
        except TimeoutError as error:
            raise ConnectionLostError("The database did not respond in time") from error
        except OSError as error:
            raise ConnectionLostError(f"The connection to the database was lost: {error}", peer_is_gone=True) from error
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


def _connect(address: Address, deadline: float) -> socket.socket:
    if address.unix_path is not None:
        candidates = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, address.unix_path)]
        return _connect_to_first(iter(candidates), count=1, deadline=deadline)
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    connection = _connect_to_first(((family, kind, proto, target) for family, kind, proto, _, target in found), len(found), deadline)
    _enable_keepalive(connection)
    return connection


def _connect_to_first(candidates: Iterator[tuple[int, int, int, str | tuple[Any, ...]]], count: int, deadline: float) -> socket.socket:
    """Return a connection to the first address that accepts one."""
    failure: OSError = OSError("the host name has no address")
    for left, (family, kind, proto, target) in zip(range(count, 0, -1), candidates, strict=True):
        candidate = socket.socket(family, kind, proto)
        try:
            # An unresponsive address must leave time for the next one: an RDS endpoint resolves to one address per availability zone.
            candidate.settimeout(_seconds_until(deadline) / left)
            candidate.connect(target)
        except OSError as error:
            candidate.close()
            failure = error
        else:
            return candidate
    raise failure


def _enable_keepalive(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_SECONDS),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_SECONDS),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    ):
        if hasattr(socket, option):  # macOS has another name for the first one
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _start_tls(plain: socket.socket, host: str, tls: ssl.SSLContext, deadline: float) -> ssl.SSLSocket:
    plain.settimeout(_seconds_until(deadline))
    plain.sendall(_SSL_REQUEST)
    # Read exactly one byte: plain-text bytes injected by a man in the middle must not reach the read buffer (CVE-2021-23222).
    if plain.recv(1) != b"S":
        raise ConnectionRefusedError("the server does not support TLS")
    plain.settimeout(_seconds_until(deadline))
    return tls.wrap_socket(plain, server_hostname=host)
