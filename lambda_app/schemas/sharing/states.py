"""The state of a share link or file request, as a filter of lists."""

from enum import StrEnum
from typing import NamedTuple


class LinkState(StrEnum):
    """Whether visitors can use the link. One whose downloads or files are used up is active: its owner can raise the limit."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class LinkFilter(NamedTuple):
    """Which links a list has; None does not filter."""

    state: LinkState | None = None
    title: str | None = None
    """A part of the title, in any case. It leaves out revoked links."""
