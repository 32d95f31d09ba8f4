"""Closing everything by which an account gives others access."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Delete, Update, delete, update
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.models import (
    Archive,
    ArchiveStatus,
    File,
    FileGrant,
    FileRequest,
    Invitation,
    OwnershipTransfer,
    Share,
    TransferStatus,
    Webhook,
)
from lambda_app.repositories.statements import Bound, built_once, table_of


class OpenAccessRepository:
    """Revokes the links and file requests of an account, and makes its public files private.

    It also withdraws grants, invitations and the offer of all files, and deletes webhooks.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def close_all(self, user_id: UUID) -> dict[str, int]:
        """Close all of it within the caller's transaction; return how much of each kind was closed.

        Lock order: transfers, links, archives, files, grants, file requests, invitations, webhooks. The user comes later, as in the
        transitions of files. The acceptance of a transfer locks the transfer first, and then accounts and links. A takeover calls it again
        after it has locked the user. Then it can deadlock with a change that began in between: one of them ends with 503 and is repeated.
        """
        now = clock.now()
        return {kind: self._execute(step(user_id=user_id, now=now)) for kind, step in _STEPS.items()}

    def _execute(self, statement: Bound[Update | Delete]) -> int:
        return int(getattr(self._session.execute(*statement), "rowcount", 0))


@built_once
def _decline_transfers(*, user_id: UUID, now: datetime) -> Update:
    is_open = OwnershipTransfer.status.in_((TransferStatus.REQUESTED.value, TransferStatus.MOVING.value))
    statement = update(table_of(OwnershipTransfer)).where(OwnershipTransfer.from_id == user_id, is_open)
    return statement.values(status=TransferStatus.DECLINED, ended_at=now)


@built_once
def _revoke_links(*, user_id: UUID, now: datetime) -> Update:
    statement = update(table_of(Share)).where(Share.owner_id == user_id, Share.revoked_at.is_(None))
    return statement.values(revoked_at=now, encrypted_token=None)


@built_once
def _end_archives(*, user_id: UUID, now: datetime) -> Update:
    of_links = (Archive.holder_id == user_id, Archive.share_id.is_not(None), Archive.status != ArchiveStatus.DELETING)
    return update(table_of(Archive)).where(*of_links).values(status=ArchiveStatus.DELETING, lease_id=None, updated_at=now)


@built_once
def _hide_files(*, user_id: UUID, now: datetime) -> Update:
    statement = update(table_of(File)).where(File.owner_id == user_id, File.is_public)
    return statement.values(is_public=False, updated_at=now, revision=File.revision + 1)


@built_once
def _delete_grants(*, user_id: UUID, **_: datetime) -> Delete:
    return delete(table_of(FileGrant)).where(FileGrant.owner_id == user_id)


@built_once
def _revoke_requests(*, user_id: UUID, now: datetime) -> Update:
    statement = update(table_of(FileRequest)).where(FileRequest.owner_id == user_id, FileRequest.revoked_at.is_(None))
    return statement.values(revoked_at=now, encrypted_token=None)


@built_once
def _delete_invitations(*, user_id: UUID, **_: datetime) -> Delete:
    return delete(table_of(Invitation)).where(Invitation.inviter_id == user_id)


@built_once
def _stop_webhooks(*, user_id: UUID, now: datetime) -> Update:
    # Marked, because their deliveries can be many. `WebhookRepository.purge` deletes them.
    statement = update(table_of(Webhook)).where(Webhook.owner_id == user_id, Webhook.deleted_at.is_(None))
    return statement.values(deleted_at=now, is_enabled=False, lease_id=None, leased_until=None)


_STEPS: Final[Mapping[str, Any]] = {
    "transfers": _decline_transfers,
    "shares": _revoke_links,
    "archives": _end_archives,
    "public_files": _hide_files,
    "grants": _delete_grants,
    "file_requests": _revoke_requests,
    "invitations": _delete_invitations,
    "webhooks": _stop_webhooks,
}
"""The statements, in the lock order."""
