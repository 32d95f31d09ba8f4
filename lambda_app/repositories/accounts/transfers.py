"""Queries on ownership transfers, and the moving of files from one owner to another."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Delete, Select, Update, and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningUpdate

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
from lambda_app.repositories.audit import add_event, audit_insert_for, audited_change, with_event
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.statements import built_once, newest_page, set_columns, table_of
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
        offer: dict[str, Any] = {"from_id": transfer.from_id, "token_epoch": transfer.token_epoch}
        self._session.execute(*_end_invalid(**offer, now=now))
        details = {"from_id": transfer.from_id, "to_id": transfer.to_id}
        return self._session.execute(*with_event(_add(**set_columns(transfer)), "ownership.offered", details=details)).scalar_one_or_none()

    def get(self, transfer_id: UUID) -> FoundTransfer | None:
        """Return a transfer with both accounts; None if there is none."""
        row = self._session.execute(*_get(transfer_id=transfer_id)).one_or_none()
        return None if row is None else FoundTransfer(*row)

    def page(self, user_id: UUID, *, limit: int, after: Cursor | None) -> list[FoundTransfer]:
        """Return up to `limit` transfers from and to the user, after the cursor, newest first."""
        return [FoundTransfer(*row) for row in self._session.execute(*_page(user_id=user_id, limit=limit, after=after))]

    def lock(self, transfer_id: UUID) -> OwnershipTransfer | None:
        """Lock the transfer until the transaction ends, and return it."""
        return self._session.execute(*_lock(transfer_id=transfer_id)).scalar_one_or_none()

    def end(self, transfer_id: UUID, *, from_id: UUID | None = None, to_id: UUID | None = None, action: str) -> bool:
        """Decline or withdraw a transfer that waits for consent, from and to these accounts, and audit it; False if there is none."""
        ended = with_event(_end(transfer_id=transfer_id, from_id=from_id, to_id=to_id, now=clock.now()), action)
        return self._session.execute(*ended).scalar_one_or_none() is not None

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
            self._session.execute(*_end_link_archives(from_id=transfer.from_id, now=now))
            parties = {"from_id": transfer.from_id, "to_id": transfer.to_id}
            counts = {
                "links": getattr(self._session.execute(*_move_links(**parties, now=now)), "rowcount", 0),
                "file_requests": getattr(self._session.execute(*_move_requests(**parties, now=now)), "rowcount", 0),
            }
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
        return list(self._session.execute(*_moving(after=after, limit=limit)).scalars())

    def purge(self, *, ended_before: datetime) -> int:
        """Delete transfers that ended, or expired without consent, before this time, in batches; return how many."""
        has_ended = and_(OwnershipTransfer.expires_at < ended_before, OwnershipTransfer.status != TransferStatus.MOVING)
        return delete_in_batches(self._session, OwnershipTransfer, has_ended)

    def _pick_files(self, transfer: OwnershipTransfer) -> list[UUID]:
        return list(self._session.execute(*_pick(from_id=transfer.from_id, accepted_at=transfer.accepted_at, limit=BATCH_FILES)).scalars())

    def _lock_files(self, transfer: OwnershipTransfer, ids: Sequence[UUID]) -> list[Any]:
        # Locked files that a concurrent request has ended are left out. Another batch finds the next ones.
        locked = _lock_files(ids=list(ids), from_id=transfer.from_id, accepted_at=transfer.accepted_at)
        return list(self._session.execute(*locked)) if ids else []

    def _lock_accounts(self, transfer: OwnershipTransfer) -> dict[UUID, User]:
        users = self._session.execute(*_lock_accounts(ids=[transfer.from_id, transfer.to_id])).scalars()
        return {user.id: user for user in users}

    def _move(self, transfer: OwnershipTransfer, ids: list[UUID], *, size_bytes: int) -> None:
        count = len(ids)
        moved = _move_files(ids=ids, to_id=transfer.to_id, now=clock.now())
        details = {"from_id": transfer.from_id, "to_id": transfer.to_id, "transfer_id": transfer.id}
        self._session.execute(*with_event(moved, "file.transferred", details=details))
        # The new owner needs no grant.
        self._session.execute(*_delete_grants(ids=ids, user_id=transfer.to_id))
        self._session.execute(*_move_grants(ids=ids, to_id=transfer.to_id))
        for user_id, sign in ((transfer.from_id, -1), (transfer.to_id, 1)):
            self._session.execute(*_charge(user_id=user_id, size_bytes=sign * size_bytes, files=sign * count))
        self._set(transfer, {"moved_files": transfer.moved_files + count, "moved_bytes": transfer.moved_bytes + size_bytes})

    def _set(self, transfer: OwnershipTransfer, values: Mapping[str, Any]) -> None:
        self._session.execute(*_set(transfer_id=transfer.id, **values)).scalar_one()

    def _audit(self, transfer: OwnershipTransfer, action: str, details: Mapping[str, Any]) -> None:
        parties = {"from_id": transfer.from_id, "to_id": transfer.to_id}
        add_event(self._session, action, subject=f"ownership_transfer:{transfer.id}", details={**parties, **details})


def _with_accounts() -> Any:
    giver, recipient = aliased(User, name="giver"), aliased(User, name="recipient")
    query = select(OwnershipTransfer, giver, recipient).join(giver, giver.id == OwnershipTransfer.from_id)
    return query.join(recipient, recipient.id == OwnershipTransfer.to_id)


def _is_movable(from_id: UUID, accepted_at: datetime | None) -> tuple[ColumnElement[bool], ...]:
    return File.owner_id == from_id, File.status.in_(MOVABLE), File.created_at <= accepted_at


def _is_requested() -> tuple[ColumnElement[bool], ...]:
    return (OwnershipTransfer.status == TransferStatus.REQUESTED.value,)


@built_once
def _end_invalid(*, from_id: UUID, token_epoch: int, now: datetime) -> Update:
    is_invalid = or_(OwnershipTransfer.expires_at <= now, OwnershipTransfer.token_epoch != token_epoch)
    statement = update(table_of(OwnershipTransfer)).where(OwnershipTransfer.from_id == from_id, *_is_requested(), is_invalid)
    return statement.values(status=TransferStatus.DECLINED, ended_at=now)


@built_once
def _add(**columns: Any) -> Select[OwnershipTransfer]:
    is_open = OwnershipTransfer.status.in_((TransferStatus.REQUESTED.value, TransferStatus.MOVING.value))
    added = insert(OwnershipTransfer).values(**columns).on_conflict_do_nothing(index_elements=["from_id"], index_where=is_open)
    statement = audited_change(added.returning(*OwnershipTransfer.__table__.c), OwnershipTransfer)
    return statement.execution_options(populate_existing=True)


@built_once
def _get(*, transfer_id: UUID) -> Select[Any]:
    query: Select[Any] = _with_accounts().where(OwnershipTransfer.id == transfer_id)
    return query.execution_options(populate_existing=True)


@built_once
def _page(*, user_id: UUID, limit: int, after: Cursor | None) -> Select[Any]:
    query = _with_accounts().where(or_(OwnershipTransfer.from_id == user_id, OwnershipTransfer.to_id == user_id))
    return newest_page(query, OwnershipTransfer, limit=limit, after=after).execution_options(populate_existing=True)


@built_once
def _lock(*, transfer_id: UUID) -> Select[OwnershipTransfer]:
    query = select(OwnershipTransfer).where(OwnershipTransfer.id == transfer_id).with_for_update(key_share=True)
    return query.execution_options(populate_existing=True)


@built_once
def _end(*, transfer_id: UUID, from_id: UUID | None, to_id: UUID | None, now: datetime) -> Select[OwnershipTransfer]:
    change = update(OwnershipTransfer).where(OwnershipTransfer.id == transfer_id, *_is_requested())
    if from_id is not None:
        change = change.where(OwnershipTransfer.from_id == from_id)
    if to_id is not None:
        change = change.where(OwnershipTransfer.to_id == to_id)
    change = change.values(status=TransferStatus.DECLINED, ended_at=now)
    statement = audited_change(change.returning(*OwnershipTransfer.__table__.c), OwnershipTransfer)
    return statement.execution_options(populate_existing=True)


@built_once
def _end_link_archives(*, from_id: UUID, now: datetime) -> Update:
    # Zips of links count against the limits of the old owner. Visitors request new ones.
    is_of_link = Archive.share_id.in_(select(Share.id).where(Share.owner_id == from_id, Share.needs_superuser.is_(False)))
    zips = update(table_of(Archive)).where(Archive.holder_id == from_id, is_of_link, Archive.status != ArchiveStatus.DELETING)
    return zips.values(status=ArchiveStatus.DELETING, lease_id=None, updated_at=now)


@built_once
def _move_links(*, from_id: UUID, to_id: UUID, now: datetime) -> Update:
    links = update(table_of(Share)).where(Share.owner_id == from_id, Share.revoked_at.is_(None), Share.needs_superuser.is_(False))
    # The new owner has not asked for mail about them.
    return links.values(owner_id=to_id, updated_at=now, notify_on_download=False)


@built_once
def _move_requests(*, from_id: UUID, to_id: UUID, now: datetime) -> Update:
    requests = update(table_of(FileRequest)).where(FileRequest.owner_id == from_id, FileRequest.revoked_at.is_(None))
    return requests.values(owner_id=to_id, updated_at=now, notify_on_upload=False)


@built_once
def _moving(*, after: UUID | None, limit: int) -> Select[UUID]:
    query = select(OwnershipTransfer.id).where(OwnershipTransfer.status == TransferStatus.MOVING.value)
    if after is not None:
        query = query.where(OwnershipTransfer.id > after)
    return query.order_by(OwnershipTransfer.id).limit(limit)


@built_once
def _pick(*, from_id: UUID, accepted_at: datetime | None, limit: int) -> Select[UUID]:
    query = select(File.id).where(*_is_movable(from_id, accepted_at))
    return query.order_by(File.created_at.desc(), File.id.desc()).limit(limit)


@built_once
def _lock_files(*, ids: list[UUID], from_id: UUID, accepted_at: datetime | None) -> Select[UUID, int]:
    query = select(File.id, File.size_bytes).where(File.id.in_(ids), *_is_movable(from_id, accepted_at))
    return query.order_by(File.id).with_for_update(key_share=True)


@built_once
def _lock_accounts(*, ids: list[UUID]) -> Select[User]:
    query = select(User).where(User.id.in_(ids)).order_by(User.id).with_for_update(key_share=True)
    return query.execution_options(populate_existing=True)


@built_once
def _move_files(*, ids: list[UUID], to_id: UUID, now: datetime) -> Select[int]:
    change = update(File).where(File.id.in_(ids)).values(owner_id=to_id, revision=File.revision + 1, updated_at=now)
    moved = change.returning(File.id).cte("moved")
    logged = audit_insert_for(moved, kind="file")
    return select(func.count()).select_from(moved).add_cte(logged.cte("logged"))


@built_once
def _delete_grants(*, ids: list[UUID], user_id: UUID) -> Delete:
    return delete(table_of(FileGrant)).where(FileGrant.file_id.in_(ids), FileGrant.user_id == user_id)


@built_once
def _move_grants(*, ids: list[UUID], to_id: UUID) -> Update:
    return update(table_of(FileGrant)).where(FileGrant.file_id.in_(ids)).values(owner_id=to_id)


@built_once
def _charge(*, user_id: UUID, size_bytes: int, files: int) -> Update:
    change = update(table_of(User)).where(User.id == user_id)
    return change.values(bytes_used=User.bytes_used + size_bytes, files_count=User.files_count + files)


@built_once
def _set(*, transfer_id: UUID, **values: Any) -> ReturningUpdate[OwnershipTransfer]:
    change = update(OwnershipTransfer).where(OwnershipTransfer.id == transfer_id).values(**values).returning(OwnershipTransfer)
    return change.execution_options(populate_existing=True, synchronize_session=False)
