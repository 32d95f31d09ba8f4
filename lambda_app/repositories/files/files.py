"""Queries on files. Each query for a file also checks the caller's permission."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, Self
from unicodedata import normalize
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Uuid,
    any_,
    asc,
    bindparam,
    collate,
    desc,
    func,
    literal,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, aliased, with_expression
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.types import TypeEngine

from lambda_app.core import clock
from lambda_app.core.errors import NotFoundError, PermissionDeniedError, PreconditionFailedError
from lambda_app.models import NAME_SORT, NAME_TRIGRAMS, TYPE_SORT, File, FileStatus, User
from lambda_app.repositories.accounts.current_user import lock_current
from lambda_app.repositories.accounts.profiles import name_for_visitors
from lambda_app.repositories.audit import audit_entry, audit_insert_for, entry_parameters
from lambda_app.repositories.files.file_access import Viewer, ViewerOf, changeable_by, listed_for, manageable_by, public, shared_files
from lambda_app.repositories.statements import as_column, built_once
from lambda_app.schemas.files.file_lists import FileFilter, FileOrder, OrderField, Shared
from lambda_app.schemas.page import Cursor


class NoSuchFileError(NotFoundError):
    """There is no such file, or it is being deleted."""

    code = "file_not_found"
    message = "File not found"


class FileForbiddenError(PermissionDeniedError):
    """The user does not have the permission for this file."""

    code = "file_forbidden"
    message = "Not enough permissions to access this file"


class FileChangedError(PreconditionFailedError):
    """The file was changed since the caller read it."""

    code = "file_changed"
    message = "The file has changed since it was read; read it again"


class FileState(NamedTuple):
    """The state of a requested file, and whether the user may manage it."""

    id: UUID
    status: str
    is_manageable: bool


INDEXED_SEARCH_LENGTH = 32
"""Characters of a searched name that the index is used for: enough to leave few rows; each further trigram reads another posting list."""

LIKE_ESCAPE = "/"
"""The escape character in patterns of LIKE."""

TRIGRAM_LENGTH = 3
"""Characters of the shortest searched name that has a trigram."""


class FileRepository:
    """Reads and writes the rows of `file`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, file_id: UUID) -> File | None:
        """Return the file as currently stored, without a permission check; for internal work, never for a response."""
        return self._session.execute(_get(), {"file_id": file_id}, execution_options=_AS_STORED).scalar_one_or_none()

    def get_many(self, file_ids: Collection[UUID]) -> dict[UUID, File]:
        """Return those of the files that exist, as `get` does."""
        found = self._session.execute(_get_many(), {"file_ids": list(file_ids)}, execution_options=_AS_STORED)
        return {file.id: file for file in found.scalars()}

    def require_manageable(self, file_id: UUID, user: User) -> File:
        """Return the file if `user` may manage it. Raises NoSuchFileError, FileForbiddenError."""
        return self._require(file_id, user, None)

    def list_states(self, file_ids: Sequence[UUID], user: User) -> list[FileState]:
        """Return the state of each of these files that exists, to tell the user why a request for them was refused."""
        states = _states(user.is_superuser, file_ids=list(file_ids), user_id=user.id)
        return [FileState(*row) for row in self._session.execute(*states)]

    def list_pending(self, file_ids: Sequence[UUID], user: User) -> list[File]:
        """Return those of the files that are pending and that `user` may manage, as currently stored."""
        values = {"file_ids": list(file_ids), "user_id": user.id}
        return list(self._session.execute(_pending(is_superuser=user.is_superuser), values, execution_options=_AS_STORED).scalars())

    def require_changeable(self, file_id: UUID, user: User, fields: Collection[str]) -> File:
        """Return the file if `user` may change these fields. Raises NoSuchFileError, FileForbiddenError."""
        return self._require(file_id, user, frozenset(fields))

    def require_public(self, file_id: UUID) -> File:
        """Return an available public file. Raises NoSuchFileError for every other file."""
        file: File | None = self._session.execute(*_public(file_id=file_id)).scalar_one_or_none()
        if file is None:
            raise NoSuchFileError
        return file

    def page(self, user: Viewer, filters: FileFilter, *, order: FileOrder, skip: int, limit: int, after: Cursor | None) -> list[File]:
        """Return up to `limit` files of the user's list, after the cursor or after `skip` rows.

        Raises MalformedRequestError for a cursor of another order.
        """
        rows = Listed.of(user, filters, is_descending=order.is_descending)
        last = None if after is None else (after.value_for(order), after.id)
        query = rows.page(rows.entity, order, skip=skip, limit=limit, after=last)
        if filters.shared is Shared.WITH_ME:
            name = with_expression(rows.entity.owner_display_name, name_for_visitors(rows.entity.owner_id))
            query = query.options(name).execution_options(populate_existing=True)
        return list(self._session.execute(query).scalars())

    def count(self, user: Viewer, filters: FileFilter, *, up_to: int) -> int:
        """Return the number of files in the user's list, or `up_to` if there are more, so that PostgreSQL stops there."""
        return int(self._session.execute(Listed.of(user, filters).total(up_to)).scalar_one())

    def has_more_than(self, rows: int, user: Viewer, filters: FileFilter) -> bool:
        """Whether the list has more than so many files, regardless of filters other than owner and sharing."""
        if filters.shared is None:
            query = select(literal(1)).select_from(File).where(listed_for(user, filters))
        else:
            query = select(literal(1)).select_from(shared_files(user, filters.shared))
        return self._session.execute(query.offset(rows).limit(1)).first() is not None

    def update(self, file_id: UUID, user: User, changes: Mapping[str, Any], *, revisions: Collection[int] | None) -> File:
        """Change the columns named in `changes` within the caller's transaction, if the file has one of these `revisions` (None: any).

        Raises NoSuchFileError, FileForbiddenError, FileChangedError; NotAuthenticatedError if the credentials of a request that makes the
        file public have ended.
        """
        statement = _update(frozenset(changes), is_superuser=user.is_superuser, has_revisions=revisions is not None)
        values = {
            "file_id": file_id,
            "user_id": user.id,
            "changed_at": clock.now(),
            "revisions": [] if revisions is None else list(revisions),
            **{f"new_{name}": value for name, value in changes.items()},
        }
        if "is_public" in changes:
            details = {"is_public": changes["is_public"]}
            values |= entry_parameters(audit_entry("file.visibility_changed", details=details))
        file = self._session.execute(statement, values, execution_options=_AS_STORED).scalar_one_or_none()
        if file is None:
            self.require_changeable(file_id, user, changes)
            raise FileChangedError
        if changes.get("is_public"):
            # After the file: transitions lock the file first.
            lock_current(self._session, user.id, token_epoch=user.token_epoch)
        return file

    def _require(self, file_id: UUID, user: User, changed_fields: frozenset[str] | None) -> File:
        statement = _permitted(changed_fields, is_superuser=user.is_superuser)
        row = self._session.execute(statement, {"file_id": file_id, "user_id": user.id}, execution_options=_AS_STORED).one_or_none()
        if row is None:
            raise NoSuchFileError
        file, is_permitted = row
        if not is_permitted:
            raise FileForbiddenError
        return file


