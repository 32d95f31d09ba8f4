"""The state transitions of archives, each one statement that commits by itself (docs/adr/0005-file-transitions-as-own-transactions.md).

A worker's transitions check its lease: after another worker has claimed the archive, or it was deleted, they change nothing.

Lock order in all of them: the archive, its files.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    String,
    Uuid,
    and_,
    case,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as insert_or_update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.db.session import own_transaction, violated_constraint
from lambda_app.models import UNFINISHED, Archive, ArchiveFile, ArchiveStatus, File, Share, User
from lambda_app.models.archives import IS_CURRENT
from lambda_app.repositories.accounts.exports import WITH_OBJECT
from lambda_app.repositories.archives.archives import has_all_files
from lambda_app.repositories.audit import audit_insert_for, audited_change, details_of
from lambda_app.repositories.files.file_access import downloadable_by, is_served, link_is_live, reached_by
from lambda_app.repositories.statements import OWN_TRANSACTION, json_parameter

NUMBER_GRACE = timedelta(minutes=1)
"""How long the highest number of a holder stays reserved; longer than any statement takes."""
_NUMBER_INDEX = "ux_archive_holder_id_is_linked_number"


ENTRIES_PER_STATEMENT = 5000


class ArchiveEntry(NamedTuple):
    """A row of `archive_file`, for the worker."""

    file_id: UUID
    name: str
    size_bytes: int
    modified_at: datetime
    crc32: int | None


class NumberTakenError(Exception):
    """A concurrent request inserted an archive with the same number; repeat the request."""


class ArchiveTransitionRepository:
    """Moves archives from one state to the next."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def start(
        self,
        archive: Archive,
        entries: Sequence[Mapping[str, Any]],
        *,
        unfinished_max: int,
        stored_bytes_max: int,
        expires_at: datetime,
        action: str = "archive.requested",
    ) -> Archive | None:
        """Insert the queued archive with its entries, or return the current one of an identical request; commit.

        A ready archive that is returned again stays until `expires_at`. None if the holder has `unfinished_max` unfinished archives,
        or the stored ones would exceed `stored_bytes_max`. Raises NumberTakenError if a concurrent request interfered; try again.
        """
        is_linked = Archive.share_id.is_(None) if archive.share_id is None else Archive.share_id.is_not(None)
        # An identical request adds no archive. The object of an archive that is being deleted may still exist, so it counts.
        # Exports count in no limit.
        is_other = and_(not_(and_(Archive.fingerprint == archive.fingerprint, IS_CURRENT)), ~Archive.is_export)
        is_stored = and_(Archive.status != ArchiveStatus.FAILED, is_other)
        held = (
            select(
                (func.coalesce(func.max(Archive.number), 0) + 1).label("next_number"),
                func.count().filter(Archive.status.in_(UNFINISHED), is_other).label("unfinished_count"),
                func.coalesce(func.sum(Archive.size_bytes).filter(is_stored), 0).label("size_bytes"),
            )
            .where(Archive.holder_id == archive.holder_id, is_linked)
            .subquery("held")
        )
        has_room = and_(held.c.unfinished_count < unfinished_max, held.c.size_bytes + archive.size_bytes <= stored_bytes_max)
        names = [name for name in Archive.__table__.columns.keys() if getattr(archive, name) is not None]  # noqa: SIM118  # columns are no dict
        values = [literal(getattr(archive, name), Archive.__table__.c[name].type) for name in names]
        inserted = insert_or_update(Archive).from_select(
            [*names, "number"], select(*values, held.c.next_number).where(has_room), include_defaults=False
        )
        stored = (
            inserted.on_conflict_do_update(
                index_elements=["holder_id", "fingerprint"],
                index_where=IS_CURRENT,
                set_={
                    "updated_at": inserted.excluded.updated_at,
                    "expires_at": case((Archive.status == ArchiveStatus.READY, expires_at), else_=None),
                },
            )
            .returning(*Archive.__table__.columns)
            .cte("stored")
        )
        files = _entry_rows(entries)
        rows = select(stored.c.id, *files.c).select_from(stored.join(files, stored.c.id == archive.id))
        listed = insert(ArchiveFile).from_select(["archive_id", *files.c.keys()], rows).returning(ArchiveFile.position).cte("listed")
        logged = audit_insert_for(stored, action, kind="archive").cte("logged")
        statement = select(aliased(Archive, stored)).add_cte(listed, logged)
        try:
            return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none()
        except IntegrityError as error:
            if violated_constraint(error) != _NUMBER_INDEX:
                raise
            self._session.rollback()
            raise NumberTakenError from error

    def claim(self, archive_id: UUID, *, lease_id: UUID, lease_until: datetime) -> Archive | None:
        """Take the lease of an archive that is queued or abandoned; None if it is neither."""
        is_waiting = or_(
            Archive.status == ArchiveStatus.QUEUED, and_(Archive.status == ArchiveStatus.BUILDING, Archive.lease_until < clock.now())
        )
        values = {"status": ArchiveStatus.BUILDING, "lease_id": lease_id, "lease_until": lease_until, "attempts": Archive.attempts + 1}
        statement = update(Archive).where(Archive.id == archive_id, is_waiting).values(updated_at=clock.now(), **values).returning(Archive)
        archive = self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none()
        if archive is not None:
            # The worker changes the object in memory. Detached, it is written only by the transitions that check the lease.
            self._session.expunge(archive)
        return archive

    def list_entries(self, archive_id: UUID) -> list[ArchiveEntry]:
        """Return the archive's files in order. Not as objects of the session: an export can have 100,000."""
        columns = (getattr(ArchiveFile, name) for name in ArchiveEntry._fields)
        query = select(*columns).where(ArchiveFile.archive_id == archive_id).order_by(ArchiveFile.position)
        return [ArchiveEntry(*row) for row in self._session.execute(query)]

    def set_entries(self, archive: Archive, entries: Sequence[Mapping[str, Any]], *, size_bytes: int) -> bool:
        """Record the entries and the size of an export that a worker has prepared, as one transaction; False if the lease is lost.

        Lock order: the archive, its entries.
        """
        is_leased = (Archive.id == archive.id, Archive.status == ArchiveStatus.BUILDING, Archive.lease_id == archive.lease_id)
        with own_transaction(self._session):
            changed = update(Archive).where(*is_leased).values(file_count=len(entries), size_bytes=size_bytes).returning(Archive.id)
            changed = changed.execution_options(synchronize_session=False)
            if self._session.execute(changed).scalar_one_or_none() is None:
                return False
            self._session.execute(
                delete(ArchiveFile).where(ArchiveFile.archive_id == archive.id).execution_options(synchronize_session=False)
            )
            for start in range(0, len(entries), ENTRIES_PER_STATEMENT):
                rows = _entry_rows(entries[start : start + ENTRIES_PER_STATEMENT])
                added = select(literal(archive.id, ArchiveFile.archive_id.type), *rows.c)
                self._session.execute(insert(ArchiveFile).from_select(["archive_id", *rows.c.keys()], added))
        archive.file_count, archive.size_bytes = len(entries), size_bytes
        return True

    def has_all_files(self, archive: Archive, *, first: int, last: int) -> bool:
        """Whether the requester may still download every file from position `first` to `last`."""
        positions: ColumnElement[bool] = ArchiveFile.position.between(first, last)
        if archive.share_id is not None:
            link = link_is_live(clock.now()), Share.allows_download.is_(True)
            query = select(has_all_files(reached_by(Share), positions)).select_from(Archive).join(Share, Share.id == Archive.share_id)
            return bool(self._session.execute(query.where(Archive.id == archive.id, *link)).scalar_one_or_none())
        requester = select(User).where(User.id == archive.user_id, User.is_active).execution_options(populate_existing=True)
        user = self._session.execute(requester).scalar_one_or_none()
        if user is None:
            return False
        permission = downloadable_by(user)
        if archive.is_export:
            # The document has the id of the archive in place of a file's, and the export contains the trash.
            permission = and_(File.owner_id == user.id, File.status.in_(WITH_OBJECT), is_served())
            positions = and_(positions, ArchiveFile.position > 0)
        query = select(has_all_files(permission, positions)).select_from(Archive).where(Archive.id == archive.id)
        return bool(self._session.execute(query).scalar_one_or_none())

    def restart_upload(self, archive: Archive, *, upload_id: str) -> bool:
        """Record a new multipart upload and reset the progress; False if the lease is lost."""
        return self._update_leased(archive, {"upload_id": upload_id, "done_bytes": 0, "cut_crc32": 0})

    def record_part(self, archive: Archive, *, done_bytes: int, cut_crc32: int, crc32s: Mapping[int, int], lease_until: datetime) -> bool:
        """Record the progress, the checksums by position, and extend the lease; False if the lease is lost."""
        values = {"done_bytes": done_bytes, "cut_crc32": cut_crc32, "lease_until": lease_until, "attempts": 0}
        return self._update_leased(archive, values, crc32s)

    def finish(self, archive: Archive, *, expires_at: datetime) -> bool:
        """Make the archive ready; False if the lease is lost."""
        values = {"status": ArchiveStatus.READY, "done_bytes": archive.size_bytes, "expires_at": expires_at}
        return self._update_leased(archive, values, action="archive.ready")

    def release_lease(self, archive: Archive) -> bool:
        """Queue the archive again, so that another worker can continue at once; False if the lease is lost."""
        return self._update_leased(archive, {"status": ArchiveStatus.QUEUED})

    def fail(self, archive: Archive, *, error_code: str, expires_at: datetime) -> bool:
        """Fail the archive permanently; False if the lease is lost."""
        values = {"status": ArchiveStatus.FAILED, "error_code": error_code, "expires_at": expires_at}
        return self._update_leased(archive, values, action="archive.failed")

    def start_deleting(self, archive_id: UUID, user: User) -> Archive | None:
        """Mark the archive as deleting, before its object is deleted. None if the user has no such archive.

        An archive that is being deleted is returned again, so that an interrupted deletion can be repeated.
        """
        # A row of size 0 only reserves its number: see `remove`.
        change = update(Archive).where(Archive.id == archive_id, Archive.user_id == user.id, ~Archive.is_export, Archive.size_bytes > 0)
        change = change.values(status=ArchiveStatus.DELETING, lease_id=None, updated_at=clock.now())
        statement = audited_change(change.returning(*Archive.__table__.columns), Archive, "archive.deleted")
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none()

    def expire(self, archive_id: UUID, *, overdue_at: datetime) -> Archive | None:
        """Start deleting an archive that had expired at `overdue_at`; None if it is not such an archive."""
        statement = (
            update(Archive)
            .where(
                Archive.id == archive_id, Archive.status.in_((ArchiveStatus.READY, ArchiveStatus.FAILED)), Archive.expires_at < overdue_at
            )
            .values(status=ArchiveStatus.DELETING, updated_at=clock.now())
            .returning(Archive)
        )
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none()

    def withdraw(self, archive_id: UUID) -> bool:
        """Start deleting a ready archive; False if it is not ready."""
        statement = (
            update(Archive)
            .where(Archive.id == archive_id, Archive.status == ArchiveStatus.READY)
            .values(status=ArchiveStatus.DELETING, updated_at=clock.now())
            .returning(Archive.id)
        )
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none() is not None

    def fail_abandoned(self, archive_id: UUID, *, overdue_at: datetime, error_code: str, expires_at: datetime) -> bool:
        """Fail an unfinished archive whose lease had expired at `overdue_at`; False if it is not such an archive."""
        change = (
            update(Archive)
            .where(Archive.id == archive_id, Archive.status.in_(UNFINISHED), Archive.lease_until < overdue_at)
            .values(status=ArchiveStatus.FAILED, error_code=error_code, expires_at=expires_at, lease_id=None, updated_at=clock.now())
        )
        failed = change.returning(*Archive.__table__.c).cte("failed")
        statement = select(failed.c.id).add_cte(_audited(failed, "archive.failed"))
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none() is not None

    def remove(self, archive_id: UUID) -> None:
        """Delete the row after its object was deleted.

        The row with a holder's highest number stays for `NUMBER_GRACE`, with size 0; the sweep deletes it later. A concurrent request
        may have computed its number from this row. If the row were deleted, the next request would compute the same number without
        seeing the concurrent one, and the limits would admit both.
        """
        is_deleting = Archive.id == archive_id, Archive.status == ArchiveStatus.DELETING
        later: Any = aliased(Archive)
        same_limit = later.holder_id == Archive.holder_id, later.share_id.is_(None) == Archive.share_id.is_(None)
        is_last = ~exists(select(later.id).where(*same_limit, later.number > Archive.number))
        removable = or_(~is_last, Archive.updated_at < clock.now() - NUMBER_GRACE)
        removed = delete(Archive).where(*is_deleting, removable).returning(Archive.id)
        if self._session.execute(removed.execution_options(**OWN_TRANSACTION)).scalar_one_or_none() is None:
            emptied = update(Archive).where(*is_deleting).values(size_bytes=0)
            self._session.execute(emptied.execution_options(**OWN_TRANSACTION))

    def _update_leased(
        self, archive: Archive, values: Mapping[str, Any], crc32s: Mapping[int, int] | None = None, *, action: str | None = None
    ) -> bool:
        is_leased = (Archive.id == archive.id, Archive.status == ArchiveStatus.BUILDING, Archive.lease_id == archive.lease_id)
        change = update(Archive).where(*is_leased).values(updated_at=clock.now(), **values)
        cte = change.returning(*Archive.__table__.c).cte("updated")
        statement: Any = select(cte.c.id)
        if crc32s:
            known = json_parameter([{"position": position, "crc32": crc32} for position, crc32 in crc32s.items()])
            checksums = func.jsonb_to_recordset(known).table_valued(column("position", Integer), column("crc32", BigInteger))
            checksums = checksums.render_derived(name="checksums", with_types=True)
            files = update(ArchiveFile).where(ArchiveFile.archive_id == cte.c.id, ArchiveFile.position == checksums.c.position)
            statement = statement.add_cte(files.values(crc32=checksums.c.crc32).cte("files"))
        if action is not None:
            statement = statement.add_cte(_audited(cte, action))
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none() is not None


def _entry_rows(entries: Sequence[Mapping[str, Any]]) -> Any:
    rows = func.jsonb_to_recordset(json_parameter([dict(entry) for entry in entries])).table_valued(
        column("position", Integer),
        column("file_id", Uuid),
        column("name", String),
        column("size_bytes", BigInteger),
        column("modified_at", DateTime(timezone=True)),
    )
    return rows.render_derived(name="files", with_types=True)


def _audited(archive: CTE, action: str) -> CTE:
    """Return the part that audits the change of an archive, with its owner and name, because the row may soon be deleted."""
    names = ("user_id", "share_id", "filename", "file_count", "size_bytes", "error_code")
    return audit_insert_for(archive, action, kind="archive", details=details_of(**{name: archive.c[name] for name in names})).cte("logged")
