"""Queries on files. Every one that names a file also decides whether the caller may touch it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, asc, collate, desc, func, literal, select, tuple_, update
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError, NotFoundError, PermissionDeniedError, PreconditionFailedError
from lambda_app.models import NAME_SORT, NAME_TRIGRAMS, TYPE_SORT, File, FileStatus, User
from lambda_app.repositories.audit import audited_change
from lambda_app.repositories.files.file_access import changeable_by, listed_for, manageable_by, public, readable_by
from lambda_app.schemas.files.file_lists import FileFilter, FileOrder, OrderField
from lambda_app.schemas.page import Cursor


class NoSuchFileError(NotFoundError):
    """There is no such file, or it is being deleted."""

    code = "file_not_found"
    message = "File not found"


class FileForbiddenError(PermissionDeniedError):
    """The file is somebody else's."""

    code = "file_forbidden"
    message = "Not enough permissions to access this file"


class FileChangedError(PreconditionFailedError):
    """Somebody changed the file since the caller read it."""

    code = "file_changed"
    message = "The file has changed since it was read; read it again"


class NamedFile(NamedTuple):
    """A file that somebody named, and whether they may manage it."""

    id: UUID
    status: str
    is_manageable: bool


INDEXED_LETTERS = 32
"""How much of a searched name goes to the index: enough to leave few rows, and each letter more is another list of them to read."""

_ORDER_COLUMNS: Mapping[OrderField, ColumnElement[Any]] = {
    OrderField.CREATED: File.created_at.expression,
    OrderField.NAME: NAME_SORT,
    OrderField.SIZE: File.size_bytes.expression,
}


class FileRepository:
    """Reads and writes the rows of `file`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, file_id: UUID) -> File | None:
        """Return the file as it is now, for nobody in particular: for our own work, never for an answer to a caller."""
        return self._session.execute(select(File).where(File.id == file_id).execution_options(populate_existing=True)).scalar_one_or_none()

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

    def list_named(self, file_ids: Sequence[UUID], user: User) -> list[NamedFile]:
        """Return what there is to say of these files, except that they are not there, for the user's own eyes."""
        query = select(File.id, File.status, manageable_by(user)).where(File.id.in_(file_ids), File.status != FileStatus.DELETING)
        return [NamedFile(*row) for row in self._session.execute(query)]

    def require_changeable(self, file_id: UUID, user: User, fields: Collection[str]) -> File:
        """Return the file if `user` may change these fields of it. Raises NoSuchFileError, FileForbiddenError."""
        return self._require(file_id, user, changeable_by(user, fields))

    def require_public(self, file_id: UUID) -> File:
        """Return the available file if its public link holds. Raises NoSuchFileError for any other, whatever the reason."""
        file = self._session.execute(select(File).where(File.id == file_id, public())).scalar_one_or_none()
        if file is None:
            raise NoSuchFileError
        return file

    def page(self, user: User, wanted: FileFilter, *, order: FileOrder, skip: int, limit: int, after: Cursor | None) -> list[File]:
        """Return up to `limit` files of the user's list, behind the cursor or `skip` rows in.

        Raises MalformedRequestError for a cursor of another order.
        """
        column = _ORDER_COLUMNS[order.field]
        direction = desc if order.is_descending else asc
        query = select(File).where(*_conditions(user, wanted)).order_by(direction(column), direction(File.id)).limit(limit)
        if after is not None:
            last = tuple_(_comparable(after.value_for(order)), literal(after.id, File.id.type))
            here = tuple_(column, File.id)
            query = query.where(here < last if order.is_descending else here > last)
        elif skip:
            query = query.offset(skip)
        return list(self._session.execute(query).scalars())

    def count(self, user: User, wanted: FileFilter) -> int:
        """Return how many files the list has in all."""
        return self._session.execute(select(func.count()).select_from(File).where(*_conditions(user, wanted))).scalar_one()

    def update(self, file_id: UUID, user: User, changes: Mapping[str, Any], *, revision: int | None) -> File:
        """Change the columns named in `changes` within the caller's transaction, if the file is at `revision` (None: at any).

        Raises NoSuchFileError, FileForbiddenError, FileChangedError.
        """
        change = (
            update(File)
            .where(File.id == file_id, File.status != FileStatus.DELETING, changeable_by(user, changes))
            .values(**changes, updated_at=clock.now(), revision=File.revision + 1)
        )
        if revision is not None:
            change = change.where(File.revision == revision)
        options = {"synchronize_session": False, "populate_existing": True}
        if "is_public" in changes:
            # Who may read it changes: a permission, which is not changed unless that is logged.
            details = {"is_public": changes["is_public"]}
            logged = audited_change(change.returning(*File.__table__.columns), File, "file.visibility_changed", details=details)
            file = self._session.execute(logged.execution_options(**options)).scalar_one_or_none()
        else:
            file = self._session.execute(change.returning(File).execution_options(**options)).scalar_one_or_none()
        if file is None:
            self.require_changeable(file_id, user, changes)
            raise FileChangedError
        return file

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


def _comparable(value: datetime | str | int) -> ColumnElement[Any]:
    if isinstance(value, str):
        # By the database's own rules of letter case, which are not Python's.
        return _lower(value)
    return literal(value, File.created_at.type if isinstance(value, datetime) else File.size_bytes.type)


def _lower(text: str) -> ColumnElement[Any]:
    return collate(func.lower(text), "C")


def _conditions(user: User, wanted: FileFilter) -> list[ColumnElement[bool]]:
    """Return what a list of files is narrowed to, in a form that the indexes of `models/file` serve."""
    conditions = [listed_for(user, wanted.shared)]
    if wanted.status is not None:
        conditions.append(File.status == wanted.status)
    else:
        conditions.append(File.status.not_in((FileStatus.DELETING, FileStatus.TRASHED)))
    if wanted.file_request_id is not None:
        conditions.append(File.file_request_id == wanted.file_request_id)
    if wanted.name is not None:
        # The index finds the names that have every three letters of it, in whatever order; of those the first line keeps the right
        # ones. Fewer than three letters are looked for in all names of the list.
        conditions.append(func.strpos(NAME_SORT, _lower(wanted.name)) > 0)
        conditions.append(NAME_TRIGRAMS.contains(func.trigrams(func.left(_lower(wanted.name), INDEXED_LETTERS))))
    if wanted.content_type is not None:
        conditions.append(TYPE_SORT.startswith(wanted.content_type, autoescape=True))
    if wanted.created_after is not None:
        conditions.append(File.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        conditions.append(File.created_at < wanted.created_before)
    if wanted.size_min is not None:
        conditions.append(File.size_bytes >= wanted.size_min)
    if wanted.size_max is not None:
        conditions.append(File.size_bytes <= wanted.size_max)
    return conditions
