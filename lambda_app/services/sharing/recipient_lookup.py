"""Lookup of the accounts that a user wants to share with, limited so that it cannot be used to find out who has an account."""

import math
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement

from lambda_app.core import clock
from lambda_app.models import User
from lambda_app.repositories.sharing.recipient_lookup import RecipientLookupRepository
from lambda_app.services.accounts.login_throttle import ThrottledError


class RecipientLookup:
    """Finds active users by e-mail address or id, and limits failed lookups."""

    def __init__(self, lookups: RecipientLookupRepository) -> None:
        self._lookups = lookups

    def find(self, user: User, names: Sequence[str], *, where: ColumnElement[bool]) -> dict[str, UUID] | None:
        """Return the ids of the active users with these addresses and ids, by name; None if the condition is false.

        `where` is the permission to share, evaluated first in the same statement. Each name without an active account counts against
        the calling user like a failed sign-in, so accounts cannot be enumerated. When the limit is reached, lookups of existing
        accounts fail too. Raises ThrottledError.
        """
        lookup = self._lookups.find(user, names, where=where)
        if not lookup.is_allowed:
            return None
        if not lookup.is_admitted:
            wait = (lookup.blocked_until - clock.now()).total_seconds() if lookup.blocked_until else 1
            raise ThrottledError(headers={"Retry-After": str(max(1, math.ceil(wait)))})
        return lookup.user_ids
