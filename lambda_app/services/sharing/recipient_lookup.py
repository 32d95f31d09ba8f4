"""Lookup of the accounts that a user wants to share with, limited so that it cannot be used to find out who has an account."""

from collections.abc import Sequence
from uuid import UUID

from lambda_app.models import User
from lambda_app.repositories.sharing.recipient_lookup import RecipientLookupRepository
from lambda_app.services.accounts.login_throttle import ThrottledError


class RecipientLookup:
    """Finds active users by e-mail address or id, and limits failed lookups."""

    def __init__(self, lookups: RecipientLookupRepository) -> None:
        self._lookups = lookups

    def find(self, user: User, names: Sequence[str]) -> dict[str, UUID]:
        """Return the ids of the active users with these addresses and ids, by name.

        The caller must check first that the user may share with others at all. Each address without an active account counts against
        the calling user like a failed sign-in, so accounts cannot be enumerated. When the limit is reached, lookups of existing
        accounts fail too. Raises ThrottledError.
        """
        lookup = self._lookups.find(user, names)
        if not lookup.is_admitted:
            raise ThrottledError.until(lookup.blocked_until)
        return lookup.user_ids
