"""The counters behind every throttle: how attempts are counted, and the delay that follows too many."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Interval, Select, case, func, literal, null, or_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import ReturningInsert

from lambda_app.models import SignInAttempt
from lambda_app.repositories.statements import as_column, table_of

LONGEST_DELAY_SECONDS = 900

_LARGEST_EXPONENT = 16
"""Keeps the power of two within a float; the delay reaches its maximum earlier."""


def count_attempts(
    rows: Select[Any],
    *,
    now: datetime | ColumnElement[datetime],
    reset_before: ColumnElement[datetime] | datetime,
    blocked_until: Callable[[ColumnElement[int]], ColumnElement[datetime | None]],
) -> ReturningInsert[str, int, int, datetime | None]:
    """Return the upsert that adds `rows` (key, kind, failures) to the counters and returns those that it changed.

    A counter that began before `reset_before` starts again. `blocked_until` gives the end of the delay after so many failures. A
    counter that blocks at `now` is left unchanged, so an attempt that waited for its row lock while an earlier one caused the delay
    is not counted and must be refused. PostgreSQL locks the counters in the order of `rows`.
    """
    columns = ["key", "kind", "failures", "since"]
    new = insert(table_of(SignInAttempt)).from_select(
        columns, rows.add_columns(as_column(now, SignInAttempt.since.type)), include_defaults=False
    )
    is_old = SignInAttempt.since < reset_before
    failures = case((is_old, new.excluded.failures), else_=SignInAttempt.failures + new.excluded.failures)
    return new.on_conflict_do_update(
        index_elements=[SignInAttempt.key],
        set_={
            "failures": failures,
            "since": case((is_old, now), else_=SignInAttempt.since),
            "blocked_until": blocked_until(failures),
        },
        where=or_(SignInAttempt.blocked_until.is_(None), SignInAttempt.blocked_until <= now),
    ).returning(SignInAttempt.key, SignInAttempt.kind, SignInAttempt.failures, SignInAttempt.blocked_until)


def delay_after(
    excess: ColumnElement[int], now: datetime | ColumnElement[datetime], *, first_seconds: int = 1
) -> ColumnElement[datetime | None]:
    """Return the end of the delay after `excess` attempts more than are free: `first_seconds`, then twice as long each time.

    None if `excess` is not positive.
    """
    exponent = func.least(excess, _LARGEST_EXPONENT) - 1
    seconds = func.least(first_seconds * func.power(2, exponent), LONGEST_DELAY_SECONDS)
    return case((excess <= 0, null()), else_=as_column(now, SignInAttempt.since.type) + seconds * literal(timedelta(seconds=1), Interval))
