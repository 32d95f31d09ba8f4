"""Queries on the deletion of accounts."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Update, and_, delete, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.models import (
    ApiKey,
    Archive,
    ArchiveStatus,
    File,
    FileGrant,
    FileRequest,
    IdempotencyKey,
    MailToken,
    Notification,
    PublishedEvent,
    Share,
    ShareDownload,
    ShareRecipient,
    SignInPlace,
    UploadToken,
    User,
    UserSession,
    Webhook,
    WebhookDelivery,
)
from lambda_app.models.base import Base
from lambda_app.repositories.accounts.current_user import lock_current
from lambda_app.repositories.audit import audit_insert_for, audited_change, with_event
from lambda_app.repositories.batch_delete import BATCH_ROWS, delete_batch
from lambda_app.repositories.statements import OWN_TRANSACTION, built_once

FEW_ROWS = 200
"""Rows of a batch that have further rows: the files of a link, the refresh tokens of a session."""


class AccountDeletionRepository:
    """Requests and cancels the deletion of accounts, and deletes those that are due."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def request(self, user_id: UUID, *, at: datetime, own_epoch: int | None) -> User | None:
        """Disable the account until `at`, end its sessions and API keys, and audit it; None for the last active superuser.

        `own_epoch` is the `token_epoch` that authenticated the user's own request. Raises NotAuthenticatedError if it has changed since.
        All superusers are locked in the order of their ids, so that two of them cannot leave at the same time.
        """
        active = set(self._session.execute(*_lock_superusers()).scalars())
        if active == {user_id}:
            return None
        is_own = own_epoch is not None
        if own_epoch is not None:
            lock_current(self._session, user_id, token_epoch=own_epoch)
        requested = _request(user_id=user_id, at=at, is_own=is_own, now=clock.now())
        details = {"is_own": is_own, "deletion_at": at}
        return self._session.execute(*with_event(requested, "user.deletion_requested", details=details)).scalar_one_or_none()

    def cancel(self, user_id: UUID) -> User | None:
        """Enable the account again and audit it; None if no deletion was requested, or it has begun."""
        cancelled = with_event(_cancel(user_id=user_id, now=clock.now()), "user.deletion_cancelled")
        return self._session.execute(*cancelled).scalar_one_or_none()

    def list_due(self, now: datetime, *, after: UUID | None, limit: int) -> Sequence[UUID]:
        """Return accounts whose period of grace has ended, in order of ids, after `after`."""
        return list(self._session.execute(*_due(now=now, after=after, limit=limit)).scalars())

    def end_archives(self, user_id: UUID) -> None:
        """Mark the archives of the account for deletion, and commit; the sweep of archives deletes their objects."""
        self._session.execute(*_end_archives(user_id=user_id, now=clock.now()))

    def delete_batch(self, user_id: UUID, *, now: datetime) -> bool:
        """Delete one batch of the rows that belong to an account which is due, and commit; False if no unlocked row is left.

        Without that, the statement of `remove` would delete them all, within the time limit of one statement.
        """
        is_due = exists(select(User.id).where(User.id == user_id, User.deletion_at < now))
        return any(
            delete_batch(self._session, table, condition, is_due, batch_rows=min(rows, BATCH_ROWS))
            for table, condition, rows in _owned_rows(user_id)
        )

    def remove(self, user_id: UUID, *, now: datetime) -> bool:
        """Delete the account, audit it and commit; False if it is not due, or a file or an archive of it is left.

        The database deletes the few rows with it that `delete_batch` has left.
        """
        removed = with_event(_remove(user_id=user_id, now=now), "user.deleted")
        return self._session.execute(*removed).scalar_one_or_none() is not None


@built_once
def _lock_superusers() -> Select[UUID]:
    return select(User.id).where(User.is_superuser, User.is_active).order_by(User.id).with_for_update(key_share=True)


@built_once
def _request(*, user_id: UUID, at: datetime, is_own: bool, now: datetime) -> Select[User]:
    values = {"deletion_at": at, "deletion_is_own": is_own, "is_active": False, "token_epoch": User.token_epoch + 1, "updated_at": now}
    change = update(User).where(User.id == user_id).values(values).returning(*User.__table__.c)
    return audited_change(change, User).execution_options(populate_existing=True)


