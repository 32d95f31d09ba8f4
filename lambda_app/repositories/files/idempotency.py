"""Queries on idempotency keys. Each write commits by itself, so that a second request sees it at once."""

import logging
from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from lambda_app.models import IdempotencyKey

logger = logging.getLogger(__name__)

_OWN_TRANSACTION = {"own_transaction": True, "synchronize_session": False, "populate_existing": True}


class IdempotencyRepository:
    """Reads and writes the rows of `idempotency_key`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def claim(self, key: IdempotencyKey, *, same: Collection[str], forgotten_before: datetime) -> bool:
        """Take the key for `key.resource_id`; False when another request has it.

        A key that is older than `forgotten_before` counts as new. So does one whose request had the same body (a fingerprint among `same`)
        and died: nothing was made, and its lock is over at `key.created_at`.
        """
        values = {column.key: getattr(key, column.key) for column in IdempotencyKey.__table__.columns}
        is_abandoned = and_(
            IdempotencyKey.is_done.is_(False),
            IdempotencyKey.locked_until < key.created_at,
            IdempotencyKey.fingerprint.in_(same),
        )
        statement = (
            insert(IdempotencyKey)
            .values(values)
            .on_conflict_do_update(
                constraint="pk_idempotency_key",
                set_={name: value for name, value in values.items() if name not in ("user_id", "route", "key")},
                where=or_(IdempotencyKey.created_at < forgotten_before, is_abandoned),
            )
            .returning(IdempotencyKey.resource_id)
        )
        return self._session.execute(statement.execution_options(**_OWN_TRANSACTION)).scalar_one_or_none() is not None

    def get(self, *, user_id: UUID, route: str, key: str) -> IdempotencyKey | None:
        """Return the key, if it is taken."""
        query = select(IdempotencyKey).where(IdempotencyKey.user_id == user_id, IdempotencyKey.route == route, IdempotencyKey.key == key)
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()

    def release(self, *, user_id: UUID, resource_id: UUID) -> None:
        """Give up the key of a request that failed before it made anything."""
        statement = delete(IdempotencyKey).where(
            IdempotencyKey.user_id == user_id, IdempotencyKey.resource_id == resource_id, IdempotencyKey.is_done.is_(False)
        )
        self._session.execute(statement.execution_options(own_transaction=True, synchronize_session=False))

    def release_anew(self, *, user_id: UUID, resource_id: UUID) -> None:
        """The same on a new connection, after the line was lost; if there is none to be had, the lock has to run out."""
        try:
            self._session.rollback()
            self.release(user_id=user_id, resource_id=resource_id)
        except DBAPIError:
            logger.warning("An idempotency key stays locked", exc_info=True)

    def count_forgotten(self, before: datetime) -> int:
        """Return how many keys are older than `before`."""
        return len(self._session.execute(select(IdempotencyKey.key).where(IdempotencyKey.created_at < before)).all())

    def forget(self, before: datetime) -> int:
        """Delete the keys that are older than `before` and return how many there were."""
        statement = delete(IdempotencyKey).where(IdempotencyKey.created_at < before).returning(IdempotencyKey.key)
        return len(self._session.execute(statement.execution_options(**_OWN_TRANSACTION)).all())
