"""Queries on ownership transfers, and the moving of files from one owner to another."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.db.session import own_transaction
from lambda_app.models import (
    Archive,
    ArchiveStatus,
    File,
    FileGrant,
    FileRequest,
    FileStatus,
    OwnershipTransfer,
    Share,
    TransferStatus,
    User,
)
from lambda_app.repositories.audit import audit_entry, audit_insert, audit_insert_for, audited_change
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.statements import newest_page
from lambda_app.schemas.page import Cursor

MOVABLE = (FileStatus.AVAILABLE, FileStatus.TRASHED)
"""The states of files that move. An upload in progress stays with the account that started it."""
BATCH_FILES = 500


class FoundTransfer(NamedTuple):
    """A transfer, both accounts, and what is left to move."""

    transfer: OwnershipTransfer
    giver: User
    recipient: User


class OwnershipTransferRepository:
    """Reads and writes the rows of `ownership_transfer`, and moves files."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, transfer: OwnershipTransfer) -> OwnershipTransfer | None:
        """Add a transfer and audit it; None if the account has an open one. One that cannot be accepted any more is replaced."""
        now = clock.now()
        is_invalid = or_(OwnershipTransfer.expires_at <= now, OwnershipTransfer.token_epoch != transfer.token_epoch)
        expired = OwnershipTransfer.from_id == transfer.from_id, *_is_requested(), is_invalid
        ended = update(OwnershipTransfer).where(*expired).values(status=TransferStatus.DECLINED, ended_at=now)
        self._session.execute(ended.execution_options(synchronize_session=False))
        values = {column.key: value for column in OwnershipTransfer.__table__.c if (value := getattr(transfer, column.key)) is not None}
        is_open = OwnershipTransfer.status.in_((TransferStatus.REQUESTED.value, TransferStatus.MOVING.value))
        added = insert(OwnershipTransfer).values(**values)
        added = added.on_conflict_do_nothing(index_elements=["from_id"], index_where=is_open)
        details = {"from_id": transfer.from_id, "to_id": transfer.to_id}
        statement = audited_change(added.returning(*OwnershipTransfer.__table__.c), OwnershipTransfer, "ownership.offered", details=details)
        return self._session.execute(statement.execution_options(populate_existing=True)).scalar_one_or_none()

    def get(self, transfer_id: UUID, *conditions: ColumnElement[bool]) -> FoundTransfer | None:
        """Return a transfer that meets the conditions, with both accounts; None if there is none."""
        query = _with_accounts().where(OwnershipTransfer.id == transfer_id, *conditions)
        row = self._session.execute(query.execution_options(populate_existing=True)).one_or_none()
        return None if row is None else FoundTransfer(*row)

    def page(self, user_id: UUID, *, limit: int, after: Cursor | None) -> list[FoundTransfer]:
        """Return up to `limit` transfers from and to the user, after the cursor, newest first."""
        query = _with_accounts().where(or_(OwnershipTransfer.from_id == user_id, OwnershipTransfer.to_id == user_id))
        rows = self._session.execute(
            newest_page(query, OwnershipTransfer, limit=limit, after=after).execution_options(populate_existing=True)
        )
        return [FoundTransfer(*row) for row in rows]

    def lock(self, transfer_id: UUID) -> OwnershipTransfer | None:
        """Lock the transfer until the transaction ends, and return it."""
        query = select(OwnershipTransfer).where(OwnershipTransfer.id == transfer_id).with_for_update(key_share=True)
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()

    def end(self, transfer_id: UUID, *conditions: ColumnElement[bool], action: str) -> bool:
        """Decline or withdraw a transfer that waits for consent, and audit it; False if it does not wait."""
        change = (
            update(OwnershipTransfer)
            .where(OwnershipTransfer.id == transfer_id, *_is_requested(), *conditions)
            .values(status=TransferStatus.DECLINED, ended_at=clock.now())
            .returning(*OwnershipTransfer.__table__.c)
        )
        statement = audited_change(change, OwnershipTransfer, action)
        return self._session.execute(statement.execution_options(populate_existing=True)).scalar_one_or_none() is not None

    def accept(self, transfer_id: UUID, recipient_id: UUID, *, require: Callable[[FoundTransfer], None]) -> bool:
        """Start moving and commit: links and file requests change their owner at once. False if there is no such transfer.

        `require` raises unless the transfer can be accepted; the transfer and both accounts are locked then. A transfer that was accepted
        before stays as it is. Links to files of other users, which need the role of a superuser, stay.
        """
        with own_transaction(self._session):
            transfer = self.lock(transfer_id)
            if transfer is None or transfer.to_id != recipient_id:
                return False
            if transfer.status in (TransferStatus.MOVING, TransferStatus.DONE):
                return True
            accounts = self._lock_accounts(transfer)
            require(FoundTransfer(transfer, accounts[transfer.from_id], accounts[transfer.to_id]))
            now = clock.now()
            links = update(Share).where(Share.owner_id == transfer.from_id, Share.revoked_at.is_(None), Share.needs_superuser.is_(False))
            requests = update(FileRequest).where(FileRequest.owner_id == transfer.from_id, FileRequest.revoked_at.is_(None))
            # Zips of links count against the limits of the old owner. Visitors request new ones.
            is_of_link = Archive.share_id.in_(select(Share.id).where(Share.owner_id == transfer.from_id, Share.needs_superuser.is_(False)))
            zips = update(Archive).where(Archive.holder_id == transfer.from_id, is_of_link, Archive.status != ArchiveStatus.DELETING)
            zips = zips.values(status=ArchiveStatus.DELETING, lease_id=None, updated_at=now)
            self._session.execute(zips.execution_options(synchronize_session=False))
            counts = {}
            # The new owner has not asked for mail about them.
            silent = {"links": {"notify_on_download": False}, "file_requests": {"notify_on_upload": False}}
            for name, change in (("links", links), ("file_requests", requests)):
                moved = change.values(owner_id=transfer.to_id, updated_at=now, **silent[name])
                moved = moved.execution_options(synchronize_session=False)
                counts[name] = self._session.execute(moved).rowcount  # type: ignore[attr-defined]  # the result of an UPDATE has it
            self._set(transfer, {"status": TransferStatus.MOVING, "accepted_at": now})
            self._audit(transfer, "ownership.accepted", counts)
            return True

    def move_batch(self, transfer_id: UUID, *, default_bytes: int, default_files: int) -> bool:
        """Move up to BATCH_FILES files and commit; return whether further ones are left that can be moved now.

        Both accounts' counters change in the transaction of the files, so they are exact at every commit. The files must fit into the
        recipient's quota; otherwise as many of them as fit are moved. Lock order: the transfer, the files and the accounts, each in the
        order of their ids.
        """
        with own_transaction(self._session):
            transfer = self.lock(transfer_id)
            if transfer is None or transfer.status != TransferStatus.MOVING:
                return False
            picked = self._pick_files(transfer)
            files = self._lock_files(transfer, picked)
            accounts = self._lock_accounts(transfer)
            giver, recipient = accounts.get(transfer.from_id), accounts.get(transfer.to_id)
            if giver is None or recipient is None or not recipient.is_active:
                self._set(transfer, {"is_blocked": True})
                return False
            bytes_left = (default_bytes if recipient.quota_bytes is None else recipient.quota_bytes) - recipient.bytes_used
            files_left = (default_files if recipient.quota_files is None else recipient.quota_files) - recipient.files_count
            moved = []
            for file in files[: max(0, files_left)]:
                if file.size_bytes > bytes_left:
                    break
                bytes_left -= file.size_bytes
                moved.append(file)
            if moved:
                self._move(transfer, [file.id for file in moved], size_bytes=sum(file.size_bytes for file in moved))
            if not picked:
                self._set(transfer, {"status": TransferStatus.DONE, "ended_at": clock.now(), "is_blocked": False})
                self._audit(transfer, "ownership.transferred", {"files": transfer.moved_files, "bytes": transfer.moved_bytes})
                return False
            is_blocked = len(moved) < len(files)
            self._set(transfer, {"is_blocked": is_blocked})
            return not is_blocked

    def list_moving(self, *, after: UUID | None, limit: int) -> Sequence[UUID]:
        """Return the transfers whose files are being moved, in the order of their ids, after `after`."""
        query = select(OwnershipTransfer.id).where(OwnershipTransfer.status == TransferStatus.MOVING.value)
        if after is not None:
            query = query.where(OwnershipTransfer.id > after)
        return list(self._session.execute(query.order_by(OwnershipTransfer.id).limit(limit)).scalars())

    def purge(self, *, ended_before: datetime) -> int:
        """Delete transfers that ended, or expired without consent, before this time, in batches; return how many."""
        has_ended = and_(OwnershipTransfer.expires_at < ended_before, OwnershipTransfer.status != TransferStatus.MOVING)
        return delete_in_batches(self._session, OwnershipTransfer, has_ended)

    def _pick_files(self, transfer: OwnershipTransfer) -> list[UUID]:
        query = select(File.id).where(*_is_movable(transfer)).order_by(File.created_at.desc(), File.id.desc()).limit(BATCH_FILES)
        return list(self._session.execute(query).scalars())

    def _lock_files(self, transfer: OwnershipTransfer, ids: Sequence[UUID]) -> list[Any]:
        query = (
            select(File.id, File.size_bytes)
            .where(File.id.in_(ids), *_is_movable(transfer))
            .order_by(File.id)
            .with_for_update(key_share=True)
        )
        # Locked files that a concurrent request has ended are left out. Another batch finds the next ones.
        return list(self._session.execute(query)) if ids else []

    def _lock_accounts(self, transfer: OwnershipTransfer) -> dict[UUID, User]:
        query = select(User).where(User.id.in_((transfer.from_id, transfer.to_id))).order_by(User.id).with_for_update(key_share=True)
        return {user.id: user for user in self._session.execute(query.execution_options(populate_existing=True)).scalars()}

    def _move(self, transfer: OwnershipTransfer, ids: Sequence[UUID], *, size_bytes: int) -> None:
        now, count = clock.now(), len(ids)
        quiet = {"synchronize_session": False}
        change = update(File).where(File.id.in_(ids)).values(owner_id=transfer.to_id, revision=File.revision + 1, updated_at=now)
        moved = change.returning(File.id).cte("moved")
        details = {"from_id": transfer.from_id, "to_id": transfer.to_id, "transfer_id": transfer.id}
        logged = audit_insert_for(moved, "file.transferred", kind="file", details=details)
        self._session.execute(select(func.count()).select_from(moved).add_cte(logged.cte("logged")))
        # The new owner needs no grant.
        own = FileGrant.file_id.in_(ids), FileGrant.user_id == transfer.to_id
        self._session.execute(delete(FileGrant).where(*own).execution_options(**quiet))
        grants = update(FileGrant).where(FileGrant.file_id.in_(ids)).values(owner_id=transfer.to_id)
        self._session.execute(grants.execution_options(**quiet))
        for user_id, sign in ((transfer.from_id, -1), (transfer.to_id, 1)):
            charge = update(User).where(User.id == user_id)
            charge = charge.values(bytes_used=User.bytes_used + sign * size_bytes, files_count=User.files_count + sign * count)
            self._session.execute(charge.execution_options(**quiet))
        self._set(transfer, {"moved_files": transfer.moved_files + count, "moved_bytes": transfer.moved_bytes + size_bytes})

    def _set(self, transfer: OwnershipTransfer, values: Mapping[str, Any]) -> None:
        change = update(OwnershipTransfer).where(OwnershipTransfer.id == transfer.id).values(**values).returning(OwnershipTransfer)
        self._session.execute(change.execution_options(populate_existing=True)).scalar_one()

    def _audit(self, transfer: OwnershipTransfer, action: str, details: Mapping[str, Any]) -> None:
        parties = {"from_id": transfer.from_id, "to_id": transfer.to_id}
        entry = audit_entry(action, subject=f"ownership_transfer:{transfer.id}", details={**parties, **details})
        self._session.execute(audit_insert(entry))


def _with_accounts() -> Any:
    giver, recipient = aliased(User, name="giver"), aliased(User, name="recipient")
    query = select(OwnershipTransfer, giver, recipient).join(giver, giver.id == OwnershipTransfer.from_id)
    return query.join(recipient, recipient.id == OwnershipTransfer.to_id)


def _is_movable(transfer: OwnershipTransfer) -> tuple[ColumnElement[bool], ...]:
    return File.owner_id == transfer.from_id, File.status.in_(MOVABLE), File.created_at <= transfer.accepted_at


def _is_requested() -> tuple[ColumnElement[bool], ...]:
    return (OwnershipTransfer.status == TransferStatus.REQUESTED.value,)
