"""Removing old rows in small steps: however many there are, each statement ends before the database's time limit."""

from typing import Any

from sqlalchemy import ColumnElement, delete, inspect, select, tuple_
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from lambda_app.models.base import Base

BATCH_ROWS = 2000
MAX_BATCHES = 50
"""Of one table in one run. What is left then goes in the next one."""


def forget(session: Session, model: type[Base], *conditions: ColumnElement[bool], batch_rows: int = BATCH_ROWS) -> int:
    """Remove the table's rows that the conditions name, durably and in batches; return how many.

    Rows that somebody has locked are left for the next run.
    """
    # Locked before they are removed, so that a row that was renewed meanwhile is looked at again and stays.
    key: Any = tuple_(*inspect(model).primary_key)
    over = (
        select(*inspect(model).primary_key)
        .where(*conditions)
        .limit(batch_rows)
        .with_for_update(skip_locked=True)
        .cte("over")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    statement = delete(model).where(key.in_(select(*over.c))).execution_options(own_transaction=True, synchronize_session=False)
    total = 0
    for _ in range(MAX_BATCHES):
        try:
            removed = int(getattr(session.execute(statement), "rowcount", 0))
        except DBAPIError:
            # The session would refuse everything else after a lost connection. Nothing is undone: each batch is committed by itself.
            session.rollback()
            raise
        total += removed
        if removed < batch_rows:
            break
    return total
