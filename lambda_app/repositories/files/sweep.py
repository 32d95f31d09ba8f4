"""Queries of the sweep: overdue files, and the rows in a range of object keys."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from lambda_app.models import File, FileStatus, SweepPosition
from lambda_app.repositories.statements import OWN_TRANSACTION


class SweepRepository:
    """Reads files in order of their ids, and stores the positions of passes over the bucket."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list_overdue(self, now: datetime, *, after: UUID | None, limit: int) -> list[File]:
        """Return pending files whose upload is overdue, in order of ids, after `after`."""
        return self._list((FileStatus.PENDING,), File.upload_expires_at < now, after=after, limit=limit)

    def list_ended(self, *, after: UUID | None, limit: int) -> list[File]:
        """Return the deleting and expired files, whose rows are deleted after their objects."""
        return self._list((FileStatus.DELETING, FileStatus.EXPIRED), after=after, limit=limit)

    def list_to_purge(self, now: datetime, *, after: UUID | None, limit: int) -> list[File]:
        """Return the files in the trash whose retention has ended."""
        return self._list((FileStatus.TRASHED,), File.purge_at < now, after=after, limit=limit)

    def list_rejected(self, before: datetime, *, after: UUID | None, limit: int) -> list[File]:
        """Return the files that were rejected before this time."""
        return self._list((FileStatus.REJECTED,), File.updated_at < before, after=after, limit=limit)

    def list_of_owner(self, owner_id: UUID, *, after: UUID | None, limit: int) -> list[File]:
        """Return the files of an account that is being deleted, except those that are being deleted already."""
        query = select(File).where(File.owner_id == owner_id, File.status.not_in((FileStatus.DELETING, FileStatus.EXPIRED)))
        if after is not None:
            query = query.where(File.id > after)
        query = query.order_by(File.id).limit(limit).execution_options(populate_existing=True)
        return list(self._session.execute(query).scalars())

    def get_statuses(self, ids: Sequence[UUID]) -> dict[UUID, tuple[FileStatus, str | None]]:
        """Return the state and multipart upload id of each of `ids` that has a row."""
        rows = self._session.execute(select(File.id, File.status, File.upload_id).where(File.id.in_(ids)))
        return {row.id: (FileStatus(row.status), row.upload_id) for row in rows}

    def list_stored(self, *, after: UUID | None, until: UUID | None, limit: int) -> list[UUID]:
        """Return the ids of files that must have an object, after `after`, up to and including `until` (None: to the end)."""
        query = select(File.id).where(File.status.in_((FileStatus.AVAILABLE, FileStatus.TRASHED)))
        if after is not None:
            query = query.where(File.id > after)
        if until is not None:
            query = query.where(File.id <= until)
        return list(self._session.execute(query.order_by(File.id).limit(limit)).scalars())

    def reset_session(self) -> None:
        """Make the session usable after a failed statement. Earlier transitions stay: each has committed by itself."""
        self._session.rollback()

    def get_position(self, name: str) -> str:
        """Return the key after which the pass continues; "" for the beginning."""
        query = select(SweepPosition.after_key).where(SweepPosition.name == name)
        return self._session.execute(query).scalar_one_or_none() or ""

    def set_position(self, name: str, after_key: str) -> None:
        """Store the position of the pass, and commit."""
        statement = insert(SweepPosition).values(name=name, after_key=after_key)
        statement = statement.on_conflict_do_update(constraint="pk_sweep_position", set_={"after_key": after_key})
        self._session.execute(statement.execution_options(**OWN_TRANSACTION))

    def _list(self, statuses: Sequence[FileStatus], *conditions: ColumnElement[bool], after: UUID | None, limit: int) -> list[File]:
        query = select(File).where(File.status.in_(statuses), *conditions)
        if after is not None:
            query = query.where(File.id > after)
        query = query.order_by(File.id).limit(limit).execution_options(populate_existing=True)
        return list(self._session.execute(query).scalars())
