"""Closing everything by which an account gives others access."""

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


class OpenAccessRepository:
    """Revokes the links and file requests of an account, and makes its public files private.

    It also withdraws grants, invitations and the offer of all files, and deletes webhooks.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def close_all(self, user_id: UUID) -> dict[str, int]:
        """Close all of it within the caller's transaction; return how much of each kind was closed.

        Lock order: transfers, links, archives, files, grants, file requests, invitations, webhooks. The user comes later, as in the
        transitions of files. The acceptance of a transfer locks the transfer first, and then accounts and links.
        """
        now = clock.now()
        of_links = (Archive.holder_id == user_id, Archive.share_id.is_not(None), Archive.status != ArchiveStatus.DELETING)
        is_open = OwnershipTransfer.status.in_((TransferStatus.REQUESTED.value, TransferStatus.MOVING.value))
        revoked = {"revoked_at": now, "encrypted_token": None}
        steps: dict[str, Update | Delete] = {
            "transfers": update(OwnershipTransfer)
            .where(OwnershipTransfer.from_id == user_id, is_open)
            .values(status=TransferStatus.DECLINED, ended_at=now),
            "shares": update(Share).where(Share.owner_id == user_id, Share.revoked_at.is_(None)).values(revoked),
            "archives": update(Archive).where(*of_links).values(status=ArchiveStatus.DELETING, lease_id=None, updated_at=now),
            "public_files": update(File)
            .where(File.owner_id == user_id, File.is_public)
            .values(is_public=False, updated_at=now, revision=File.revision + 1),
            "grants": delete(FileGrant).where(FileGrant.owner_id == user_id),
            "file_requests": update(FileRequest).where(FileRequest.owner_id == user_id, FileRequest.revoked_at.is_(None)).values(revoked),
            "invitations": delete(Invitation).where(Invitation.inviter_id == user_id),
            # Marked, because their deliveries can be many. `WebhookRepository.purge` deletes them.
            "webhooks": update(Webhook)
            .where(Webhook.owner_id == user_id, Webhook.deleted_at.is_(None))
            .values(deleted_at=now, is_enabled=False, lease_id=None, leased_until=None),
        }
        return {kind: self._execute(statement) for kind, statement in steps.items()}

    def _execute(self, statement: Update | Delete) -> int:
        result = self._session.execute(statement.execution_options(synchronize_session=False))
        return int(getattr(result, "rowcount", 0))
