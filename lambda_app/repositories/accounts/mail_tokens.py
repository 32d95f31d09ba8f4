"""Queries on the tokens that are sent by e-mail."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import exists, insert, literal, select, update
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.models import MailPurpose, MailToken, User
from lambda_app.repositories.audit import audit_insert_for
from lambda_app.repositories.batch_delete import forget


class MailTokenRepository:
    """Reads and writes the rows of `mail_token`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add_for(self, email: str, purpose: MailPurpose, *, token_hash: str, lifetime: timedelta) -> MailToken | None:
        """Add a token for the active account of this address, within the caller's transaction.

        None, after the same statement, when there is no such account or it needs no such mail. The account's row is locked as the
        token's foreign key locks it, but before the audit log's end is, which everybody locks last.
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
        wanting: Any = select(*(value.label(name) for name, value in values.items())).where(User.email == email, User.is_active)
        if purpose is MailPurpose.VERIFY_EMAIL:
            wanting = wanting.where(User.email_verified_at.is_(None))
        wanting = wanting.with_for_update(read=True, key_share=True)
        change = insert(MailToken).from_select(list(values), wanting).returning(*MailToken.__table__.c)
        added = change.cte("added")
        logged = audit_insert_for(added, f"mail.{purpose}", kind="user", key="user_id")
        return self._session.execute(select(aliased(MailToken, added)).add_cte(logged.cte("logged"))).scalar_one_or_none()

    def use(self, token_hash: str, purpose: MailPurpose) -> User | None:
        """Use up a token within the caller's transaction and return whose it is; None if it is not good.

        It is good once, in time, for this purpose, while the active account still has the address that the mail went to and
        nothing has ended its sessions. The account's row is locked: its address cannot change before what the mail proves is noted.
        """
        used = (
            update(MailToken)
            .where(
                MailToken.token_hash == token_hash,
                MailToken.purpose == purpose,
                MailToken.used_at.is_(None),
                MailToken.expires_at > clock.now(),
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

    def drop_all_of(self, user_id: UUID, purpose: MailPurpose) -> None:
        """Make every other token of the kind useless."""
        statement = update(MailToken).where(MailToken.user_id == user_id, MailToken.purpose == purpose, MailToken.used_at.is_(None))
        self._session.execute(statement.values(used_at=clock.now()).execution_options(synchronize_session=False))

    def purge(self, *, expired_before: datetime) -> int:
        """Remove tokens that expired before then, durably; return how many."""
        return forget(self._session, MailToken, MailToken.expires_at < expired_before)
