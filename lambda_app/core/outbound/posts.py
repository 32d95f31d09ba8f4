"""POST requests to the URLs of users: to public addresses only, without redirects, within a time limit that covers everything.

The name is resolved once, and the request connects to an address of that answer: a second answer with another address has no effect.
Proxy variables of the environment are ignored.
"""

import http.client
import io
import queue
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

from lambda_app.core.outbound.addresses import is_permitted

TIMEOUT_SECONDS = 5.0
"""Limit for the resolution, the connection, TLS, the request and the answer together."""
READ_MAX_BYTES = 64 * 1024
"""Bytes of an answer that are read. The rest is discarded with the connection."""
SHOWN_BYTES = 1024
"""Bytes of the body that are returned."""
_CHUNK_BYTES = 16 * 1024
_ADDRESSES_MAX = 3
"""Addresses of a name that are tried."""
HOST_MAX_LENGTH = 253
HTTP_OK = range(200, 300)
_REDIRECTS = range(300, 400)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: .*)?")


class BadUrlError(ValueError):
    """The URL cannot be used. The message is for its owner."""


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a URL."""

    is_tls: bool
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str, *, allow_loopback: bool) -> "Target":
        """Return the parts of an absolute https URL; with `allow_loopback` also of an http URL of the own host. Raises BadUrlError."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise BadUrlError("must be an https URL, such as https://example.com/hooks") from error
        if parts.scheme not in ("https", "http") or not host or not url.isascii() or any(not "!" <= letter <= "~" for letter in url):
            raise BadUrlError("must be an https URL, such as https://example.com/hooks")
        if parts.scheme == "http" and not (allow_loopback and (host == "localhost" or _is_loopback(host))):
            raise BadUrlError("must begin with https://")
        if parts.username is not None or parts.password is not None:
            raise BadUrlError("must not contain a user name or a password")
        if parts.fragment:
            raise BadUrlError("must not contain a fragment")
        if len(host) > HOST_MAX_LENGTH or port == 0:
            raise BadUrlError("must have a valid host and port")
        if _is_address(host) and not is_permitted(host, allow_loopback=allow_loopback):
            raise BadUrlError("must not be the address of a private network")
        is_tls = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(is_tls, host, port or (443 if is_tls else 80), path)

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `error` is None for an answer with a status from 200 to 299."""

    error: str | None
    status: int | None
    body: str
    """The beginning of the body, as text."""
    duration_ms: int


class _FailedError(Exception):
    """The request failed before there was an answer."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Poster:
    """Sends POST requests. `tls` replaces the default context, which verifies certificates by the system's authorities."""

    def __init__(
        self, *, allow_loopback: bool = False, timeout_seconds: float = TIMEOUT_SECONDS, tls: ssl.SSLContext | None = None
    ) -> None:
        self._allow_loopback = allow_loopback
        self._timeout_seconds = timeout_seconds
        self._tls = tls or ssl.create_default_context()

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send the body, and return the answer or the reason why there is none. Raises nothing for what the receiver does."""
        started_at = monotonic()
        ends_at = started_at + self._timeout_seconds
        status, shown, error = None, b"", None
        try:
            target = Target.parse(url, allow_loopback=self._allow_loopback)
            with self._connect(target, ends_at) as connection:
                _send(connection, _request(target, body, headers), ends_at)
                status, shown = _receive(connection, ends_at)
        except BadUrlError:
            error = "bad_url"
        except _FailedError as failure:
            error = failure.code
        except ssl.SSLError:
            error = "tls_failed"
        except TimeoutError:
            error = "timeout"
        except OSError:
            error = "connection_failed"
        else:
            error = None if status in HTTP_OK else "redirect" if status in _REDIRECTS else "status"
        text = shown.decode(errors="replace").replace("\0", "")
        return Answer(error, status, text, round((monotonic() - started_at) * 1000))

    def _connect(self, target: Target, ends_at: float) -> socket.socket:
        addresses = _resolve(target, ends_at)
        # One bad address is enough: an attacker could put a private one beside a public one.
        if not all(is_permitted(address, allow_loopback=self._allow_loopback) for address in addresses):
            raise _FailedError("private_address")
        failure: OSError | None = None
        for address in addresses[:_ADDRESSES_MAX]:
            try:
                connection = socket.create_connection((address, target.port), timeout=_left(ends_at))
            except OSError as error:
                failure = error
                continue
            if not target.is_tls:
                return connection
            try:
                # The name of the URL is verified, although the connection is to an address.
                return self._tls.wrap_socket(connection, server_hostname=target.host)
            except BaseException:
                connection.close()
                raise
        raise failure or _FailedError("unresolved")


def _resolve(target: Target, ends_at: float) -> list[str]:
    """Return the addresses of the host. In a thread, because the resolver of the system has no time limit of ours."""
    answers: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(address[0]) for *_, address in found)))
        except (OSError, UnicodeError):
            answers.put(None)

    threading.Thread(target=resolve, daemon=True, name="resolve").start()
    try:
        addresses = answers.get(timeout=_left(ends_at))
    except queue.Empty:
        raise TimeoutError from None
    if not addresses:
        raise _FailedError("unresolved")
    return addresses


def _request(target: Target, body: bytes, headers: Mapping[str, str]) -> bytes:
    fields = {"Host": target.authority, "Content-Length": str(len(body)), "Connection": "close", **headers}
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _send(connection: socket.socket, data: bytes, ends_at: float) -> None:
    # The timeout of sendall covers the whole call.
    connection.settimeout(_left(ends_at))
    connection.sendall(data)


def _receive(connection: socket.socket, ends_at: float) -> tuple[int, bytes]:
    """Return the status and the beginning of the body. Once the header is complete, a slow or broken body is no failure."""
    received = bytearray()
    header: _Header | None = None
    while header is None or not header.is_followed_by_whole_body(received):
        if len(received) >= READ_MAX_BYTES:
            break
        try:
            # Each read has only the time that is left of the whole, so that an answer of single bytes ends too.
            connection.settimeout(_left(ends_at))
            chunk = connection.recv(min(_CHUNK_BYTES, READ_MAX_BYTES - len(received)))
        except OSError:
            if header is None:
                raise
            break
        if not chunk:
            break
        received += chunk
        if header is None:
            header = _Header.find(received, since=len(received) - len(chunk))
    if header is None:
        raise _FailedError("bad_response")
    return header.status, _body_of(bytes(received))


@dataclass(frozen=True, slots=True)
class _Header:
    """The header of the final answer at the beginning of the received bytes."""

    status: int
    length: int
    body_bytes: int | None
    is_chunked: bool

    @classmethod
    def find(cls, received: bytearray, *, since: int) -> "_Header | None":
        """Return the header, or None until it is complete. Removes informational answers. Raises _FailedError for anything but HTTP."""
        if not b"HTTP/1.".startswith(received[:7]):
            raise _FailedError("bad_response")
        end = received.find(b"\r\n\r\n", max(0, since - 3))
        while end >= 0:
            lines = bytes(received[:end]).split(b"\r\n")
            matched = _STATUS_LINE.fullmatch(lines[0])
            if matched is None:
                raise _FailedError("bad_response")
            if (status := int(matched[1])) < 200:
                del received[: end + 4]
                end = received.find(b"\r\n\r\n")
                continue
            fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
            size = fields.get(b"content-length", b"")
            is_chunked = b"chunked" in fields.get(b"transfer-encoding", b"").lower()
            return cls(status, end + 4, int(size) if size.isdigit() and len(size) < 19 and not is_chunked else None, is_chunked)
        return None

    def is_followed_by_whole_body(self, received: bytearray) -> bool:
        """Whether nothing more can follow; a body without a length ends with the connection."""
        if self.status in (204, 304):
            return True
        if self.is_chunked:
            return received.endswith(b"0\r\n\r\n")
        return self.body_bytes is not None and len(received) >= self.length + self.body_bytes


def _body_of(data: bytes) -> bytes:
    """Return the beginning of the body."""
    try:
        response = http.client.HTTPResponse(_Buffer(data), method="POST")  # type: ignore[arg-type]  # only makefile is called
        response.begin()
        return response.read(READ_MAX_BYTES)[:SHOWN_BYTES]
    except http.client.IncompleteRead as error:
        return error.partial[:SHOWN_BYTES]
    except (http.client.HTTPException, ValueError):
        return b""


class _Buffer:
    """What http.client reads instead of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _left(ends_at: float) -> float:
    left = ends_at - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _is_loopback(host: str) -> bool:
    return is_permitted(host, allow_loopback=True) and not is_permitted(host, allow_loopback=False)
