"""Queries on mailed tokens."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Update, exists, insert, literal, select, update
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.models import MailPurpose, MailToken, User
from lambda_app.repositories.audit import audit_insert_for, with_event
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.statements import as_column, built_once, table_of


class MailTokenRepository:
    """Reads and writes the rows of `mail_token`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add_for(self, email: str, purpose: MailPurpose, *, token_hash: str, lifetime: timedelta) -> MailToken | None:
        """Add a token for the active account of this address, within the caller's transaction.

        None if there is no such account or it needs no such mail; the statement is the same. The account is locked,
        so that a concurrent change of its address is seen.
        """
        now = clock.now()
        added = _add_for(purpose, email=email, token_hash=token_hash, now=now, expires_at=now + lifetime)
        return self._session.execute(*with_event(added, f"mail.{purpose}")).scalar_one_or_none()

    def get_user(self, token_hash: str, purpose: MailPurpose) -> User | None:
        """Return the user of a token that `consume` would accept, without using it up; None if it is not valid."""
        return self._session.execute(*_user_of(purpose, token_hash=token_hash, now=clock.now())).scalar_one_or_none()

    def consume(self, token_hash: str, purpose: MailPurpose) -> User | None:
        """Use up a token within the caller's transaction and return its user; None if it is not valid.

        It is valid once, until it expires, for this purpose, while the account is active, still has the address and has not ended
        all its sessions since. Lock order: the token, then the account, whose address therefore cannot change before the caller's
        transaction ends.
        """
        return self._session.execute(*_consume(purpose, token_hash=token_hash, now=clock.now())).scalar_one_or_none()

    def invalidate_all(self, user_id: UUID, purpose: MailPurpose) -> None:
        """Mark all unused tokens of the user for this purpose as used."""
        self._session.execute(*_invalidate_all(purpose, user_id=user_id, now=clock.now()))

    def purge(self, *, expired_before: datetime) -> int:
        """Delete tokens that expired before this time, in batches; return how many."""
        return delete_in_batches(self._session, MailToken, MailToken.expires_at < expired_before)


def _is_valid(token_hash: str, purpose: MailPurpose, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        MailToken.token_hash == token_hash,
        MailToken.purpose == purpose,
        MailToken.used_at.is_(None),
        MailToken.expires_at > now,
    )


@built_once
def _add_for(purpose: MailPurpose, *, email: str, token_hash: str, now: datetime, expires_at: datetime) -> Select[MailToken]:
    types = MailToken.__table__.c
    values = {
        "token_hash": as_column(token_hash, types.token_hash.type),
        "user_id": User.id,
        "purpose": literal(purpose.value),
        "email": User.email,
        "token_epoch": User.token_epoch,
        "created_at": as_column(now, types.created_at.type),
        "expires_at": as_column(expires_at, types.expires_at.type),
    }
    recipients: Any = select(*(value.label(name) for name, value in values.items())).where(User.email == email, User.is_active)
    if purpose is MailPurpose.VERIFY_EMAIL:
        recipients = recipients.where(User.email_verified_at.is_(None))
    recipients = recipients.with_for_update(read=True, key_share=True)
    added = insert(MailToken).from_select(list(values), recipients).returning(*types).cte("added")
    logged = audit_insert_for(added, kind="user", key="user_id")
    return select(aliased(MailToken, added)).add_cte(logged.cte("logged"))


@built_once
def _user_of(purpose: MailPurpose, *, token_hash: str, now: datetime) -> Select[User]:
    query = select(User).join(MailToken, (MailToken.user_id == User.id) & (MailToken.email == User.email))
    return query.where(*_is_valid(token_hash, purpose, now), User.token_epoch == MailToken.token_epoch, User.is_active)


@built_once
def _consume(purpose: MailPurpose, *, token_hash: str, now: datetime) -> Select[User]:
    is_current = exists().where(
        User.id == MailToken.user_id, User.email == MailToken.email, User.token_epoch == MailToken.token_epoch, User.is_active
    )
    used = (
        update(MailToken)
        .where(*_is_valid(token_hash, purpose, now), is_current)
        .values(used_at=now)
        .returning(MailToken.user_id, MailToken.email)
        .cte("used")
    )
    query = select(User).join(used, (User.id == used.c.user_id) & (User.email == used.c.email)).with_for_update(of=User)
    return query.execution_options(populate_existing=True)


@built_once
def _invalidate_all(purpose: MailPurpose, *, user_id: UUID, now: datetime) -> Update:
    unused = (MailToken.user_id == user_id, MailToken.purpose == purpose, MailToken.used_at.is_(None))
    return update(table_of(MailToken)).where(*unused).values(used_at=now)
