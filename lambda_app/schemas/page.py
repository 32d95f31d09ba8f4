"""Cursors of paged lists: opaque to the caller, a position to us."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self
from uuid import UUID

from lambda_app.core.errors import MalformedRequestError

CURSOR_MAX_LENGTH = 256
"""Ours have about 110 characters."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page in newest-first order; the next page begins behind it."""

    created_at: datetime
    id: UUID

    def encode(self) -> str:
        """Return the cursor as URL-safe text."""
        return base64.urlsafe_b64encode(json.dumps([self.created_at.isoformat(), str(self.id)]).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read a cursor from the caller.

        Raises:
            MalformedRequestError: it is not one that we made.
        """
        try:
            created_at, row_id = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
            # In UTC here and not in the driver: some zones overflow on the first and the last day of the calendar.
            return cls(created_at=datetime.fromisoformat(created_at).astimezone(UTC), id=UUID(row_id))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise MalformedRequestError("The cursor is not one of ours", code="bad_cursor") from error
