"""The state transitions of many files at once. Each is one statement that commits by itself, as those of one file are.

Lock order: the files, their file requests and their owners, each in the order of their ids. The
transitions of one file have the same order (`repositories/files/transitions`).
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import CTE, BigInteger, ColumnElement, Delete, Select, case, cast, delete, exists, func, literal, not_, select, update
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.models import CHARGED, File, FileRequest, FileStatus, Tombstone, User
from lambda_app.repositories.accounts.current_user import is_current
from lambda_app.repositories.audit import ENTRY, audit_insert_for, has_run, with_event
from lambda_app.repositories.files.deletions import with_deletion
from lambda_app.repositories.files.file_access import ViewerOf, changeable_by, manageable_by
from lambda_app.repositories.files.tombstones import columns_before_end, tombstone_insert
from lambda_app.repositories.files.transitions import file_details
from lambda_app.repositories.statements import OWN_TRANSACTION, as_column, built_once


class MovedFile(NamedTuple):
    """A file after a transition."""

    id: UUID
    status: str
    s3_key: str
    upload_id: str | None


class FileBatchTransitionRepository:
    """Moves many files from one state to the next. Files that the user may not manage, or in other states, stay unchanged."""

    def __init__(self, session: Session, *, deletion_allowance_bytes: int) -> None:
        self._session = session
        self._deletion_allowance_bytes = deletion_allowance_bytes

    def start_deleting(
        self, file_ids: Sequence[UUID], user: User, *, purge_at: datetime | None = None, only: FileStatus | None = None
    ) -> list[MovedFile]:
        """Delete the files: with `purge_at`, available ones move to the trash, and those in the trash stay there.

        All others are marked as deleting, and their quota is released, once their upload URLs have expired. A file that is being deleted
        is returned again, so that an interrupted deletion can be repeated. `only` limits the files to those with this status.
        """
        started = _start_deleting(
            user.is_superuser,
            self._deletion_allowance_bytes,
            only,
            file_ids=list(file_ids),
            user_id=user.id,
            purge_at=purge_at,
            now=clock.now(),
        )
        # The statement has the actions of its two events.
        return [MovedFile(*row) for row in self._session.execute(*with_event(started, "file.deleted"))]

    def restore(self, file_ids: Sequence[UUID], user: User) -> dict[UUID, str]:
        """Restore the files that are in the trash, and return their status."""
        restored = _restore(user.is_superuser, file_ids=list(file_ids), user_id=user.id, now=clock.now())
        return dict(self._session.execute(*with_event(restored, "file.restored")).all())

    def set_visibility(self, file_ids: Sequence[UUID], user: User, *, is_public: bool) -> dict[UUID, str]:
        """Change who may read the files, and return their status. Nothing is published if the credentials of the request have ended.

        Lock order: the files by id, the user.
        """
        user_epoch = user.token_epoch if is_public else None
        files: dict[str, Any] = {"file_ids": list(file_ids), "is_public": is_public, "now": clock.now()}
        changed = _set_visibility(user.is_superuser, user_id=user.id, user_epoch=user_epoch, **files)
        event = with_event(changed, "file.visibility_changed", details={"is_public": is_public})
        return dict(self._session.execute(*event).all())

    def remove(self, file_ids: Collection[UUID]) -> None:
        """Delete the rows whose objects were deleted. The sweep removes a row that another statement has locked."""
        self._session.execute(*_remove(file_ids=list(file_ids)))

    def list_trashed(self, owner_id: UUID, *, limit: int) -> list[UUID]:
        """Return up to `limit` files in the trash of this owner."""
        return list(self._session.execute(*_trashed(owner_id=owner_id, limit=limit)).scalars())


def _found(file_ids: list[UUID], conditions: Sequence[ColumnElement[bool]], now: datetime) -> CTE:
    """Return the files that meet the conditions, locked in the order of their ids."""
    found = select(*columns_before_end(now)).where(File.id.in_(file_ids), *conditions).order_by(File.id)
    return found.with_for_update(key_share=True).cte("found")


@built_once
def _start_deleting(
    is_superuser: bool,
    allowance_bytes: int,
    only: FileStatus | None,
    *,
    file_ids: list[UUID],
    user_id: UUID,
    purge_at: datetime | None,
    now: datetime,
) -> Select[UUID, str, str, str | None]:
    conditions = [manageable_by(ViewerOf(user_id, is_superuser))]
    if purge_at is not None:
        conditions.append(File.status != FileStatus.TRASHED)
    if only is not None:
        conditions.append(File.status == only)
    found = _found(file_ids, conditions, now)
    is_trashed = found.c.status == FileStatus.AVAILABLE if purge_at is not None else literal(False)
    values = {
        "status": case((is_trashed, FileStatus.TRASHED.value), else_=FileStatus.DELETING.value),
        "purge_at": case((is_trashed, as_column(purge_at, File.purge_at.type)), else_=File.purge_at),
        "updated_at": now,
        "revision": File.revision + 1,
    }
    moved = update(File).where(File.id == found.c.id).values(values).returning(*File.__table__.c).cte("moved")
    ended = select(found).where(not_(is_trashed)).cte("ended")
    released = _release(ended, now, allowance_bytes)
    into_trash = select(moved).where(moved.c.status == FileStatus.TRASHED).cte("into_trash")
    out_of_reach = select(moved).where(moved.c.status == FileStatus.DELETING).cte("out_of_reach")
    logged = [
        audit_insert_for(rows, kind="file", details=file_details(rows), entry={**ENTRY, "action": action}).cte(f"logged_{number}")
        for number, (rows, action) in enumerate(((into_trash, "file.trashed"), (out_of_reach, "file.deleted")))
    ]
    columns = (moved.c[name] for name in MovedFile._fields)
    return select(*columns).add_cte(*released, *logged).execution_options(**OWN_TRANSACTION)


def _changed(found: CTE, now: datetime, *conditions: ColumnElement[bool], names_file: bool, **values: Any) -> Select[UUID, str]:
    changes = {**values, "updated_at": now, "revision": File.revision + 1}
    moved = update(File).where(File.id == found.c.id, *conditions).values(changes).returning(*File.__table__.c).cte("moved")
    logged = audit_insert_for(moved, kind="file", details=file_details(moved) if names_file else None)
    return select(moved.c.id, moved.c.status).add_cte(logged.cte("logged")).execution_options(**OWN_TRANSACTION)


@built_once
def _restore(is_superuser: bool, *, file_ids: list[UUID], user_id: UUID, now: datetime) -> Select[UUID, str]:
    conditions = [manageable_by(ViewerOf(user_id, is_superuser)), File.status == FileStatus.TRASHED]
    found = _found(file_ids, conditions, now)
    return _changed(found, now, names_file=True, status=FileStatus.AVAILABLE, purge_at=None)


@built_once
def _set_visibility(
    is_superuser: bool, *, file_ids: list[UUID], user_id: UUID, user_epoch: int | None, is_public: bool, now: datetime
) -> Select[UUID, str]:
    conditions = [changeable_by(ViewerOf(user_id, is_superuser), {"is_public"}), File.status != FileStatus.DELETING]
    found = _found(file_ids, conditions, now)
    is_current_user = []
    if user_epoch is not None:
        # Counted, so that all files are locked before the user.
        is_found = select(func.count()).select_from(found).scalar_subquery() > 0
        current = select(User.id).where(*is_current(user_id, user_epoch), is_found)
        is_current_user.append(exists(select(current.with_for_update(key_share=True).cte("publisher").c.id)))
    return _changed(found, now, *is_current_user, names_file=False, is_public=is_public)


@built_once
def _remove(*, file_ids: list[UUID]) -> Delete:
    is_ended = (File.id.in_(file_ids), File.status == FileStatus.DELETING)
    removable = select(File.id).where(*is_ended).with_for_update(skip_locked=True).cte("removable")
    return delete(File).where(File.id == removable.c.id).execution_options(**OWN_TRANSACTION)


@built_once
def _trashed(*, owner_id: UUID, limit: int) -> Select[UUID]:
    return select(File.id).where(File.owner_id == owner_id, File.status == FileStatus.TRASHED).limit(limit)


def _release(ended: CTE, now: datetime, allowance_bytes: int) -> list[CTE]:
    """Return the CTEs that release the quota of the files that end, and add their tombstones.

    They follow the rules of `FileTransitionRepository`, summed for each file request and owner.
    """
    incomplete = (
        select(ended.c.file_request_id.label("id"), func.count().label("files"))
        .where(ended.c.status == FileStatus.PENDING, ended.c.file_request_id.is_not(None))
        .group_by(ended.c.file_request_id)
        .cte("incomplete")
    )
    requests = select(FileRequest.id).where(FileRequest.id.in_(select(incomplete.c.id))).order_by(FileRequest.id)
    locked_requests = requests.with_for_update(key_share=True).cte("locked_requests")
    decrement = update(FileRequest).where(FileRequest.id == incomplete.c.id, FileRequest.id == locked_requests.c.id)
    uncounted = decrement.values(file_count=FileRequest.file_count - incomplete.c.files).returning(FileRequest.id).cte("uncounted")
    remembered = tombstone_insert(ended, now).returning(Tombstone.file_id).cte("remembered")
    is_released = ended.c.charged_until.is_(None)
    sums = (
        select(
            ended.c.owner_id,
            _sum(case((is_released, ended.c.size_bytes), else_=0)).label("bytes"),
            _sum(case((is_released, 1), else_=0)).label("files"),
            # A multipart upload in progress stores parts, which have no versions.
            _sum(case((not_(ended.c.is_multipart_in_progress), ended.c.size_bytes), else_=0)).label("deleted"),
        )
        .where(ended.c.status.in_(CHARGED))
        .group_by(ended.c.owner_id)
        .cte("sums")
    )
    owners = select(User.id).where(User.id.in_(select(sums.c.owner_id)), has_run(uncounted)).order_by(User.id)
    locked_owners = owners.with_for_update(key_share=True).cte("locked_owners")
    less = {
        "bytes_used": User.bytes_used - sums.c.bytes,
        "files_count": User.files_count - sums.c.files,
        **with_deletion(sums.c.deleted, now, allowance_bytes=allowance_bytes),
    }
    release = update(User).where(User.id == sums.c.owner_id, User.id == locked_owners.c.id)
    return [uncounted, remembered, release.values(less).returning(User.id).cte("released")]


def _sum(values: ColumnElement[int]) -> ColumnElement[int]:
    return cast(func.sum(values), BigInteger)
