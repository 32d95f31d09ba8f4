"""The query of a user's usage."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lambda_app.core.errors import NotFoundError
from lambda_app.models import File, FileStatus, User


class Kept(NamedTuple):
    """Bytes and files of one kind."""

    bytes: int
    files: int


class UsageRepository:
    """Reads what users keep."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def require(self, user_id: UUID) -> tuple[User, Kept]:
        """Return the user as of now, with the counters, and what is in the trash. Raises NotFoundError."""
        trash = (
            select(func.coalesce(func.sum(File.size_bytes), 0).label("bytes"), func.count().label("files"))
            .where(File.owner_id == user_id, File.status == FileStatus.TRASHED)
            .subquery()
        )
        query = select(User, trash.c.bytes, trash.c.files).select_from(User).join(trash, User.id == user_id)
        row = self._session.execute(query.execution_options(populate_existing=True)).one_or_none()
        if row is None:
            raise NotFoundError("User not found", code="user_not_found")
        user, trash_bytes, trash_files = row
        return user, Kept(int(trash_bytes), trash_files)
