"""Queries on many files at once."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from lambda_app.models import File, FileStatus, User
from lambda_app.repositories.files.file_access import ViewerOf, readable_by, viewer_of
from lambda_app.repositories.statements import built_once


class FileBatchRepository:
    """Reads many files, each with the permission of the caller."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list_statuses(self, file_ids: Sequence[UUID], viewer: User) -> dict[UUID, FileStatus]:
        """Return the status of those of the files that exist and that `viewer` may read."""
        found = self._session.execute(*_statuses(viewer.is_superuser, file_ids=list(file_ids), user_id=viewer.id))
        return {file_id: FileStatus(status) for file_id, status in found}

    def list_readable(self, file_ids: Sequence[UUID], viewer: User | None) -> dict[UUID, tuple[File, bool]]:
        """Return those of the files that exist, and whether `viewer` may read each."""
        rows = self._session.execute(
            *_readable(viewer is not None and viewer.is_superuser, file_ids=list(file_ids), user_id=None if viewer is None else viewer.id)
        )
        return {file.id: (file, bool(is_permitted)) for file, is_permitted in rows}


@built_once
def _statuses(is_superuser: bool, *, file_ids: list[UUID], user_id: UUID) -> Select[UUID, str]:
    query = select(File.id, File.status).where(File.id.in_(file_ids), File.status != FileStatus.DELETING)
    return query.where(readable_by(ViewerOf(user_id, is_superuser)))


@built_once
def _readable(is_superuser: bool, *, file_ids: list[UUID], user_id: UUID | None) -> Select[File, bool]:
    permission = readable_by(viewer_of(user_id, is_superuser)).label("is_permitted")
    query = select(File, permission).where(File.id.in_(file_ids), File.status != FileStatus.DELETING)
    return query.execution_options(populate_existing=True)
