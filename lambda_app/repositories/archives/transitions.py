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
    Delete,
    Insert,
    Integer,
    Select,
    String,
    TableValuedAlias,
    Update,
    Uuid,
    and_,
    case,
    column,
    delete,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as insert_or_update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningDelete, ReturningUpdate

from lambda_app.core import clock
from lambda_app.db.session import own_transaction, violated_constraint
from lambda_app.models import UNFINISHED, Archive, ArchiveFile, ArchiveStatus, File, Share, User
from lambda_app.models.archives import IS_CURRENT
from lambda_app.repositories.accounts.exports import WITH_OBJECT
from lambda_app.repositories.archives.archives import has_all_files
from lambda_app.repositories.audit import audit_insert_for, audited_change, details_of, with_event
from lambda_app.repositories.files.file_access import ViewerOf, downloadable_by, is_served, link_is_live, reached_by
from lambda_app.repositories.statements import (
    OWN_TRANSACTION,
    as_column,
    built_once,
    json_rows,
    json_text,
    set_columns,
    table_of,
    typed_columns,
)

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
        started = _start(
            archive.share_id is not None,
            unfinished_max=unfinished_max,
            stored_bytes_max=stored_bytes_max,
            ready_until=expires_at,
            entries=_entries(entries),
            **set_columns(archive),
        )
        try:
            return self._session.execute(*with_event(started, action)).scalar_one_or_none()
        except IntegrityError as error:
            if violated_constraint(error) != _NUMBER_INDEX:
                raise
            self._session.rollback()
            raise NumberTakenError from error

    def claim(self, archive_id: UUID, *, lease_id: UUID, lease_until: datetime) -> Archive | None:
        """Take the lease of an archive that is queued or abandoned; None if it is neither."""
        claimed = _claim(archive_id=archive_id, lease_id=lease_id, lease_until=lease_until, now=clock.now())
        archive = self._session.execute(*claimed).scalar_one_or_none()
        if archive is not None:
            # The worker changes the object in memory. Detached, it is written only by the transitions that check the lease.
            self._session.expunge(archive)
        return archive

    def list_entries(self, archive_id: UUID) -> list[ArchiveEntry]:
        """Return the archive's files in order. Not as objects of the session: an export can have 100,000."""
        return [ArchiveEntry(*row) for row in self._session.execute(*_list_entries(archive_id=archive_id))]

    def set_entries(self, archive: Archive, entries: Sequence[Mapping[str, Any]], *, size_bytes: int) -> bool:
        """Record the entries and the size of an export that a worker has prepared, as one transaction; False if the lease is lost.

        Lock order: the archive, its entries.
        """
        lease: dict[str, Any] = {"archive_id": archive.id, "lease_id": archive.lease_id}
        with own_transaction(self._session):
            if self._session.execute(*_set_size(**lease, files=len(entries), size_bytes=size_bytes)).scalar_one_or_none() is None:
                return False
            self._session.execute(*_delete_entries(archive_id=archive.id))
            for start in range(0, len(entries), ENTRIES_PER_STATEMENT):
                rows = _entries(entries[start : start + ENTRIES_PER_STATEMENT])
                self._session.execute(*_add_entries(archive_id=archive.id, entries=rows))
        archive.file_count, archive.size_bytes = len(entries), size_bytes
        return True

    def has_all_files(self, archive: Archive, *, first: int, last: int) -> bool:
        """Whether the requester may still download every file from position `first` to `last`."""
        part: dict[str, Any] = {"archive_id": archive.id, "first": first, "last": last}
        if archive.share_id is not None:
            return bool(self._session.execute(*_link_has_files(**part, now=clock.now())).scalar_one_or_none())
        user = self._session.execute(*_requester(user_id=archive.user_id)).scalar_one_or_none()
        if user is None:
            return False
        return bool(
            self._session.execute(*_user_has_files(user.is_superuser, archive.is_export, user_id=user.id, **part)).scalar_one_or_none()
        )

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
        deleted = with_event(_start_deleting(archive_id=archive_id, user_id=user.id, now=clock.now()), "archive.deleted")
        return self._session.execute(*deleted).scalar_one_or_none()

    def expire(self, archive_id: UUID, *, overdue_at: datetime) -> Archive | None:
        """Start deleting an archive that had expired at `overdue_at`; None if it is not such an archive."""
        return self._session.execute(*_expire(archive_id=archive_id, overdue_at=overdue_at, now=clock.now())).scalar_one_or_none()

    def withdraw(self, archive_id: UUID) -> bool:
        """Start deleting a ready archive; False if it is not ready."""
        return self._session.execute(*_withdraw(archive_id=archive_id, now=clock.now())).scalar_one_or_none() is not None

    def fail_abandoned(self, archive_id: UUID, *, overdue_at: datetime, error_code: str, expires_at: datetime) -> bool:
        """Fail an unfinished archive whose lease had expired at `overdue_at`; False if it is not such an archive."""
        end: dict[str, Any] = {"overdue_at": overdue_at, "error_code": error_code, "expires_at": expires_at}
        failed = with_event(_fail_abandoned(archive_id=archive_id, **end, now=clock.now()), "archive.failed")
        return self._session.execute(*failed).scalar_one_or_none() is not None

    def remove(self, archive_id: UUID) -> None:
        """Delete the row after its object was deleted.

        The row with a holder's highest number stays for `NUMBER_GRACE`, with size 0; the sweep deletes it later. A concurrent request
        may have computed its number from this row. If the row were deleted, the next request would compute the same number without
        seeing the concurrent one, and the limits would admit both.
        """
        removed = _remove(archive_id=archive_id, unreserved_since=clock.now() - NUMBER_GRACE)
        if self._session.execute(*removed).scalar_one_or_none() is None:
            self._session.execute(*_empty(archive_id=archive_id))

    def _update_leased(
        self, archive: Archive, values: Mapping[str, Any], crc32s: Mapping[int, int] | None = None, *, action: str | None = None
    ) -> bool:
        known = json_text({"position": position, "crc32": crc32} for position, crc32 in crc32s.items()) if crc32s else None
        lease: dict[str, Any] = {"archive_id": archive.id, "held_lease_id": archive.lease_id}
        changed = _update_leased(action is not None, **lease, checksums=known, now=clock.now(), **values)
        if action is not None:
            changed = with_event(changed, action)
        return self._session.execute(*changed).scalar_one_or_none() is not None


