"""The steps of a file's transitions, each one statement that also keeps its owner's usage.

A step commits by itself: it must be durable before S3 is told anything, and must not be undone when the answer to the caller is a
refusal (docs/adr/0005-file-transitions-as-own-transactions.md). Because the same statement changes the file and its owner's counters, what a
user is charged for equals the sum of their charged files at every commit, under any concurrency
(docs/adr/0006-quota-in-the-transition-statement.md).
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Executable,
    Insert,
    Update,
    and_,
    any_,
    delete,
    exists,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.models import CHARGED, File, FileRequest, FileStatus, IdempotencyKey, User
from lambda_app.repositories.audit import audit_insert_for
from lambda_app.repositories.files.file_access import manageable_by
from lambda_app.repositories.sharing.file_requests import live_request
from lambda_app.repositories.sharing.guest_throttle import ThrottledUpload, blocked_until, counted_upload
from lambda_app.schemas.sharing.file_requests import matching_rules

_OWN_TRANSACTION = {"own_transaction": True, "synchronize_session": False, "populate_existing": True}
_GONE = (FileStatus.DELETING, FileStatus.EXPIRED)
"""States of a row that waits only for its bytes to be gone."""


class FileTransitionRepository:
    """Takes files from one state to the next."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def reserve(self, file: File, *, default_bytes: int, default_files: int, with_key: bool = False) -> bool:
        """Insert the pending file and charge its owner, if there is room for it; False if there is not.

        With `with_key` also note on the idempotency key that names this file that it was made; False if the key does not name it any
        more. The defaults apply where the owner has no quota of their own.
        """
        has_room = (User.id == file.owner_id) & _has_room(file, default_bytes=default_bytes, default_files=default_files)
        locked: CTE | None = None
        if with_key:
            named = (IdempotencyKey.user_id == file.owner_id, IdempotencyKey.resource_id == file.id, IdempotencyKey.is_done.is_(False))
            locked = select(IdempotencyKey.resource_id).where(*named).with_for_update().cte("locked")
            has_room &= exists(select(locked.c.resource_id))
        reserved = _charge(file).where(has_room).returning(User.id).cte("reserved")
        statement = _insert(file, owner_id=reserved.c.id).returning(File.id)
        parts: list[CTE] = []
        if locked is not None:
            noted = update(IdempotencyKey).where(IdempotencyKey.resource_id == file.id, IdempotencyKey.user_id == reserved.c.id)
            parts.append(noted.values(is_done=True).returning(IdempotencyKey.resource_id).cte("noted"))
        if file.is_public:
            # Everybody may read it: a permission, which nobody gets unless that is logged.
            added = statement.cte("added")
            details = {"is_new": True, "is_public": True}
            logged = audit_insert_for(added, "file.visibility_changed", kind="file", details=details, behind=parts)
            made: Executable = select(added.c.id).add_cte(*parts, logged.cte("logged"))
        else:
            made = statement.add_cte(*parts)
        return self._session.execute(made, execution_options=_OWN_TRANSACTION).scalar_one_or_none() is not None

    def reserve_for_guest(self, file: File, *, token_hash: str, source: str, default_bytes: int, default_files: int) -> ThrottledUpload:
        """Insert the pending file for the owner of the request with this token and charge them, if both have room; say what became of it.

        The try counts against its `source`, in the same statement: nobody learns more by a hundred at once. Both rows are locked before
        either is changed: a request that was counted while its owner had no room would stay counted. The request comes first, here and in
        `_step`, then the owner, then the source's counter, and the log's end last.
        """
        now = clock.now()
        taking = select(FileRequest.id, FileRequest.owner_id, and_(*_takes(file)).label("takes"))
        request = taking.where(FileRequest.token_hash == token_hash, *live_request()).with_for_update(key_share=True).cte("request")
        has_room = _has_room(file, default_bytes=default_bytes, default_files=default_files)
        fits = and_(request.c.takes, has_room).label("fits")
        found = select(User.id, request.c.takes, fits).where(User.id == request.c.owner_id, User.is_active)
        owner = found.with_for_update(of=User, key_share=True).cte("owner")
        tried = counted_upload(source, owner, tells_of_room=and_(owner.c.takes, not_(owner.c.fits)), now=now)
        fitting = select(owner.c.id).join_from(owner, tried, true()).where(owner.c.fits).cte("fitting")
        counted = (
            update(FileRequest)
            .where(FileRequest.id == request.c.id, request.c.owner_id == fitting.c.id)
            .values(file_count=FileRequest.file_count + 1)
            .returning(FileRequest.id, FileRequest.owner_id)
            .cte("counted")
        )
        reserved = _charge(file).where(User.id == counted.c.owner_id).returning(User.id).cte("reserved")
        both = reserved.c.id == counted.c.owner_id
        insertion = _insert(file, both, owner_id=reserved.c.id, file_request_id=counted.c.id)
        made = insertion.returning(File.file_request_id.label("id")).cte("made")
        details = {"file_id": file.id, "size_bytes": file.size_bytes}
        logged = audit_insert_for(made, "file_request.upload_started", kind="file_request", details=details)
        statement = select(
            exists(select(owner.c.id)), exists(select(tried.c.key)), exists(select(made.c.id)), blocked_until(source, now)
        ).add_cte(logged.cte("logged"))
        return ThrottledUpload(*self._session.execute(statement.execution_options(**_OWN_TRANSACTION)).one())

    def accept(self, file_id: UUID, *, detected_content_type: str | None) -> File | None:
        """Make a pending file available; None when it was not pending any more."""
        values = {"upload_id": None, "detected_content_type": detected_content_type}
        return self._step(File.id == file_id, File.status == FileStatus.PENDING, after=FileStatus.AVAILABLE, **values)

    def reject(self, file_id: UUID) -> File | None:
        """Reject a pending file and release what it was charged; None when it was not pending any more."""
        return self._step(File.id == file_id, File.status == FileStatus.PENDING, after=FileStatus.REJECTED, upload_id=None)

    def expire(self, file_id: UUID, *, overdue_at: datetime) -> File | None:
        """End an upload whose time was over at `overdue_at`, and release; None when it is not such an upload (any more)."""
        overdue = (File.id == file_id, File.status == FileStatus.PENDING, File.upload_expires_at < overdue_at)
        return self._step(*overdue, after=FileStatus.EXPIRED)

    def extend(self, file_id: UUID, *, until: datetime) -> bool:
        """Give a pending upload time until `until` at least; False when it is not pending any more."""
        statement = (
            update(File)
            .where(File.id == file_id, File.status == FileStatus.PENDING)
            .values(upload_expires_at=func.greatest(File.upload_expires_at, until))
            .returning(File.id)
        )
        return self._session.execute(statement.execution_options(**_OWN_TRANSACTION)).scalar_one_or_none() is not None

    def trash(self, file_id: UUID, user: User, *, purge_at: datetime) -> File | None:
        """Put an available file into the trash, still charged; None when there is no such file for the user."""
        conditions = (File.id == file_id, File.status == FileStatus.AVAILABLE, manageable_by(user))
        return self._step(*conditions, after=FileStatus.TRASHED, action="file.trashed", purge_at=purge_at)

    def restore(self, file_id: UUID, user: User) -> File | None:
        """Take a file out of the trash; None when there is no such file in it for the user."""
        conditions = (File.id == file_id, File.status == FileStatus.TRASHED, manageable_by(user))
        return self._step(*conditions, after=FileStatus.AVAILABLE, action="file.restored", purge_at=None)

    def start_deleting(self, file_id: UUID, user: User) -> File | None:
        """Take the file out of everybody's sight and release; its object can then be deleted. None for no such file of the user.

        A file already being deleted is returned again, so that an interrupted deletion can be repeated.
        """
        return self._step(File.id == file_id, manageable_by(user), after=FileStatus.DELETING, action="file.deleted")

    def purge(self, file_id: UUID, *, before: FileStatus, overdue_at: datetime) -> File | None:
        """Start deleting a file whose time in the trash, or as a rejected one, is over; None when it is not such a file (any more)."""
        due = File.purge_at if before is FileStatus.TRASHED else File.updated_at
        return self._step(File.id == file_id, File.status == before, due < overdue_at, after=FileStatus.DELETING, action="file.purged")

    def remove(self, file_id: UUID) -> None:
        """Remove the row whose bytes are gone."""
        statement = delete(File).where(File.id == file_id, File.status.in_(_GONE))
        self._session.execute(statement.execution_options(own_transaction=True, synchronize_session=False))

    def _step(self, *conditions: ColumnElement[bool], after: FileStatus, action: str | None = None, **values: Any) -> File | None:
        # The row is locked first: what is released depends on the state that it leaves, not on one that was read before.
        found = (
            select(File.id, File.owner_id, File.size_bytes, File.status, File.file_request_id)
            .where(*conditions)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
            .cte("found")
        )
        changes = {"status": after, "updated_at": clock.now(), "revision": File.revision + 1, **values}
        moved = update(File).where(File.id == found.c.id).values(changes).returning(*File.__table__.columns).cte("moved")
        statement = select(aliased(File, moved))
        parts = [moved]
        if after not in CHARGED:
            # A guest's upload that came to nothing leaves its place to another. The request is locked before the owner, as when it began.
            came_to_nothing = (FileRequest.id == found.c.file_request_id, found.c.status == FileStatus.PENDING)
            less_one = update(FileRequest).where(*came_to_nothing).values(file_count=FileRequest.file_count - 1)
            given_back = less_one.returning(FileRequest.id).cte("given_back")
            is_first = select(func.count()).select_from(given_back).scalar_subquery() >= 0
            parts.append(given_back)
            release = update(User).where(User.id == found.c.owner_id, found.c.status.in_(CHARGED), is_first)
            less = {"bytes_used": User.bytes_used - found.c.size_bytes, "files_count": User.files_count - 1}
            parts.append(release.values(less).returning(User.id).cte("released"))
        # The log's end is locked last, by everybody.
        logged = () if action is None else (audit_insert_for(moved, action, kind="file", behind=parts).cte("logged"),)
        statement = statement.add_cte(*parts[1:], *logged)
        return self._session.execute(statement.execution_options(**_OWN_TRANSACTION)).scalar_one_or_none()


