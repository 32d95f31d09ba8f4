"""Queries on file requests. For its owner a revoked one is gone, for a guest so is an expired one, or one of a disabled account."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, insert, literal, select, tuple_, update
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.models import File, FileRequest, FileStatus, IdempotencyKey, User
from lambda_app.repositories.audit import audit_insert_for, audited_change
from lambda_app.schemas.files.file_lists import FileOrder
from lambda_app.schemas.page import Cursor

REQUESTS_PER_USER = 100

_OWN_TRANSACTION = {"own_transaction": True, "synchronize_session": False, "populate_existing": True}


def live_request() -> list[ColumnElement[bool]]:
    """Return what a request must be for a guest to see it; whether its owner is active is left to the query."""
    return [FileRequest.revoked_at.is_(None), FileRequest.expires_at > clock.now()]


class FileRequestRepository:
    """Reads and writes the rows of `file_request`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, request: FileRequest, *, with_key: bool) -> FileRequest | None:
        """Insert the request and audit it, durably; None if its owner has too many, or its idempotency key names it no more.

        The limit is exact unless several are made in the same moment.
        """
        # Locked before the log's end is, because the foreign key will look at it.
        active = select(User.id).where(User.id == request.owner_id, User.is_active)
        owner = active.with_for_update(read=True, key_share=True).cte("owner")
        others = select(func.count()).where(*_owned_by(request.owner_id)).scalar_subquery()
        conditions = [others < REQUESTS_PER_USER]
        if with_key:
            named = (
                IdempotencyKey.user_id == request.owner_id,
                IdempotencyKey.resource_id == request.id,
                IdempotencyKey.is_done.is_(False),
            )
            locked = select(IdempotencyKey.resource_id).where(*named).with_for_update().cte("locked")
            conditions.append(exists(select(locked.c.resource_id)))
        table = FileRequest.__table__
        names = [column.key for column in table.c if getattr(request, column.key) is not None and column.key != "owner_id"]
        values = [literal(getattr(request, name), table.c[name].type) for name in names]
        rows = select(*values, owner.c.id).where(*conditions)
        made = insert(FileRequest).from_select([*names, "owner_id"], rows, include_defaults=False).returning(*table.c).cte("made")
        noted = (
            update(IdempotencyKey)
            .where(IdempotencyKey.resource_id == made.c.id, IdempotencyKey.user_id == made.c.owner_id)
            .values(is_done=True)
            .returning(IdempotencyKey.resource_id)
            .cte("noted")
        )
        details = {"expires_at": request.expires_at, "max_files": request.max_files, "max_size_bytes": request.max_size_bytes}
        logged = audit_insert_for(made, "file_request.created", kind="file_request", details=details, behind=[noted])
        statement = select(aliased(FileRequest, made)).add_cte(noted, logged.cte("logged"))
        return self._session.execute(statement.execution_options(**_OWN_TRANSACTION)).scalar_one_or_none()

    def get(self, request_id: UUID, *, owner_id: UUID) -> FileRequest | None:
        """Return a request of the owner's."""
        query = select(FileRequest).where(FileRequest.id == request_id, *_owned_by(owner_id))
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()

    def count(self, *, owner_id: UUID) -> int:
        """Return how many requests the owner has."""
        return self._session.execute(select(func.count()).where(*_owned_by(owner_id))).scalar_one()

    def page(self, *, owner_id: UUID, order: FileOrder, limit: int, after: Cursor | None) -> list[FileRequest]:
        """Return up to `limit` requests of the owner's, newest first, behind the cursor. Raises MalformedRequestError for another's."""
        query = select(FileRequest).where(*_owned_by(owner_id)).order_by(FileRequest.created_at.desc(), FileRequest.id.desc()).limit(limit)
        if after is not None:
            last = tuple_(literal(after.value_for(order), FileRequest.created_at.type), literal(after.id, FileRequest.id.type))
            query = query.where(tuple_(FileRequest.created_at, FileRequest.id) < last)
        return list(self._session.execute(query).scalars())

    def update(self, request_id: UUID, *, owner_id: UUID, changes: Mapping[str, Any], action: str) -> FileRequest | None:
        """Change a request of the owner's and audit it as `action`, durably; None if there is no such request."""
        change = (
            update(FileRequest)
            .where(FileRequest.id == request_id, *_owned_by(owner_id))
            .values(**changes, updated_at=clock.now())
            .returning(*FileRequest.__table__.c)
        )
        statement = audited_change(change, FileRequest, action, details={"fields": sorted(changes)})
        return self._session.execute(statement.execution_options(**_OWN_TRANSACTION)).scalar_one_or_none()

    def get_open(self, token_hash: str) -> FileRequest | None:
        """Return the request that a guest opens with this token."""
        query = select(FileRequest).join(User, User.id == FileRequest.owner_id).where(*_opened_with(token_hash))
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()

    def get_sent(self, token_hash: str, *, file_id: UUID, guest_token_hash: str) -> File | None:
        """Return the file that a guest sends by the request with this token, if the other token is that file's."""
        query = (
            select(File)
            .join(FileRequest, FileRequest.id == File.file_request_id)
            .join(User, User.id == FileRequest.owner_id)
            .where(
                File.id == file_id,
                File.guest_token_hash == guest_token_hash,
                File.status != FileStatus.DELETING,
                *_opened_with(token_hash),
            )
        )
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()


def _owned_by(owner_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return FileRequest.owner_id == owner_id, FileRequest.revoked_at.is_(None)


def _opened_with(token_hash: str) -> tuple[ColumnElement[bool], ...]:
    return FileRequest.token_hash == token_hash, *live_request(), User.is_active.expression
