"""Database errors: the mapping from SQLSTATE to DBAPI exception class, and access to the fields of an error."""

from collections.abc import Mapping

from pg8000.dbapi import (  # type: ignore[import-untyped]  # ships no type information
    DatabaseError,
    DataError,
    IntegrityError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import DBAPIError

StatementFailedError = DBAPIError
"""Raised by a session when a statement fails; its `orig` is the driver's error."""

CONNECTION_FAILURE = "08006"
CANNOT_CONNECT = "08001"
CANNOT_CONNECT_NOW = "57P03"
"""The server is starting. PostgreSQL sends it itself; a database that pauses may leave the connection without an answer instead."""
FAILED_TRANSACTION = "25P02"
INVALID_CHARACTER = "22021"
INVALID_VALUE = "22023"
DIVISION_BY_ZERO = "22012"
DETAIL = "D"
"""The field of an ErrorResponse that contains values of the row."""

SERVER_WENT_AWAY = frozenset({"57P01", "57P02", "57P05"})
"""FATAL errors (shutdown, crash, idle session timeout) after which a new connection is expected to succeed."""

_CLASS_BY_PREFIX: Mapping[str, type[Exception]] = {
    "08": OperationalError,
    "0A": NotSupportedError,
    "22": DataError,
    "23": IntegrityError,
    "25": InternalError,
    "28": OperationalError,
    "3D": OperationalError,
    "40": OperationalError,
    "42": ProgrammingError,
    "53": OperationalError,
    "54": OperationalError,
    "55": OperationalError,
    "57": OperationalError,
    "58": OperationalError,
    "XX": InternalError,
}
"""By class of SQLSTATE (PostgreSQL manual, appendix A). pg8000 itself raises DatabaseError for all of them."""


class ConnectionLostError(OperationalError):  # type: ignore[misc]  # its base is untyped
    """The connection is unusable: the server closed it, did not respond in time, or the protocol state is out of sync.

    `peer_is_gone` is True in the first case, in which a new connection may succeed immediately. `is_unsent` is True when the connection
    refused the last bytes of the request: the server did not receive the request in full.
    """

    def __init__(self, message: str, *, sqlstate: str = CONNECTION_FAILURE, peer_is_gone: bool = False, is_unsent: bool = False) -> None:
        super().__init__({"S": "FATAL", "C": sqlstate, "M": message})
        self.peer_is_gone = peer_is_gone
        self.is_unsent = is_unsent

    def __str__(self) -> str:
        """Return the message alone."""
        return str(self.args[0]["M"])


def server_error(fields: Mapping[str, str]) -> Exception:
    """Return the DBAPI exception for an ErrorResponse. Its only argument is the fields without DETAIL."""
    error_class: type[Exception] = _CLASS_BY_PREFIX.get(fields.get("C", "")[:2], DatabaseError)
    # DETAIL contains the failing row, including hashes and e-mail addresses, which must not reach the log.
    return error_class({name: text for name, text in fields.items() if name != DETAIL})


def error_field(error: BaseException | None, field: str) -> str | None:
    """Return a field of a server error (`C` SQLSTATE, `n` constraint, `M` message), or None."""
    fields = error.args[0] if error is not None and error.args else None
    return fields.get(field) if isinstance(fields, Mapping) else None


def sqlstate_of(error: BaseException | None) -> str | None:
    """Return the SQLSTATE of an error of SQLAlchemy, or None."""
    return error_field(getattr(error, "orig", None), "C")
