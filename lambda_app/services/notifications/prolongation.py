"""Prolongs a share link or a file request by the link of a mail."""

from datetime import datetime, timedelta
from typing import NamedTuple

from lambda_app.core.security.notification_tokens import NotificationTokens, Prolongation, Prolonged
from lambda_app.repositories.notifications.prolongation import Owner, ProlongationRepository
from lambda_app.services.notifications.settings import NotificationLinkError

PROLONGED_BY = timedelta(days=7)


class Expiry(NamedTuple):
    """What a token prolongs, when it expires, and its owner."""

    kind: Prolonged
    expires_at: datetime
    owner: Owner


class ProlongationService:
    """Shows and moves the expiry of the share link or file request that a token names.

    The token holds the expiry of the time at which the mail was made. After a change of the expiry, also by this token, it is spent.
    """

    def __init__(self, *, prolongations: ProlongationRepository, tokens: NotificationTokens) -> None:
        self._prolongations = prolongations
        self._tokens = tokens

    def require(self, token: str) -> Expiry:
        """Return the expiry, without changing it. Raises NotificationLinkError, UnavailableError."""
        found = self._read(token)
        owner = self._prolongations.find_owner(found.kind, found.id, owner_id=found.user_id, expires_at=found.expires_at)
        if owner is None or self._tokens.mailbox_of(owner.email) != found.mailbox:
            raise NotificationLinkError
        return Expiry(found.kind, found.expires_at, owner)

    def prolong(self, token: str) -> Expiry:
        """Move the expiry, and return the new one. Works once. Raises NotificationLinkError, UnavailableError."""
        before, found = self.require(token), self._read(token)
        until = before.expires_at + PROLONGED_BY
        if not self._prolongations.prolong(found.kind, found.id, owner_id=found.user_id, expires_at=before.expires_at, until=until):
            raise NotificationLinkError
        return before._replace(expires_at=until)

    def _read(self, token: str) -> Prolongation:
        found = self._tokens.read_prolongation(token)
        if found is None:
            raise NotificationLinkError
        return found
