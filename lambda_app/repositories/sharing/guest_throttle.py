"""Counting what guests try at a file request, so that what they are refused does not tell them how much room its owner has."""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import CTE, ColumnElement, ScalarSelect, case, func, literal, null, or_, select
from sqlalchemy.dialects.postgresql import insert

from lambda_app.models import AttemptKind, SignInAttempt
from lambda_app.repositories.accounts.sign_in_attempts import delayed

FREE_POINTS = 1000
"""What one network may try at one request before there is a delay: so many uploads, or a hundredth of it when there is no room for any."""
POINTS_OF_REFUSAL = 100
"""Of one that says something of the owner's room. What the request itself does not take, its page says to everybody."""
FIRST_DELAY_SECONDS = 60
"""It doubles with each further refusal."""
RESET_AFTER = timedelta(hours=1)
"""How long after its first try a counter begins anew."""


class ThrottledUpload(NamedTuple):
    """What became of a guest's try to start an upload."""

    is_open: bool
    """Whether there is such a request."""
    is_admitted: bool
    """Whether this source may try at all; else nothing was looked at, and nothing counted."""
    is_started: bool
    blocked_until: datetime | None


def counted_upload(source: str, rows: CTE, *, tells_of_room: ColumnElement[bool], now: datetime) -> CTE:
    """Return the part of a statement that counts one try of the source, if `rows` has one, and has a row itself unless it is blocked."""
    points = case((tells_of_room, POINTS_OF_REFUSAL), else_=1)
    counter = SignInAttempt.__table__.c
    new = insert(SignInAttempt).from_select(
        ["key", "kind", "failures", "since"],
        select(
            literal(source, counter.key.type),
            literal(AttemptKind.GUEST.value, counter.kind.type),
            points,
            literal(now, counter.since.type),
        ).select_from(rows),
        include_defaults=False,
    )
    is_old = SignInAttempt.since < now - RESET_AFTER
    spent = case((is_old, new.excluded.failures), else_=SignInAttempt.failures + new.excluded.failures)
    # A hundred points are one step of the delay.
    excess = func.ceil((spent - FREE_POINTS) * 1.0 / POINTS_OF_REFUSAL)
    return (
        new.on_conflict_do_update(
            index_elements=[SignInAttempt.key],
            set_={
                "failures": spent,
                "since": case((is_old, now), else_=SignInAttempt.since),
                "blocked_until": case((spent <= FREE_POINTS, null()), else_=delayed(excess, now, first_seconds=FIRST_DELAY_SECONDS)),
            },
            where=or_(SignInAttempt.blocked_until.is_(None), SignInAttempt.blocked_until <= now),
        )
        .returning(SignInAttempt.key)
        .cte("tried")
    )


def blocked_until(source: str, now: datetime) -> ScalarSelect[datetime | None]:
    """Return the end of the source's delay."""
    return select(SignInAttempt.blocked_until).where(SignInAttempt.key == source, SignInAttempt.blocked_until > now).scalar_subquery()