_AS_STORED: Final = {"synchronize_session": False, "populate_existing": True}
"""Execution options: the rows that are returned replace those that the session loaded before."""


@cache
def _get() -> Select[File]:
    return select(File).where(File.id == bindparam("file_id"))


@built_once
def _states(is_superuser: bool, *, file_ids: list[UUID], user_id: UUID) -> Select[UUID, str, bool]:
    is_manageable = manageable_by(ViewerOf(user_id, is_superuser))
    return select(File.id, File.status, is_manageable).where(File.id.in_(file_ids), File.status != FileStatus.DELETING)


@built_once
def _public(*, file_id: UUID) -> Select[File]:
    return select(File).where(File.id == file_id, public())


@cache
def _get_many() -> Select[File]:
    return select(File).where(File.id == any_(bindparam("file_ids", type_=ARRAY(Uuid()))))


@cache
def _pending(*, is_superuser: bool) -> Select[File]:
    user = ViewerOf(bindparam("user_id", type_=User.id.type), is_superuser)
    return _get_many().where(File.status == FileStatus.PENDING, manageable_by(user))


@cache
def _permitted(changed_fields: frozenset[str] | None, *, is_superuser: bool) -> Select[File, bool]:
    """Return the query for a file, and whether the user may change these fields, or without fields, whether the user may manage it."""
    user = SimpleNamespace(id=bindparam("user_id", type_=User.id.type), is_superuser=is_superuser)
    permission = manageable_by(user) if changed_fields is None else changeable_by(user, changed_fields)
    query = select(File, permission.label("is_permitted"))
    return query.where(File.id == bindparam("file_id"), File.status != FileStatus.DELETING)


