"""Prolongs a share link by the link of a mail."""

from datetime import datetime, timedelta

from lambda_app.core.security.notification_tokens import NotificationTokens, Prolongation
from lambda_app.repositories.notifications.prolongation import ProlongationRepository
from lambda_app.services.notifications.settings import NotificationLinkError

PROLONGED_BY = timedelta(days=7)


class LinkProlongationService:
    """Shows and moves the expiry of the share link that a token names.

    The token holds the expiry of the time at which the mail was made. After a change of the expiry, also by this token, it is spent.
    """

    def __init__(self, *, links: ProlongationRepository, tokens: NotificationTokens) -> None:
        self._links = links
        self._tokens = tokens

    def require(self, token: str) -> datetime:
        """Return the expiry of the link, without changing it. Raises NotificationLinkError, UnavailableError."""
        found = self._read(token)
        email = self._links.find_owner(found.share_id, owner_id=found.user_id, expires_at=found.expires_at)
        if email is None or self._tokens.mailbox_of(email) != found.mailbox:
            raise NotificationLinkError
        return found.expires_at

    def prolong(self, token: str) -> datetime:
        """Move the expiry of the link, and return the new one. Works once. Raises NotificationLinkError, UnavailableError."""
        expires_at = self.require(token)
        found = self._read(token)
        until = expires_at + PROLONGED_BY
        if not self._links.prolong(found.share_id, owner_id=found.user_id, expires_at=expires_at, until=until):
            raise NotificationLinkError
        return until

    def _read(self, token: str) -> Prolongation:
        found = self._tokens.read_prolongation(token)
        if found is None:
            raise NotificationLinkError
        return found
