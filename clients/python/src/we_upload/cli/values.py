"""Values of options: times, sizes, passwords."""

import os
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from we_upload.cli.output import UsageError

_DURATION = re.compile(r"(\d{1,6})\s*(m|min|h|d|w)")
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def parse_expiry(text: str | None, *, now: datetime | None = None) -> datetime | None:
    """Return the time of `7d`, `12h`, `2030-01-31` or an RFC 3339 time. A date without a time zone is in local time.

    Raises UsageError.
    """
    if text is None:
        return None
    now = now or datetime.now(UTC)
    found = _DURATION.fullmatch(text.strip().lower())
    try:
        time = now + timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"--expires {text} is not a time. Examples: 30m, 12h, 7d, 2w, 2030-01-31, 2030-01-31T12:00:00Z") from None
    if time <= now:
        raise UsageError(f"--expires {text} is in the past.")
    return time


def parse_size(text: str | None) -> int | None:
    """Return the bytes of `200MB`, `1GiB` or `1048576`. Raises UsageError."""
    if text is None:
        return None
    found = _SIZE.fullmatch(text.strip())
    if not found or (found[3] and not found[2]):
        raise UsageError(f"{text} is not a size. Examples: 200MB, 1GiB")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** " kmgt".index(found[2].lower() or " "))


def require_ids(ids: Sequence[str]) -> None:
    """Raise UsageError if one of the arguments is not an id."""
    for text in ids:
        if not is_id(text):
            raise UsageError(f"{text} is not an id, such as 6f3c1e1e-0000-4000-8000-000000000000. The commands ls and links print them.")


def is_id(text: str) -> bool:
    """Return whether the text is the id of a file, a link or a file request."""
    return _ID.fullmatch(text) is not None


def read_password(options: Any, *, is_new: bool) -> str | None:
    """Return the password of `--password` or `--password-file`, None without them. Raises UsageError."""
    if options.password_file:
        try:
            text = sys.stdin.readline() if options.password_file == "-" else Path(options.password_file).read_text(encoding="utf-8")  # noqa: S105
        except OSError as error:
            raise UsageError(f"{options.password_file}: {error.strerror}") from None
        return text.splitlines()[0] if text else ""
    if not options.password:
        return None
    if stored := os.environ.get("WE_UPLOAD_PASSWORD"):
        return stored
    return enter_password(is_new=is_new)


def enter_password(*, is_new: bool, prompt: str = "Password of the link: ") -> str:
    """Read a password from the terminal, a new one twice. Raises UsageError without a terminal."""
    if not sys.stdin.isatty():
        raise UsageError("There is no terminal to enter a password. Use --password-file, or WE_UPLOAD_PASSWORD.")
    from getpass import getpass

    password = getpass(prompt)
    if is_new and getpass("Again: ") != password:
        raise UsageError("The two passwords differ.")
    return password
