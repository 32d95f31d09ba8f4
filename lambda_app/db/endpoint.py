"""The database endpoint, parsed from DATABASE_URL, and the rules for its encryption."""

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
"""Shown in pg_stat_activity."""

DEFAULT_PORT = 5432

_SCHEMES = ("postgresql", "postgresql+pg8000")
_PARAMETERS = ("host", "sslmode", "sslrootcert")


class DatabaseUrlError(ValueError):
    """DATABASE_URL is invalid. The message never contains the password."""


@dataclass(frozen=True)
class Endpoint:
    """Address and credentials of the database."""

    address: Address
    user: str
    database: str
    password: Callable[[], str] = field(repr=False)
    """Called at every sign-in, because an IAM token is valid for only 15 minutes."""
    is_encrypted: bool
    root_certificates: str | None
    """Path of a file with trusted certificate authorities; None: those of the system."""
    timeout_seconds: float
    sign_in_seconds: float | None = None
    """Longest wait for a connection and the sign-in on it. None: `timeout_seconds`."""
    pauses: bool = False
    """Whether the server pauses when it is idle."""

    @classmethod
    def from_settings(cls, settings: Settings, *, password_source: Callable[[], str] | None = None) -> Self:
        """Parse `database_url`. `password_source` replaces the password of the URL.

        Raises DatabaseUrlError: not a PostgreSQL URL, an unknown parameter, or no encryption outside local mode.
        """
        url = _parse(settings.database_url.get_secret_value())
        parameters = _parameters(url)
        address = _address(url, parameters.get("host"))
        is_encrypted = _is_encrypted(parameters.get("sslmode"), address, is_local=settings.is_local)
        root_certificates = parameters.get("sslrootcert")
        if root_certificates is not None and not is_encrypted:
            raise DatabaseUrlError("DATABASE_URL has sslrootcert, but the connection does not use TLS")
        if root_certificates is not None and not Path(root_certificates).is_file():
            raise DatabaseUrlError(f"The sslrootcert file of DATABASE_URL does not exist: {root_certificates}")
        if not url.username or not url.database:
            raise DatabaseUrlError("DATABASE_URL must name a user and a database, for example postgresql://user:password@host:5432/name")
        return cls(
            address=address,
            user=url.username,
            database=url.database,
            password=password_source or partial(str, url.password or ""),
            is_encrypted=is_encrypted,
            root_certificates=root_certificates,
            timeout_seconds=settings.database_timeout_seconds,
            sign_in_seconds=settings.database_sign_in_seconds,
            pauses=settings.database_pauses,
        )

    @cached_property
    def tls(self) -> ssl.SSLContext | None:
        """The TLS context, which verifies certificate and host name. Created at the first connection, because loading the CAs is slow."""
        return ssl.create_default_context(cafile=self.root_certificates) if self.is_encrypted else None

    def connect(self, *, timeout_seconds: float | None = None) -> WireConnection:
        """Open a connection. `timeout_seconds` limits the sign-in as a whole, and then each reply; it replaces the endpoint's own limits.

        Raises ConnectionLostError, or the DBAPI error with which the server rejects the sign-in.
        """
        return WireConnection(
            open_transport=partial(
                Transport.open,
                self.address,
                tls=self.tls,
                timeout_seconds=timeout_seconds or self.timeout_seconds,
                sign_in_seconds=timeout_seconds or self.sign_in_seconds,
            ),
            user=self.user,
            password=self.password,
            database=self.database,
            application_name=APPLICATION_NAME,
            starting_seconds=(timeout_seconds or self.sign_in_seconds or self.timeout_seconds) if self.pauses else None,
        )


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # `from None`: the message of the cause may contain the URL with its password.
        raise DatabaseUrlError("DATABASE_URL must be a URL, for example postgresql://user:password@host:5432/name") from None
    if url.drivername not in _SCHEMES:
        raise DatabaseUrlError(f"DATABASE_URL must start with {' or '.join(f'{scheme}://' for scheme in _SCHEMES)}")
    return url


def _parameters(url: URL) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in url.query.items():
        if name not in _PARAMETERS:
            raise DatabaseUrlError(f"DATABASE_URL has an unknown parameter: {name} (supported: {', '.join(_PARAMETERS)})")
        if not isinstance(value, str):
            raise DatabaseUrlError(f"DATABASE_URL has the parameter {name} more than once")
        parameters[name] = value
    return parameters


def _address(url: URL, folder: str | None) -> Address:
    port = url.port or DEFAULT_PORT
    if folder is None:
        if not url.host:
            raise DatabaseUrlError("DATABASE_URL must name a host")
        return Address(host=url.host, port=port)
    if url.host or not folder.startswith("/"):
        raise DatabaseUrlError(
            "The host parameter of DATABASE_URL must be the absolute path of a Unix socket folder, and replaces the host"
        )
    return Address(host="", port=port, unix_path=f"{folder}/.s.PGSQL.{port}")


def _is_encrypted(mode: str | None, address: Address, *, is_local: bool) -> bool:
    if mode not in (None, "verify-full", "disable"):
        raise DatabaseUrlError(f"DATABASE_URL has sslmode={mode}; use verify-full, or disable in local mode")
    is_same_host = address.unix_path is not None or _is_loopback(address.host)
    is_encrypted = mode == "verify-full" or (mode is None and not (is_local and is_same_host))
    if not is_encrypted and not is_local:
        raise DatabaseUrlError("DATABASE_URL has sslmode=disable, which is allowed only in local mode")
    if is_encrypted and address.unix_path is not None:
        raise DatabaseUrlError("DATABASE_URL names a Unix socket, which does not support TLS; use it only in local mode")
    return is_encrypted


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
