"""Requests to the URLs of users: what a receiver can do, and what it cannot."""

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from time import monotonic

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lambda_app.core.outbound.posts import READ_MAX_BYTES, SHOWN_BYTES, Answer, Poster
from tests.support.receivers import answer, http_receiver, raw_receiver

LIMIT = 0.5


def post(url: str, *, allow_loopback: bool = True) -> Answer:
    return Poster(allow_loopback=allow_loopback, timeout_seconds=LIMIT).post(url, b'{"a":1}', {"webhook-id": "1"})


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names and their addresses, in place of the resolver."""
    names: dict[str, list[str]] = {}
    original = socket.getaddrinfo

    def resolve(host: str, port: int, *arguments: object, **options: object) -> object:
        if host not in names:
            return original(host, port, type=socket.SOCK_STREAM)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in names[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return names


def test_accepted_request_has_the_headers_and_the_body() -> None:
    with http_receiver(lambda request, _body: answer(request, 200, b"thanks")) as receiver:
        result = post(f"{receiver.url}?a=b")

    assert (result.error, result.status, result.body) == (None, 200, "thanks")
    [received] = receiver.received
    assert received.path == "/hook?a=b"
    assert received.body == b'{"a":1}'
    assert received.headers["webhook-id"] == "1"
    assert received.headers["host"] == receiver.url.split("/")[2]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_a_failure_and_is_not_followed(status: int) -> None:
    with http_receiver() as target, http_receiver(lambda request, _body: answer(request, status, Location=target.url)) as receiver:
        result = post(receiver.url)

    assert (result.error, result.status) == ("redirect", status)
    assert target.received == []


def test_answer_with_an_error_status_is_a_failure_with_the_beginning_of_its_body() -> None:
    with http_receiver(lambda request, _body: answer(request, 500, b"x" * 5000)) as receiver:
        result = post(receiver.url)

    assert (result.error, result.status, result.body) == ("status", 500, "x" * SHOWN_BYTES)


def test_large_answer_is_read_up_to_the_limit_only() -> None:
    sent: list[int] = []

    def respond(request: BaseHTTPRequestHandler, _body: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(10 * 1024**2))
        request.end_headers()
        for _ in range(160):
            request.wfile.write(b"y" * READ_MAX_BYTES)
            sent.append(READ_MAX_BYTES)

    with http_receiver(respond) as receiver:
        result = post(receiver.url)

    assert (result.error, len(result.body)) == (None, SHOWN_BYTES)
    assert sum(sent) < 10 * 1024**2


def test_silent_receiver_ends_at_the_time_limit() -> None:
    with raw_receiver(closes=False) as url:
        result = post(url)

    assert result.error == "timeout"
    assert LIMIT * 900 <= result.duration_ms < LIMIT * 1000 + 500


def test_header_that_arrives_byte_by_byte_ends_at_the_time_limit() -> None:
    header = [bytes([letter]) for letter in b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 1000]
    started_at = monotonic()
    with raw_receiver(*header, pause=threading.Event()) as url:
        result = post(url)

    assert result.error == "timeout"
    assert monotonic() - started_at < 20 * LIMIT
    assert result.duration_ms < LIMIT * 1000 + 500


def test_slow_body_after_a_complete_header_is_no_failure() -> None:
    with raw_receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nstart", closes=False) as url:
        result = post(url)

    assert (result.error, result.status, result.body) == (None, 200, "start")


@pytest.mark.parametrize(
    ("answered", "status", "body"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok", 202, "ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, "ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nto the end", 200, "to the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
    ],
    ids=["informational", "chunked", "until close", "no content"],
)
def test_forms_of_http_answers_are_understood(answered: bytes, status: int, body: str) -> None:
    with raw_receiver(answered) as url:
        result = post(url)

    assert (result.error, result.status, result.body) == (None, status, body)


@pytest.mark.parametrize(
    "answered", [b"", b"220 mail.example.com ESMTP\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200", b"HTTP/1.1 " + b"x" * 70_000]
)
def test_answer_that_is_not_http_is_a_failure(answered: bytes) -> None:
    with raw_receiver(answered) as url:
        result = post(url)

    assert (result.error, result.status) == ("bad_response", None)


def test_receiver_that_is_down_is_a_failure() -> None:
    with http_receiver() as receiver:
        url = receiver.url

    assert post(url).error == "connection_failed"


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["169.254.169.254"], ["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::ffff:7f00:1"]])
def test_name_with_a_private_address_is_refused_without_a_connection(
    dns: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    dns["hooks.example.com"] = addresses
    connected: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda *arguments, **_options: connected.append(arguments))

    result = post("https://hooks.example.com/", allow_loopback=False)

    assert result.error == "private_address"
    assert connected == []


def test_request_connects_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"], ["10.0.0.1"]])
    resolved: list[str] = []

    def resolve(host: str, port: int, *_arguments: object, **_options: object) -> object:
        resolved.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(answers)]

    with http_receiver() as receiver:
        original = socket.getaddrinfo
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, port, *a, **o: resolve(host, port) if host == "localhost" else original(host, port, *a, **o)
        )
        result = post(receiver.url.replace("127.0.0.1", "localhost"))

    assert result.error is None
    assert resolved == ["localhost"]


def test_name_that_does_not_resolve_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    assert post("https://unknown.example.com/").error == "unresolved"


def test_resolver_that_hangs_ends_at_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: release.wait(10) and [])

    result = post("https://slow.example.com/")
    release.set()

    assert result.error == "timeout"


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)

    with http_receiver() as receiver:
        assert post(receiver.url).error is None


class TestTls:
    """The certificate is verified against the name of the URL, although the connection is to an address."""

    @pytest.fixture
    def authority(self, tmp_path: Path) -> tuple[Path, Path]:
        """A certificate for hooks.example.com, which is its own authority, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example.com")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        names = x509.SubjectAlternativeName([x509.DNSName("hooks.example.com"), x509.IPAddress(ip_address("127.0.0.2"))])
        certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
        paths = tmp_path / "cert.pem", tmp_path / "key.pem"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
        return paths

    @pytest.fixture
    def port(self, authority: tuple[Path, Path]) -> Iterator[int]:
        """A receiver with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority)
        listener = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                    with context.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(65536)
                        secured.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)

    def poster(self, authority: tuple[Path, Path]) -> Poster:
        return Poster(allow_loopback=True, timeout_seconds=5, tls=ssl.create_default_context(cafile=str(authority[0])))

    def test_certificate_of_the_name_is_accepted(self, dns: dict[str, list[str]], authority: tuple[Path, Path], port: int) -> None:
        dns["hooks.example.com"] = ["127.0.0.1"]

        assert self.poster(authority).post(f"https://hooks.example.com:{port}/", b"", {}).status == 204

    def test_certificate_of_another_name_is_refused(self, dns: dict[str, list[str]], authority: tuple[Path, Path], port: int) -> None:
        dns["other.example.com"] = ["127.0.0.1"]

        assert self.poster(authority).post(f"https://other.example.com:{port}/", b"", {}).error == "tls_failed"

    def test_certificate_of_an_unknown_authority_is_refused(self, dns: dict[str, list[str]], port: int) -> None:
        dns["hooks.example.com"] = ["127.0.0.1"]

        assert Poster(allow_loopback=True, timeout_seconds=5).post(f"https://hooks.example.com:{port}/", b"", {}).error == "tls_failed"
