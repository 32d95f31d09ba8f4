"""Queries on accounts."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotFoundError
from lambda_app.db.session import violated_constraint
from lambda_app.models import User
from lambda_app.repositories.audit import audit_entry, audit_insert, audited_change

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
        """Return the user, if there is one."""
        return self._session.execute(select(User).where(User.id == user_id)).scalar_one_or_none()

    def require(self, user_id: UUID) -> User:
        """Return the user or raise NotFoundError."""
        user = self.get(user_id)
        if user is None:
            raise NotFoundError("User not found", code="user_not_found")
        return user

    def require_fresh(self, user_id: UUID) -> User:
        """Return the user as of now, not as of when the request began. Raises NotFoundError."""
        query = select(User).where(User.id == user_id).execution_options(populate_existing=True)
        user = self._session.execute(query).scalar_one_or_none()
        if user is None:
            raise NotFoundError("User not found", code="user_not_found")
        return user

    def get_by_email(self, email: str) -> User | None:
        """Return the user with this address in its stored, normalised form."""
        return self._session.execute(select(User).where(User.email == email)).scalar_one_or_none()

    def list_page(self, *, skip: int, limit: int, search: str | None = None, is_active: bool | None = None) -> list[User]:
        """Return users in order of registration; `search` is a part of the address, `is_active` None is both."""
        query = select(User).order_by(User.created_at, User.id).offset(skip).limit(limit)
        if search is not None:
            query = query.where(User.email.contains(search.lower(), autoescape=True))
        if is_active is not None:
            query = query.where(User.is_active == is_active)
        return list(self._session.execute(query).scalars())

    def add(self, user: User, *, action: str) -> User:
        """Insert the user and audit it as `action`. Raises EmailTakenError."""
        self._session.add(user)
        try:
            self._session.flush()
        except IntegrityError as error:
            raise _translated(error) from error
        entry = audit_entry(action, subject=f"user:{user.id}", details={"is_superuser": user.is_superuser})
        self._session.execute(audit_insert(entry))
        return user

    def update(self, user_id: UUID, changes: Mapping[str, Any], *, action: str, details: Mapping[str, Any] | None = None) -> User:
        """Change the columns named in `changes` and audit it as `action`, in one statement. Raises NotFoundError, EmailTakenError."""
        change = update(User).where(User.id == user_id).values(**changes, updated_at=clock.now()).returning(*User.__table__.c)
        statement = audited_change(change, User, action, details=details)
        try:
            user = self._session.execute(statement.execution_options(populate_existing=True)).scalar_one_or_none()
        except IntegrityError as error:
            raise _translated(error) from error
        if user is None:
            raise NotFoundError("User not found", code="user_not_found")
        return user

    def replace_hash(self, user: User, hashed_password: str) -> None:
        """Keep the same password under a newer hash, durably, unless it was changed in between."""
        statement = update(User).where(User.id == user.id, User.hashed_password == user.hashed_password)
        self._session.execute(
            statement.values(hashed_password=hashed_password).execution_options(own_transaction=True, synchronize_session=False)
        )


def _translated(error: IntegrityError) -> Exception:
    return EmailTakenError() if violated_constraint(error) == EMAIL_CONSTRAINT else error
