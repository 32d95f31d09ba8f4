"""The state transitions of files. Each is one statement that also updates the owner's usage.

A transition commits by itself: it must be durable before S3 is changed, and must not be rolled back when the request is refused
(docs/adr/0005-file-transitions-as-own-transactions.md). One statement changes the file and the owner's counters, so the usage equals the
sum of the charged files at every commit, under any concurrency (docs/adr/0006-quota-in-the-transition-statement.md).

A file that ends while a presigned URL could still store its object leaves a tombstone, which carries the charge until the URL expires
(`repositories/files/tombstones`).

Lock order in all of them: the idempotency key, the file, the file request, the owner, the throttle counter of a guest.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Delete,
    Executable,
    Insert,
    Integer,
    Select,
    Text,
    Update,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningUpdate

from lambda_app.core import clock
from lambda_app.models import CHARGED, File, FileRequest, FileStatus, ScanStatus, Tombstone, User
from lambda_app.repositories.accounts.current_user import is_current
from lambda_app.repositories.accounts.deletions import belongs_to_deleted_account
from lambda_app.repositories.audit import audit_entry, audit_insert_for, details_of, entry_parameters, with_event
from lambda_app.repositories.files.deletions import deleted_bytes_now, with_deletion
from lambda_app.repositories.files.file_access import manageable_by
from lambda_app.repositories.files.idempotency import complete_key, lock_key
from lambda_app.repositories.files.previews import preview_insert
from lambda_app.repositories.files.tombstones import columns_before_end, tombstone_insert
from lambda_app.repositories.sharing.file_requests import live_request
from lambda_app.repositories.sharing.guest_throttle import (
    RESET_AFTER,
    THROTTLE_PARAMETERS,
    ThrottledUpload,
    blocked_until,
    count_guest_upload,
    source_parameters,
)
from lambda_app.repositories.statements import OWN_TRANSACTION, as_column, built_once, set_columns, typed_columns
from lambda_app.schemas.sharing.file_requests import matching_rules

_GONE = (FileStatus.DELETING, FileStatus.EXPIRED)
"""States of a row that is deleted as soon as its object is."""


class FileTransitionRepository:
    """Moves files from one state to the next."""

    def __init__(self, session: Session, *, deletion_allowance_bytes: int, scans_for_malware: bool = False) -> None:
        self._session = session
        self._deletion_allowance_bytes = deletion_allowance_bytes
        self._scans_for_malware = scans_for_malware

    def reserve(self, file: File, *, owner_epoch: int, default_bytes: int, default_files: int, with_key: bool = False) -> bool:
        """Insert the pending file, charge its owner and commit.

        False if the quota does not suffice, the deletion allowance is used, or the owner's credentials have ended since `token_epoch` was
        `owner_epoch`. With `with_key`, also mark the idempotency key that holds the id of this file as done; False if another request has
        taken the key over. The defaults apply to an owner without an individual quota.
        """
        reserved = _reserve(
            self._deletion_allowance_bytes,
            with_key,
            bool(file.is_public),
            now=clock.now(),
            owner_epoch=owner_epoch,
            default_bytes=default_bytes,
            default_files=default_files,
            **set_columns(file),
        )
        if file.is_public:
            reserved = with_event(reserved, "file.visibility_changed", details={"is_new": True, "is_public": True})
        return self._session.execute(*reserved).scalar_one_or_none() is not None

    def reserve_for_guest(
        self, file: File, *, content_types: Sequence[str], token_hash: str, sources: Sequence[str], default_bytes: int, default_files: int
    ) -> ThrottledUpload:
        """Insert the pending file for the owner of the request with this token, charge the owner and commit, if both have room.

        The request has to allow one of the `content_types`. The same statement counts the upload against the `sources`, so that concurrent
        uploads reveal no more about the quota than sequential ones. It locks the request and the owner before it changes either: the
        request must not be counted if the owner's quota does not suffice.
        """
        now = clock.now()
        reserved = _reserve_for_guest(
            self._deletion_allowance_bytes,
            now=now,
            reset_before=now - RESET_AFTER,
            rules=list(matching_rules(*content_types)),
            request_token_hash=token_hash,
            default_bytes=default_bytes,
            default_files=default_files,
            **source_parameters(sources),
            **set_columns(file),
        )
        details = {"file_id": file.id, "size_bytes": file.size_bytes}
        return ThrottledUpload(*self._session.execute(*with_event(reserved, "file_request.upload_started", details=details)).one())

    def guests_blocked_until(self, sources: Sequence[str]) -> datetime | None:
        """Return until when the throttle refuses uploads of these sources; None if it admits them. `reserve_for_guest` checks again."""
        blocked: datetime | None = self._session.execute(*_guests_blocked_until(sources=list(sources), now=clock.now())).scalar_one()
        return blocked

    def abort_guest_upload(self, file_id: UUID, *, guest_token_hash: str) -> File | None:
        """Mark a guest's multipart upload in progress as deleting, and release its quota and its place in the request.

        None if the file is no such upload. An upload in one request cannot be aborted: its object may be stored already, and its deletion
        would count against the deletion allowance of the request's owner.
        """
        aborted = _abort(self._deletion_allowance_bytes, file_id=file_id, guest_token_hash=guest_token_hash, now=clock.now())
        return self._session.execute(*with_event(aborted, "file.upload_aborted")).scalar_one_or_none()

    def accept(
        self, file_id: UUID, *, detected_content_type: str | None, crc64nvme: str | None = None, with_preview: bool = False
    ) -> File | None:
        """Make a pending file available; None if it is no longer pending. `with_preview`: also record that its preview is requested.

        The event has what a receipt proves: name, size, the SHA-256 that S3 enforced, and the checksum `crc64nvme` that S3 computed.
        """
        values = {
            "file_id": file_id,
            "moved_at": clock.now(),
            "recognised_type": detected_content_type,
            "stored_crc64nvme": crc64nvme,
            **entry_parameters(audit_entry("file.available")),
        }
        statement = _accept(self._scans_for_malware, with_preview)
        return self._session.execute(statement, values, execution_options=OWN_TRANSACTION).scalar_one_or_none()

    def accept_many(self, file_ids: Collection[UUID]) -> None:
        """Make the pending ones of these files available, as `accept` does without a detected type, a CRC64NVME and a preview."""
        values = {
            "file_ids": list(file_ids),
            "moved_at": clock.now(),
            "recognised_type": None,
            "stored_crc64nvme": None,
            **entry_parameters(audit_entry("file.available")),
        }
        statement = _accept(self._scans_for_malware, with_preview=False, many=True)
        self._session.execute(statement, values, execution_options=OWN_TRANSACTION)

    def reject(self, file_id: UUID) -> File | None:
        """Reject a pending file and release its quota, once its upload URL has expired; None if it is no longer pending."""
        rejected = _reject(self._deletion_allowance_bytes, file_id=file_id, now=clock.now())
        return self._session.execute(*with_event(rejected, "file.rejected")).scalar_one_or_none()

    def expire(self, file_id: UUID, *, overdue_at: datetime) -> File | None:
        """Expire an upload that was overdue at `overdue_at`, and release its quota; None if it is not such an upload."""
        expired = _expire(self._deletion_allowance_bytes, file_id=file_id, overdue_at=overdue_at, now=clock.now())
        return self._session.execute(*expired).scalar_one_or_none()

    def extend(self, file_id: UUID, *, until: datetime) -> bool:
        """Extend the time of an upload to `until` at least; False if the file is neither pending nor available any more."""
        return self._session.execute(*_extend(file_id=file_id, until=until)).scalar_one_or_none() is not None

    def trash(self, file_id: UUID, user: User, *, purge_at: datetime, revisions: Collection[int] | None = None) -> File | None:
        """Move an available file to the trash, where it stays charged; None if there is none that the user may manage."""
        return self._move_managed(_TRASH, file_id, user, revisions, purge_at=purge_at)

    def restore(self, file_id: UUID, user: User, *, revisions: Collection[int] | None = None) -> File | None:
        """Restore a file from the trash; None if the trash has none that the user may manage."""
        return self._move_managed(_RESTORE, file_id, user, revisions)

    def start_deleting(self, file_id: UUID, user: User, *, revisions: Collection[int] | None = None) -> File | None:
        """Mark the file as deleting before its object is deleted, and release its quota, once its upload URL has expired.

        None if there is none that the user may manage.

        A file that is being deleted is returned again, so that an interrupted deletion can be repeated.
        """
        return self._move_managed(_DELETE, file_id, user, revisions)

    def purge(self, file_id: UUID, *, before: FileStatus, overdue_at: datetime) -> File | None:
        """Start deleting a trashed or rejected file whose retention has ended; None if it is not such a file."""
        purged = _purge(self._deletion_allowance_bytes, before, file_id=file_id, overdue_at=overdue_at, now=clock.now())
        return self._session.execute(*with_event(purged, "file.purged")).scalar_one_or_none()

    def purge_with_account(self, file_id: UUID, *, now: datetime) -> File | None:
        """Start deleting a file whose owner's account is due to be deleted; None if it is not such a file."""
        purged = _purge_with_account(self._deletion_allowance_bytes, file_id=file_id, due_at=now, now=clock.now())
        return self._session.execute(*with_event(purged, "file.purged")).scalar_one_or_none()

    def remove(self, file_id: UUID) -> None:
        """Delete the row after its object was deleted."""
        self._session.execute(*_remove(file_id=file_id))

    def _move_managed(
        self, move: "_Move", file_id: UUID, user: User, revisions: Collection[int] | None, *, purge_at: datetime | None = None
    ) -> File | None:
        values = {
            "file_id": file_id,
            "user_id": user.id,
            "revisions": [] if revisions is None else list(revisions),
            "moved_at": clock.now(),
            "new_purge_at": purge_at,
            "deletion_allowance": self._deletion_allowance_bytes,
            **entry_parameters(audit_entry(move.action)),
        }
        statement = _managed_move(move, is_superuser=user.is_superuser, has_revisions=revisions is not None)
        return self._session.execute(statement, values, execution_options=OWN_TRANSACTION).scalar_one_or_none()


