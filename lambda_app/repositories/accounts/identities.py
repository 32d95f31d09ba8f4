"""Queries on linked identities and used assertions."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Delete, Select, Update, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError
from lambda_app.db.session import violated_constraint
from lambda_app.models import UsedAssertion, User, UserIdentity
from lambda_app.repositories.audit import add_event, audit_insert_for, with_event
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.statements import built_once, table_of

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
        row = self._session.execute(*_find(**subject._asdict())).one_or_none()
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
        add_event(self._session, "identity.linked", actor_id=actor, subject=f"user:{identity.user_id}", details=details)

    def record_use(self, identity_id: UUID, *, email: str | None) -> None:
        """Store when the identity was last used, and its address at the provider."""
        self._session.execute(*_record_use(identity_id=identity_id, now=clock.now(), address=email))

    def list_of(self, user_id: UUID) -> list[UserIdentity]:
        """Return the identities of the account, oldest first."""
        return list(self._session.execute(*_list_of(user_id=user_id)).scalars())

    def remove(self, user_id: UUID, identity_id: UUID) -> bool:
        """Unlink an identity of the account and audit it; False if it has no such identity."""
        removed = with_event(_remove(user_id=user_id, identity_id=identity_id), "identity.unlinked")
        return self._session.execute(*removed).scalar_one_or_none() is not None

    def remove_all(self, user_id: UUID) -> int:
        """Unlink all identities of the account, and return how many. The caller audits it."""
        result = self._session.execute(*_remove_all(user_id=user_id))
        return int(getattr(result, "rowcount", 0))

    def use_assertion(self, assertion_id: UUID, *, expires_at: datetime) -> bool:
        """Record that an assertion is used; False if it was used before. Of two concurrent uses, one waits for the other to end."""
        used = _use_assertion(assertion_id=assertion_id, expires_at=expires_at)
        return self._session.execute(*used).scalar_one_or_none() is not None

    def purge_assertions(self, *, expired_before: datetime) -> int:
        """Delete used assertions that have expired, in batches; return how many."""
        return delete_in_batches(self._session, UsedAssertion, UsedAssertion.expires_at < expired_before)


@built_once
def _find(*, provider: str, issuer: str, subject: str) -> Select[UserIdentity, User]:
    is_subject = (UserIdentity.provider == provider, UserIdentity.issuer == issuer, UserIdentity.subject == subject)
    return select(UserIdentity, User).join(User, User.id == UserIdentity.user_id).where(*is_subject)


@built_once
def _record_use(*, identity_id: UUID, now: datetime, address: str | None) -> Update:
    return update(table_of(UserIdentity)).where(UserIdentity.id == identity_id).values(last_used_at=now, email=address)


@built_once
def _list_of(*, user_id: UUID) -> Select[UserIdentity]:
    return select(UserIdentity).where(UserIdentity.user_id == user_id).order_by(UserIdentity.created_at, UserIdentity.id)


@built_once
def _remove(*, user_id: UUID, identity_id: UUID) -> Select[UUID]:
    statement = delete(UserIdentity).where(UserIdentity.id == identity_id, UserIdentity.user_id == user_id)
    removed = statement.returning(UserIdentity.user_id).cte("removed")
    logged = audit_insert_for(removed, kind="user", key="user_id")
    return select(removed.c.user_id).add_cte(logged.cte("logged"))


@built_once
def _remove_all(*, user_id: UUID) -> Delete:
    return delete(table_of(UserIdentity)).where(UserIdentity.user_id == user_id)


@built_once
def _use_assertion(*, assertion_id: UUID, expires_at: datetime) -> ReturningInsert[UUID]:
    statement = insert(table_of(UsedAssertion)).values(id=assertion_id, expires_at=expires_at)
    return statement.on_conflict_do_nothing().returning(UsedAssertion.id)
