"""Queries on archives, for those who asked for them."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Text, Uuid, cast, column, exists, func, literal, or_, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.errors import NotFoundError
from lambda_app.models import Archive, ArchiveFile, ArchiveStatus, File, Share, User
from lambda_app.repositories.files.file_access import downloadable_by, reached_by, readable_by
from lambda_app.schemas.page import Cursor


class NoSuchArchiveError(NotFoundError):
    """There is no such archive of this caller."""

    code = "archive_not_found"
    message = "Archive not found"


class Candidate(NamedTuple):
    """A file that is asked for, and what may be done with it."""

    file: File
    is_readable: bool
    is_downloadable: bool


class ArchiveRepository:
    """Reads the rows of `archive`, and the files that are to be put into one."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list_candidates(self, file_ids: Sequence[UUID], viewer: User) -> list[Candidate]:
        """Return those of the files that there are, in the order of `file_ids`."""
        # As one value: thousands of them would make a statement so long that RDS Proxy pins the connection for it.
        listed = cast(literal(json.dumps([str(file_id) for file_id in file_ids]), Text), JSONB)
        asked = func.jsonb_array_elements_text(listed).table_valued(column("id", Text), with_ordinality="position").render_derived()
        query = (
            select(File, readable_by(viewer).label("is_readable"), downloadable_by(viewer).label("is_downloadable"))
            .join(asked, File.id == cast(asked.c.id, Uuid))
            .order_by(asked.c.position)
        )
        rows = self._session.execute(query.execution_options(populate_existing=True))
        return [Candidate(file, bool(is_readable), bool(is_downloadable)) for file, is_readable, is_downloadable in rows]

    def get_wanted(self, holder_id: UUID, fingerprint: str) -> Archive | None:
        """Return the archive that the same request led to before, if it is not over."""
        wanted = (ArchiveStatus.QUEUED, ArchiveStatus.BUILDING, ArchiveStatus.READY)
        is_kept = or_(Archive.expires_at.is_(None), Archive.expires_at > clock.now())
        query = select(Archive).where(
            Archive.holder_id == holder_id, Archive.fingerprint == fingerprint, Archive.status.in_(wanted), is_kept
        )
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()

    def require(self, archive_id: UUID, user: User) -> tuple[Archive, bool]:
        """Return an archive that `user` asked for, and whether each of its files can still be had by them. Raises NoSuchArchiveError."""
        return self._require(archive_id, Archive.user_id == user.id, downloadable_by(user))

    def require_of_link(self, archive_id: UUID, share: Share) -> tuple[Archive, bool]:
        """Return an archive that was asked for at the link, and whether it still opens each of its files. Raises NoSuchArchiveError."""
        return self._require(archive_id, Archive.share_id == share.id, reached_by(share))

    def page(self, user: User, *, limit: int, after: Cursor | None) -> list[Archive]:
        """Return up to `limit` of the user's archives, newest first, behind the cursor."""
        query = select(Archive).where(Archive.user_id == user.id, Archive.status != ArchiveStatus.DELETING)
        if after is not None:
            last = tuple_(literal(after.value, Archive.created_at.type), literal(after.id, Archive.id.type))
            query = query.where(tuple_(Archive.created_at, Archive.id) < last)
        query = query.order_by(Archive.created_at.desc(), Archive.id.desc()).limit(limit)
        return list(self._session.execute(query).scalars())

    def _require(self, archive_id: UUID, is_asker: ColumnElement[bool], permission: ColumnElement[bool]) -> tuple[Archive, bool]:
        query = select(Archive, is_whole(permission).label("is_whole")).where(
            Archive.id == archive_id, is_asker, Archive.status != ArchiveStatus.DELETING
        )
        row = self._session.execute(query.execution_options(populate_existing=True)).one_or_none()
        if row is None:
            raise NoSuchArchiveError
        return row.Archive, bool(row.is_whole)


def is_whole(permission: ColumnElement[bool], *positions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Every file of the archive (those at `positions` of it) is there, and `permission` holds for it."""
    permitted = exists().where(File.id == ArchiveFile.file_id, permission)
    return ~exists().where(ArchiveFile.archive_id == Archive.id, *positions, ~permitted).correlate(Archive)


def is_downloadable(at: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return what the archives have in common whose bytes are there."""
    return Archive.status == ArchiveStatus.READY, Archive.expires_at > at


def entries_parameter(entries: Sequence[dict[str, Any]]) -> ColumnElement[Any]:
    """Return the entries as one value of a statement."""
    return cast(literal(json.dumps(entries, default=str), Text), JSONB)