@built_once
def _reserve(
    allowance_bytes: int,
    with_key: bool,
    is_audited: bool,
    *,
    now: datetime,
    owner_epoch: int,
    default_bytes: int,
    default_files: int,
    **columns: Any,
) -> Executable:
    owner_id, file_id, size_bytes = columns["owner_id"], columns["id"], columns["size_bytes"]
    room = {"now": now, "default_bytes": default_bytes, "default_files": default_files, "allowance_bytes": allowance_bytes}
    has_room = and_(*is_current(owner_id, owner_epoch)) & has_room_for(size_bytes, **room)
    locked: CTE | None = None
    if with_key:
        locked = lock_key(user_id=owner_id, resource_id=file_id).cte("locked")
        has_room &= exists(select(locked.c.resource_id))
    reserved = charge(size_bytes).where(has_room).returning(User.id).cte("reserved")
    added = _insert(columns, owner_id=reserved.c.id).returning(File.id).cte("added")
    parts: list[CTE] = []
    if locked is not None:
        parts.append(complete_key(user_id=reserved.c.id, resource_id=file_id).returning(literal(1)).cte("completed"))
    if is_audited:
        # Every caller may read a public file, so its creation is audited.
        parts.append(audit_insert_for(added, kind="file").cte("logged"))
    return select(added.c.id).add_cte(*parts).execution_options(**OWN_TRANSACTION)