def _entries(entries: Sequence[Mapping[str, Any]]) -> str:
    return json_text(dict(entry) for entry in entries)


@built_once
def _start(
    is_linked: bool, *, unfinished_max: int, stored_bytes_max: int, ready_until: datetime, entries: str, **columns: Any
) -> Select[Archive]:
    # An identical request adds no archive. The object of an archive that is being deleted may still exist, so it counts.
    # Exports count in no limit.
    is_other = and_(not_(and_(Archive.fingerprint == columns["fingerprint"], IS_CURRENT)), ~Archive.is_export)
    is_stored = and_(Archive.status != ArchiveStatus.FAILED, is_other)
    same_limit = Archive.share_id.is_not(None) if is_linked else Archive.share_id.is_(None)
    held = (
        select(
            (func.coalesce(func.max(Archive.number), 0) + 1).label("next_number"),
            func.count().filter(Archive.status.in_(UNFINISHED), is_other).label("unfinished_count"),
            func.coalesce(func.sum(Archive.size_bytes).filter(is_stored), 0).label("size_bytes"),
        )
        .where(Archive.holder_id == columns["holder_id"], same_limit)
        .subquery("held")
    )
    size_bytes = as_column(columns["size_bytes"], BigInteger())
    has_room = and_(held.c.unfinished_count < unfinished_max, held.c.size_bytes + size_bytes <= stored_bytes_max)
    values = typed_columns(Archive, **columns)
    inserted = insert_or_update(Archive).from_select(
        [*values, "number"], select(*values.values(), held.c.next_number).where(has_room), include_defaults=False
    )
    stored = (
        inserted.on_conflict_do_update(
            index_elements=["holder_id", "fingerprint"],
            index_where=IS_CURRENT,
            set_={
                "updated_at": inserted.excluded.updated_at,
                "expires_at": case((Archive.status == ArchiveStatus.READY, ready_until), else_=None),
            },
        )
        .returning(*Archive.__table__.columns)
        .cte("stored")
    )
    files = _entry_rows(entries)
    rows = select(stored.c.id, *files.c).select_from(stored.join(files, stored.c.id == columns["id"]))
    listed = insert(ArchiveFile).from_select(["archive_id", *files.c.keys()], rows).returning(ArchiveFile.position).cte("listed")
    logged = audit_insert_for(stored, kind="archive").cte("logged")
    return select(aliased(Archive, stored)).add_cte(listed, logged).execution_options(**OWN_TRANSACTION)


