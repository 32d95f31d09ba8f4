"""Why a file has no preview."""

from enum import StrEnum


class Reason(StrEnum):
    """The reasons that the worker reports."""

    UNSUPPORTED = "unsupported"
    """The format has no preview."""
    TOO_LARGE = "too_large"
    """Too many pixels, or too many bytes to read."""
    BROKEN = "broken"
    """The decoder cannot read the file."""
    PROTECTED = "protected"
    """The document needs a password."""
    OUT_OF_LIMITS = "out_of_limits"
    """The decoder used up its time or memory, or crashed."""
    WITHHELD = "withheld"
    """The storage does not release the file, for example because a scan found malware."""
    UNCONFINED = "unconfined"
    """Linux refused the filter of system calls, and the decoder does not run without it."""
    MISSING = "missing"
    """The file has been deleted."""


class PreviewFailedError(Exception):
    """The file has no preview."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason
