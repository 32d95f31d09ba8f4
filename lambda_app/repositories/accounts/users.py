"""Queries on accounts."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Text, Update, func, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotFoundError
from lambda_app.db.session import violated_constraint
from lambda_app.models import User
from lambda_app.repositories.accounts.current_user import lock_current
from lambda_app.repositories.audit import add_event, audited_change, with_event
from lambda_app.repositories.statements import OWN_TRANSACTION, as_column, built_once
from lambda_app.schemas.accounts.users import UserFilter
from lambda_app.schemas.page import Cursor

EMAIL_CONSTRAINT = "uq_user_email"


class EmailTakenError(ConflictError):
    """Another account has this address."""

    code = "email_taken"
    message = "A user with this e-mail already exists"


class UserRepository:
    """Reads and writes the rows of `user` within the caller's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, user_id: UUID) -> User | None:
        """Return the user; None if there is none."""
        return self._session.execute(*_get(user_id=user_id)).scalar_one_or_none()

    def require(self, user_id: UUID) -> User:
        """Return the user or raise NotFoundError."""
        user = self.get(user_id)
        if user is None:
            raise NotFoundError("User not found", code="user_not_found")
        return user

    def require_current(self, user_id: UUID) -> User:
        """Return the user as currently stored, not as loaded at the start of the request. Raises NotFoundError."""
        user: User | None = self._session.execute(
            *_get(user_id=user_id), execution_options={"populate_existing": True}
        ).scalar_one_or_none()
        if user is None:
            raise NotFoundError("User not found", code="user_not_found")
        return user

    def lock(self, user_id: UUID) -> User:
        """Lock the user until the transaction ends, and return it as currently stored. Raises NotFoundError.

        Requests that share with the user wait for that.
        """
        user: User | None = self._session.execute(*_lock(user_id=user_id)).scalar_one_or_none()
        if user is None:
            raise NotFoundError("User not found", code="user_not_found")
        return user

    def lock_current(self, user: User) -> None:
        """Lock the caller's account until the transaction ends, without loading it.

        Raises NotAuthenticatedError if the credentials of the request have ended since it was authenticated.
        """
        lock_current(self._session, user.id, token_epoch=user.token_epoch)

    def get_by_email(self, email: str) -> User | None:
        """Return the user with this normalised address; None if there is none."""
        return self._session.execute(*_get_by_email(email=email)).scalar_one_or_none()

    def list_page(self, filters: UserFilter, *, skip: int, limit: int, after: Cursor | None) -> list[User]:
        """Return users in order of registration, after the cursor or after `skip` rows."""
        search = None if filters.search is None else filters.search.lower()
        page = _page(filters.is_active, search=search, skip=skip, limit=limit, after=after)
        return list(self._session.execute(*page).scalars())

    def add(self, user: User, *, action: str) -> User:
        """Insert the user and audit it as `action`. Raises EmailTakenError."""
        self._session.add(user)
        try:
            self._session.flush()
        except IntegrityError as error:
            raise _translated(error) from error
        add_event(self._session, action, subject=f"user:{user.id}", details={"is_superuser": user.is_superuser})
        return user

    def update(
        self,
        user_id: UUID,
        changes: Mapping[str, Any],
        *,
        action: str,
        details: Mapping[str, Any] | None = None,
        ends_sessions: bool = False,
    ) -> User:
        """Change the columns named in `changes` and audit it as `action`. Raises NotFoundError, EmailTakenError.

        `ends_sessions` ends all sessions, access tokens and API keys too.
        """
        statement = with_event(_update(ends_sessions, user_id=user_id, now=clock.now(), **changes), action, details=details)
        try:
            user: User | None = self._session.execute(*statement).scalar_one_or_none()
        except IntegrityError as error:
            raise _translated(error) from error
        if user is None:
            raise NotFoundError("User not found", code="user_not_found")
        return user

    def replace_hash(self, user: User, hashed_password: str) -> None:
        """Store a newer hash of the same password and commit, unless the password was changed concurrently."""
        replaced = _replace_hash(user_id=user.id, hashed_password=user.hashed_password, successor=hashed_password)
        self._session.execute(*replaced)


@built_once
def _get(*, user_id: UUID) -> Select[User]:
    return select(User).where(User.id == user_id)


@built_once
def _lock(*, user_id: UUID) -> Select[User]:
    return select(User).where(User.id == user_id).with_for_update(key_share=True).execution_options(populate_existing=True)


@built_once
def _get_by_email(*, email: str) -> Select[User]:
    return select(User).where(User.email == email)


@built_once
def _page(is_active: bool | None, *, search: str | None, skip: int, limit: int, after: Cursor | None) -> Select[User]:
    query = select(User).order_by(User.created_at, User.id).offset(skip).limit(limit)
    if after is not None:
        last = tuple_(as_column(after.value, User.created_at.type), as_column(after.id, User.id.type))
        query = query.where(tuple_(User.created_at, User.id) > last)
    if search is not None:
        query = query.where(func.strpos(User.email, as_column(search, Text())) > 0)
    if is_active is not None:
        query = query.where(User.is_active == is_active)
    return query


@built_once
def _update(ends_sessions: bool, *, user_id: UUID, now: datetime, **changes: Any) -> Select[User]:
    more = {"token_epoch": User.token_epoch + 1} if ends_sessions else {}
    change = update(User).where(User.id == user_id).values(**changes, **more, updated_at=now).returning(*User.__table__.c)
    return audited_change(change, User).execution_options(populate_existing=True)


@built_once
def _replace_hash(*, user_id: UUID, hashed_password: str | None, successor: str) -> Update:
    statement = update(User).where(User.id == user_id, User.hashed_password == hashed_password)
    return statement.values(hashed_password=successor).execution_options(**OWN_TRANSACTION)


def _translated(error: IntegrityError) -> Exception:
    return EmailTakenError() if violated_constraint(error) == EMAIL_CONSTRAINT else error