@built_once
def _claim(*, archive_id: UUID, lease_id: UUID, lease_until: datetime, now: datetime) -> ReturningUpdate[Archive]:
    is_abandoned = and_(Archive.status == ArchiveStatus.BUILDING, Archive.lease_until < now)
    values = {"status": ArchiveStatus.BUILDING, "lease_id": lease_id, "lease_until": lease_until, "attempts": Archive.attempts + 1}
    statement = update(Archive).where(Archive.id == archive_id, or_(Archive.status == ArchiveStatus.QUEUED, is_abandoned))
    return statement.values(updated_at=now, **values).returning(Archive).execution_options(**OWN_TRANSACTION)


@built_once
def _list_entries(*, archive_id: UUID) -> Select[Any]:
    columns = (getattr(ArchiveFile, name) for name in ArchiveEntry._fields)
    return select(*columns).where(ArchiveFile.archive_id == archive_id).order_by(ArchiveFile.position)


def _is_leased(archive_id: UUID, lease_id: UUID | None) -> tuple[ColumnElement[bool], ...]:
    return Archive.id == archive_id, Archive.status == ArchiveStatus.BUILDING, Archive.lease_id == lease_id


@built_once
def _set_size(*, archive_id: UUID, lease_id: UUID | None, files: int, size_bytes: int) -> ReturningUpdate[UUID]:
    statement = update(table_of(Archive)).where(*_is_leased(archive_id, lease_id)).values(file_count=files, size_bytes=size_bytes)
    return statement.returning(Archive.id)


@built_once
def _delete_entries(*, archive_id: UUID) -> Delete:
    return delete(table_of(ArchiveFile)).where(ArchiveFile.archive_id == archive_id)


@built_once
def _add_entries(*, archive_id: UUID, entries: str) -> Insert:
    rows = _entry_rows(entries)
    added = select(as_column(archive_id, Uuid()), *rows.c)
    return insert(table_of(ArchiveFile)).from_select(["archive_id", *rows.c.keys()], added)


@built_once
def _link_has_files(*, archive_id: UUID, first: int, last: int, now: datetime) -> Select[bool]:
    positions = ArchiveFile.position.between(first, last)
    link = link_is_live(now), Share.allows_download.is_(True)
    query = select(has_all_files(reached_by(Share), positions)).select_from(Archive).join(Share, Share.id == Archive.share_id)
    return query.where(Archive.id == archive_id, *link)


@built_once
def _requester(*, user_id: UUID | None) -> Select[User]:
    return select(User).where(User.id == user_id, User.is_active).execution_options(populate_existing=True)


@built_once
def _user_has_files(is_superuser: bool, is_export: bool, *, user_id: UUID, archive_id: UUID, first: int, last: int) -> Select[bool]:
    positions: ColumnElement[bool] = ArchiveFile.position.between(first, last)
    permission = downloadable_by(ViewerOf(user_id, is_superuser))
    if is_export:
        # The document has the id of the archive in place of a file's, and the export contains the trash.
        permission = and_(File.owner_id == user_id, File.status.in_(WITH_OBJECT), is_served())
        positions = and_(positions, ArchiveFile.position > 0)
    return select(has_all_files(permission, positions)).select_from(Archive).where(Archive.id == archive_id)


@built_once
def _start_deleting(*, archive_id: UUID, user_id: UUID, now: datetime) -> Select[Archive]:
    # A row of size 0 only reserves its number: see `remove`.
    change = update(Archive).where(Archive.id == archive_id, Archive.user_id == user_id, ~Archive.is_export, Archive.size_bytes > 0)
    change = change.values(status=ArchiveStatus.DELETING, lease_id=None, updated_at=now)
    statement = audited_change(change.returning(*Archive.__table__.columns), Archive)
    return statement.execution_options(**OWN_TRANSACTION)


