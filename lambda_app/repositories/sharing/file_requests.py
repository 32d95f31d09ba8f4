"""Queries on file requests.

Owners see revoked ones only in the list of these; guests see neither expired ones nor those of disabled accounts.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, func, insert, literal, select, update
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.db.session import own_transaction
from lambda_app.models import File, FileRequest, FileStatus, NotificationKind, OpenFileRequest, User
from lambda_app.repositories.accounts.current_user import is_current
from lambda_app.repositories.accounts.profiles import name_for_visitors
from lambda_app.repositories.audit import audit_insert_for, audited_change, with_event
from lambda_app.repositories.files.idempotency import complete_key, lock_key
from lambda_app.repositories.notifications.settings import default_of
from lambda_app.repositories.sharing.states import in_state
from lambda_app.repositories.statements import OWN_TRANSACTION, built_once, newest_page, set_columns, typed_columns
from lambda_app.schemas.files.file_lists import FileOrder
from lambda_app.schemas.page import Cursor
from lambda_app.schemas.sharing.states import LinkState

REQUESTS_PER_USER = 100
"""Limit for requests that are not revoked."""


_TOKEN_COLUMNS = {"token_hash", "encrypted_token"}


def live_request(now: Any) -> list[ColumnElement[bool]]:
    """Return the conditions for a guest to see a request at this time, except that its owner is active."""
    return [FileRequest.revoked_at.is_(None), FileRequest.expires_at > now]


class FileRequestRepository:
    """Reads and writes the rows of `file_request`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, request: FileRequest, *, owner_epoch: int, with_key: bool) -> FileRequest | None:
        """Insert the request and commit.

        None if its owner has too many, another request has taken the idempotency key over, or the owner's credentials have ended since
        `token_epoch` was `owner_epoch`.

        Lock order: the idempotency key, the owner. The lock on the owner makes the limit exact: of two
        concurrent requests of one owner, the second counts the row of the first.
        """
        with own_transaction(self._session):
            locked = _lock_owner(with_key, owner_id=request.owner_id, owner_epoch=owner_epoch, request_id=request.id)
            if self._session.execute(*locked).one_or_none() is None:
                return None
            return self._insert(request)

    def get(self, request_id: UUID, *, owner_id: UUID) -> FileRequest | None:
        """Return a request of the owner; None if there is none."""
        return self._session.execute(*_get(request_id=request_id, owner_id=owner_id)).scalar_one_or_none()

    def count(self, *, owner_id: UUID) -> int:
        """Return the number of the owner's requests that are not revoked."""
        return int(self._session.execute(*_count(owner_id=owner_id)).scalar_one())

    def page(self, *, owner_id: UUID, state: LinkState | None, order: FileOrder, limit: int, after: Cursor | None) -> list[FileRequest]:
        """Return up to `limit` of the owner's requests in this state after the cursor, newest first. None: those that are not revoked.

        Raises MalformedRequestError for a cursor of another list.
        """
        if after is not None:
            after.value_for(order)
        query = _page(state, owner_id=owner_id, now=clock.now(), limit=limit, after=after)
        return list(self._session.execute(*query).scalars())

    def update(self, request_id: UUID, *, owner_id: UUID, changes: Mapping[str, Any], action: str) -> FileRequest | None:
        """Change a request of the owner, audit it as `action` and commit; None if there is none."""
        statement = _update(request_id=request_id, owner_id=owner_id, now=clock.now(), **changes)
        details = {"fields": sorted(changes.keys() - _TOKEN_COLUMNS)}
        return self._session.execute(*with_event(statement, action, details=details)).scalar_one_or_none()

    def get_open(self, token_hash: str) -> OpenFileRequest | None:
        """Return the live request with this token; None if there is none."""
        row = self._session.execute(*_get_open(token_hash=token_hash, now=clock.now())).one_or_none()
        return None if row is None else OpenFileRequest(*row)

    def get_guest_file(self, token_hash: str, *, file_id: UUID, guest_token_hash: str) -> File | None:
        """Return the file that a guest uploads to the request with this token, if `guest_token_hash` matches; else None."""
        query = _guest_file(token_hash=token_hash, file_id=file_id, guest_token_hash=guest_token_hash, now=clock.now())
        return self._session.execute(*query).scalar_one_or_none()

    def _insert(self, request: FileRequest) -> FileRequest | None:
        """Insert the request, mark its idempotency key as done, and audit it; None if its owner has too many."""
        details = {"expires_at": request.expires_at, "max_files": request.max_files, "max_size_bytes": request.max_size_bytes}
        statement = with_event(_insert(requests_max=REQUESTS_PER_USER, **set_columns(request)), "file_request.created", details=details)
        return self._session.execute(*statement).scalar_one_or_none()


