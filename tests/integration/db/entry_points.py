"""TLS and Unix socket front ends for the embedded PostgreSQL, which itself has only plain-text TCP."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy.engine import make_url

from lambda_app.core import clock

SSL_REQUEST_BYTES = 8
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Authority:
    """A self-signed certificate authority."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def write_certificate(self, path: Path) -> Path:
        """Write the authority's certificate in the format of `sslrootcert`."""
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def write_server_identity(self, path: Path, address: str) -> Path:
        """Write the key and certificate of a server with the IP address `address`."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder("server", key).issuer_name(self.certificate.subject)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(address))]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = builder.add_extension(issuer, critical=False).sign(self.key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(secret + certificate.public_bytes(pem))
        return path


def make_authority() -> Authority:
    """Create a new authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder("authority", key)
    builder = builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    usage |= {"decipher_only": False, "key_cert_sign": True, "crl_sign": True}
    builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    return Authority(key, builder.sign(key, hashes.SHA256()))


def _builder(name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = clock.now()
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


@contextmanager
def tls_server(upstream: str, *, identity: Path | None) -> Iterator[int]:
    """Listen in front of the database `upstream` and yield the port. Without an `identity`, reject TLS as PostgreSQL does."""
    context = None
    if identity is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity)

    def serve(client: socket.socket) -> None:
        client.recv(SSL_REQUEST_BYTES)
        if context is None:
            client.sendall(b"N")
            client.recv(1)
            return
        client.sendall(b"S")
        with context.wrap_socket(client, server_side=True) as encrypted:
            _relay(encrypted, upstream)

    listener = socket.create_server(("127.0.0.1", 0))
    with _served(listener, serve):
        yield listener.getsockname()[1]


@contextmanager
def unix_server(upstream: str, path: Path) -> Iterator[None]:
    """Listen on the Unix socket `path` in front of the database `upstream`."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    with _served(listener, lambda client: _relay(client, upstream)):
        yield


@contextmanager
def _served(listener: socket.socket, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    acceptor = threading.Thread(target=_accept, args=(listener, serve), daemon=True)
    acceptor.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(timeout=5)


def _accept(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    def serve_one(client: socket.socket) -> None:
        with client, suppress(OSError):
            serve(client)

    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve_one, args=(client,), daemon=True).start()


def _relay(client: socket.socket, upstream: str) -> None:
    url = make_url(upstream)
    with socket.create_connection((url.host, url.port)) as server:
        threading.Thread(target=_copy, args=(server, client), daemon=True).start()
        _copy(client, server)
        server.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
