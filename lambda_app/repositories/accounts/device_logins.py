"""Queries on device sign-ins."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.models import DeviceLogin, User
from lambda_app.repositories.audit import audited_change
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.statements import OWN_TRANSACTION


class DeviceLoginRepository:
    """Reads and writes the rows of `device_login`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, login: DeviceLogin) -> bool:
        """Insert a request and commit; False if another one has the same user code."""
        values = {column.key: getattr(login, column.key) for column in DeviceLogin.__table__.c}
        statement = insert(DeviceLogin).values(**values).on_conflict_do_nothing(index_elements=["user_code"]).returning(DeviceLogin.id)
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none() is not None

    def count_open(self, network: str, *, at_most: int) -> int:
        """Return how many requests of a network are open, counted up to `at_most`."""
        live = select(DeviceLogin.id).where(DeviceLogin.network == network, DeviceLogin.expires_at > clock.now()).limit(at_most)
        return self._session.execute(select(func.count()).select_from(live.subquery())).scalar_one()

    def find_undecided(self, user_code: str) -> DeviceLogin | None:
        """Return the open request with this user code; None if it is unknown, expired or decided."""
        return self._session.execute(select(DeviceLogin).where(*_is_undecided(user_code))).scalar_one_or_none()

    def decide(self, user_code: str, user: User, *, is_approved: bool) -> bool:
        """Record the decision of a user and audit it within the caller's transaction; False if the request is not open any more."""
        change = (
            update(DeviceLogin)
            .where(*_is_undecided(user_code))
            .values(user_id=user.id, token_epoch=user.token_epoch, decided_at=clock.now(), is_approved=is_approved)
            .returning(*DeviceLogin.__table__.c)
        )
        action = "device_login.approved" if is_approved else "device_login.denied"
        return self._session.execute(audited_change(change, DeviceLogin, action)).scalar_one_or_none() is not None

    def is_undecided(self, device_code_hash: str) -> bool:
        """Return whether the request of this device code is open and waits for a user."""
        query = select(literal(1)).where(
            DeviceLogin.device_code_hash == device_code_hash, DeviceLogin.decided_at.is_(None), DeviceLogin.expires_at > clock.now()
        )
        return self._session.execute(query).scalar_one_or_none() is not None

    def take(self, device_code_hash: str) -> tuple[bool, User | None] | None:
        """Use up a decided request within the caller's transaction; None if there is none.

        Returns whether it was approved, and the user if that account is still active and has ended no sessions since.
        """
        taken = (
            delete(DeviceLogin)
            .where(
                DeviceLogin.device_code_hash == device_code_hash, DeviceLogin.decided_at.is_not(None), DeviceLogin.expires_at > clock.now()
            )
            .returning(DeviceLogin.is_approved, DeviceLogin.user_id, DeviceLogin.token_epoch)
        )
        row: Any = self._session.execute(taken).one_or_none()
        if row is None:
            return None
        query = select(User).where(User.id == row.user_id, User.token_epoch == row.token_epoch, User.is_active, User.deletion_at.is_(None))
        return row.is_approved, self._session.execute(query).scalar_one_or_none()

    def purge(self, *, expired_before: datetime) -> int:
        """Delete requests that expired before this time, in batches; return how many."""
        return delete_in_batches(self._session, DeviceLogin, DeviceLogin.expires_at < expired_before)


def _is_undecided(user_code: str) -> tuple[ColumnElement[bool], ...]:
    return DeviceLogin.user_code == user_code, DeviceLogin.decided_at.is_(None), DeviceLogin.expires_at > clock.now()
