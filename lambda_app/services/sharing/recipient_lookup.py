"""Lookup of the accounts that a user wants to share with, limited so that it cannot be used to find out who has an account."""

from collections.abc import Sequence

from lambda_app.models import User
from lambda_app.repositories.sharing.recipient_lookup import FoundRecipients, RecipientLookupRepository
from lambda_app.services.accounts.login_throttle import ThrottledError


class RecipientLookup:
    """Finds active users by e-mail address or id, and limits failed lookups."""

    def __init__(self, lookups: RecipientLookupRepository) -> None:
        self._lookups = lookups

    def find(self, user: User, names: Sequence[str]) -> FoundRecipients:
        """Return the active users with these addresses and ids.

        The caller must check first that the user may share with others at all. Each address without an active account counts against
        the calling user like a failed sign-in, so accounts cannot be enumerated. When the limit is reached, lookups of existing
        accounts fail too. Raises ThrottledError.
        """
        lookup = self._lookups.find(user, names)
        if not lookup.is_admitted:
            raise ThrottledError.until(lookup.blocked_until)
        return lookup

    def count(self, user: User, email: str) -> None:
        """Count a request whose result will reveal whether the address has an account, together with the failed lookups.

        Raises ThrottledError when the user has asked too often.
        """
        if (blocked_until := self._lookups.count(user, email)) is not None:
            raise ThrottledError.until(blocked_until)