@built_once
def _reserve_for_guest(
    allowance_bytes: int,
    *,
    now: datetime,
    rules: list[str],
    request_token_hash: str,
    default_bytes: int,
    default_files: int,
    **more: Any,
) -> Select[bool, bool, bool, datetime | None]:
    """`more` are the columns of the file, and the parameters of the throttle."""
    throttle = {name: more.pop(name) for name in THROTTLE_PARAMETERS}
    size_bytes = more["size_bytes"]
    open_request = select(FileRequest.id, FileRequest.owner_id, and_(*_accepts(size_bytes, rules)).label("accepts"))
    is_open = (FileRequest.token_hash == request_token_hash, *live_request(now))
    request = open_request.where(*is_open).with_for_update(key_share=True).cte("request")
    room = {"now": now, "default_bytes": default_bytes, "default_files": default_files, "allowance_bytes": allowance_bytes}
    fits = and_(request.c.accepts, has_room_for(size_bytes, **room)).label("fits")
    found = select(User.id, request.c.accepts, fits).where(User.id == request.c.owner_id, User.is_active)
    owner = found.with_for_update(of=User, key_share=True).cte("owner")
    attempt = count_guest_upload(owner, reveals_quota=and_(owner.c.accepts, not_(owner.c.fits)), now=now, **throttle)
    fitting = select(owner.c.id).join_from(owner, attempt, true()).where(owner.c.fits).cte("fitting")
    counted = (
        update(FileRequest)
        .where(FileRequest.id == request.c.id, request.c.owner_id == fitting.c.id)
        .values(file_count=FileRequest.file_count + 1)
        .returning(FileRequest.id, FileRequest.owner_id)
        .cte("counted")
    )
    reserved = charge(size_bytes).where(User.id == counted.c.owner_id).returning(User.id).cte("reserved")
    insertion = _insert(more, reserved.c.id == counted.c.owner_id, owner_id=reserved.c.id, file_request_id=counted.c.id)
    created = insertion.returning(File.file_request_id.label("id")).cte("created")
    logged = audit_insert_for(created, kind="file_request")
    statement = select(
        exists(select(owner.c.id)),
        exists(select(attempt.c.admitted)),
        exists(select(created.c.id)),
        blocked_until(throttle["sources"], now),
    )
    return statement.add_cte(logged.cte("logged")).execution_options(**OWN_TRANSACTION)


