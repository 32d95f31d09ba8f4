"""HTTP: requests to the API with credentials and retries, and single requests to the object store."""

import json
import platform
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError

from we_upload import __version__
from we_upload.errors import ConnectionFailedError, ProblemError, problem_error
from we_upload.retries import TRIES_MAX, Retries, parse_retry_after

CONNECT_TIMEOUT_SECONDS = 15.0
READ_TIMEOUT_SECONDS = 60.0
"""Longest wait for the next byte of an answer."""
CONNECTIONS_MAX = 64
BLOCK_BYTES = 256 * 1024
"""Size of the pieces in which a body is read and sent."""
ANSWER_MAX_BYTES = 16 * 1024**2
"""Largest answer of the API that is read."""
API_PATH = "/api/v1"
USER_AGENT = f"we-upload/{__version__} python/{platform.python_version()}"
_S3_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")


class Body(Protocol):
    """A request body that is read in pieces."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes; empty at the end."""
        ...


class Credentials(Protocol):
    """What the `Authorization` header contains."""

    def bearer(self) -> str | None:
        """Return the current token, or None without credentials."""
        ...

    def renew(self, refused: str) -> bool:
        """Replace a token that the server refused. Return False if there is no other."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the API. Header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the parsed body."""
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """An answer of the object store. `reason` is the error code of S3."""

    status: int
    headers: Mapping[str, str]
    reason: str | None


class Transport:
    """Connections to the API and the object store. Uses the proxy of the environment. Safe for several threads."""

    def __init__(self) -> None:
        self._pools: dict[str | None, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def _pool_for(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
        with self._lock:
            if proxy not in self._pools:
                options: dict[str, Any] = {
                    "num_pools": 8,
                    "maxsize": CONNECTIONS_MAX,
                    "retries": False,
                    "timeout": urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS),
                    "blocksize": BLOCK_BYTES,
                }
                self._pools[proxy] = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
            return self._pools[proxy]

    def request(
        self, method: str, url: str, *, body: bytes | Body | None = None, headers: Mapping[str, str] | None = None, stream: bool = False
    ) -> urllib3.BaseHTTPResponse:
        """Send one request, without retries and redirects. Raises ConnectionFailedError."""
        try:
            return self._pool_for(url).request(
                method,
                url,
                body=body,  # type: ignore[arg-type]  # urllib3 only needs `read`
                headers={"User-Agent": USER_AGENT, **(headers or {})},
                redirect=False,
                preload_content=not stream,
                decode_content=not stream,
            )
        except (HTTPError, OSError) as error:
            raise ConnectionFailedError(f"No answer from {urlsplit(url).netloc}: {_cause(error)}") from error

    def send(self, method: str, url: str, *, body: bytes | Body, headers: Mapping[str, str]) -> StoreAnswer:
        """Send a body to the object store. Raises ConnectionFailedError."""
        response = self.request(method, url, body=body, headers=headers)
        found = _S3_CODE.search(response.data) if response.status >= 300 else None
        return StoreAnswer(response.status, response.headers, found[1].decode() if found else None)

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.clear()


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    text = str(reason if isinstance(reason, Exception) else error) or type(error).__name__
    return (
        re.sub(r"^.*?>?: (?=\S)", "", text)
        if "object at 0x" in text or text.startswith("<")
        else re.sub(r"^HTTPS?Connection\([^)]*\): ", "", text)
    )


def iterate(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the bytes of a streamed answer. Raises ConnectionFailedError when the connection breaks."""
    try:
        yield from response.stream(BLOCK_BYTES, decode_content=False)
    except (HTTPError, OSError) as error:
        raise ConnectionFailedError(f"The connection broke: {_cause(error)}") from error
    finally:
        response.release_conn()


class Api:
    """The API of one server. Paths are relative to `/api/v1`, except those of links, which begin with the address of the server."""

    def __init__(self, base_url: str, transport: Transport, credentials: Credentials | None = None) -> None:
        self.base_url = normalise_server(base_url)
        self.transport = transport
        self.credentials = credentials
        self.cancelled = threading.Event()
        """Ends waits between tries."""
        self.tries_max = TRIES_MAX

    def call(
        self,
        method: str,
        path: str,
        *,
        json_body: Any = None,
        form: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool = True,
    ) -> Answer:
        """Send a request and return a successful answer.

        Temporary errors (429, 502, 503, 504) are repeated, connection errors only if `is_repeatable`. Raises ProblemError and
        ConnectionFailedError.
        """
        url = path if path.startswith("http") else f"{self.base_url}{API_PATH}{path}"
        if query:
            url += "?" + urlencode({name: _text(value) for name, value in query.items() if value is not None})
        body, kind = _encode(json_body, form)
        sent = {"Accept": "application/json", **({"Content-Type": kind} if kind else {}), **(headers or {})}
        retries = Retries(self.cancelled, tries_max=self.tries_max)
        is_renewed = False
        while True:
            bearer = self.credentials.bearer() if self.credentials else None
            try:
                answer = self._send(method, url, body, {**sent, "Authorization": f"Bearer {bearer}"} if bearer else sent)
            except ConnectionFailedError:
                if not is_repeatable or not retries.wait():
                    raise
                continue
            if answer.status < 400:
                return answer
            if answer.status == 401 and bearer and self.credentials and not is_renewed and self.credentials.renew(bearer):
                is_renewed = True
                continue
            error = _error_of(answer)
            if not error.is_temporary or not retries.wait(retry_after_seconds=error.retry_after_seconds):
                raise error

    def _send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        response = self.transport.request(method, url, body=body, headers=headers, stream=True)
        try:
            data = response.read(ANSWER_MAX_BYTES, decode_content=True)
            if response.read(1, decode_content=True):
                response.close()
                raise ConnectionFailedError(f"The answer of {urlsplit(url).netloc} is longer than {ANSWER_MAX_BYTES:,} bytes")
        except (HTTPError, OSError) as error:
            raise ConnectionFailedError(f"The connection broke: {_cause(error)}") from error
        finally:
            response.release_conn()
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, data)


def normalise_server(url: str) -> str:
    """Return the address of a server without a trailing slash or `/api/v1`.

    An address without a scheme gets https, or http on this machine.

    Raises ValueError for an address that is not http or https.
    """
    url = url.strip().rstrip("/").removesuffix(API_PATH)
    if "://" not in url:
        host = url.partition("/")[0].partition(":")[0]
        url = f"{'http' if host in ('localhost', '127.0.0.1') else 'https'}://{url}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.netloc.endswith(":") or parts.query or parts.fragment:
        raise ValueError(f"{url} is not the address of a server, such as https://files.example.com")
    return url


def _encode(json_body: Any, form: Mapping[str, str] | None) -> tuple[bytes | None, str | None]:
    if form is not None:
        return urlencode(form).encode(), "application/x-www-form-urlencoded"
    if json_body is not None:
        return json.dumps(json_body, separators=(",", ":")).encode(), "application/json"
    return None, None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _error_of(answer: Answer) -> ProblemError:
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    retry_after = parse_retry_after(answer.headers.get("retry-after"))
    return problem_error(answer.status, problem if isinstance(problem, dict) else {}, retry_after_seconds=retry_after)
