"""What the frontend says (PostgreSQL protocol 3.0, message formats), encoded before a byte is written."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

from pg8000.converters import make_params  # type: ignore[import-untyped]  # ships no type information
from pg8000.dbapi import DataError, ProgrammingError  # type: ignore[import-untyped]  # ships no type information

from lambda_app.db.errors import INVALID_CHARACTER, INVALID_VALUE

BIND_MAX_VALUES = 0xFFFF
"""A Bind message counts its values in 16 bits."""

_INT16 = Struct("!H")
_INT32 = Struct("!i")
_NULL_VALUE = _INT32.pack(-1)
_TEXT_RESULTS = _INT16.pack(0)


def _message(code: bytes, payload: bytes) -> bytes:
    return code + _INT32.pack(len(payload) + 4) + payload


DESCRIBE_PORTAL = _message(b"D", b"P\0")
EXECUTE = _message(b"E", b"\0" + _INT32.pack(0))
SYNC = _message(b"S", b"")
TERMINATE = _message(b"X", b"")


@lru_cache(maxsize=256)
def parse(sql: str) -> bytes:
    """Encode Parse of the unnamed statement; the types of its values are left to the server."""
    return _message(b"P", b"\0" + _terminated(sql) + _INT16.pack(0))


def query(sql: str) -> bytes:
    """Encode a simple query."""
    return _message(b"Q", _terminated(sql))


def bind(values: Sequence[Any], converters: Mapping[type, Any]) -> bytes:
    """Encode Bind of the unnamed portal, every value in its text form.

    Raises DataError for a value that has none: a lone surrogate, an integer of more digits than Python prints.
    """
    if len(values) > BIND_MAX_VALUES:
        raise ProgrammingError(f"A statement takes {BIND_MAX_VALUES} values at most, not {len(values)}")
    payload = bytearray(b"\0\0\0\0")
    payload += _INT16.pack(len(values))
    for encoded in _encoded(values, converters):
        payload += _NULL_VALUE if encoded is None else _INT32.pack(len(encoded)) + encoded
    return _message(b"B", bytes(payload) + _TEXT_RESULTS)


def _encoded(values: Sequence[Any], converters: Mapping[type, Any]) -> Iterable[bytes | None]:
    try:
        return [None if text is None else text.encode() for text in make_params(converters, values)]
    except UnicodeEncodeError as error:
        raise DataError({"C": INVALID_CHARACTER, "M": "A value cannot be written in UTF-8"}) from error
    except (ValueError, OverflowError) as error:
        raise DataError({"C": INVALID_VALUE, "M": "A value has no text form that PostgreSQL reads"}) from error


def _terminated(sql: str) -> bytes:
    if "\0" in sql:
        raise ProgrammingError("A statement cannot contain NUL")
    return sql.encode() + b"\0"


BEGIN = parse("BEGIN") + bind((), {}) + EXECUTE
"""Rides in front of a transaction's first statement, under the same Sync."""

COMMIT = query("COMMIT")
ROLLBACK = query("ROLLBACK")