@built_once
def _cancel(*, user_id: UUID, now: datetime) -> Select[User]:
    values = {"deletion_at": None, "deletion_is_own": False, "is_active": True, "updated_at": now}
    change = update(User).where(User.id == user_id, User.deletion_at > now).values(values).returning(*User.__table__.c)
    return audited_change(change, User).execution_options(populate_existing=True)


@built_once
def _due(*, now: datetime, after: UUID | None, limit: int) -> Select[UUID]:
    query = select(User.id).where(User.deletion_at < now)
    if after is not None:
        query = query.where(User.id > after)
    return query.order_by(User.id).limit(limit)


@built_once
def _end_archives(*, user_id: UUID, now: datetime) -> Update:
    owned = or_(Archive.user_id == user_id, Archive.holder_id == user_id)
    statement = update(Archive).where(owned, Archive.status != ArchiveStatus.DELETING)
    values = {"status": ArchiveStatus.DELETING, "lease_id": None, "updated_at": now}
    return statement.values(values).execution_options(**OWN_TRANSACTION)


@built_once
def _remove(*, user_id: UUID, now: datetime) -> Select[UUID]:
    due = (User.id == user_id, User.deletion_at < now)
    has_files = exists(select(File.id).where(File.owner_id == User.id))
    # A row of size 0 has no object any more: `ArchiveTransitionRepository.remove` keeps it for a while because of its number.
    owned = or_(Archive.user_id == User.id, Archive.holder_id == User.id)
    has_archives = exists(select(Archive.id).where(owned, or_(Archive.status != ArchiveStatus.DELETING, Archive.size_bytes > 0)))
    removed = delete(User).where(*due, ~has_files, ~has_archives).returning(User.id).cte("removed")
    logged = audit_insert_for(removed, kind="user")
    return select(removed.c.id).add_cte(logged.cte("logged")).execution_options(**OWN_TRANSACTION)


def _owned_rows(user_id: UUID) -> Iterator[tuple[type[Base], ColumnElement[bool], int]]:
    """Yield the tables whose rows of one account can be many: the condition, and the most rows of one batch.

    A table follows those whose rows its own rows would delete with them. A batch is smaller where these can be many nevertheless.
    """
    webhooks = select(Webhook.id).where(Webhook.owner_id == user_id)
    links = select(Share.id).where(Share.owner_id == user_id)
    yield WebhookDelivery, WebhookDelivery.webhook_id.in_(webhooks), BATCH_ROWS
    yield Webhook, Webhook.owner_id == user_id, BATCH_ROWS
    # With the deliveries to webhooks of superusers, which get the events of all users.
    yield PublishedEvent, PublishedEvent.owner_id == user_id, BATCH_ROWS // 4
    yield Notification, Notification.user_id == user_id, BATCH_ROWS
    yield SignInPlace, SignInPlace.user_id == user_id, BATCH_ROWS
    yield ShareDownload, ShareDownload.share_id.in_(links), BATCH_ROWS
    # Not with its archives, whose rows must stay until their objects are deleted.
    yield (
        Share,
        and_(Share.owner_id == user_id, ~exists(select(Archive.id).where(Archive.holder_id == user_id, Archive.share_id == Share.id))),
        FEW_ROWS,
    )
    yield ShareRecipient, ShareRecipient.user_id == user_id, BATCH_ROWS
    yield FileGrant, FileGrant.user_id == user_id, BATCH_ROWS
    yield FileRequest, FileRequest.owner_id == user_id, BATCH_ROWS
    yield UploadToken, UploadToken.owner_id == user_id, BATCH_ROWS
    yield IdempotencyKey, IdempotencyKey.user_id == user_id, BATCH_ROWS
    yield UserSession, UserSession.user_id == user_id, FEW_ROWS
    yield MailToken, MailToken.user_id == user_id, BATCH_ROWS
    yield ApiKey, ApiKey.user_id == user_id, BATCH_ROWS


def belongs_to_deleted_account(now: Any) -> ColumnElement[bool]:
    """Return the condition on files whose owner's account is due to be deleted."""
    owner = aliased(User)
    return exists(select(owner.id).where(owner.id == File.owner_id, owner.deletion_at < now))