@cache
def _update(fields: frozenset[str], *, is_superuser: bool, has_revisions: bool) -> ReturningUpdate[File] | Select[File]:
    """Return the statement that changes these columns; if they decide who may read the file, the change is audited."""
    user = SimpleNamespace(id=bindparam("user_id", type_=User.id.type), is_superuser=is_superuser)
    values = {name: bindparam(f"new_{name}", type_=File.__table__.c[name].type) for name in sorted(fields)}
    change = (
        update(File)
        .where(File.id == bindparam("file_id"), File.status != FileStatus.DELETING, changeable_by(user, fields))
        .values(**values, updated_at=bindparam("changed_at", type_=File.updated_at.type), revision=File.revision + 1)
    )
    if has_revisions:
        change = change.where(File.revision == any_(bindparam("revisions", type_=ARRAY(Integer))))
    if "is_public" not in fields:
        return change.returning(File)
    changed = change.returning(*File.__table__.columns).cte("changed")
    logged = audit_insert_for(changed, kind=File.__tablename__)
    return select(aliased(File, changed)).add_cte(logged.cte("logged"))


SORT_TYPES: Mapping[OrderField, TypeEngine[Any]] = {
    OrderField.CREATED: File.created_at.type,
    OrderField.NAME: File.filename.type,
    OrderField.SIZE: File.size_bytes.type,
    OrderField.UPDATED: File.updated_at.type,
}
"""The types of the values in a cursor."""


def _as_sorted(text: Any) -> ColumnElement[Any]:
    """Return the text in the form of `NAME_SORT`. PostgreSQL's rules for lower case and normalization differ from Python's."""
    return collate(func.lower(func.normalize(text)), "C")


class Listed(NamedTuple):
    """The rows of a list of files, and the columns that order it."""

    entity: Any
    source: FromClause
    conditions: list[ColumnElement[bool]]
    columns: Mapping[OrderField, ColumnElement[Any]]
    file_id: ColumnElement[Any]

    @classmethod
    def of(cls, user: Viewer, filters: FileFilter, *, is_descending: bool = True) -> Self:
        """Return the list of the user with these filters. Their values may be parameters of a compiled statement."""
        if filters.shared is None:
            conditions = [*_conditions(user, filters), *_created_between(File.created_at.expression, filters)]
            columns: dict[OrderField, ColumnElement[Any]] = {
                OrderField.CREATED: File.created_at.expression,
                OrderField.NAME: NAME_SORT,
                OrderField.SIZE: File.size_bytes.expression,
                OrderField.UPDATED: File.updated_at.expression,
            }
            return cls(File, File.__table__, conditions, columns, File.id.expression)
        shared = shared_files(user, filters.shared, is_descending=is_descending)
        # LATERAL with a limit, so that PostgreSQL looks up each file by its id in order of the index of the grants. It would estimate
        # that it is cheaper to merge all grants with all files.
        file = select(File, NAME_SORT.label("name_sort")).where(File.id == shared.c.file_id, *_conditions(user, filters)).limit(1)
        listed = file.lateral("listed")
        columns = {
            OrderField.CREATED: shared.c.file_created_at,
            OrderField.NAME: listed.c.name_sort,
            OrderField.SIZE: listed.c.size_bytes,
            OrderField.UPDATED: listed.c.updated_at,
        }
        source = shared.join(listed, true())
        return cls(aliased(File, listed), source, _created_between(shared.c.file_created_at, filters), columns, shared.c.file_id)

    def select(self, what: Any) -> Select[Any]:
        """Return the query for `what` of each row."""
        return select(what).select_from(self.source).where(*self.conditions)

    def page(self, what: Any, order: FileOrder, *, skip: Any, limit: Any, after: tuple[Any, Any] | None) -> Select[Any]:
        """Return the query for `what` of the rows of a page, after the row with this sort value and id, or after `skip` rows."""
        column = self.columns[order.field]
        direction = desc if order.is_descending else asc
        query = self.select(what).order_by(direction(column), direction(self.file_id)).limit(limit)
        if after is not None:
            value, file_id = after
            is_name = order.field is OrderField.NAME
            last = tuple_(_as_sorted(value) if is_name else as_column(value, SORT_TYPES[order.field]), as_column(file_id, File.id.type))
            here = tuple_(column, self.file_id)
            return query.where(here < last if order.is_descending else here > last)
        return query if isinstance(skip, int) and skip == 0 else query.offset(skip)

    def total(self, up_to: Any) -> Select[Any]:
        """Return the query for the number of rows, or `up_to` if there are more."""
        counted = self.select(literal(1).label("one")).limit(up_to).subquery("counted")
        return select(func.count()).select_from(counted)


