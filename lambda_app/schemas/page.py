"""Cursors of paged lists. Callers treat them as opaque."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

from lambda_app.core.errors import MalformedRequestError
from lambda_app.schemas.files.file_lists import FileOrder, OrderField
from lambda_app.schemas.text import is_storable

CURSOR_MAX_LENGTH = 2048
"""In characters. The longest file name results in about 1,500, a date in about 140."""

SIZE_LIMIT = 2**63

_INVALID_CURSOR = "The cursor is not valid; use the X-Next-Cursor of a page"


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position after which the next page starts: the order of the list, and the sort value and id of the last row."""

    order: FileOrder
    value: datetime | str | int
    id: UUID

    def encode(self) -> str:
        """Return the cursor as URL-safe text."""
        value = self.value.isoformat() if isinstance(self.value, datetime) else self.value
        position = [self.order.field, self.order.is_descending, value, str(self.id)]
        return base64.urlsafe_b64encode(json.dumps(position, ensure_ascii=False).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Return the cursor from URL-safe text. Raises MalformedRequestError when the text is not a valid cursor."""
        try:
            field, is_descending, value, row_id = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
            order = FileOrder(OrderField(field), _checked(is_descending, bool))
            return cls(order=order, value=_VALUES[order.field](value), id=UUID(row_id))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise MalformedRequestError(_INVALID_CURSOR, code="bad_cursor") from error

    def value_for(self, order: FileOrder) -> datetime | str | int:
        """Return the sort value. Raises MalformedRequestError when the cursor belongs to another order."""
        if self.order != order:
            raise MalformedRequestError("The cursor belongs to a list in another order; request the first page", code="bad_cursor")
        return self.value


@dataclass(frozen=True, slots=True)
class AuditCursor:
    """The position in the audit log after which the next page starts: the number of the last event."""

    seq: int

    def encode(self) -> str:
        """Return the cursor as URL-safe text."""
        return base64.urlsafe_b64encode(json.dumps(["seq", self.seq]).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Return the cursor from URL-safe text. Raises MalformedRequestError when the text is not a valid cursor."""
        try:
            kind, seq = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
            return cls({"seq": _size}[kind](seq))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise MalformedRequestError(_INVALID_CURSOR, code="bad_cursor") from error


def _checked(value: object, kind: type) -> bool:
    if type(value) is not kind:
        raise TypeError
    return bool(value)


def _instant(value: str) -> datetime:
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is None:
        raise ValueError
    # Converted to UTC here, not in the driver: in some time zones, the first and last days of the calendar overflow.
    return instant.astimezone(UTC)


def _size(value: int) -> int:
    if type(value) is not int or not 0 <= value < SIZE_LIMIT:
        raise ValueError
    return value


def _name(value: str) -> str:
    if not is_storable(value):
        raise ValueError
    return value


_VALUES: dict[OrderField, Callable[[Any], datetime | str | int]] = {
    OrderField.CREATED: _instant,
    OrderField.NAME: _name,
    OrderField.SIZE: _size,
    OrderField.UPDATED: _instant,
}


@dataclass(frozen=True, slots=True)
class RequestedPage:
    """The requested page of a list of files, and its order."""

    order: FileOrder
    skip: int
    limit: int
    after: Cursor | None
    with_total: bool
