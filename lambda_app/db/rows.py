"""Converts DataRow messages to Python values, faster than pg8000's own readers."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from struct import Struct
from typing import Any

from pg8000.converters import (  # type: ignore[import-untyped]  # ships no type information
    DATE,
    TIMESTAMP,
    TIMESTAMPTZ,
    date_in,
    timestamp_in,
    timestamptz_in,
)

Reader = Callable[[str], Any]

_LENGTH = Struct("!i")
_COLUMN_COUNT_BYTES = 2
_NULL = -1


def decode_rows(payloads: Sequence[bytes], readers: Sequence[Reader]) -> list[list[Any]]:
    """Return the rows of DataRow payloads. `readers` has the reader of each column."""
    return [_decode_row(payload, readers) for payload in payloads]


def _decode_row(payload: bytes, readers: Sequence[Reader]) -> list[Any]:
    row: list[Any] = []
    position = _COLUMN_COUNT_BYTES
    for read in readers:
        (length,) = _LENGTH.unpack_from(payload, position)
        position += 4
        if length == _NULL:
            row.append(None)
        else:
            end = position + length
            row.append(read(payload[position:end].decode()))
            position = end
    return row


def _read_timestamptz(text: str) -> Any:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):  # infinity, BC, years over 9999
        return timestamptz_in(text)


def _read_timestamp(text: str) -> Any:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return timestamp_in(text)


def _read_date(text: str) -> Any:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return date_in(text)


FAST_READERS: dict[int, Reader] = {TIMESTAMPTZ: _read_timestamptz, TIMESTAMP: _read_timestamp, DATE: _read_date}
"""Readers by type OID. pg8000's readers use strptime, which takes 20 times as long, and keep the session's time zone instead of UTC."""