@built_once
def _guests_blocked_until(*, sources: list[str], now: datetime) -> Select[datetime | None]:
    return select(blocked_until(sources, now))


@built_once
def _abort(allowance_bytes: int, *, file_id: UUID, guest_token_hash: str, now: datetime) -> Select[File]:
    is_theirs = (File.id == file_id, File.guest_token_hash == guest_token_hash)
    in_progress = (File.status == FileStatus.PENDING, File.part_size_bytes.is_not(None))
    return _ends(*is_theirs, *in_progress, after=FileStatus.DELETING, now=now, allowance_bytes=allowance_bytes)


@built_once
def _reject(allowance_bytes: int, *, file_id: UUID, now: datetime) -> Select[File]:
    is_pending = (File.id == file_id, File.status == FileStatus.PENDING)
    return _ends(*is_pending, after=FileStatus.REJECTED, values={"upload_id": None}, now=now, allowance_bytes=allowance_bytes)


@built_once
def _expire(allowance_bytes: int, *, file_id: UUID, overdue_at: datetime, now: datetime) -> Select[File]:
    overdue = (File.id == file_id, File.status == FileStatus.PENDING, File.upload_expires_at < overdue_at)
    return _ends(*overdue, after=FileStatus.EXPIRED, is_audited=False, now=now, allowance_bytes=allowance_bytes)


@built_once
def _extend(*, file_id: UUID, until: datetime) -> ReturningUpdate[UUID]:
    statement = update(File).where(File.id == file_id, File.status.in_((FileStatus.PENDING, FileStatus.AVAILABLE)))
    statement = statement.values(upload_expires_at=func.greatest(File.upload_expires_at, until))
    return statement.returning(File.id).execution_options(**OWN_TRANSACTION)


@built_once
def _purge(allowance_bytes: int, before: FileStatus, *, file_id: UUID, overdue_at: datetime, now: datetime) -> Select[File]:
    due = File.purge_at if before is FileStatus.TRASHED else File.updated_at
    is_due = (File.id == file_id, File.status == before, due < overdue_at)
    return _ends(*is_due, after=FileStatus.DELETING, now=now, allowance_bytes=allowance_bytes)


@built_once
def _purge_with_account(allowance_bytes: int, *, file_id: UUID, due_at: datetime, now: datetime) -> Select[File]:
    is_due = (File.id == file_id, belongs_to_deleted_account(due_at), File.status.not_in(_GONE))
    return _ends(*is_due, after=FileStatus.DELETING, now=now, allowance_bytes=allowance_bytes)