def _has_room(file: File, *, default_bytes: int, default_files: int) -> ColumnElement[bool]:
    return (User.bytes_used + file.size_bytes <= func.coalesce(User.quota_bytes, literal(default_bytes, BigInteger))) & (
        User.files_count < func.coalesce(User.quota_files, default_files)
    )


def _takes(file: File) -> list[ColumnElement[bool]]:
    """Return what the limits of a live request must be to take the file now."""
    rules = FileRequest.allowed_content_types
    return [
        FileRequest.file_count < FileRequest.max_files,
        FileRequest.max_size_bytes >= file.size_bytes,
        or_(rules.is_(None), *(literal(rule) == any_(rules) for rule in matching_rules(file.content_type))),
    ]


def _charge(file: File) -> Update:
    return update(User).values(bytes_used=User.bytes_used + file.size_bytes, files_count=User.files_count + 1)


def _insert(file: File, *conditions: ColumnElement[bool], **found: ColumnElement[Any]) -> Insert:
    """Return the insert of the file, with the columns `found` by other parts of the statement, where the conditions hold."""
    names = [column.key for column in File.__table__.columns if getattr(file, column.key) is not None and column.key not in found]
    values = [literal(getattr(file, name), File.__table__.c[name].type) for name in names]
    return insert(File).from_select([*names, *found], select(*values, *found.values()).where(*conditions), include_defaults=False)
