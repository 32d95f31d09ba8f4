"""The state transitions of many files at once. Each is one statement that commits by itself, as those of one file are.

Lock order: the files, their file requests and their owners, each in the order of their ids. The
transitions of one file have the same order (`repositories/files/transitions`).
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import CTE, BigInteger, ColumnElement, Select, case, cast, delete, exists, func, literal, not_, select, update
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.models import CHARGED, File, FileRequest, FileStatus, Tombstone, User
from lambda_app.repositories.accounts.current_user import is_current
from lambda_app.repositories.audit import audit_insert_for, has_run
from lambda_app.repositories.files.deletions import with_deletion
from lambda_app.repositories.files.file_access import changeable_by, manageable_by
from lambda_app.repositories.files.tombstones import columns_before_end, tombstone_insert
from lambda_app.repositories.files.transitions import file_details
from lambda_app.repositories.statements import OWN_TRANSACTION


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
        now = clock.now()
        conditions = [manageable_by(user)]
        if purge_at is not None:
            conditions.append(File.status != FileStatus.TRASHED)
        if only is not None:
            conditions.append(File.status == only)
        found = self._found(file_ids, conditions, now)
        is_trashed = found.c.status == FileStatus.AVAILABLE if purge_at is not None else literal(False)
        status = case((is_trashed, FileStatus.TRASHED.value), else_=FileStatus.DELETING.value)
        change = (
            update(File)
            .where(File.id == found.c.id)
            .values(
                status=status,
                purge_at=case((is_trashed, literal(purge_at, File.purge_at.type)), else_=File.purge_at),
                updated_at=now,
                revision=File.revision + 1,
            )
        )
        moved = change.returning(*File.__table__.c).cte("moved")
        ended = select(found).where(not_(is_trashed)).cte("ended")
        released = self._release(ended, now)
        into_trash = select(moved).where(moved.c.status == FileStatus.TRASHED).cte("into_trash")
        out_of_reach = select(moved).where(moved.c.status == FileStatus.DELETING).cte("out_of_reach")
        logged = [
            audit_insert_for(rows, action, kind="file", details=file_details(rows)).cte(f"logged_{number}")
            for number, (rows, action) in enumerate(((into_trash, "file.trashed"), (out_of_reach, "file.deleted")))
        ]
        columns = (moved.c[name] for name in MovedFile._fields)
        return self._moved(select(*columns).add_cte(*released, *logged))

    def restore(self, file_ids: Sequence[UUID], user: User) -> dict[UUID, str]:
        """Restore the files that are in the trash, and return their status."""
        return self._change(
            file_ids,
            [manageable_by(user), File.status == FileStatus.TRASHED],
            {"status": FileStatus.AVAILABLE, "purge_at": None},
            action="file.restored",
        )

    def set_visibility(self, file_ids: Sequence[UUID], user: User, *, is_public: bool) -> dict[UUID, str]:
        """Change who may read the files, and return their status. Nothing is published if the credentials of the request have ended.

        Lock order: the files by id, the user.
        """
        values = {"is_public": is_public}
        conditions = [changeable_by(user, values), File.status != FileStatus.DELETING]
        return self._change(
            file_ids, conditions, values, action="file.visibility_changed", details=values, publisher=user if is_public else None
        )

    def remove(self, file_ids: Collection[UUID]) -> None:
        """Delete the rows whose objects were deleted. The sweep removes a row that another statement has locked."""
        removable = (
            select(File.id)
            .where(File.id.in_(file_ids), File.status == FileStatus.DELETING)
            .with_for_update(skip_locked=True)
            .cte("removable")
        )
        statement = delete(File).where(File.id == removable.c.id)
        self._session.execute(statement.execution_options(**OWN_TRANSACTION))

    def list_trashed(self, owner_id: UUID, *, limit: int) -> list[UUID]:
        """Return up to `limit` files in the trash of this owner."""
        query = select(File.id).where(File.owner_id == owner_id, File.status == FileStatus.TRASHED).limit(limit)
        return list(self._session.execute(query).scalars())

    def _change(
        self,
        file_ids: Sequence[UUID],
        conditions: Sequence[ColumnElement[bool]],
        values: Mapping[str, object],
        *,
        action: str,
        details: Mapping[str, object] | None = None,
        publisher: User | None = None,
    ) -> dict[UUID, str]:
        now = clock.now()
        found = self._found(file_ids, conditions, now)
        changes = {**values, "updated_at": now, "revision": File.revision + 1}
        change = update(File).where(File.id == found.c.id)
        if publisher is not None:
            # Counted, so that all files are locked before the user.
            is_found = select(func.count()).select_from(found).scalar_subquery() > 0
            current = select(User.id).where(*is_current(publisher.id, publisher.token_epoch), is_found)
            change = change.where(exists(select(current.with_for_update(key_share=True).cte("publisher").c.id)))
        moved = change.values(changes).returning(*File.__table__.c).cte("moved")
        logged = audit_insert_for(moved, action, kind="file", details=details or file_details(moved)).cte("logged")
        rows = self._session.execute(select(moved.c.id, moved.c.status).add_cte(logged).execution_options(**OWN_TRANSACTION))
        return {file_id: status for file_id, status in rows}  # noqa: C416  # a Result is no mapping

    def _found(self, file_ids: Sequence[UUID], conditions: Sequence[ColumnElement[bool]], now: datetime) -> CTE:
        """Return the files that meet the conditions, locked in the order of their ids."""
        found = select(*columns_before_end(now)).where(File.id.in_(file_ids), *conditions).order_by(File.id)
        return found.with_for_update(key_share=True).cte("found")

    def _release(self, ended: CTE, now: datetime) -> list[CTE]:
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
            **with_deletion(sums.c.deleted, now, allowance_bytes=self._deletion_allowance_bytes),
        }
        release = update(User).where(User.id == sums.c.owner_id, User.id == locked_owners.c.id)
        return [uncounted, remembered, release.values(less).returning(User.id).cte("released")]

    def _moved(self, statement: Select[UUID, str, str, str | None]) -> list[MovedFile]:
        return [MovedFile(*row) for row in self._session.execute(statement.execution_options(**OWN_TRANSACTION))]


def _sum(values: ColumnElement[int]) -> ColumnElement[int]:
    return cast(func.sum(values), BigInteger)