@built_once
def _expire(*, archive_id: UUID, overdue_at: datetime, now: datetime) -> ReturningUpdate[Archive]:
    is_expired = (Archive.status.in_((ArchiveStatus.READY, ArchiveStatus.FAILED)), Archive.expires_at < overdue_at)
    statement = update(Archive).where(Archive.id == archive_id, *is_expired).values(status=ArchiveStatus.DELETING, updated_at=now)
    return statement.returning(Archive).execution_options(**OWN_TRANSACTION)


@built_once
def _withdraw(*, archive_id: UUID, now: datetime) -> ReturningUpdate[UUID]:
    statement = update(Archive).where(Archive.id == archive_id, Archive.status == ArchiveStatus.READY)
    statement = statement.values(status=ArchiveStatus.DELETING, updated_at=now)
    return statement.returning(Archive.id).execution_options(**OWN_TRANSACTION)


@built_once
def _fail_abandoned(*, archive_id: UUID, overdue_at: datetime, now: datetime, **end: Any) -> Select[UUID]:
    change = update(Archive).where(Archive.id == archive_id, Archive.status.in_(UNFINISHED), Archive.lease_until < overdue_at)
    change = change.values(status=ArchiveStatus.FAILED, lease_id=None, updated_at=now, **end)
    failed = change.returning(*Archive.__table__.c).cte("failed")
    return select(failed.c.id).add_cte(_audited(failed)).execution_options(**OWN_TRANSACTION)


@built_once
def _remove(*, archive_id: UUID, unreserved_since: datetime) -> ReturningDelete[UUID]:
    later: Any = aliased(Archive)
    same_limit = later.holder_id == Archive.holder_id, later.share_id.is_(None) == Archive.share_id.is_(None)
    is_last = ~exists(select(later.id).where(*same_limit, later.number > Archive.number))
    removable = or_(~is_last, Archive.updated_at < unreserved_since)
    statement = delete(Archive).where(Archive.id == archive_id, Archive.status == ArchiveStatus.DELETING, removable)
    return statement.returning(Archive.id).execution_options(**OWN_TRANSACTION)


@built_once
def _empty(*, archive_id: UUID) -> Update:
    statement = update(Archive).where(Archive.id == archive_id, Archive.status == ArchiveStatus.DELETING).values(size_bytes=0)
    return statement.execution_options(**OWN_TRANSACTION)


@built_once
def _update_leased(
    is_audited: bool, *, archive_id: UUID, held_lease_id: UUID | None, checksums: str | None, now: datetime, **values: Any
) -> Select[UUID]:
    change = update(Archive).where(*_is_leased(archive_id, held_lease_id)).values(updated_at=now, **values)
    cte = change.returning(*Archive.__table__.c).cte("updated")
    statement: Select[UUID] = select(cte.c.id)
    if checksums is not None:
        known = json_rows("checksums", checksums, column("position", Integer), column("crc32", BigInteger))
        files = update(ArchiveFile).where(ArchiveFile.archive_id == cte.c.id, ArchiveFile.position == known.c.position)
        statement = statement.add_cte(files.values(crc32=known.c.crc32).cte("files"))
    if is_audited:
        statement = statement.add_cte(_audited(cte))
    return statement.execution_options(**OWN_TRANSACTION)


def _entry_rows(entries: Any) -> TableValuedAlias:
    return json_rows(
        "files",
        entries,
        column("position", Integer),
        column("file_id", Uuid),
        column("name", String),
        column("size_bytes", BigInteger),
        column("modified_at", DateTime(timezone=True)),
    )


def _audited(archive: CTE) -> CTE:
    """Return the part that audits the change of an archive, with its owner and name, because the row may soon be deleted."""
    names = ("user_id", "share_id", "filename", "file_count", "size_bytes", "error_code")
    return audit_insert_for(archive, kind="archive", details=details_of(**{name: archive.c[name] for name in names})).cte("logged")
