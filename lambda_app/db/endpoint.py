"""The database's address, as DATABASE_URL gives it, and the rules for its encryption."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from lambda_app.core.settings import Settings
from lambda_app.db.connection import WireConnection
from lambda_app.db.transport import Address, Transport

APPLICATION_NAME = "we-upload"
"""What pg_stat_activity calls us."""

DEFAULT_PORT = 5432

_SCHEMES = ("postgresql", "postgresql+pg8000")
_PARAMETERS = ("host", "sslmode", "sslrootcert")


class DatabaseUrlError(ValueError):
    """DATABASE_URL cannot be used; the message never repeats its password."""


@dataclass(frozen=True)
class Endpoint:
    """Where and as whom to sign in."""

    address: Address
    user: str
    database: str
    password: Callable[[], str] = field(repr=False)
    """Called at every sign-in: an IAM token lives 15 minutes."""
    is_encrypted: bool
    root_certificates: str | None
    """Path of the authorities to trust instead of the system's."""
    timeout_seconds: float

    @classmethod
    def from_settings(cls, settings: Settings, *, password_source: Callable[[], str] | None = None) -> Self:
        """Read `database_url`; `password_source`, when given, takes the place of its password.

        Raises DatabaseUrlError: not a PostgreSQL URL, a parameter we do not know, or encryption given up outside local mode.
        """
        url = _parse(settings.database_url.get_secret_value())
        parameters = _parameters(url)
        address = _address(url, parameters.get("host"))
        is_encrypted = _is_encrypted(parameters.get("sslmode"), address, is_local=settings.is_local)
        root_certificates = parameters.get("sslrootcert")
        if root_certificates is not None and not is_encrypted:
            raise DatabaseUrlError("DATABASE_URL names sslrootcert for a connection without TLS")
        if root_certificates is not None and not Path(root_certificates).is_file():
            raise DatabaseUrlError(f"DATABASE_URL names an sslrootcert that is not there: {root_certificates}")
        if not url.username or not url.database:
            raise DatabaseUrlError("DATABASE_URL must name a user and a database, as postgresql://user:password@host:5432/name")
        return cls(
            address=address,
            user=url.username,
            database=url.database,
            password=password_source or partial(str, url.password or ""),
            is_encrypted=is_encrypted,
            root_certificates=root_certificates,
            timeout_seconds=settings.database_timeout_seconds,
        )

    @cached_property
    def tls(self) -> ssl.SSLContext | None:
        """The context that verifies certificate and host name; loading the authorities is left to the first connection."""
        return ssl.create_default_context(cafile=self.root_certificates) if self.is_encrypted else None

    def connect(self, *, timeout_seconds: float | None = None) -> WireConnection:
        """Sign in; connecting may take `timeout_seconds`, and each answer after it as long again.

        Raises ConnectionLostError, or the DBAPI error the server refuses with.
        """
        return WireConnection(
            open_wire=partial(Transport.open, self.address, tls=self.tls, timeout_seconds=timeout_seconds or self.timeout_seconds),
            user=self.user,
            password=self.password,
            database=self.database,
            application_name=APPLICATION_NAME,
        )


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # `from None`: the cause may quote the URL, password and all.
        raise DatabaseUrlError("DATABASE_URL is not a URL, such as postgresql://user:password@host:5432/name") from None
    if url.drivername not in _SCHEMES:
        raise DatabaseUrlError(f"DATABASE_URL must begin with {' or '.join(f'{scheme}://' for scheme in _SCHEMES)}")
    return url


def _parameters(url: URL) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in url.query.items():
        if name not in _PARAMETERS:
            raise DatabaseUrlError(f"DATABASE_URL has a parameter we do not know: {name} (known: {', '.join(_PARAMETERS)})")
        if not isinstance(value, str):
            raise DatabaseUrlError(f"DATABASE_URL gives {name} more than once")
        parameters[name] = value
    return parameters


def _address(url: URL, folder: str | None) -> Address:
    port = url.port or DEFAULT_PORT
    if folder is None:
        if not url.host:
            raise DatabaseUrlError("DATABASE_URL must name a host")
        return Address(host=url.host, port=port)
    if url.host or not folder.startswith("/"):
        raise DatabaseUrlError("The host parameter of DATABASE_URL is the folder of a Unix socket, in place of a host")
    return Address(host="", port=port, unix_path=f"{folder}/.s.PGSQL.{port}")


def _is_encrypted(mode: str | None, address: Address, *, is_local: bool) -> bool:
    if mode not in (None, "verify-full", "disable"):
        raise DatabaseUrlError(f"DATABASE_URL has sslmode={mode}; it can be verify-full, or disable in local mode")
    stays_here = address.unix_path is not None or _is_loopback(address.host)
    is_encrypted = mode == "verify-full" or (mode is None and not (is_local and stays_here))
    if not is_encrypted and not is_local:
        raise DatabaseUrlError("DATABASE_URL has sslmode=disable outside local mode")
    if is_encrypted and address.unix_path is not None:
        raise DatabaseUrlError("DATABASE_URL names a Unix socket, which has no TLS: it is for local mode only")
    return is_encrypted


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
