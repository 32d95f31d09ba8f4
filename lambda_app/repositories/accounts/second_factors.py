"""Queries on the second factor of accounts."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Delete, Insert, Select, String, Uuid, column, delete, insert, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from lambda_app.core import clock
from lambda_app.models import RecoveryCode, User
from lambda_app.repositories.audit import audit_insert_for, with_event
from lambda_app.repositories.statements import OWN_TRANSACTION, as_column, built_once, json_rows, json_text, table_of


class SecondFactorRepository:
    """Stores secrets and recovery codes, and accepts each code once."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def store_secret(self, user_id: UUID, encrypted_secret: str) -> bool:
        """Store the secret of a second factor that is not in use yet; False if the account has one in use."""
        stored = _store_secret(user_id=user_id, secret=encrypted_secret, now=clock.now())
        return self._session.execute(*stored).scalar_one_or_none() is not None

    def confirm(self, user_id: UUID, *, encrypted_secret: str, step: int) -> bool:
        """Turn the second factor on, if this secret is still the stored one and none is in use; audit it."""
        confirmed = _confirm(user_id=user_id, secret=encrypted_secret, step=step, now=clock.now())
        return self._session.execute(*with_event(confirmed, "second_factor.enabled")).scalar_one_or_none() is not None

    def clear(self, user_id: UUID, *, action: str) -> bool:
        """Turn the second factor off, delete the recovery codes and audit it as `action`; False if none is in use."""
        cleared = with_event(_clear(user_id=user_id, now=clock.now()), action)
        is_cleared = self._session.execute(*cleared).scalar_one_or_none() is not None
        self._session.execute(*_delete_codes(user_id=user_id))
        return is_cleared

    def replace_recovery_codes(self, user_id: UUID, code_hashes: Sequence[str], *, action: str | None = None) -> None:
        """Delete the recovery codes of the account and store these. `action` audits it."""
        self._session.execute(*_delete_codes(user_id=user_id))
        self._session.execute(*_add_codes(user_id=user_id, codes=json_text({"code_hash": each} for each in code_hashes), now=clock.now()))
        if action is not None:
            self._session.execute(*with_event(_codes_event(user_id=user_id), action))

    def use_step(self, user_id: UUID, step: int) -> bool:
        """Accept the code of this time step and commit; False if it or a later one was used. Of two concurrent uses, one succeeds."""
        return self._session.execute(*_use_step(user_id=user_id, step=step)).scalar_one_or_none() is not None

    def use_recovery_code(self, user_id: UUID, code_hash: str) -> bool:
        """Delete the recovery code, audit its use and commit; False if the account has no such code."""
        used = with_event(_use_code(user_id=user_id, code_hash=code_hash), "second_factor.recovery_code_used")
        return self._session.execute(*used).scalar_one_or_none() is not None


@built_once
def _store_secret(*, user_id: UUID, secret: str, now: datetime) -> ReturningUpdate[UUID]:
    unconfirmed = update(table_of(User)).where(User.id == user_id, User.totp_confirmed_at.is_(None))
    return unconfirmed.values(totp_secret=secret, totp_last_step=None, updated_at=now).returning(User.id)


@built_once
def _confirm(*, user_id: UUID, secret: str, step: int, now: datetime) -> Select[UUID]:
    change = update(User).where(User.id == user_id, User.totp_confirmed_at.is_(None), User.totp_secret == secret)
    confirmed = change.values(totp_confirmed_at=now, totp_last_step=step, updated_at=now).returning(User.id).cte("confirmed")
    logged = audit_insert_for(confirmed, kind="user")
    return select(confirmed.c.id).add_cte(logged.cte("logged"))


@built_once
def _clear(*, user_id: UUID, now: datetime) -> Select[UUID]:
    change = update(User).where(User.id == user_id, User.totp_confirmed_at.is_not(None))
    change = change.values(totp_secret=None, totp_confirmed_at=None, totp_last_step=None, updated_at=now)
    cleared = change.returning(User.id).cte("cleared")
    logged = audit_insert_for(cleared, kind="user")
    return select(cleared.c.id).add_cte(logged.cte("logged"))


@built_once
def _delete_codes(*, user_id: UUID) -> Delete:
    return delete(table_of(RecoveryCode)).where(RecoveryCode.user_id == user_id)


@built_once
def _add_codes(*, user_id: UUID, codes: str, now: datetime) -> Insert:
    rows = json_rows("codes", codes, column("code_hash", String))
    new = select(as_column(user_id, Uuid()), rows.c.code_hash, as_column(now, RecoveryCode.created_at.type))
    return insert(table_of(RecoveryCode)).from_select(["user_id", "code_hash", "created_at"], new)


@built_once
def _codes_event(*, user_id: UUID) -> Insert:
    changed = select(User.id).where(User.id == user_id).cte("changed")
    return audit_insert_for(changed, kind="user")


@built_once
def _use_step(*, user_id: UUID, step: int) -> ReturningUpdate[UUID]:
    is_new = or_(User.totp_last_step.is_(None), User.totp_last_step < step)
    statement = update(User).where(User.id == user_id, User.totp_confirmed_at.is_not(None), is_new).values(totp_last_step=step)
    return statement.returning(User.id).execution_options(**OWN_TRANSACTION)


@built_once
def _use_code(*, user_id: UUID, code_hash: str) -> Select[UUID]:
    statement = delete(RecoveryCode).where(RecoveryCode.user_id == user_id, RecoveryCode.code_hash == code_hash)
    used = statement.returning(RecoveryCode.user_id).cte("used")
    logged = audit_insert_for(used, kind="user", key="user_id")
    return select(used.c.user_id).add_cte(logged.cte("logged")).execution_options(**OWN_TRANSACTION)
