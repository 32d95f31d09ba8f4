"""Access that was given to an e-mail address: it has an effect once the account with this address has confirmed it."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, literal, select, update
from sqlalchemy.orm import Session

from lambda_app.models import FileGrant, ShareRecipient, User


def is_confirmed(email: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the row of `user` has this address and has confirmed it."""
    return and_(User.email == email, User.email_verified_at.is_not(None))


class NamedAccessRepository:
    """Gives effect to pending grants and pending recipients of share links."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def activate(self, user_id: UUID, *, email: str) -> None:
        """Give effect to everything that is pending for the user at this confirmed address, within the caller's transaction.

        The caller must have locked the user in an earlier statement: a grant that waits for that lock must be visible here, or see
        the confirmed address. Lock order: the user, grants, recipients.
        """
        grants = update(FileGrant).where(FileGrant.user_id == user_id, FileGrant.email == email, FileGrant.is_pending)
        recipients = update(ShareRecipient).where(
            ShareRecipient.user_id == user_id, ShareRecipient.named_as == email, ShareRecipient.is_pending
        )
        activated = grants.values(is_pending=False).returning(literal(1)).cte("activated_grants")
        named = recipients.values(is_pending=False).returning(literal(1)).cte("activated_recipients")
        self._session.execute(select(literal(1)).add_cte(activated, named))
