"""Filters and orders of file lists."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from lambda_app.models.files.files import FileStatus


class Shared(StrEnum):
    """Filter by grants."""

    WITH_ME = "with_me"
    """Available files of other users for which the user has a grant."""
    BY_ME = "by_me"
    """The user's own files for which other users have a grant."""


class OrderField(StrEnum):
    """The sort key of a list."""

    CREATED = "created"
    NAME = "name"
    SIZE = "size"
    UPDATED = "updated"


class Order(StrEnum):
    """The order of a list; a minus sign means descending."""

    NEWEST_FIRST = "-created"
    OLDEST_FIRST = "created"
    BY_NAME = "name"
    BY_NAME_DESCENDING = "-name"
    SMALLEST_FIRST = "size"
    LARGEST_FIRST = "-size"
    LAST_UPDATED_FIRST = "-updated"
    FIRST_UPDATED_FIRST = "updated"

    @classmethod
    def _missing_(cls, value: object) -> "Order | None":
        """Accept the name of the field, `filename`, for `name`."""
        return {"filename": cls.BY_NAME, "-filename": cls.BY_NAME_DESCENDING}.get(str(value))


@dataclass(frozen=True, slots=True)
class FileOrder:
    """An order as its sort key and direction."""

    field: OrderField
    is_descending: bool

    @classmethod
    def of(cls, order: Order) -> "FileOrder":
        """Return the sort key and direction of an order."""
        return cls(OrderField(order.removeprefix("-")), order.startswith("-"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFilter:
    """Filters of a list, combined with AND; None means no filter."""

    statuses: tuple[FileStatus, ...] = ()
    """Any of these; none means all outside the trash."""
    ids: tuple[UUID, ...] | None = None
    updated_after: datetime | None = None
    """Inclusive lower bound of the time of the last change."""
    name: str | None = None
    """Part of the file name; case is ignored."""
    content_type: str | None = None
    """Prefix of the declared content type, for example `image/`."""
    created_after: datetime | None = None
    """Inclusive lower bound."""
    created_before: datetime | None = None
    """Exclusive upper bound."""
    size_min: int | None = None
    size_max: int | None = None
    owner_id: UUID | None = None
    """The owner; None means the user, unless `of_all_owners` is set. Another owner than the user is for superusers."""
    of_all_owners: bool = False
    """The files of all users; for superusers."""
    shared: Shared | None = None
    file_request_id: UUID | None = None