def _created_between(created_at: ColumnElement[Any], filters: FileFilter) -> list[ColumnElement[bool]]:
    conditions = []
    if filters.created_after is not None:
        conditions.append(created_at >= filters.created_after)
    if filters.created_before is not None:
        conditions.append(created_at < filters.created_before)
    return conditions


def _conditions(user: Viewer, filters: FileFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of a list of files, in the form that the indexes of `models/files/files` support."""
    conditions = [listed_for(user, filters)]
    if filters.statuses:
        # With one status, the index of the statuses has the list in order.
        one = len(filters.statuses) == 1
        conditions.append(File.status == filters.statuses[0] if one else File.status.in_(filters.statuses))
    else:
        conditions.append(File.status.not_in((FileStatus.DELETING, FileStatus.TRASHED)))
    if filters.ids is not None:
        conditions.append(_is_one_of(filters.ids))
    if filters.updated_after is not None:
        conditions.append(File.updated_at >= filters.updated_after)
    if filters.file_request_id is not None:
        conditions.append(File.file_request_id == filters.file_request_id)
    if filters.name is not None:
        # The index finds the names that contain all trigrams of the text, in any order; `strpos` keeps those that contain the text.
        # A text of fewer than three characters has no trigrams: PostgreSQL scans all names of the list (see `services/files/files`).
        conditions.append(func.strpos(NAME_SORT, _as_sorted(filters.name)) > 0)
    if filters.name is not None and _has_trigrams(filters.name):
        conditions.append(NAME_TRIGRAMS.contains(func.trigrams(func.left(_as_sorted(filters.name), INDEXED_SEARCH_LENGTH))))
    if filters.content_type is not None:
        conditions.append(_starts_with(filters.content_type))
    if filters.size_min is not None:
        conditions.append(File.size_bytes >= filters.size_min)
    if filters.size_max is not None:
        conditions.append(File.size_bytes <= filters.size_max)
    return conditions


def _is_one_of(ids: Any) -> ColumnElement[bool]:
    is_one: ColumnElement[bool] = File.id == any_(ids) if isinstance(ids, ColumnElement) else File.id.in_(ids)
    return is_one


def _has_trigrams(name: Any) -> bool:
    # A parameter of a compiled statement always has: see `repositories/files/caller_lists`.
    return isinstance(name, ColumnElement) or len(normalize("NFC", name)) >= TRIGRAM_LENGTH


def _starts_with(prefix: Any) -> ColumnElement[bool]:
    if isinstance(prefix, ColumnElement):
        return TYPE_SORT.startswith(prefix, escape=LIKE_ESCAPE)
    return TYPE_SORT.startswith(prefix, autoescape=True, escape=LIKE_ESCAPE)
