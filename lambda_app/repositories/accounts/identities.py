"""Queries on linked identities and used assertions."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError
from lambda_app.db.session import violated_constraint
from lambda_app.models import UsedAssertion, User, UserIdentity
from lambda_app.repositories.audit import audit_entry, audit_insert, audit_insert_for
from lambda_app.repositories.batch_delete import delete_in_batches

SUBJECT_CONSTRAINT = "uq_user_identity_subject"


class IdentityTakenError(ConflictError):
    """The identity is linked already, to this account or to another one."""

    code = "identity_taken"
    message = "This identity is linked to an account already; unlink it there first"


class Subject(NamedTuple):
    """What identifies a person at a provider."""

    provider: str
    issuer: str
    subject: str


class IdentityRepository:
    """Reads and writes the rows of `user_identity` and `used_assertion` within the caller's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, subject: Subject) -> tuple[UserIdentity, User] | None:
        """Return the identity and its account; None if it is not linked."""
        query = (
            select(UserIdentity, User)
            .join(User, User.id == UserIdentity.user_id)
            .where(
                UserIdentity.provider == subject.provider,
                UserIdentity.issuer == subject.issuer,
                UserIdentity.subject == subject.subject,
            )
        )
        row = self._session.execute(query).one_or_none()
        return None if row is None else (row[0], row[1])

    def add(self, identity: UserIdentity, *, by: str) -> None:
        """Link an identity and audit it. `by` tells how it was linked. Raises IdentityTakenError."""
        self._session.add(identity)
        try:
            self._session.flush()
        except IntegrityError as error:
            if violated_constraint(error) == SUBJECT_CONSTRAINT:
                raise IdentityTakenError from error
            raise
        details = {"provider": identity.provider, "by": by}
        actor = identity.user_id if by == "address" else None
        self._session.execute(
            audit_insert(audit_entry("identity.linked", actor_id=actor, subject=f"user:{identity.user_id}", details=details))
        )

    def record_use(self, identity_id: UUID, *, email: str | None) -> None:
        """Store when the identity was last used, and its address at the provider."""
        statement = update(UserIdentity).where(UserIdentity.id == identity_id).values(last_used_at=clock.now(), email=email)
        self._session.execute(statement.execution_options(synchronize_session=False))

    def list_of(self, user_id: UUID) -> list[UserIdentity]:
        """Return the identities of the account, oldest first."""
        query = select(UserIdentity).where(UserIdentity.user_id == user_id).order_by(UserIdentity.created_at, UserIdentity.id)
        return list(self._session.execute(query).scalars())

    def remove(self, user_id: UUID, identity_id: UUID) -> bool:
        """Unlink an identity of the account and audit it; False if it has no such identity."""
        removed = (
            delete(UserIdentity)
            .where(UserIdentity.id == identity_id, UserIdentity.user_id == user_id)
            .returning(UserIdentity.user_id)
            .cte("removed")
        )
        logged = audit_insert_for(removed, "identity.unlinked", kind="user", key="user_id").cte("logged")
        return self._session.execute(select(removed.c.user_id).add_cte(logged)).scalar_one_or_none() is not None

    def remove_all(self, user_id: UUID) -> int:
        """Unlink all identities of the account, and return how many. The caller audits it."""
        statement = delete(UserIdentity).where(UserIdentity.user_id == user_id)
        result = self._session.execute(statement.execution_options(synchronize_session=False))
        return int(getattr(result, "rowcount", 0))

    def use_assertion(self, assertion_id: UUID, *, expires_at: datetime) -> bool:
        """Record that an assertion is used; False if it was used before. Of two concurrent uses, one waits for the other to end."""
        statement = (
            insert(UsedAssertion).values(id=assertion_id, expires_at=expires_at).on_conflict_do_nothing().returning(UsedAssertion.id)
        )
        return self._session.execute(statement).scalar_one_or_none() is not None

    def purge_assertions(self, *, expired_before: datetime) -> int:
        """Delete used assertions that have expired, in batches; return how many."""
        return delete_in_batches(self._session, UsedAssertion, UsedAssertion.expires_at < expired_before)
