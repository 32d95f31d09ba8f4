"""Encoders for the frontend messages of the PostgreSQL protocol 3.0. A message is encoded completely before any byte is sent."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

from pg8000.converters import make_params  # type: ignore[import-untyped]  # ships no type information
from pg8000.dbapi import DataError, ProgrammingError  # type: ignore[import-untyped]  # ships no type information

from lambda_app.db.errors import INVALID_CHARACTER, INVALID_VALUE

BIND_MAX_VALUES = 0xFFFF
"""The count of values in a Bind message has 16 bits."""

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
    """Encode Parse for the unnamed statement. The server infers the parameter types."""
    return _message(b"P", b"\0" + _terminated(sql) + _INT16.pack(0))


def query(sql: str) -> bytes:
    """Encode a simple Query."""
    return _message(b"Q", _terminated(sql))


def bind(values: Sequence[Any], converters: Mapping[type, Any]) -> bytes:
    """Encode Bind for the unnamed portal, with all values in text format.

    Raises DataError for a value without a text format: a lone surrogate, or an integer with more digits than Python converts.
    """
    if len(values) > BIND_MAX_VALUES:
        raise ProgrammingError(f"A statement can have at most {BIND_MAX_VALUES} values, not {len(values)}")
    payload = bytearray(b"\0\0\0\0")
    payload += _INT16.pack(len(values))
    for encoded in _encode_values(values, converters):
        payload += _NULL_VALUE if encoded is None else _INT32.pack(len(encoded)) + encoded
    return _message(b"B", bytes(payload) + _TEXT_RESULTS)


def _encode_values(values: Sequence[Any], converters: Mapping[type, Any]) -> Iterable[bytes | None]:
    try:
        return [None if text is None else text.encode() for text in make_params(converters, values)]
    except UnicodeEncodeError as error:
        raise DataError({"C": INVALID_CHARACTER, "M": "A value cannot be encoded in UTF-8"}) from error
    except (ValueError, OverflowError) as error:
        raise DataError({"C": INVALID_VALUE, "M": "A value cannot be converted to PostgreSQL's text format"}) from error


def _terminated(sql: str) -> bytes:
    if "\0" in sql:
        raise ProgrammingError("A statement cannot contain NUL")
    return sql.encode() + b"\0"


BEGIN = parse("BEGIN") + bind((), {}) + EXECUTE
"""Sent in the same flush as the first statement of a transaction, before one common Sync."""

COMMIT = query("COMMIT")
ROLLBACK = query("ROLLBACK")
