"""Throttle of guests at a file request, so that refused uploads do not reveal how much quota its owner has left."""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import CTE, ColumnElement, ScalarSelect, case, func, literal, select

from lambda_app.models import AttemptKind, SignInAttempt
from lambda_app.repositories.accounts.attempt_counters import count_attempts, delay_after

FREE_POINTS = 1000
"""Points of one network at one file request before the first delay. A started upload is one point."""
POINTS_PER_REFUSAL = 100
"""Points of an upload that is refused for lack of quota. Refusals by the limits that the request's page shows count as one point."""
FIRST_DELAY_SECONDS = 60
"""First delay; it doubles with each further refusal."""
RESET_AFTER = timedelta(hours=1)
"""Age at which a counter starts again."""


class ThrottledUpload(NamedTuple):
    """The result of a guest's request to start an upload."""

    is_open: bool
    """Whether the file request exists and is open."""
    is_admitted: bool
    """Whether the throttle admits the source; if not, nothing was counted."""
    is_started: bool
    blocked_until: datetime | None


def count_guest_upload(source: str, rows: CTE, *, reveals_quota: ColumnElement[bool], now: datetime) -> CTE:
    """Return the CTE that counts one upload of the source if `rows` has a row. It has a row itself unless the source is blocked."""
    points = select(
        literal(source, SignInAttempt.key.type),
        literal(AttemptKind.GUEST.value, SignInAttempt.kind.type),
        case((reveals_quota, POINTS_PER_REFUSAL), else_=1),
    ).select_from(rows)

    def blocked_until(spent: ColumnElement[int]) -> ColumnElement[datetime | None]:
        # Each further step of the delay takes the points of one refusal.
        steps = func.ceil((spent - FREE_POINTS) * 1.0 / POINTS_PER_REFUSAL)
        return delay_after(steps, now, first_seconds=FIRST_DELAY_SECONDS)

    return count_attempts(points, now=now, reset_before=now - RESET_AFTER, blocked_until=blocked_until).cte("counted_attempt")


def blocked_until(source: str, now: datetime) -> ScalarSelect[datetime | None]:
    """Return the end of the source's current delay; NULL if there is none."""
    return select(SignInAttempt.blocked_until).where(SignInAttempt.key == source, SignInAttempt.blocked_until > now).scalar_subquery()
