"""What a list of files is narrowed to, and how it is ordered."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from lambda_app.models.files.files import FileStatus


class Shared(StrEnum):
    """Which side of sharing by name a list shows."""

    WITH_ME = "with_me"
    """Others' available files that the user was granted."""
    BY_ME = "by_me"
    """The user's own files that others were granted."""


class OrderField(StrEnum):
    """What a list can be ordered by."""

    CREATED = "created"
    NAME = "name"
    SIZE = "size"


class Order(StrEnum):
    """The order of a list; a minus turns it round."""

    NEWEST_FIRST = "-created"
    OLDEST_FIRST = "created"
    BY_NAME = "name"
    BY_NAME_BACKWARDS = "-name"
    SMALLEST_FIRST = "size"
    LARGEST_FIRST = "-size"


@dataclass(frozen=True, slots=True)
class FileOrder:
    """An order, taken apart."""

    field: OrderField
    is_descending: bool

    @classmethod
    def of(cls, order: Order) -> "FileOrder":
        """Take an order apart."""
        return cls(OrderField(order.removeprefix("-")), order.startswith("-"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFilter:
    """What to list; None does not narrow. Without a status, the trash is left out."""

    status: FileStatus | None = None
    name: str | None = None
    """A piece of the name, case ignored."""
    content_type: str | None = None
    """What the declared type begins with, as `image/`."""
    created_after: datetime | None = None
    """Not before this."""
    created_before: datetime | None = None
    """Before this."""
    size_min: int | None = None
    size_max: int | None = None
    shared: Shared | None = None
    file_request_id: UUID | None = None