def _owned_by(owner_id: Any) -> tuple[ColumnElement[bool], ...]:
    return FileRequest.owner_id == owner_id, FileRequest.revoked_at.is_(None)


def _opened_with(token_hash: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return FileRequest.token_hash == token_hash, *live_request(now), User.is_active.expression


@built_once
def _lock_owner(with_key: bool, *, owner_id: UUID, owner_epoch: int, request_id: UUID) -> Select[UUID]:
    owner = select(User.id).where(*is_current(owner_id, owner_epoch))
    if with_key:
        key = lock_key(user_id=owner_id, resource_id=request_id).cte("locked_key")
        owner = owner.where(exists(select(key.c.resource_id)))
    return owner.with_for_update(key_share=True)


@built_once
def _get(*, request_id: UUID, owner_id: UUID) -> Select[FileRequest]:
    query = select(FileRequest).where(FileRequest.id == request_id, *_owned_by(owner_id))
    return query.execution_options(populate_existing=True)


@built_once
def _count(*, owner_id: UUID) -> Select[int]:
    return select(func.count()).where(*_owned_by(owner_id))


@built_once
def _page(state: LinkState | None, *, owner_id: UUID, now: datetime, limit: int, after: Cursor | None) -> Select[FileRequest]:
    owned = _owned_by(owner_id) if state is None else (FileRequest.owner_id == owner_id, in_state(FileRequest, state, at=now))
    return newest_page(select(FileRequest).where(*owned), FileRequest, limit=limit, after=after)


@built_once
def _update(*, request_id: UUID, owner_id: UUID, now: datetime, **changes: Any) -> Select[FileRequest]:
    change = update(FileRequest).where(FileRequest.id == request_id, *_owned_by(owner_id)).values(**changes, updated_at=now)
    statement = audited_change(change.returning(*FileRequest.__table__.c), FileRequest)
    return statement.execution_options(**OWN_TRANSACTION)


@built_once
def _get_open(*, token_hash: str, now: datetime) -> Select[FileRequest, str]:
    query = select(FileRequest, name_for_visitors(FileRequest.owner_id)).join(User, User.id == FileRequest.owner_id)
    return query.where(*_opened_with(token_hash, now)).execution_options(populate_existing=True)


@built_once
def _guest_file(*, token_hash: str, file_id: UUID, guest_token_hash: str, now: datetime) -> Select[File]:
    is_theirs = (File.id == file_id, File.guest_token_hash == guest_token_hash, File.status != FileStatus.DELETING)
    query = select(File).join(FileRequest, FileRequest.id == File.file_request_id).join(User, User.id == FileRequest.owner_id)
    return query.where(*is_theirs, *_opened_with(token_hash, now)).execution_options(populate_existing=True)


@built_once
def _insert(*, requests_max: int, owner_id: UUID, **columns: Any) -> Select[FileRequest]:
    others = select(func.count()).where(*_owned_by(owner_id)).scalar_subquery()
    table = FileRequest.__table__
    values = typed_columns(FileRequest, owner_id=owner_id, **columns)
    values.setdefault("notify_on_upload", default_of(NotificationKind.REQUEST_UPLOADS, owner_id))
    rows = select(*values.values()).where(others < requests_max)
    created = insert(FileRequest).from_select(list(values), rows, include_defaults=False).returning(*table.c).cte("created")
    completed = complete_key(user_id=created.c.owner_id, resource_id=created.c.id).returning(literal(1)).cte("completed")
    logged = audit_insert_for(created, kind="file_request")
    return select(aliased(FileRequest, created)).add_cte(completed, logged.cte("logged")).execution_options(**OWN_TRANSACTION)