@built_once
def _remove(*, file_id: UUID) -> Delete:
    return delete(File).where(File.id == file_id, File.status.in_(_GONE)).execution_options(**OWN_TRANSACTION)


def _ends(*conditions: ColumnElement[bool], values: Mapping[str, Any] | None = None, **move: Any) -> Select[File]:
    """Return the statement of `_moves` for a file that ends. The event has its name and owner, because the row may soon be deleted."""
    return _moves(*conditions, values=values or {}, **move).execution_options(**OWN_TRANSACTION)


def _moves(
    *conditions: ColumnElement[bool],
    after: FileStatus,
    now: datetime | ColumnElement[datetime],
    allowance_bytes: int | ColumnElement[int],
    values: Mapping[str, Any],
    is_audited: bool = True,
    details: Callable[[CTE], ColumnElement[str]] | None = None,
    also: Sequence[Callable[[CTE], Insert]] = (),
) -> Select[File]:
    """Return the statement that moves the files which meet the conditions to the state `after`, and audits it.

    `also` are inserts for each moved file.
    """
    # The row is locked first, because the release depends on its current state and not on one that was read before. Several rows are
    # locked in the order of their ids, as batches of concurrent calls lock them.
    found = (
        select(*columns_before_end(now))
        .where(*conditions)
        .order_by(File.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
        .cte("found")
    )
    changes = {"status": after, "updated_at": now, "revision": File.revision + 1, **values}
    moved = update(File).where(File.id == found.c.id).values(changes).returning(*File.__table__.columns).cte("moved")
    statement = select(aliased(File, moved))
    parts = [moved]
    if after not in CHARGED:
        # A guest's upload that is not completed no longer counts for its request.
        is_incomplete = (FileRequest.id == found.c.file_request_id, found.c.status == FileStatus.PENDING)
        decrement = update(FileRequest).where(*is_incomplete).values(file_count=FileRequest.file_count - 1)
        uncounted = decrement.returning(FileRequest.id).cte("uncounted")
        # Always true. PostgreSQL has to run `uncounted` first to count its rows, which locks the request before the owner.
        is_after_request = select(func.count()).select_from(uncounted).scalar_subquery() >= 0
        parts.append(uncounted)
        # A presigned URL may still store the object: a tombstone takes over the charge until the URL expires.
        parts.append(tombstone_insert(found, now).returning(Tombstone.file_id).cte("remembered"))
        is_released = found.c.charged_until.is_(None)
        release = update(User).where(User.id == found.c.owner_id, found.c.status.in_(CHARGED), is_after_request)
        # An expired upload stored nothing, and a multipart upload in progress stores parts, which have no versions.
        is_stored = false() if after is FileStatus.EXPIRED else not_(found.c.is_multipart_in_progress)
        deleted = case((is_stored, found.c.size_bytes), else_=0)
        changed = {
            "bytes_used": User.bytes_used - case((is_released, found.c.size_bytes), else_=0),
            "files_count": User.files_count - case((is_released, 1), else_=0),
            **with_deletion(deleted, now, allowance_bytes=allowance_bytes),
        }
        parts.append(release.values(changed).returning(User.id).cte("released"))
    logged = []
    if is_audited:
        event = audit_insert_for(moved, kind="file", details=(details or file_details)(moved))
        logged = [event.cte("logged")]
    parts += [insertion(moved).cte(f"also_{number}") for number, insertion in enumerate(also)]
    return statement.add_cte(*parts[1:], *logged)


@cache
def _accept(scans_for_malware: bool, with_preview: bool, *, many: bool = False) -> Select[File]:
    recognised = bindparam("recognised_type", type_=File.detected_content_type.type)
    values: dict[str, Any] = {"upload_id": None, "detected_content_type": recognised}
    if scans_for_malware:
        # The result may have arrived first.
        has_none = File.scan_status == ScanStatus.NONE
        values["scan_status"] = case((has_none, ScanStatus.PENDING.value), else_=File.scan_status)
        values["is_withheld"] = case((has_none, true()), else_=File.is_withheld)
    return _moves(
        File.id == any_(bindparam("file_ids", type_=ARRAY(Uuid()))) if many else File.id == bindparam("file_id"),
        File.status == FileStatus.PENDING,
        after=FileStatus.AVAILABLE,
        now=bindparam("moved_at", type_=File.updated_at.type),
        # Only transitions that release the quota use it.
        allowance_bytes=0,
        values=values,
        details=partial(_stored_content, crc64nvme=bindparam("stored_crc64nvme", type_=Text())),
        also=[preview_insert] if with_preview else (),
    )


class _Move(NamedTuple):
    """A transition that a user requests for a file that the user may manage; without `before`, from any state."""

    before: FileStatus | None
    after: FileStatus
    action: str


_TRASH = _Move(FileStatus.AVAILABLE, FileStatus.TRASHED, "file.trashed")
_RESTORE = _Move(FileStatus.TRASHED, FileStatus.AVAILABLE, "file.restored")
_DELETE = _Move(None, FileStatus.DELETING, "file.deleted")


@cache
def _managed_move(move: _Move, *, is_superuser: bool, has_revisions: bool) -> Select[File]:
    user = SimpleNamespace(id=bindparam("user_id", type_=User.id.type), is_superuser=is_superuser)
    conditions = [File.id == bindparam("file_id"), manageable_by(user)]
    if move.before is not None:
        conditions.append(File.status == move.before)
    if has_revisions:
        conditions.append(File.revision == any_(bindparam("revisions", type_=ARRAY(Integer))))
    return _moves(
        *conditions,
        after=move.after,
        now=bindparam("moved_at", type_=File.updated_at.type),
        allowance_bytes=bindparam("deletion_allowance", type_=BigInteger()),
        values={} if move is _DELETE else {"purge_at": bindparam("new_purge_at", type_=File.purge_at.type)},
    )


def has_room_for(size_bytes: Any, *, now: Any, default_bytes: Any, default_files: Any, allowance_bytes: Any) -> ColumnElement[bool]:
    """Whether the quota of the user suffices for one more file, and the deletion allowance is not used. Values or parameters."""
    return and_(
        User.bytes_used + size_bytes <= func.coalesce(User.quota_bytes, as_column(default_bytes, BigInteger())),
        User.files_count < func.coalesce(User.quota_files, default_files),
        deleted_bytes_now(now, allowance_bytes=allowance_bytes) <= as_column(allowance_bytes, BigInteger()),
    )


def _accepts(size_bytes: Any, rules: Any) -> list[ColumnElement[bool]]:
    """Return the conditions for a live request to accept a file of this size, whose content type one of these rules allows."""
    allowed = FileRequest.allowed_content_types
    return [
        FileRequest.file_count < FileRequest.max_files,
        FileRequest.max_size_bytes >= size_bytes,
        or_(allowed.is_(None), allowed.op("&&", is_comparison=True)(as_column(rules, allowed.type))),
    ]


def charge(size_bytes: Any) -> Update:
    """Return the statement that charges one more file to users, without its condition."""
    return update(User).values(bytes_used=User.bytes_used + size_bytes, files_count=User.files_count + 1)


def file_details(file: CTE) -> ColumnElement[str]:
    """Return the details of an event about the file, from a CTE that returns its row."""
    return details_of(**{name: file.c[name] for name in ("filename", "size_bytes", "owner_id", "file_request_id")})


def _stored_content(file: CTE, *, crc64nvme: ColumnElement[str]) -> ColumnElement[str]:
    members = {name: file.c[name] for name in ("filename", "size_bytes", "sha256")} | {"crc64nvme": crc64nvme}
    owner = {"owner_id": case((file.c.file_request_id.is_(None), file.c.owner_id)), "file_request_id": file.c.file_request_id}
    return details_of(**members, **owner)


def _insert(columns: Mapping[str, Any], *conditions: ColumnElement[bool], **found: ColumnElement[Any]) -> Insert:
    """Return the insert of the file if the conditions hold; `found` are columns from other CTEs of the statement."""
    values = typed_columns(File, **{name: value for name, value in columns.items() if name not in found})
    names = [*values, *found]
    return insert(File).from_select(names, select(*values.values(), *found.values()).where(*conditions), include_defaults=False)
