"""Deleting old rows in batches, so that no statement exceeds the database's time limit."""

from typing import Any

from sqlalchemy import ColumnElement, delete, inspect, select, tuple_
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from lambda_app.models.base import Base
from lambda_app.repositories.statements import OWN_TRANSACTION

BATCH_ROWS = 2000
MAX_BATCHES = 50
"""Limit for one table in one run; the next run deletes the rest."""


def delete_in_batches(session: Session, model: type[Base], *conditions: ColumnElement[bool], batch_rows: int = BATCH_ROWS) -> int:
    """Delete the rows that match the conditions, one transaction per batch, and return how many were deleted.

    Locked rows are skipped; the next run deletes them.
    """
    total = 0
    for _ in range(MAX_BATCHES):
        deleted = delete_batch(session, model, *conditions, batch_rows=batch_rows)
        total += deleted
        if deleted < batch_rows:
            break
    return total


def delete_batch(session: Session, model: type[Base], *conditions: ColumnElement[bool], batch_rows: int) -> int:
    """Delete up to `batch_rows` rows that match the conditions and that are not locked, commit, and return how many."""
    # FOR UPDATE checks the conditions again on the current version of the row, so a row that was renewed concurrently stays.
    key: Any = tuple_(*inspect(model).primary_key)
    expired = (
        select(*inspect(model).primary_key)
        .where(*conditions)
        .limit(batch_rows)
        .with_for_update(skip_locked=True)
        .cte("expired")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    statement = delete(model).where(key.in_(select(*expired.c))).execution_options(**OWN_TRANSACTION)
    try:
        return int(getattr(session.execute(statement), "rowcount", 0))
    except DBAPIError:
        # After a lost connection the session rejects every statement until a rollback. The earlier batches are committed.
        session.rollback()
        raise
