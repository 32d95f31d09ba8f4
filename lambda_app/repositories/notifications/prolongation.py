"""The expiry of a share link, for the link of a mail that prolongs it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.models import Share, User
from lambda_app.repositories.audit import audited_change
from lambda_app.repositories.statements import OWN_TRANSACTION


class ProlongationRepository:
    """Reads and moves the expiry of a share link that is open and has exactly the expected expiry."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find_owner(self, share_id: UUID, *, owner_id: UUID, expires_at: datetime) -> str | None:
        """Return the address of the active owner; None if there is no such link."""
        query = select(User.email).join(Share, Share.owner_id == User.id)
        query = query.where(User.is_active, *_expiring(share_id, owner_id, expires_at))
        return self._session.execute(query).scalar_one_or_none()

    def prolong(self, share_id: UUID, *, owner_id: UUID, expires_at: datetime, until: datetime) -> bool:
        """Move the expiry, audit it and commit; False if there is no such link any more. Two requests at once move it once."""
        is_owner_active = exists().where(User.id == Share.owner_id, User.is_active)
        change = update(Share).where(*_expiring(share_id, owner_id, expires_at), is_owner_active)
        changed = change.values(expires_at=until, updated_at=clock.now()).returning(*Share.__table__.c)
        details = {"fields": ["expires_at"], "by": "mail"}
        statement = audited_change(changed, Share, "share.updated", details=details, actor="owner_id")
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none() is not None


def _expiring(share_id: UUID, owner_id: UUID, expires_at: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        Share.id == share_id,
        Share.owner_id == owner_id,
        Share.revoked_at.is_(None),
        Share.expires_at == expires_at,
        Share.expires_at > clock.now(),
    )
