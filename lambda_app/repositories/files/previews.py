"""Previews of files: the requests that wait for a result, and the results."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import CTE, Insert, and_, insert, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.models import File, FilePreview, FileStatus, PreviewState, User
from lambda_app.repositories.files.file_access import is_served, readable_by
from lambda_app.repositories.statements import OWN_TRANSACTION

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
        permission = readable_by(viewer).label("is_permitted")
        query = (
            select(File.id, FilePreview, File.owner_id, permission)
            .outerjoin(FilePreview, and_(FilePreview.file_id == File.id, File.status.in_(PREVIEWED), is_served()))
            .where(File.id.in_(file_ids), File.status != FileStatus.DELETING)
        )
        rows = self._session.execute(query.execution_options(populate_existing=True))
        return {file_id: PreviewedFile(preview, owner_id, bool(may_read)) for file_id, preview, owner_id, may_read in rows}

    def list_ready(self, file_ids: Sequence[UUID]) -> dict[UUID, FilePreview]:
        """Return the finished previews of these available files, whose permission was checked before."""
        query = (
            select(FilePreview)
            .join(File, File.id == FilePreview.file_id)
            .where(FilePreview.file_id.in_(file_ids), FilePreview.state == PreviewState.READY)
            .where(File.status == FileStatus.AVAILABLE, is_served())
        )
        return {preview.file_id: preview for preview in self._session.execute(query).scalars()}

    def list_available(self, *, after: File | None, limit: int) -> list[tuple[File, bool]]:
        """Return the available files whose content is served, oldest first, after `after`, and whether each has a preview's row."""
        # Not only those without a row: a page reads as many files as it returns, however many have one.
        query = select(File, FilePreview.file_id.is_not(None)).outerjoin(FilePreview, FilePreview.file_id == File.id)
        query = query.where(File.status == FileStatus.AVAILABLE, is_served())
        if after is not None:
            last = tuple_(literal(after.created_at, File.created_at.type), literal(after.id, File.id.type))
            query = query.where(tuple_(File.created_at, File.id) > last)
        rows = self._session.execute(query.order_by(File.created_at, File.id).limit(limit))
        return [(file, has_row) for file, has_row in rows]

    def request_later(self, file_ids: Sequence[UUID]) -> int:
        """Insert the pending previews of those files that are still available and have none, and commit. Returns how many these are.

        They have not been requested yet. The time of their request is that of the file, so that the sweep finds them overdue.
        """
        found = select(File.id, literal(PreviewState.PENDING.value), File.created_at, literal(0)).where(
            File.id.in_(file_ids), File.status == FileStatus.AVAILABLE
        )
        # Locked, so that the files are not deleted before the rows that refer to them are inserted.
        rows = found.order_by(File.id).with_for_update(read=True, key_share=True)
        statement = (
            upsert(FilePreview)
            .from_select(["file_id", "state", "requested_at", "request_count"], rows)
            .on_conflict_do_nothing()
            .returning(FilePreview.file_id)
        )
        return len(self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalars().all())

    def record(self, file_id: UUID, **result: Any) -> bool:
        """Store the result of a pending preview, and commit; False if the file has none or is being deleted."""
        is_kept = select(File.id).where(File.id == file_id, File.status.in_(PREVIEWED)).exists()
        statement = (
            update(FilePreview)
            .where(FilePreview.file_id == file_id, FilePreview.state == PreviewState.PENDING, is_kept)
            .values(**result)
            .returning(FilePreview.file_id)
        )
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none() is not None

    def has_preview(self, file_id: UUID) -> bool:
        """Whether the file has a finished preview and is not being deleted."""
        query = select(FilePreview.file_id).join(File, File.id == FilePreview.file_id)
        conditions = (FilePreview.file_id == file_id, FilePreview.state == PreviewState.READY, File.status.in_(PREVIEWED))
        return self._session.execute(query.where(*conditions)).scalar_one_or_none() is not None

    def list_overdue(self, before: datetime, *, after: UUID | None, limit: int) -> list[FilePreview]:
        """Return the pending previews that were requested before this time, in the order of the files' ids, after `after`."""
        query = select(FilePreview).where(FilePreview.state == PreviewState.PENDING, FilePreview.requested_at < before)
        if after is not None:
            query = query.where(FilePreview.file_id > after)
        query = query.order_by(FilePreview.file_id).limit(limit).execution_options(populate_existing=True)
        return list(self._session.execute(query).scalars())

    def repeat_request(self, file_id: UUID) -> None:
        """Count one more request of a pending preview, and commit."""
        statement = (
            update(FilePreview)
            .where(FilePreview.file_id == file_id, FilePreview.state == PreviewState.PENDING)
            .values(requested_at=clock.now(), request_count=FilePreview.request_count + 1)
        )
        self._session.execute(statement.execution_options(**OWN_TRANSACTION))
