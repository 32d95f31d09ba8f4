"""Queries on accounts."""

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotFoundError
from lambda_app.db.session import violated_constraint
from lambda_app.models import User

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

    def get_by_email(self, email: str) -> User | None:
        """Return the user with this address in its stored, normalised form."""
        return self._session.execute(select(User).where(User.email == email)).scalar_one_or_none()

    def list_page(self, *, skip: int, limit: int) -> list[User]:
        """Return users in order of registration."""
        query = select(User).order_by(User.created_at, User.id).offset(skip).limit(limit)
        return list(self._session.execute(query).scalars())

    def add(self, user: User) -> User:
        """Insert the user. Raises EmailTakenError."""
        self._session.add(user)
        try:
            self._session.flush()
        except IntegrityError as error:
            raise _translated(error) from error
        return user

    def update(self, user_id: UUID, changes: dict[str, object]) -> User:
        """Change the columns named in `changes`. Raises NotFoundError, EmailTakenError."""
        statement = (
            update(User)
            .where(User.id == user_id)
            .values(**changes, updated_at=clock.now())
            .returning(User)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        try:
            user = self._session.execute(statement).scalar_one_or_none()
        except IntegrityError as error:
            raise _translated(error) from error
        if user is None:
            raise NotFoundError("User not found", code="user_not_found")
        return user


def _translated(error: IntegrityError) -> Exception:
    return EmailTakenError() if violated_constraint(error) == EMAIL_CONSTRAINT else error
