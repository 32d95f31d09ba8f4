"""Queries on the second factor of accounts."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.models import RecoveryCode, User
from lambda_app.repositories.audit import audit_insert_for
from lambda_app.repositories.statements import OWN_TRANSACTION


class SecondFactorRepository:
    """Stores secrets and recovery codes, and accepts each code once."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def store_secret(self, user_id: UUID, encrypted_secret: str) -> bool:
        """Store the secret of a second factor that is not in use yet; False if the account has one in use."""
        statement = (
            update(User)
            .where(User.id == user_id, User.totp_confirmed_at.is_(None))
            .values(totp_secret=encrypted_secret, totp_last_step=None, updated_at=clock.now())
            .returning(User.id)
        )
        return self._session.execute(statement).scalar_one_or_none() is not None

    def confirm(self, user_id: UUID, *, encrypted_secret: str, step: int) -> bool:
        """Turn the second factor on, if this secret is still the stored one and none is in use; audit it."""
        change = (
            update(User)
            .where(User.id == user_id, User.totp_confirmed_at.is_(None), User.totp_secret == encrypted_secret)
            .values(totp_confirmed_at=clock.now(), totp_last_step=step, updated_at=clock.now())
            .returning(User.id)
            .cte("confirmed")
        )
        logged = audit_insert_for(change, "second_factor.enabled", kind="user")
        statement = select(change.c.id).add_cte(logged.cte("logged"))
        return self._session.execute(statement).scalar_one_or_none() is not None

    def clear(self, user_id: UUID, *, action: str) -> bool:
        """Turn the second factor off, delete the recovery codes and audit it as `action`; False if none is in use."""
        change = (
            update(User)
            .where(User.id == user_id, User.totp_confirmed_at.is_not(None))
            .values(totp_secret=None, totp_confirmed_at=None, totp_last_step=None, updated_at=clock.now())
            .returning(User.id)
            .cte("cleared")
        )
        logged = audit_insert_for(change, action, kind="user")
        is_cleared = self._session.execute(select(change.c.id).add_cte(logged.cte("logged"))).scalar_one_or_none() is not None
        self._session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
        return is_cleared

    def replace_recovery_codes(self, user_id: UUID, code_hashes: Sequence[str], *, action: str | None = None) -> None:
        """Delete the recovery codes of the account and store these. `action` audits it."""
        self._session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
        now = clock.now()
        rows = [{"user_id": user_id, "code_hash": code_hash, "created_at": now} for code_hash in code_hashes]
        self._session.execute(insert(RecoveryCode), rows)
        if action is not None:
            changed = select(User.id).where(User.id == user_id).cte("changed")
            self._session.execute(audit_insert_for(changed, action, kind="user"))

    def use_step(self, user_id: UUID, step: int) -> bool:
        """Accept the code of this time step and commit; False if it or a later one was used. Of two concurrent uses, one succeeds."""
        statement = (
            update(User)
            .where(
                User.id == user_id,
                User.totp_confirmed_at.is_not(None),
                or_(User.totp_last_step.is_(None), User.totp_last_step < step),
            )
            .values(totp_last_step=step)
            .returning(User.id)
        )
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none() is not None

    def use_recovery_code(self, user_id: UUID, code_hash: str) -> bool:
        """Delete the recovery code, audit its use and commit; False if the account has no such code."""
        used = (
            delete(RecoveryCode)
            .where(RecoveryCode.user_id == user_id, RecoveryCode.code_hash == code_hash)
            .returning(RecoveryCode.user_id)
            .cte("used")
        )
        logged = audit_insert_for(used, "second_factor.recovery_code_used", kind="user", key="user_id")
        statement = select(used.c.user_id).add_cte(logged.cte("logged")).execution_options(**OWN_TRANSACTION)
        return self._session.execute(statement).scalar_one_or_none() is not None
