"""Database errors: which DBAPI class an SQLSTATE belongs to, and how to read one back."""

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

CONNECTION_FAILURE = "08006"
CANNOT_CONNECT = "08001"
FAILED_TRANSACTION = "25P02"
INVALID_CHARACTER = "22021"
INVALID_VALUE = "22023"
DETAIL = "D"
"""The field of an ErrorResponse that repeats values."""

SERVER_WENT_AWAY = frozenset({"57P01", "57P02", "57P05"})
"""FATAL farewells (shutdown, crash, idle session) after which a new connection is expected to work."""

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
"""Appendix A of the PostgreSQL manual, by class; pg8000 itself raises DatabaseError for everything."""


class ConnectionLostError(OperationalError):  # type: ignore[misc]  # its base is untyped
    """The connection is dead: the peer is gone, did not answer in time, or the two sides are out of step.

    `peer_is_gone` tells the first case from the others: a new connection may well work at once.
    """

    def __init__(self, message: str, *, sqlstate: str = CONNECTION_FAILURE, peer_is_gone: bool = False) -> None:
        super().__init__({"S": "FATAL", "C": sqlstate, "M": message})
        self.peer_is_gone = peer_is_gone

    def __str__(self) -> str:
        """Return the message alone."""
        return str(self.args[0]["M"])


def server_error(fields: Mapping[str, str]) -> Exception:
    """Return the DBAPI exception for the fields of an ErrorResponse, without the detail; they become its only argument."""
    error_class: type[Exception] = _CLASS_BY_PREFIX.get(fields.get("C", "")[:2], DatabaseError)
    # The detail shows the row that failed, hashes and addresses and all, to whoever reads the log.
    return error_class({name: text for name, text in fields.items() if name != DETAIL})


def error_field(error: BaseException | None, field: str) -> str | None:
    """Return one field of a server's error (`C` SQLSTATE, `n` constraint, `M` message), if it has it."""
    fields = error.args[0] if error is not None and error.args else None
    return fields.get(field) if isinstance(fields, Mapping) else None
