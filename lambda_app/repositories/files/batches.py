"""Queries on many files at once."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from lambda_app.models import File, FileStatus, User
from lambda_app.repositories.files.file_access import readable_by


class FileBatchRepository:
    """Reads many files, each with the permission of the caller."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list_statuses(self, file_ids: Sequence[UUID], viewer: User) -> dict[UUID, FileStatus]:
        """Return the status of those of the files that exist and that `viewer` may read."""
        query = select(File.id, File.status).where(File.id.in_(file_ids), File.status != FileStatus.DELETING, readable_by(viewer))
        return {file_id: FileStatus(status) for file_id, status in self._session.execute(query)}

    def list_readable(self, file_ids: Sequence[UUID], viewer: User | None) -> dict[UUID, tuple[File, bool]]:
        """Return those of the files that exist, and whether `viewer` may read each."""
        permission = readable_by(viewer).label("is_permitted")
        query = select(File, permission).where(File.id.in_(file_ids), File.status != FileStatus.DELETING)
        rows = self._session.execute(query.execution_options(populate_existing=True))
        return {file.id: (file, bool(is_permitted)) for file, is_permitted in rows}
