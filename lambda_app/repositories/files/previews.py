"""Previews of files: the requests that wait for a result, and the results."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import CTE, Insert, Select, Update, and_, insert, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from lambda_app.core import clock
from lambda_app.models import File, FilePreview, FileStatus, PreviewState, User
from lambda_app.repositories.files.file_access import is_served, readable_by, viewer_of
from lambda_app.repositories.statements import OWN_TRANSACTION, as_column, built_once, table_of

PREVIEWED = (FileStatus.AVAILABLE, FileStatus.TRASHED)
"""The states of files whose previews are shown."""


class PreviewedFile(NamedTuple):
    """A file that the caller asked for: its preview if it has one, and whether the caller may read it."""

    preview: FilePreview | None
    owner_id: UUID
    is_permitted: bool


def preview_insert(accepted: CTE) -> Insert:
    """Return the insert of the pending preview of the file that became available."""
    row = select(accepted.c.id, literal(PreviewState.PENDING.value), accepted.c.updated_at)
    return insert(FilePreview).from_select(["file_id", "state", "requested_at"], row)


class PreviewRepository:
    """Reads and changes previews."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list_readable(self, file_ids: Sequence[UUID], viewer: User | None) -> dict[UUID, PreviewedFile]:
        """Return those of the files that exist, with their previews, and whether `viewer` may read each."""
        is_superuser, user_id = (False, None) if viewer is None else (viewer.is_superuser, viewer.id)
        rows = self._session.execute(*_readable(is_superuser, file_ids=list(file_ids), user_id=user_id))
        return {file_id: PreviewedFile(preview, owner_id, bool(may_read)) for file_id, preview, owner_id, may_read in rows}

    def list_ready(self, file_ids: Sequence[UUID]) -> dict[UUID, FilePreview]:
        """Return the finished previews of these available files, whose permission was checked before."""
        previews = self._session.execute(*_ready(file_ids=list(file_ids))).scalars()
        return {preview.file_id: preview for preview in previews}

    def list_available(self, *, after: File | None, limit: int) -> list[tuple[File, bool]]:
        """Return the available files whose content is served, oldest first, after `after`, and whether each has a preview's row."""
        last = {"after": None, "after_id": None} if after is None else {"after": after.created_at, "after_id": after.id}
        return [(file, has_row) for file, has_row in self._session.execute(*_available(**last, limit=limit))]

    def request_later(self, file_ids: Sequence[UUID]) -> int:
        """Insert the pending previews of those files that are still available and have none, and commit. Returns how many these are.

        They have not been requested yet. The time of their request is that of the file, so that the sweep finds them overdue.
        """
        return len(self._session.execute(*_request_later(file_ids=list(file_ids))).scalars().all())

    def record(self, file_id: UUID, **result: Any) -> bool:
        """Store the result of a pending preview, and commit; False if the file has none or is being deleted."""
        return self._session.execute(*_record(file_id=file_id, **result)).scalar_one_or_none() is not None

    def has_preview(self, file_id: UUID) -> bool:
        """Whether the file has a finished preview and is not being deleted."""
        return self._session.execute(*_finished(file_id=file_id)).scalar_one_or_none() is not None

    def list_overdue(self, before: datetime, *, after: UUID | None, limit: int) -> list[FilePreview]:
        """Return the pending previews that were requested before this time, in the order of the files' ids, after `after`."""
        return list(self._session.execute(*_overdue(before=before, after=after, limit=limit)).scalars())

    def repeat_request(self, file_id: UUID) -> None:
        """Count one more request of a pending preview, and commit."""
        self._session.execute(*_repeat_request(file_id=file_id, now=clock.now()))


@built_once
def _readable(is_superuser: bool, *, file_ids: list[UUID], user_id: UUID | None) -> Select[UUID, FilePreview, UUID, bool]:
    permission = readable_by(viewer_of(user_id, is_superuser)).label("is_permitted")
    query = (
        select(File.id, FilePreview, File.owner_id, permission)
        .outerjoin(FilePreview, and_(FilePreview.file_id == File.id, File.status.in_(PREVIEWED), is_served()))
        .where(File.id.in_(file_ids), File.status != FileStatus.DELETING)
    )
    return query.execution_options(populate_existing=True)


@built_once
def _ready(*, file_ids: list[UUID]) -> Select[FilePreview]:
    query = select(FilePreview).join(File, File.id == FilePreview.file_id)
    query = query.where(FilePreview.file_id.in_(file_ids), FilePreview.state == PreviewState.READY)
    return query.where(File.status == FileStatus.AVAILABLE, is_served())


@built_once
def _available(*, after: datetime | None, after_id: UUID | None, limit: int) -> Select[File, bool]:
    # Not only those without a row: a page reads as many files as it returns, however many have one.
    query = select(File, FilePreview.file_id.is_not(None)).outerjoin(FilePreview, FilePreview.file_id == File.id)
    query = query.where(File.status == FileStatus.AVAILABLE, is_served())
    if after is not None:
        query = query.where(
            tuple_(File.created_at, File.id) > tuple_(as_column(after, File.created_at.type), as_column(after_id, File.id.type))
        )
    return query.order_by(File.created_at, File.id).limit(limit)


@built_once
def _request_later(*, file_ids: list[UUID]) -> ReturningInsert[UUID]:
    found = select(File.id, literal(PreviewState.PENDING.value), File.created_at, literal(0))
    found = found.where(File.id.in_(file_ids), File.status == FileStatus.AVAILABLE)
    # Locked, so that the files are not deleted before the rows that refer to them are inserted.
    rows = found.order_by(File.id).with_for_update(read=True, key_share=True)
    new = upsert(table_of(FilePreview)).from_select(["file_id", "state", "requested_at", "request_count"], rows)
    return new.on_conflict_do_nothing().returning(FilePreview.file_id).execution_options(**OWN_TRANSACTION)


@built_once
def _record(*, file_id: UUID, **result: Any) -> ReturningUpdate[UUID]:
    is_kept = select(File.id).where(File.id == file_id, File.status.in_(PREVIEWED)).exists()
    statement = update(FilePreview).where(FilePreview.file_id == file_id, FilePreview.state == PreviewState.PENDING, is_kept)
    return statement.values(**result).returning(FilePreview.file_id).execution_options(**OWN_TRANSACTION)


@built_once
def _finished(*, file_id: UUID) -> Select[UUID]:
    query = select(FilePreview.file_id).join(File, File.id == FilePreview.file_id)
    return query.where(FilePreview.file_id == file_id, FilePreview.state == PreviewState.READY, File.status.in_(PREVIEWED))


@built_once
def _overdue(*, before: datetime, after: UUID | None, limit: int) -> Select[FilePreview]:
    query = select(FilePreview).where(FilePreview.state == PreviewState.PENDING, FilePreview.requested_at < before)
    if after is not None:
        query = query.where(FilePreview.file_id > after)
    return query.order_by(FilePreview.file_id).limit(limit).execution_options(populate_existing=True)


@built_once
def _repeat_request(*, file_id: UUID, now: datetime) -> Update:
    statement = update(FilePreview).where(FilePreview.file_id == file_id, FilePreview.state == PreviewState.PENDING)
    statement = statement.values(requested_at=now, request_count=FilePreview.request_count + 1)
    return statement.execution_options(**OWN_TRANSACTION)
