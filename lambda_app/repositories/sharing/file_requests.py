"""Queries on file requests.

Owners see revoked ones only in the list of these; guests see neither expired ones nor those of disabled accounts.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, insert, literal, select, update
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.db.session import own_transaction
from lambda_app.models import File, FileRequest, FileStatus, NotificationKind, OpenFileRequest, User
from lambda_app.repositories.accounts.current_user import is_current
from lambda_app.repositories.accounts.profiles import name_for_visitors
from lambda_app.repositories.audit import audit_insert_for, audited_change
from lambda_app.repositories.files.idempotency import complete_key, lock_key
from lambda_app.repositories.notifications.settings import default_of
from lambda_app.repositories.sharing.states import in_state
from lambda_app.repositories.statements import OWN_TRANSACTION, newest_page
from lambda_app.schemas.files.file_lists import FileOrder
from lambda_app.schemas.page import Cursor
from lambda_app.schemas.sharing.states import LinkState

REQUESTS_PER_USER = 100
"""Limit for requests that are not revoked."""


_TOKEN_COLUMNS = {"token_hash", "encrypted_token"}


def live_request() -> list[ColumnElement[bool]]:
    """Return the conditions for a guest to see a request, except that its owner is active."""
    return [FileRequest.revoked_at.is_(None), FileRequest.expires_at > clock.now()]


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
            owner = select(User.id).where(*is_current(request.owner_id, owner_epoch))
            if with_key:
                key = lock_key(user_id=request.owner_id, resource_id=request.id).cte("locked_key")
                owner = owner.where(exists(select(key.c.resource_id)))
            if self._session.execute(owner.with_for_update(key_share=True)).one_or_none() is None:
                return None
            return self._insert(request)

    def get(self, request_id: UUID, *, owner_id: UUID) -> FileRequest | None:
        """Return a request of the owner; None if there is none."""
        query = select(FileRequest).where(FileRequest.id == request_id, *_owned_by(owner_id))
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()

    def count(self, *, owner_id: UUID) -> int:
        """Return the number of the owner's requests that are not revoked."""
        return self._session.execute(select(func.count()).where(*_owned_by(owner_id))).scalar_one()

    def page(self, *, owner_id: UUID, state: LinkState | None, order: FileOrder, limit: int, after: Cursor | None) -> list[FileRequest]:
        """Return up to `limit` of the owner's requests in this state after the cursor, newest first. None: those that are not revoked.

        Raises MalformedRequestError for a cursor of another list.
        """
        if after is not None:
            after.value_for(order)
        owned = _owned_by(owner_id)
        if state is not None:
            owned = FileRequest.owner_id == owner_id, in_state(FileRequest, state, at=clock.now())
        query = newest_page(select(FileRequest).where(*owned), FileRequest, limit=limit, after=after)
        return list(self._session.execute(query).scalars())

    def update(self, request_id: UUID, *, owner_id: UUID, changes: Mapping[str, Any], action: str) -> FileRequest | None:
        """Change a request of the owner, audit it as `action` and commit; None if there is none."""
        change = (
            update(FileRequest)
            .where(FileRequest.id == request_id, *_owned_by(owner_id))
            .values(**changes, updated_at=clock.now())
            .returning(*FileRequest.__table__.c)
        )
        statement = audited_change(change, FileRequest, action, details={"fields": sorted(changes.keys() - _TOKEN_COLUMNS)})
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none()

    def get_open(self, token_hash: str) -> OpenFileRequest | None:
        """Return the live request with this token; None if there is none."""
        query = select(FileRequest, name_for_visitors(FileRequest.owner_id)).join(User, User.id == FileRequest.owner_id)
        query = query.where(*_opened_with(token_hash)).execution_options(populate_existing=True)
        row = self._session.execute(query).one_or_none()
        return None if row is None else OpenFileRequest(*row)

    def get_guest_file(self, token_hash: str, *, file_id: UUID, guest_token_hash: str) -> File | None:
        """Return the file that a guest uploads to the request with this token, if `guest_token_hash` matches; else None."""
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

    def _insert(self, request: FileRequest) -> FileRequest | None:
        """Insert the request, mark its idempotency key as done, and audit it; None if its owner has too many."""
        others = select(func.count()).where(*_owned_by(request.owner_id)).scalar_subquery()
        table = FileRequest.__table__
        values: dict[str, ColumnElement[Any]] = {
            column.key: literal(getattr(request, column.key), column.type) for column in table.c if getattr(request, column.key) is not None
        }
        values.setdefault("notify_on_upload", default_of(NotificationKind.REQUEST_UPLOADS, request.owner_id))
        names = list(values)
        rows = select(*values.values()).where(others < REQUESTS_PER_USER)
        created = insert(FileRequest).from_select(names, rows, include_defaults=False).returning(*table.c).cte("created")
        completed = complete_key(user_id=created.c.owner_id, resource_id=created.c.id).returning(literal(1)).cte("completed")
        details = {"expires_at": request.expires_at, "max_files": request.max_files, "max_size_bytes": request.max_size_bytes}
        logged = audit_insert_for(created, "file_request.created", kind="file_request", details=details)
        statement = select(aliased(FileRequest, created)).add_cte(completed, logged.cte("logged"))
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none()


def _owned_by(owner_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return FileRequest.owner_id == owner_id, FileRequest.revoked_at.is_(None)


def _opened_with(token_hash: str) -> tuple[ColumnElement[bool], ...]:
    return FileRequest.token_hash == token_hash, *live_request(), User.is_active.expression
