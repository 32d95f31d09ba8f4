"""Queries of the sweep: overdue files, and the rows in a range of object keys."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Session

from lambda_app.models import File, FileStatus, SweepPosition
from lambda_app.repositories.statements import OWN_TRANSACTION, Bound, built_once, table_of


class SweepRepository:
    """Reads files in order of their ids, and stores the positions of passes over the bucket."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list_overdue(self, now: datetime, *, after: UUID | None, limit: int) -> list[File]:
        """Return pending files whose upload is overdue, in order of ids, after `after`."""
        return self._list(_overdue(now=now, after=after, limit=limit))

    def list_ended(self, *, after: UUID | None, limit: int) -> list[File]:
        """Return the deleting and expired files, whose rows are deleted after their objects."""
        return self._list(_ended(after=after, limit=limit))

    def list_to_purge(self, now: datetime, *, after: UUID | None, limit: int) -> list[File]:
        """Return the files in the trash whose retention has ended."""
        return self._list(_to_purge(now=now, after=after, limit=limit))

    def list_rejected(self, before: datetime, *, after: UUID | None, limit: int) -> list[File]:
        """Return the files that were rejected before this time."""
        return self._list(_rejected(before=before, after=after, limit=limit))

    def list_of_owner(self, owner_id: UUID, *, after: UUID | None, limit: int) -> list[File]:
        """Return the files of an account that is being deleted, except those that are being deleted already."""
        return self._list(_of_owner(owner_id=owner_id, after=after, limit=limit))

    def get_statuses(self, ids: Sequence[UUID]) -> dict[UUID, tuple[FileStatus, str | None]]:
        """Return the state and multipart upload id of each of `ids` that has a row."""
        rows = self._session.execute(*_statuses(ids=list(ids)))
        return {row.id: (FileStatus(row.status), row.upload_id) for row in rows}

    def list_stored(self, *, after: UUID | None, until: UUID | None, limit: int) -> list[UUID]:
        """Return the ids of files that must have an object, after `after`, up to and including `until` (None: to the end)."""
        return list(self._session.execute(*_stored(after=after, until=until, limit=limit)).scalars())

    def reset_session(self) -> None:
        """Make the session usable after a failed statement. Earlier transitions stay: each has committed by itself."""
        self._session.rollback()

    def get_position(self, name: str) -> str:
        """Return the key after which the pass continues; "" for the beginning."""
        return self._session.execute(*_position(name=name)).scalar_one_or_none() or ""

    def set_position(self, name: str, after_key: str) -> None:
        """Store the position of the pass, and commit."""
        self._session.execute(*_set_position(name=name, after_key=after_key))

    def _list(self, query: Bound[Select[File]]) -> list[File]:
        return list(self._session.execute(*query).scalars())


def _files(*conditions: ColumnElement[bool], after: UUID | None, limit: int) -> Select[File]:
    query = select(File).where(*conditions)
    if after is not None:
        query = query.where(File.id > after)
    return query.order_by(File.id).limit(limit).execution_options(populate_existing=True)


@built_once
def _overdue(*, now: datetime, after: UUID | None, limit: int) -> Select[File]:
    return _files(File.status.in_((FileStatus.PENDING,)), File.upload_expires_at < now, after=after, limit=limit)


@built_once
def _ended(*, after: UUID | None, limit: int) -> Select[File]:
    return _files(File.status.in_((FileStatus.DELETING, FileStatus.EXPIRED)), after=after, limit=limit)


@built_once
def _to_purge(*, now: datetime, after: UUID | None, limit: int) -> Select[File]:
    return _files(File.status.in_((FileStatus.TRASHED,)), File.purge_at < now, after=after, limit=limit)


@built_once
def _rejected(*, before: datetime, after: UUID | None, limit: int) -> Select[File]:
    return _files(File.status.in_((FileStatus.REJECTED,)), File.updated_at < before, after=after, limit=limit)


@built_once
def _of_owner(*, owner_id: UUID, after: UUID | None, limit: int) -> Select[File]:
    is_left = File.status.not_in((FileStatus.DELETING, FileStatus.EXPIRED))
    return _files(File.owner_id == owner_id, is_left, after=after, limit=limit)


@built_once
def _statuses(*, ids: list[UUID]) -> Select[UUID, str, str | None]:
    return select(File.id, File.status, File.upload_id).where(File.id.in_(ids))


@built_once
def _stored(*, after: UUID | None, until: UUID | None, limit: int) -> Select[UUID]:
    query = select(File.id).where(File.status.in_((FileStatus.AVAILABLE, FileStatus.TRASHED)))
    if after is not None:
        query = query.where(File.id > after)
    if until is not None:
        query = query.where(File.id <= until)
    return query.order_by(File.id).limit(limit)


@built_once
def _position(*, name: str) -> Select[str]:
    return select(SweepPosition.after_key).where(SweepPosition.name == name)


@built_once
def _set_position(*, name: str, after_key: str) -> Insert:
    new = insert(table_of(SweepPosition)).values(name=name, after_key=after_key)
    statement = new.on_conflict_do_update(constraint="pk_sweep_position", set_={"after_key": new.excluded.after_key})
    return statement.execution_options(**OWN_TRANSACTION)
