"""Queries on archives, for the users and links that requested them."""

from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, Uuid, and_, cast, column, exists, false, func, or_, select
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.errors import NotFoundError
from lambda_app.models import Archive, ArchiveFile, ArchiveStatus, File, Share, User
from lambda_app.repositories.files.file_access import ViewerOf, downloadable_by, reached_by, readable_by
from lambda_app.repositories.statements import Bound, built_once, json_parameter, json_text, newest_page
from lambda_app.schemas.page import Cursor


class NoSuchArchiveError(NotFoundError):
    """There is no such archive, or the caller did not request it."""

    code = "archive_not_found"
    message = "Archive not found"


class RequestedFile(NamedTuple):
    """A file requested for an archive, and the viewer's permissions on it."""

    file: File
    is_readable: bool
    is_downloadable: bool


class FoundArchive(NamedTuple):
    """An archive, whether its requester may still download all its files, and whether the requester owns all of them."""

    archive: Archive
    is_whole: bool
    is_own: bool


class ArchiveRepository:
    """Reads the rows of `archive`, and the files requested for a new one."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list_requested_files(self, file_ids: Sequence[UUID], viewer: User) -> list[RequestedFile]:
        """Return those of the files that exist, in the order of `file_ids`."""
        rows = self._session.execute(*_requested(viewer.is_superuser, user_id=viewer.id, ids=json_text(file_ids)))
        return [RequestedFile(file, bool(is_readable), bool(is_downloadable)) for file, is_readable, is_downloadable in rows]

    def get_holder(self, holder_id: UUID) -> User | None:
        """Return the user whose limits an archive counts in."""
        return self._session.execute(*_holder(holder_id=holder_id)).scalar_one_or_none()

    def get_current(self, holder_id: UUID, fingerprint: str) -> Archive | None:
        """Return the archive of an earlier identical request, if it can still be used."""
        query = _current(holder_id=holder_id, fingerprint=fingerprint, now=clock.now())
        return self._session.execute(*query).scalar_one_or_none()

    def require(self, archive_id: UUID, user: User) -> FoundArchive:
        """Return an archive that `user` requested. Raises NoSuchArchiveError."""
        return self._require(_own(user.is_superuser, archive_id=archive_id, user_id=user.id))

    def require_of_link(self, archive_id: UUID, share: Share) -> FoundArchive:
        """Return an archive requested through the link; its visitors own none of the files. Raises NoSuchArchiveError."""
        link: dict[str, Any] = {"share_id": share.id, "owner_id": share.owner_id, "needs_superuser": share.needs_superuser}
        return self._require(_of_link(archive_id=archive_id, **link))

    def page(self, user: User, *, limit: int, after: Cursor | None) -> list[Archive]:
        """Return up to `limit` of the user's archives after the cursor, newest first."""
        return list(self._session.execute(*_page(user_id=user.id, limit=limit, after=after)).scalars())

    def _require(self, query: Bound[Select[Archive, bool, bool]]) -> FoundArchive:
        row = self._session.execute(*query).one_or_none()
        if row is None:
            raise NoSuchArchiveError
        return FoundArchive(row.Archive, is_whole=bool(row.is_whole), is_own=bool(row.is_own))


@built_once
def _requested(is_superuser: bool, *, user_id: UUID, ids: str) -> Select[File, bool, bool]:
    viewer = ViewerOf(user_id, is_superuser)
    requested = func.jsonb_array_elements_text(json_parameter(ids)).table_valued(column("id", Text), with_ordinality="position")
    requested = requested.render_derived()
    query = (
        select(File, readable_by(viewer).label("is_readable"), downloadable_by(viewer).label("is_downloadable"))
        .join(requested, File.id == cast(requested.c.id, Uuid))
        .order_by(requested.c.position)
    )
    return query.execution_options(populate_existing=True)


@built_once
def _holder(*, holder_id: UUID) -> Select[User]:
    return select(User).where(User.id == holder_id)


@built_once
def _current(*, holder_id: UUID, fingerprint: str, now: datetime) -> Select[Archive]:
    current = (ArchiveStatus.QUEUED, ArchiveStatus.BUILDING, ArchiveStatus.READY)
    is_current = (Archive.status.in_(current), or_(Archive.expires_at.is_(None), Archive.expires_at > now))
    query = select(Archive).where(Archive.holder_id == holder_id, Archive.fingerprint == fingerprint, *is_current)
    return query.execution_options(populate_existing=True)


def _found(archive_id: UUID, is_requester: ColumnElement[bool], permission: Any, ownership: Any) -> Select[Archive, bool, bool]:
    columns = has_all_files(permission).label("is_whole"), has_all_files(ownership).label("is_own")
    query = select(Archive, *columns).where(Archive.id == archive_id, is_requester, Archive.status != ArchiveStatus.DELETING)
    return query.execution_options(populate_existing=True)


@built_once
def _own(is_superuser: bool, *, archive_id: UUID, user_id: UUID) -> Select[Archive, bool, bool]:
    is_theirs = and_(Archive.user_id == user_id, ~Archive.is_export)
    return _found(archive_id, is_theirs, downloadable_by(ViewerOf(user_id, is_superuser)), File.owner_id == user_id)


@built_once
def _of_link(*, archive_id: UUID, share_id: UUID, owner_id: UUID, needs_superuser: bool) -> Select[Archive, bool, bool]:
    link = SimpleNamespace(id=share_id, owner_id=owner_id, needs_superuser=needs_superuser)
    return _found(archive_id, Archive.share_id == share_id, reached_by(link), false())


@built_once
def _page(*, user_id: UUID, limit: int, after: Cursor | None) -> Select[Archive]:
    query = select(Archive).where(Archive.user_id == user_id, ~Archive.is_export, Archive.status != ArchiveStatus.DELETING)
    return newest_page(query, Archive, limit=limit, after=after)


def has_all_files(permission: ColumnElement[bool], *positions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether every file of the archive, or at these `positions`, exists and `permission` holds for it."""
    permitted = exists().where(File.id == ArchiveFile.file_id, permission)
    return ~exists().where(ArchiveFile.archive_id == Archive.id, *positions, ~permitted).correlate(Archive)


def is_downloadable(at: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for an archive to be ready and not expired."""
    return Archive.status == ArchiveStatus.READY, Archive.expires_at > at
