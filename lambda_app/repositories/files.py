"""Queries on files. Every one that names a file also decides whether the caller may touch it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, select, tuple_, update
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError, NotFoundError, PermissionDeniedError
from lambda_app.models import File, FileStatus, User
from lambda_app.repositories.file_access import listed_for, manageable_by, readable_by
from lambda_app.schemas.page import Cursor

# One statement that commits by itself: a step of a file's life must be durable before S3 is told anything,
# and must not be undone when the answer to the caller is a refusal (docs/adr/0005-file-states-as-own-transactions.md).
_OWN_TRANSACTION = {"own_transaction": True, "synchronize_session": False, "populate_existing": True}


class NoSuchFileError(NotFoundError):
    """There is no such file, or it is being deleted."""

    code = "file_not_found"
    message = "File not found"


class FileForbiddenError(PermissionDeniedError):
    """The file is somebody else's."""

    code = "file_forbidden"
    message = "Not enough permissions to access this file"


class FileRepository:
    """Reads and writes the rows of `file`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, file: File) -> File:
        """Insert the file within the caller's transaction."""
        self._session.add(file)
        self._session.flush()
        return file

    def require_readable(self, file_id: UUID, viewer: User | None) -> File:
        """Return the file if `viewer` may read it.

        Raises:
            NotAuthenticatedError: an anonymous caller asks for anything that is not public, existing or not.
            NoSuchFileError, FileForbiddenError: for a signed-in one.
        """
        return self._require(file_id, viewer, readable_by(viewer))

    def require_manageable(self, file_id: UUID, user: User) -> File:
        """Return the file if `user` may change it. Raises NoSuchFileError, FileForbiddenError."""
        return self._require(file_id, user, manageable_by(user))

    def page(self, user: User, *, skip: int, limit: int, after: Cursor | None) -> list[File]:
        """Return up to `limit` files of the user's list, newest first, behind the cursor or `skip` rows in."""
        query = (
            select(File)
            .where(listed_for(user), File.status != FileStatus.DELETING)
            .order_by(File.created_at.desc(), File.id.desc())
            .limit(limit)
        )
        if after is not None:
            query = query.where(tuple_(File.created_at, File.id) < tuple_(after.created_at, after.id))
        elif skip:
            query = query.offset(skip)
        return list(self._session.execute(query).scalars())

    def update(self, file_id: UUID, user: User, changes: Mapping[str, Any]) -> File:
        """Change the columns named in `changes` within the caller's transaction.

        Raises NoSuchFileError, FileForbiddenError.
        """
        statement = (
            update(File)
            .where(File.id == file_id, File.status != FileStatus.DELETING, manageable_by(user))
            .values(**changes, updated_at=clock.now())
            .returning(File)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        file = self._session.execute(statement).scalar_one_or_none()
        return file or self._explain(file_id, user)

    def move(self, file_id: UUID, *, before: FileStatus, after: FileStatus) -> File | None:
        """Take the file from one state to the next, durably; None when it was not in `before` any more."""
        statement = (
            update(File)
            .where(File.id == file_id, File.status == before)
            .values(status=after, updated_at=clock.now())
            .returning(File)
            .execution_options(**_OWN_TRANSACTION)
        )
        return self._session.execute(statement).scalar_one_or_none()

    def start_deleting(self, file_id: UUID, user: User) -> File:
        """Take the file out of everybody's sight, durably; its object can then be deleted.

        A file already being deleted is returned again, so that an interrupted deletion can be repeated.
        Raises NoSuchFileError, FileForbiddenError.
        """
        statement = (
            update(File)
            .where(File.id == file_id, manageable_by(user))
            .values(status=FileStatus.DELETING, updated_at=clock.now())
            .returning(File)
            .execution_options(**_OWN_TRANSACTION)
        )
        file = self._session.execute(statement).scalar_one_or_none()
        return file or self._explain(file_id, user)

    def finish_deleting(self, file_id: UUID) -> None:
        """Remove the row whose object is gone, durably."""
        statement = delete(File).where(File.id == file_id, File.status == FileStatus.DELETING)
        self._session.execute(statement.execution_options(own_transaction=True, synchronize_session=False))

    def _require(self, file_id: UUID, viewer: User | None, permission: ColumnElement[bool]) -> File:
        query = select(File, permission.label("is_permitted")).where(File.id == file_id, File.status != FileStatus.DELETING)
        row = self._session.execute(query.execution_options(populate_existing=True)).one_or_none()
        file, is_permitted = row or (None, False)
        if file is not None and is_permitted:
            return file
        if viewer is None:
            raise NotAuthenticatedError("Not authenticated")
        if file is None:
            raise NoSuchFileError
        raise FileForbiddenError

    def _explain(self, file_id: UUID, user: User) -> File:
        # A conditional UPDATE that found no row does not say why. When the state has changed in between and
        # nothing forbids it any more, the file counts as gone.
        self.require_manageable(file_id, user)
        raise NoSuchFileError
