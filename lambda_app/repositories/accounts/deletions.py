"""Queries on the deletion of accounts."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.models import Archive, ArchiveStatus, File, User
from lambda_app.repositories.audit import audit_insert_for, audited_change
from lambda_app.repositories.statements import OWN_TRANSACTION


class AccountDeletionRepository:
    """Requests and cancels the deletion of accounts, and deletes those that are due."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def request(self, user_id: UUID, *, at: datetime, is_own: bool) -> User | None:
        """Disable the account until `at`, end its sessions and API keys, and audit it; None for the last active superuser.

        All superusers are locked in the order of their ids, so that two of them cannot leave at the same time.
        """
        superusers = select(User.id).where(User.is_superuser, User.is_active).order_by(User.id).with_for_update(key_share=True)
        active = set(self._session.execute(superusers).scalars())
        if active == {user_id}:
            return None
        change = (
            update(User)
            .where(User.id == user_id)
            .values(deletion_at=at, deletion_is_own=is_own, is_active=False, token_epoch=User.token_epoch + 1, updated_at=clock.now())
            .returning(*User.__table__.c)
        )
        statement = audited_change(change, User, "user.deletion_requested", details={"is_own": is_own, "deletion_at": at})
        return self._session.execute(statement.execution_options(populate_existing=True)).scalar_one_or_none()

    def cancel(self, user_id: UUID) -> User | None:
        """Enable the account again and audit it; None if no deletion was requested, or it has begun."""
        now = clock.now()
        change = (
            update(User)
            .where(User.id == user_id, User.deletion_at > now)
            .values(deletion_at=None, deletion_is_own=False, is_active=True, updated_at=now)
            .returning(*User.__table__.c)
        )
        statement = audited_change(change, User, "user.deletion_cancelled")
        return self._session.execute(statement.execution_options(populate_existing=True)).scalar_one_or_none()

    def list_due(self, now: datetime, *, after: UUID | None, limit: int) -> Sequence[UUID]:
        """Return accounts whose period of grace has ended, in order of ids, after `after`."""
        query = select(User.id).where(User.deletion_at < now)
        if after is not None:
            query = query.where(User.id > after)
        return list(self._session.execute(query.order_by(User.id).limit(limit)).scalars())

    def end_archives(self, user_id: UUID) -> None:
        """Mark the archives of the account for deletion, and commit; the sweep of archives deletes their objects."""
        owned = or_(Archive.user_id == user_id, Archive.holder_id == user_id)
        statement = update(Archive).where(owned, Archive.status != ArchiveStatus.DELETING)
        values = {"status": ArchiveStatus.DELETING, "lease_id": None, "updated_at": clock.now()}
        self._session.execute(statement.values(values).execution_options(**OWN_TRANSACTION))

    def remove(self, user_id: UUID, *, now: datetime) -> bool:
        """Delete the account, audit it and commit; False if it is not due, or a file or an archive of it is left."""
        due = (User.id == user_id, User.deletion_at < now)
        has_files = exists(select(File.id).where(File.owner_id == User.id))
        # A row of size 0 has no object any more: `ArchiveTransitionRepository.remove` keeps it for a while because of its number.
        owned = or_(Archive.user_id == User.id, Archive.holder_id == User.id)
        has_archives = exists(select(Archive.id).where(owned, or_(Archive.status != ArchiveStatus.DELETING, Archive.size_bytes > 0)))
        removed = delete(User).where(*due, ~has_files, ~has_archives).returning(User.id).cte("removed")
        logged = audit_insert_for(removed, "user.deleted", kind="user")
        statement = select(removed.c.id).add_cte(logged.cte("logged")).execution_options(**OWN_TRANSACTION)
        return self._session.execute(statement).scalar_one_or_none() is not None


def belongs_to_deleted_account(now: datetime) -> ColumnElement[bool]:
    """Return the condition on files whose owner's account is due to be deleted."""
    owner = aliased(User)
    return exists(select(owner.id).where(owner.id == File.owner_id, owner.deletion_at < now))
