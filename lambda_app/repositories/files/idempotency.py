"""Queries on idempotency keys. Each write commits by itself, so that concurrent requests see it immediately."""

import logging
from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Delete, Select, Update, and_, delete, or_, select, update
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningDelete, ReturningInsert

from lambda_app.models import IdempotencyKey
from lambda_app.repositories.statements import OWN_TRANSACTION, built_once, table_of

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
        columns = {column.key: getattr(key, column.key) for column in IdempotencyKey.__table__.columns}
        claimed = _claim(fingerprints=list(fingerprints), expired_before=expired_before, **columns)
        return self._session.execute(*claimed).scalar_one_or_none() is not None

    def get(self, *, user_id: UUID, route: str, key: str) -> IdempotencyKey | None:
        """Return the key; None if it is free."""
        return self._session.execute(*_get(user_id=user_id, route=route, key=key)).scalar_one_or_none()

    def release(self, *, user_id: UUID, resource_id: UUID) -> None:
        """Free the key of a request that failed before it created its resource, and commit."""
        self._session.execute(*_release(user_id=user_id, resource_id=resource_id))

    def release_after_reconnect(self, *, user_id: UUID, resource_id: UUID) -> None:
        """Free the key on a new connection after the old one was lost. If that fails too, the key stays locked until its lock expires."""
        try:
            self._session.rollback()
            self.release(user_id=user_id, resource_id=resource_id)
        except DBAPIError:
            logger.warning("An idempotency key stays locked until its lock expires", exc_info=True)

    def count_expired(self, before: datetime) -> int:
        """Return the number of keys that are older than `before`."""
        return len(self._session.execute(*_expired(before=before)).all())

    def delete_expired(self, before: datetime) -> int:
        """Delete the keys that are older than `before`, and commit; return how many."""
        return len(self._session.execute(*_delete_expired(before=before)).all())


@built_once
def _claim(*, created_at: datetime, fingerprints: list[str], expired_before: datetime, **columns: Any) -> ReturningInsert[UUID]:
    is_same = IdempotencyKey.fingerprint.in_(fingerprints)
    is_free = is_free_key(now=created_at, expired_before=expired_before, is_same=is_same)
    new = insert(table_of(IdempotencyKey)).values(created_at=created_at, **columns)
    return take_over(new, is_free).returning(IdempotencyKey.resource_id).execution_options(**OWN_TRANSACTION)


@built_once
def _get(*, user_id: UUID, route: str, key: str) -> Select[IdempotencyKey]:
    query = select(IdempotencyKey).where(IdempotencyKey.user_id == user_id, IdempotencyKey.route == route, IdempotencyKey.key == key)
    return query.execution_options(populate_existing=True)


@built_once
def _release(*, user_id: UUID, resource_id: UUID) -> Delete:
    is_unused = (IdempotencyKey.resource_id == resource_id, IdempotencyKey.is_done.is_(False))
    return delete(IdempotencyKey).where(IdempotencyKey.user_id == user_id, *is_unused).execution_options(**OWN_TRANSACTION)


@built_once
def _expired(*, before: datetime) -> Select[str]:
    return select(IdempotencyKey.key).where(IdempotencyKey.created_at < before)


@built_once
def _delete_expired(*, before: datetime) -> ReturningDelete[str]:
    statement = delete(IdempotencyKey).where(IdempotencyKey.created_at < before).returning(IdempotencyKey.key)
    return statement.execution_options(**OWN_TRANSACTION)


def is_free_key(*, now: Any, expired_before: Any, is_same: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether an existing key is free for a request, whose body `is_same`: see `IdempotencyRepository.claim`. Values or parameters."""
    is_abandoned = and_(IdempotencyKey.is_done.is_(False), IdempotencyKey.locked_until < now, is_same)
    return or_(IdempotencyKey.created_at < expired_before, is_abandoned)


def take_over(new: Insert, is_free: ColumnElement[bool]) -> Insert:
    """Return the insert of a key that replaces an existing key that is free."""
    replaced = {column.key: new.excluded[column.key] for column in IdempotencyKey.__table__.columns if not column.primary_key}
    return new.on_conflict_do_update(constraint="pk_idempotency_key", set_=replaced, where=is_free)


def lock_key(*, user_id: Any, resource_id: Any) -> Select[UUID]:
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
