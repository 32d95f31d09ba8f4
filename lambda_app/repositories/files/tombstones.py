"""Queries on tombstones. `repositories/files/transitions` writes them, in the statement that ends the file.

Lock order: the tombstones in order of their ids, the owner.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Double,
    Insert,
    Select,
    Update,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.models import CHARGED, File, FileStatus, Tombstone, User
from lambda_app.models.files.files import SLOWEST_UPLOAD_BYTES_PER_SECOND
from lambda_app.models.files.tombstones import LATE_UPLOAD_MARGIN
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.files.deletions import with_deletion
from lambda_app.repositories.statements import OWN_TRANSACTION, built_once


class TombstoneRepository:
    """Finds tombstones, releases their charges and deletes the expired ones."""

    def __init__(self, session: Session, *, deletion_allowance_bytes: int) -> None:
        self._session = session
        self._deletion_allowance_bytes = deletion_allowance_bytes

    def has(self, file_id: UUID) -> bool:
        """Whether the file has a tombstone."""
        return bool(self._session.execute(*_has(file_id=file_id)).scalar_one())

    def count_late_object(self, file_id: UUID) -> None:
        """Count the object that arrived for a tombstone, and is deleted next, in the owner's deletion allowance, and commit."""
        self._session.execute(*_count_late(self._deletion_allowance_bytes, file_id=file_id, now=clock.now()))

    def list_existing(self, file_ids: Sequence[UUID]) -> set[UUID]:
        """Return those of the ids that have a tombstone."""
        return set(self._session.execute(*_existing(file_ids=list(file_ids))).scalars())

    def list_owners_with_ended_charges(self, now: datetime, *, after: UUID | None, limit: int) -> list[UUID]:
        """Return up to `limit` owners of tombstones whose URL has expired, in order of their ids, after `after`."""
        return list(self._session.execute(*_owners(now=now, after=after, limit=limit)).scalars())

    def count_ended_charges(self, owner_id: UUID, now: datetime) -> int:
        """Return how many tombstones of the owner are charged although their URL has expired."""
        return int(self._session.execute(*_count_ended(owner_id=owner_id, now=now)).scalar_one())

    def release_ended_charges(self, owner_id: UUID, now: datetime) -> int:
        """Release the charges of the owner's tombstones whose URL has expired, commit, and return how many there were.

        The tombstones stay, so that an upload that began before the URL expired is still deleted.
        """
        return self._session.execute(*_release_ended(owner_id=owner_id, now=now)).scalar_one_or_none() or 0

    def count_expired(self, before: datetime) -> int:
        """Return the number of tombstones that expired before this time."""
        return int(self._session.execute(*_count_expired(before=before)).scalar_one())

    def delete_expired(self, before: datetime) -> int:
        """Delete the tombstones that expired before this time and are not charged; return their number."""
        return delete_in_batches(self._session, Tombstone, Tombstone.expires_at < before, Tombstone.charged_until.is_(None))


@built_once
def _has(*, file_id: UUID) -> Select[bool]:
    return select(exists().where(Tombstone.file_id == file_id))


@built_once
def _count_late(allowance_bytes: int, *, file_id: UUID, now: datetime) -> Update:
    deletion = with_deletion(Tombstone.size_bytes.expression, now, allowance_bytes=allowance_bytes)
    statement = update(User).where(Tombstone.file_id == file_id, User.id == Tombstone.owner_id).values(deletion)
    return statement.execution_options(**OWN_TRANSACTION)


@built_once
def _existing(*, file_ids: list[UUID]) -> Select[UUID]:
    return select(Tombstone.file_id).where(Tombstone.file_id.in_(file_ids))


@built_once
def _owners(*, now: datetime, after: UUID | None, limit: int) -> Select[UUID]:
    query = select(Tombstone.owner_id).distinct().where(Tombstone.charged_until <= now)
    if after is not None:
        query = query.where(Tombstone.owner_id > after)
    return query.order_by(Tombstone.owner_id).limit(limit)


