"""The state of a share link or file request, as a filter of lists."""

from enum import StrEnum


class LinkState(StrEnum):
    """Whether visitors can use the link. One whose downloads or files are used up is active: its owner can raise the limit."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"
