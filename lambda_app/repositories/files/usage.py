"""Queries on usage: the users' counters, and the sums of their files."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Select, Subquery, cast, func, select, true, update
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.dml import ReturningUpdate

from lambda_app.core.errors import NotFoundError
from lambda_app.models import CHARGED, File, FileStatus, Tombstone, User
from lambda_app.repositories.statements import OWN_TRANSACTION, built_once


class StoredTotal(NamedTuple):
    """Total size and number of files."""

    bytes: int
    files: int


class UsageCount(NamedTuple):
    """A user's counters, and the sums of the charged files and tombstones in the same snapshot."""

    user_id: UUID
    bytes_used: int
    files_count: int
    charged_bytes: int
    charged_files: int

    @property
    def is_consistent(self) -> bool:
        """Whether the counters equal the sums."""
        return (self.bytes_used, self.files_count) == (self.charged_bytes, self.charged_files)


class UsageRepository:
    """Reads usage, and corrects wrong counters."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def require(self, user_id: UUID) -> tuple[User, StoredTotal]:
        """Return the user as currently stored, and the total of the trash. Raises NotFoundError."""
        row = self._session.execute(*_usage(user_id=user_id)).one_or_none()
        if row is None:
            raise NotFoundError("User not found", code="user_not_found")
        user, trash_bytes, trash_files = row
        return user, StoredTotal(int(trash_bytes), trash_files)

    def count_page(self, *, after: UUID | None, limit: int) -> list[UsageCount]:
        """Return the usage of up to `limit` users after `after`, in order of their ids."""
        return [UsageCount(*row) for row in self._session.execute(*_count_page(after=after, limit=limit))]

    def correct_page(self, *, after: UUID | None, limit: int) -> set[UUID]:
        """Correct the wrong counters of the same page, commit, and return the affected users.

        Safe under concurrent uploads: files and counters change in one statement, so counters that are unchanged since the files were
        summed belong to the same files. A user whose counters changed in between is skipped.
        """
        return set(self._session.execute(*_correct_page(after=after, limit=limit)).scalars())


@built_once
def _usage(*, user_id: UUID) -> Select[Any]:
    trash = (
        select(func.coalesce(func.sum(File.size_bytes), 0).label("bytes"), func.count().label("files"))
        .where(File.owner_id == user_id, File.status == FileStatus.TRASHED)
        .subquery()
    )
    query = select(User, trash.c.bytes, trash.c.files).select_from(User).join(trash, User.id == user_id)
    return query.execution_options(populate_existing=True)


@built_once
def _count_page(*, after: UUID | None, limit: int) -> Select[Any]:
    counted = _counted(after, limit)
    return select(counted).order_by(counted.c.id)


@built_once
def _correct_page(*, after: UUID | None, limit: int) -> ReturningUpdate[UUID]:
    counted = _counted(after, limit)
    is_unchanged = (User.bytes_used == counted.c.bytes_used) & (User.files_count == counted.c.files_count)
    is_wrong = (User.bytes_used != counted.c.charged_bytes) | (User.files_count != counted.c.charged_files)
    return (
        update(User)
        .where(User.id == counted.c.id, is_unchanged, is_wrong)
        .values(bytes_used=counted.c.charged_bytes, files_count=counted.c.charged_files)
        .returning(User.id)
        .execution_options(**OWN_TRANSACTION)
    )


def _counted(after: UUID | None, limit: int) -> Subquery:
    page = select(User.id, User.bytes_used, User.files_count).order_by(User.id).limit(limit)
    if after is not None:
        page = page.where(User.id > after)
    users = page.subquery("page")
    files = _sums(File.size_bytes).where(File.owner_id == users.c.id, File.status.in_(CHARGED)).lateral("files")
    ended = _sums(Tombstone.size_bytes).where(Tombstone.owner_id == users.c.id, Tombstone.charged_until.is_not(None)).lateral("ended")
    return (
        select(
            users.c.id,
            users.c.bytes_used,
            users.c.files_count,
            cast(files.c.bytes + ended.c.bytes, BigInteger).label("charged_bytes"),
            (files.c.files + ended.c.files).label("charged_files"),
        )
        .select_from(users)
        .join(files, true())
        .join(ended, true())
        .subquery("counted")
    )


def _sums(size: InstrumentedAttribute[int]) -> Select[int, int]:
    return select(func.coalesce(func.sum(size), 0).label("bytes"), func.count(size).label("files"))
