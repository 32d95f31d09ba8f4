"""The parsing and validation of DATABASE_URL."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lambda_app.core.settings import Environment, Settings
from lambda_app.db.endpoint import DatabaseUrlError, Endpoint
from lambda_app.db.engine import create_database_engine

STRONG_SECRET = SecretStr("Zk3vX8qLw2Tn6Rb9Yc4Hd7Jf1Gs5Mp0A")


def endpoint(url: str, *, environment: Environment = Environment.LOCAL, password_source: Callable[[], str] | None = None) -> Endpoint:
    return Endpoint.from_settings(make_settings(url, environment=environment), password_source=password_source)


def make_settings(url: str, **fields: Any) -> Settings:
    return Settings(database_url=SecretStr(url), secret_key=STRONG_SECRET, s3_bucket_name="unused", **fields)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+pg8000"])
def test_url_sets_address_user_and_database(scheme: str) -> None:
    found = endpoint(f"{scheme}://us%40er:p%2Fw%3A@db.example.com:6432/files")

    assert (found.address.host, found.address.port, found.user, found.database) == ("db.example.com", 6432, "us@er", "files")
    assert found.password() == "p/w:"


def test_port_is_optional() -> None:
    assert endpoint("postgresql://user@db.example.com/files").address.port == 5432


def test_password_source_replaces_the_password_in_the_url() -> None:
    assert endpoint("postgresql://user:old@db.example.com/files", password_source=lambda: "new").password() == "new"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "[::1]"])
def test_only_local_mode_uses_plain_text_on_loopback(host: str) -> None:
    url = f"postgresql://user@{host}/files"

    assert endpoint(url).tls is None
    for environment in (Environment.DEV, Environment.STAGING, Environment.PROD):
        assert endpoint(url, environment=environment).is_encrypted


def test_unix_socket_is_allowed_only_in_local_mode() -> None:
    url = "postgresql://user@/files?host=/run/postgresql"

    assert endpoint(url).address.unix_path == "/run/postgresql/.s.PGSQL.5432"
    with pytest.raises(DatabaseUrlError, match="only in local mode"):
        endpoint(url, environment=Environment.PROD)


@pytest.mark.parametrize("environment", Environment)
def test_remote_host_requires_a_verified_certificate(environment: Environment) -> None:
    context = endpoint("postgresql://user@db.example.com/files", environment=environment).tls

    assert context is not None
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_sslmode_disable_is_allowed_only_in_local_mode() -> None:
    url = "postgresql://user@db.example.com/files?sslmode=disable"

    assert endpoint(url).tls is None
    for environment in (Environment.DEV, Environment.STAGING, Environment.PROD):
        with pytest.raises(DatabaseUrlError, match="sslmode=disable, which is allowed only in local mode"):
            endpoint(url, environment=environment)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://user:hidden@db.example.com/files", "must start with"),
        ("postgres://user:hidden@db.example.com/files", "must start with"),
        ("postgresql+psycopg2://user:hidden@db.example.com/files", "must start with"),
        ("user:hidden@db.example.com/files", "must be a URL"),
        ("postgresql://user:hidden@db.example.com:many/files", "must be a URL"),
        ("", "must be a URL"),
        ("postgresql://user:hidden@/files", "must name a host"),
        ("postgresql://:hidden@db.example.com/files", "must name a user"),
        ("postgresql://user:hidden@db.example.com", "must name a user and a database"),
        ("postgresql://user:hidden@db.example.com/files?sslmode=require", "sslmode=require"),
        ("postgresql://user:hidden@db.example.com/files?sslmode=prefer", "sslmode=prefer"),
        ("postgresql://user:hidden@db.example.com/files?sslmode=verify-full&sslmode=disable", "more than once"),
        ("postgresql://user:hidden@db.example.com/files?options=-c%20work_mem%3D1", "options"),
        ("postgresql://user:hidden@db.example.com/files?connect_timeout=1", "connect_timeout"),
        ("postgresql://user:hidden@db.example.com/files?sslrootcert=/no/such/file", "/no/such/file"),
        ("postgresql://user:hidden@db.example.com/files?sslmode=disable&sslrootcert=/etc/passwd", "does not use TLS"),
        ("postgresql://user:hidden@db.example.com/files?host=/run", "replaces the host"),
        ("postgresql://user:hidden@/files?host=elsewhere", "replaces the host"),
    ],
)
def test_invalid_url_is_rejected_without_revealing_the_password(url: str, message: str) -> None:
    with pytest.raises(DatabaseUrlError, match=message) as caught:
        endpoint(url)

    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_creating_an_engine_opens_no_connection_and_loads_no_certificates(tmp_path: Path) -> None:
    broken = tmp_path / "authorities.pem"
    broken.write_text("not a certificate")

    engine = create_database_engine(
        make_settings(f"postgresql://user:hidden@db.example.com/files?sslrootcert={broken}", environment=Environment.PROD)
    )

    assert engine.pool.status().startswith("Pool size: 1  Connections in pool: 0")
    engine.dispose()
