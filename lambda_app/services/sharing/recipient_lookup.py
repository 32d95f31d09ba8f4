"""Who is meant by an address or an id, for those who name others: to share with them, never to find out who is here."""

import math
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement

from lambda_app.core import clock
from lambda_app.models import User
from lambda_app.repositories.sharing.recipient_lookup import RecipientLookupRepository
from lambda_app.services.accounts.login_throttle import ThrottledError


class RecipientLookup:
    """Finds active users by the names that others give them."""

    def __init__(self, lookups: RecipientLookupRepository) -> None:
        self._lookups = lookups

    def find(self, asker: User, names: Sequence[str], *, where: ColumnElement[bool]) -> dict[str, UUID] | None:
        """Return the users of these addresses and ids, without those that nobody has; None if the condition does not hold.

        `where` is what must be true of what shall be shared: it is looked at first, in the same statement. An address without an active
        account counts as a wrong password does, against the asker: who has an account here is not to be found out by asking for a
        thousand. Raises ThrottledError, for known ones too.
        """
        lookup = self._lookups.find(asker, names, where=where)
        if not lookup.is_allowed:
            return None
        if not lookup.is_admitted:
            wait = (lookup.blocked_until - clock.now()).total_seconds() if lookup.blocked_until else 1
            raise ThrottledError(headers={"Retry-After": str(max(1, math.ceil(wait)))})
        return lookup.user_ids