@built_once
def _count_ended(*, owner_id: UUID, now: datetime) -> Select[int]:
    return select(func.count()).select_from(Tombstone).where(Tombstone.owner_id == owner_id, Tombstone.charged_until <= now)


@built_once
def _release_ended(*, owner_id: UUID, now: datetime) -> Select[int]:
    ended = (
        select(Tombstone.file_id)
        .where(Tombstone.owner_id == owner_id, Tombstone.charged_until <= now)
        .order_by(Tombstone.file_id)
        .with_for_update(skip_locked=True)
        .cte("ended")
    )
    released = (
        update(Tombstone)
        .where(Tombstone.file_id == ended.c.file_id)
        .values(charged_until=null())
        .returning(Tombstone.owner_id, Tombstone.size_bytes)
        .cte("released")
    )
    total = cast(func.sum(released.c.size_bytes), BigInteger).label("bytes")
    sums = select(released.c.owner_id, total, func.count().label("files")).group_by(released.c.owner_id).cte("sums")
    less = {"bytes_used": User.bytes_used - sums.c.bytes, "files_count": User.files_count - sums.c.files}
    uncharged = update(User).where(User.id == sums.c.owner_id).values(less).returning(User.id).cte("uncharged")
    return select(sums.c.files).add_cte(uncharged).execution_options(**OWN_TRANSACTION)


@built_once
def _count_expired(*, before: datetime) -> Select[int]:
    return select(func.count()).select_from(Tombstone).where(Tombstone.expires_at < before)


def charged_until(now: datetime | ColumnElement[datetime]) -> ColumnElement[datetime | None]:
    """When the upload URL of a charged file expires; null if it has expired, or the file is uploaded in parts.

    S3 refuses the URLs of parts once the multipart upload is aborted or completed. The deadline of any other upload is the expiry of
    its URL, plus the time that the slowest upload takes.
    """
    slowest = cast(File.size_bytes, Double) / literal(float(SLOWEST_UPLOAD_BYTES_PER_SECOND), Double)
    url_expires_at = File.upload_expires_at - func.make_interval(0, 0, 0, 0, 0, 0, slowest)
    is_charged = and_(File.status.in_(CHARGED), File.part_size_bytes.is_(None), url_expires_at > now)
    return case((is_charged, url_expires_at), else_=null())


def remembered_until(now: datetime | ColumnElement[datetime]) -> ColumnElement[datetime | None]:
    """Until when an object may still arrive for the file; null if none can.

    The completion of a multipart upload can end after the file was deleted.
    """
    is_completing = and_(File.part_size_bytes.is_not(None), File.status == FileStatus.PENDING)
    last_upload = case((File.part_size_bytes.is_(None), File.upload_expires_at), (is_completing, now), else_=null())
    return last_upload + literal(LATE_UPLOAD_MARGIN)


def columns_before_end(now: datetime | ColumnElement[datetime]) -> tuple[Any, ...]:
    """Return the columns of a file that decide what its end releases, and what `tombstone_insert` needs."""
    is_in_progress = and_(File.status == FileStatus.PENDING, File.part_size_bytes.is_not(None))
    return (
        File.id,
        File.owner_id,
        File.size_bytes,
        File.status,
        File.file_request_id,
        is_in_progress.label("is_multipart_in_progress"),
        charged_until(now).label("charged_until"),
        remembered_until(now).label("remembered_until"),
    )


def tombstone_insert(ended: CTE, now: datetime | ColumnElement[datetime]) -> Insert:
    """Return the statement that adds a tombstone for each of the files in `ended` for which an object may still arrive at `now`.

    `ended` has the columns of `charged_until` and `remembered_until`.
    """
    values = select(ended.c.id, ended.c.owner_id, ended.c.size_bytes, ended.c.charged_until, ended.c.remembered_until)
    names = ["file_id", "owner_id", "size_bytes", "charged_until", "expires_at"]
    return insert(Tombstone).from_select(names, values.where(ended.c.remembered_until > now)).on_conflict_do_nothing()
