"""Sizes and times as the pages show them, in the form that the web app also uses."""

from collections.abc import Sequence
from datetime import UTC, datetime

from lambda_app.core import clock
from lambda_app.routers.http.file_kinds import file_kind, type_in_words

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_PREVIEWED_NAMES = 3


def size(bytes_: int) -> str:
    """Return a size in units of 1000 with at most three digits: `24.8 MB`."""
    power = next((power for power in range(len(_UNITS) - 1) if bytes_ / 1000**power < 999.5), len(_UNITS) - 1)
    value = bytes_ / 1000**power
    most = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    text = f"{value:.{min(most, max(0, power - 1))}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {_UNITS[power]}"


def exact_time(at: datetime) -> str:
    """Return a time with weekday and zone: `Fri 11 Dec 2026, 17:00 UTC`. The page has no script that could tell the visitor's zone."""
    at = at.astimezone(UTC)
    return f"{at:%a} {at.day} {at:%b} {at.year:04d}, {at:%H:%M} UTC"


def time_left(until: datetime) -> str:
    """Return in words how long something is still open, rounded down."""
    minutes = int((until - clock.now()).total_seconds() // 60)
    for count, unit in ((minutes // (24 * 60), "day"), (minutes // 60, "hour"), (minutes, "minute")):
        if count > 0:
            return f"Open for {count:,} more {unit}{'s' if count != 1 else ''}"
    return "Closes in less than a minute"


def preview_of_names(names: Sequence[str]) -> str:
    """Return the first names for the preview that messengers show of a link."""
    more = len(names) - _PREVIEWED_NAMES
    return ", ".join(names[:_PREVIEWED_NAMES]) + (f" and {more} more" if more > 0 else "")


def initials(name: str) -> str:
    """Return the first letters of the first two words of a name."""
    return "".join(word[0].upper() for word in name.split()[:2])


FILTERS = {
    "initials": initials,
    "size": size,
    "exact_time": exact_time,
    "time_left": time_left,
    "preview_of_names": preview_of_names,
    "file_kind": file_kind,
    "type_in_words": type_in_words,
}
