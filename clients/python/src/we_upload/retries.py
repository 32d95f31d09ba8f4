"""When a request is repeated, and how long to wait before."""

import random
import threading
from email.utils import parsedate_to_datetime

from we_upload.errors import CancelledError

FIRST_DELAY_SECONDS = 0.5
DELAY_MAX_SECONDS = 30.0
TRIES_MAX = 8
"""Tries of one request without progress."""
RETRY_AFTER_MAX_SECONDS = 120.0
"""A longer `Retry-After` is an error: the caller decides whether to wait."""


def backoff_seconds(tries: int) -> float:
    """Return the wait after a number of tries: exponential, half of it random, so that clients do not return at the same time."""
    ceiling = min(DELAY_MAX_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** (tries - 1))
    return ceiling / 2 + random.random() * ceiling / 2  # noqa: S311 - spreads load, no secret


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds of a `Retry-After` header (RFC 9110): a number, or a date. None if there is none or it is malformed."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    from datetime import UTC, datetime

    return max(0.0, (date - datetime.now(UTC)).total_seconds()) if date.tzinfo else None


class Retries:
    """Counts the tries of one request and waits between them. `cancelled` ends a wait with CancelledError."""

    def __init__(self, cancelled: threading.Event, *, tries_max: int = TRIES_MAX) -> None:
        self._cancelled = cancelled
        self._tries_max = tries_max
        self._tries = 0

    def wait(self, *, retry_after_seconds: float | None = None) -> bool:
        """Wait before the next try. Return False when the request must not be repeated."""
        self._tries += 1
        if self._tries >= self._tries_max or (retry_after_seconds or 0) > RETRY_AFTER_MAX_SECONDS:
            return False
        if self._cancelled.wait(max(backoff_seconds(self._tries), retry_after_seconds or 0)):
            raise CancelledError("The transfer was cancelled")
        return True
