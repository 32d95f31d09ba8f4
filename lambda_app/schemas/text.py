"""Rules for text, numbers and times in requests, and the format of times in responses."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, PlainSerializer, WithJsonSchema

# NUL, the other control characters and lone surrogates. PostgreSQL cannot store NUL, and UTF-8 cannot encode lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNPRINTABLE_BUT_LINES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
DIRECTION_MARKS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that change the direction of text: with them, `gpj.exe` can be shown as `exe.jpg`."""
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


def is_storable(value: str) -> bool:
    """Return whether the text has neither control characters nor lone surrogates."""
    return _UNPRINTABLE.search(value) is None


def _refuse_unprintable(value: str) -> str:
    if _UNPRINTABLE.search(value):
        raise ValueError("must not contain control characters or lone surrogates")
    return value


def _refuse_unprintable_but_lines(value: str) -> str:
    if _UNPRINTABLE_BUT_LINES.search(value):
        raise ValueError("must not contain control characters other than tab and line breaks, or lone surrogates")
    return value


def _refuse_direction_marks(value: str) -> str:
    if DIRECTION_MARKS.search(value):
        raise ValueError("must not contain characters that change the direction of text")
    return value


def _refuse_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _only_digits(value: Any) -> Any:
    # Pydantic's lax mode also accepts `1_0`, ` 5` and `5.0`.
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("must be a whole number in decimal digits")
    return value


def _begin_with_a_date(value: Any) -> Any:
    # Pydantic would parse a number as seconds since 1970.
    if not isinstance(value, datetime) and not (isinstance(value, str) and _DATE.match(value)):
        raise ValueError("must be a time with a time zone, such as 2026-01-31T12:00:00Z")
    return value


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be between the years 1 and 9999 in UTC") from error


def _format_time(value: datetime) -> str:
    # Times from the database are UTC already; the check saves half the cost in long lists.
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return f"{utc.isoformat(timespec='microseconds')[:-6]}Z"


ONE_LINE = AfterValidator(_refuse_unprintable)
"""No control characters, no lone surrogates."""
SEVERAL_LINES = AfterValidator(_refuse_unprintable_but_lines)
"""As ONE_LINE, but with tabs and line breaks."""
NO_DIRECTION_MARKS = AfterValidator(_refuse_direction_marks)
"""No characters that change the direction of text."""
NOT_BLANK = AfterValidator(_refuse_blank)
"""At least one character that is not white space."""

ONLY_DIGITS = BeforeValidator(_only_digits)
"""A whole number in a query string. List it after the bounds in `Annotated`; before them, the OpenAPI document would lack the bounds."""

Instant = Annotated[AwareDatetime, BeforeValidator(_begin_with_a_date), AfterValidator(_in_utc)]
"""A time with a time zone, converted to UTC."""

Timestamp = Annotated[
    datetime,
    PlainSerializer(_format_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""A time in a response: RFC 3339 in UTC with `Z` and always six digits of a second, so that texts compare like times."""
