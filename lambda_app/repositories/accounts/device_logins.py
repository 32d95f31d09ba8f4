"""Queries on device sign-ins."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningDelete, ReturningInsert

from lambda_app.core import clock
from lambda_app.models import DeviceLogin, User
from lambda_app.repositories.audit import audited_change, with_event
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.statements import OWN_TRANSACTION, built_once, table_of


class DeviceLoginRepository:
    """Reads and writes the rows of `device_login`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, login: DeviceLogin) -> bool:
        """Insert a request and commit; False if another one has the same user code."""
        columns = {column.key: getattr(login, column.key) for column in DeviceLogin.__table__.c}
        return self._session.execute(*_add(**columns)).scalar_one_or_none() is not None

    def count_open(self, network: str, *, at_most: int) -> int:
        """Return how many requests of a network are open, counted up to `at_most`."""
        return int(self._session.execute(*_count_open(network=network, now=clock.now(), at_most=at_most)).scalar_one())

    def find_undecided(self, user_code: str) -> DeviceLogin | None:
        """Return the open request with this user code; None if it is unknown, expired or decided."""
        return self._session.execute(*_find(user_code=user_code, now=clock.now())).scalar_one_or_none()

    def decide(self, user_code: str, user: User, *, is_approved: bool) -> bool:
        """Record the decision of a user and audit it within the caller's transaction; False if the request is not open any more."""
        decision = {"user_id": user.id, "token_epoch": user.token_epoch, "is_approved": is_approved}
        action = "device_login.approved" if is_approved else "device_login.denied"
        decided = _decide(user_code=user_code, now=clock.now(), **decision)
        return self._session.execute(*with_event(decided, action)).scalar_one_or_none() is not None

    def is_undecided(self, device_code_hash: str) -> bool:
        """Return whether the request of this device code is open and waits for a user."""
        waiting = _waits(device_code_hash=device_code_hash, now=clock.now())
        return self._session.execute(*waiting).scalar_one_or_none() is not None

    def take(self, device_code_hash: str) -> tuple[bool, User | None] | None:
        """Use up a decided request within the caller's transaction; None if there is none.

        Returns whether it was approved, and the user if that account is still active and has ended no sessions since.
        """
        row: Any = self._session.execute(*_take(device_code_hash=device_code_hash, now=clock.now())).one_or_none()
        if row is None:
            return None
        user = _active_user(user_id=row.user_id, token_epoch=row.token_epoch)
        return row.is_approved, self._session.execute(*user).scalar_one_or_none()

    def purge(self, *, expired_before: datetime) -> int:
        """Delete requests that expired before this time, in batches; return how many."""
        return delete_in_batches(self._session, DeviceLogin, DeviceLogin.expires_at < expired_before)


def _is_undecided(user_code: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return DeviceLogin.user_code == user_code, DeviceLogin.decided_at.is_(None), DeviceLogin.expires_at > now


@built_once
def _add(**columns: Any) -> ReturningInsert[UUID]:
    statement = insert(table_of(DeviceLogin)).values(**columns).on_conflict_do_nothing(index_elements=["user_code"])
    return statement.returning(DeviceLogin.id).execution_options(**OWN_TRANSACTION)


@built_once
def _count_open(*, network: str, now: datetime, at_most: int) -> Select[int]:
    live = select(DeviceLogin.id).where(DeviceLogin.network == network, DeviceLogin.expires_at > now).limit(at_most)
    return select(func.count()).select_from(live.subquery())


@built_once
def _find(*, user_code: str, now: datetime) -> Select[DeviceLogin]:
    return select(DeviceLogin).where(*_is_undecided(user_code, now))


@built_once
def _decide(*, user_code: str, now: datetime, **decision: Any) -> Select[DeviceLogin]:
    change = update(DeviceLogin).where(*_is_undecided(user_code, now)).values(decided_at=now, **decision)
    return audited_change(change.returning(*DeviceLogin.__table__.c), DeviceLogin)


@built_once
def _waits(*, device_code_hash: str, now: datetime) -> Select[int]:
    is_open = (DeviceLogin.device_code_hash == device_code_hash, DeviceLogin.decided_at.is_(None), DeviceLogin.expires_at > now)
    return select(literal(1)).where(*is_open)


@built_once
def _take(*, device_code_hash: str, now: datetime) -> ReturningDelete[bool, UUID, int]:
    is_decided = (DeviceLogin.device_code_hash == device_code_hash, DeviceLogin.decided_at.is_not(None), DeviceLogin.expires_at > now)
    statement = delete(table_of(DeviceLogin)).where(*is_decided)
    return statement.returning(DeviceLogin.is_approved, DeviceLogin.user_id, DeviceLogin.token_epoch)


@built_once
def _active_user(*, user_id: UUID | None, token_epoch: int | None) -> Select[User]:
    return select(User).where(User.id == user_id, User.token_epoch == token_epoch, User.is_active, User.deletion_at.is_(None))
