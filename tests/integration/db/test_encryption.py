"""Connections to other hosts are encrypted and the server's certificate is verified; otherwise the connection fails."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, insert
from sqlalchemy.engine import make_url

from lambda_app.core.settings import Environment
from lambda_app.db.endpoint import Endpoint
from lambda_app.db.errors import ConnectionLostError
from lambda_app.db.session import create_session_factory, session_scope
from tests.integration.db.conftest import make_settings
from tests.integration.db.entry_points import Authority, make_authority, tls_server
from tests.integration.db.notes import count_notes, note

STRONG_SECRET = "Zk3vX8qLw2Tn6Rb9Yc4Hd7Jf1Gs5Mp0A"


@pytest.fixture(scope="module")
def authority() -> Authority:
    """The certificate authority that the clients trust."""
    return make_authority()


@pytest.fixture(scope="module")
def trusted(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the authority's certificate."""
    return authority.write_certificate(tmp_path_factory.mktemp("tls") / "authority.pem")


def url_through(url: str, port: int, **query: str) -> str:
    return make_url(url).set(port=port, query=query).render_as_string(hide_password=False)


@pytest.mark.parametrize("mode", [{"sslmode": "verify-full"}, {}])
def test_server_with_a_valid_certificate_is_accepted(
    make_engine: Callable[..., Engine], notes_url: str, authority: Authority, trusted: Path, tmp_path: Path, mode: dict[str, str]
) -> None:
    identity = authority.write_server_identity(tmp_path / "server.pem", "127.0.0.1")
    body = uuid4().hex

    with tls_server(notes_url, identity=identity) as port:
        url = url_through(notes_url, port, sslrootcert=str(trusted), **mode)
        engine = make_engine(url, environment=Environment.PROD, secret_key=STRONG_SECRET)
        with session_scope(create_session_factory(engine)) as session:
            session.execute(insert(note).values(body=body))
        found = count_notes(engine, body)
        engine.dispose()

    assert found == 1


def test_certificate_for_another_host_is_rejected(notes_url: str, authority: Authority, trusted: Path, tmp_path: Path) -> None:
    identity = authority.write_server_identity(tmp_path / "server.pem", "192.0.2.1")

    with tls_server(notes_url, identity=identity) as port:
        endpoint = Endpoint.from_settings(make_settings(url_through(notes_url, port, sslmode="verify-full", sslrootcert=str(trusted))))
        with pytest.raises(ConnectionLostError, match="IP address mismatch"):
            endpoint.connect()


def test_certificate_of_an_unknown_authority_is_rejected(notes_url: str, trusted: Path, tmp_path: Path) -> None:
    identity = make_authority().write_server_identity(tmp_path / "server.pem", "127.0.0.1")

    with tls_server(notes_url, identity=identity) as port:
        for query in ({"sslrootcert": str(trusted)}, {}):
            endpoint = Endpoint.from_settings(make_settings(url_through(notes_url, port, sslmode="verify-full", **query)))
            with pytest.raises(ConnectionLostError, match="certificate verify failed"):
                endpoint.connect()


def test_server_without_tls_receives_no_credentials(notes_url: str, trusted: Path) -> None:
    with tls_server(notes_url, identity=None) as port:
        endpoint = Endpoint.from_settings(make_settings(url_through(notes_url, port, sslmode="verify-full", sslrootcert=str(trusted))))
        with pytest.raises(ConnectionLostError, match="does not support TLS"):
            endpoint.connect()


def test_idle_tls_connection_counts_as_alive(notes_url: str, authority: Authority, trusted: Path, tmp_path: Path) -> None:
    identity = authority.write_server_identity(tmp_path / "server.pem", "127.0.0.1")

    with tls_server(notes_url, identity=identity) as port:
        endpoint = Endpoint.from_settings(make_settings(url_through(notes_url, port, sslmode="verify-full", sslrootcert=str(trusted))))
        with closing(endpoint.connect()) as connection:
            # TLS 1.3 sends session tickets after the handshake. They must not count as the end of the connection.
            assert connection.is_alive()
