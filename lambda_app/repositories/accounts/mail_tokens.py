"""Queries on mailed tokens."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, exists, insert, literal, select, update
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.models import MailPurpose, MailToken, User
from lambda_app.repositories.audit import audit_insert_for
from lambda_app.repositories.batch_delete import delete_in_batches


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
        values = {
            "token_hash": literal(token_hash),
            "user_id": User.id,
            "purpose": literal(purpose.value),
            "email": User.email,
            "token_epoch": User.token_epoch,
            "created_at": literal(now, MailToken.created_at.type),
            "expires_at": literal(now + lifetime, MailToken.created_at.type),
        }
        recipients: Any = select(*(value.label(name) for name, value in values.items())).where(User.email == email, User.is_active)
        if purpose is MailPurpose.VERIFY_EMAIL:
            recipients = recipients.where(User.email_verified_at.is_(None))
        recipients = recipients.with_for_update(read=True, key_share=True)
        change = insert(MailToken).from_select(list(values), recipients).returning(*MailToken.__table__.c)
        added = change.cte("added")
        logged = audit_insert_for(added, f"mail.{purpose}", kind="user", key="user_id")
        return self._session.execute(select(aliased(MailToken, added)).add_cte(logged.cte("logged"))).scalar_one_or_none()

    def get_user(self, token_hash: str, purpose: MailPurpose) -> User | None:
        """Return the user of a token that `consume` would accept, without using it up; None if it is not valid."""
        query = select(User).join(MailToken, (MailToken.user_id == User.id) & (MailToken.email == User.email))
        valid = _is_valid(token_hash, purpose)
        return self._session.execute(query.where(*valid, User.token_epoch == MailToken.token_epoch, User.is_active)).scalar_one_or_none()

    def consume(self, token_hash: str, purpose: MailPurpose) -> User | None:
        """Use up a token within the caller's transaction and return its user; None if it is not valid.

        It is valid once, until it expires, for this purpose, while the account is active, still has the address and has not ended
        all its sessions since. Lock order: the token, then the account, whose address therefore cannot change before the caller's
        transaction ends.
        """
        used = (
            update(MailToken)
            .where(
                *_is_valid(token_hash, purpose),
                exists().where(
                    User.id == MailToken.user_id,
                    User.email == MailToken.email,
                    User.token_epoch == MailToken.token_epoch,
                    User.is_active,
                ),
            )
            .values(used_at=clock.now())
            .returning(MailToken.user_id, MailToken.email)
            .cte("used")
        )
        query = select(User).join(used, (User.id == used.c.user_id) & (User.email == used.c.email)).with_for_update(of=User)
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()

    def invalidate_all(self, user_id: UUID, purpose: MailPurpose) -> None:
        """Mark all unused tokens of the user for this purpose as used."""
        statement = update(MailToken).where(MailToken.user_id == user_id, MailToken.purpose == purpose, MailToken.used_at.is_(None))
        self._session.execute(statement.values(used_at=clock.now()).execution_options(synchronize_session=False))

    def purge(self, *, expired_before: datetime) -> int:
        """Delete tokens that expired before this time, in batches; return how many."""
        return delete_in_batches(self._session, MailToken, MailToken.expires_at < expired_before)


def _is_valid(token_hash: str, purpose: MailPurpose) -> tuple[ColumnElement[bool], ...]:
    return (
        MailToken.token_hash == token_hash,
        MailToken.purpose == purpose,
        MailToken.used_at.is_(None),
        MailToken.expires_at > clock.now(),
    )
