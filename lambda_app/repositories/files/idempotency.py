"""Queries on idempotency keys. Each write commits by itself, so that concurrent requests see it immediately."""

import logging
from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Update, and_, delete, or_, select, update
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from lambda_app.models import IdempotencyKey
from lambda_app.repositories.statements import OWN_TRANSACTION

logger = logging.getLogger(__name__)


class IdempotencyRepository:
    """Reads and writes the rows of `idempotency_key`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def claim(self, key: IdempotencyKey, *, fingerprints: Collection[str], expired_before: datetime) -> bool:
        """Reserve the key for `key.resource_id` and commit; False if another request has it.

        A key that is older than `expired_before` is free. So is an abandoned one: its request had the same body (one of
        `fingerprints`), created nothing, and its lock expired before `key.created_at`.
        """
        values = {column.key: getattr(key, column.key) for column in IdempotencyKey.__table__.columns}
        is_free = is_free_key(now=key.created_at, expired_before=expired_before, is_same=IdempotencyKey.fingerprint.in_(fingerprints))
        statement = take_over(insert(IdempotencyKey).values(values), is_free).returning(IdempotencyKey.resource_id)
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none() is not None

    def get(self, *, user_id: UUID, route: str, key: str) -> IdempotencyKey | None:
        """Return the key; None if it is free."""
        query = select(IdempotencyKey).where(IdempotencyKey.user_id == user_id, IdempotencyKey.route == route, IdempotencyKey.key == key)
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()

    def release(self, *, user_id: UUID, resource_id: UUID) -> None:
        """Free the key of a request that failed before it created its resource, and commit."""
        statement = delete(IdempotencyKey).where(
            IdempotencyKey.user_id == user_id, IdempotencyKey.resource_id == resource_id, IdempotencyKey.is_done.is_(False)
        )
        self._session.execute(statement.execution_options(**OWN_TRANSACTION))

    def release_after_reconnect(self, *, user_id: UUID, resource_id: UUID) -> None:
        """Free the key on a new connection after the old one was lost. If that fails too, the key stays locked until its lock expires."""
        try:
            self._session.rollback()
            self.release(user_id=user_id, resource_id=resource_id)
        except DBAPIError:
            logger.warning("An idempotency key stays locked until its lock expires", exc_info=True)

    def count_expired(self, before: datetime) -> int:
        """Return the number of keys that are older than `before`."""
        return len(self._session.execute(select(IdempotencyKey.key).where(IdempotencyKey.created_at < before)).all())

    def delete_expired(self, before: datetime) -> int:
        """Delete the keys that are older than `before`, and commit; return how many."""
        statement = delete(IdempotencyKey).where(IdempotencyKey.created_at < before).returning(IdempotencyKey.key)
        return len(self._session.execute(statement.execution_options(**OWN_TRANSACTION)).all())


def is_free_key(*, now: Any, expired_before: Any, is_same: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether an existing key is free for a request, whose body `is_same`: see `IdempotencyRepository.claim`. Values or parameters."""
    is_abandoned = and_(IdempotencyKey.is_done.is_(False), IdempotencyKey.locked_until < now, is_same)
    return or_(IdempotencyKey.created_at < expired_before, is_abandoned)


def take_over(new: Insert, is_free: ColumnElement[bool]) -> Insert:
    """Return the insert of a key that replaces an existing key that is free."""
    replaced = {column.key: new.excluded[column.key] for column in IdempotencyKey.__table__.columns if not column.primary_key}
    return new.on_conflict_do_update(constraint="pk_idempotency_key", set_=replaced, where=is_free)


def lock_key(*, user_id: UUID, resource_id: UUID) -> Select[UUID]:
    """Return the query that locks the unfinished key holding this resource id; no row if another request has taken the key over."""
    conditions = (
        IdempotencyKey.user_id == user_id,
        IdempotencyKey.resource_id == resource_id,
        IdempotencyKey.is_done.is_(False),
    )
    return select(IdempotencyKey.resource_id).where(*conditions).with_for_update()


def complete_key(*, user_id: UUID | ColumnElement[UUID], resource_id: UUID | ColumnElement[UUID]) -> Update:
    """Return the statement that marks the key as done: its resource was created."""
    return update(IdempotencyKey).where(IdempotencyKey.resource_id == resource_id, IdempotencyKey.user_id == user_id).values(is_done=True)
