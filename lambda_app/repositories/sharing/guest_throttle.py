"""Throttle of guests at a file request, so that refused uploads do not reveal how much quota its owner has left."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    ScalarSelect,
    SmallInteger,
    String,
    any_,
    case,
    cast,
    column,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from lambda_app.models import AttemptKind, SignInAttempt
from lambda_app.repositories.accounts.attempt_counters import count_attempts, delay_after
from lambda_app.repositories.statements import as_column

FREE_POINTS = 1000
"""Points of one network at one file request before the first delay. A started upload is one point."""
FREE_POINTS_OF_WIDER_NETWORK = {AttemptKind.GUEST_56: 2000, AttemptKind.GUEST_48: 4000}
"""The same for the wider networks of an IPv6 address, in the proportions of the sign-in throttle."""
POINTS_PER_REFUSAL = 100
"""Points of an upload that is refused for lack of quota. Refusals by the limits that the request's page shows count as one point."""
FIRST_DELAY_SECONDS = 60
"""First delay; it doubles with each further refusal."""
RESET_AFTER = timedelta(hours=1)
"""Age at which a counter starts again."""
THROTTLE_PARAMETERS = (
    *("reset_before", "sources", "kinds", "free_points"),
    *(f"free_points_{kind.value}" for kind in FREE_POINTS_OF_WIDER_NETWORK),
)
"""Names of the parameters of `count_guest_upload`, beside the time."""


class ThrottledUpload(NamedTuple):
    """The result of a guest's request to start an upload."""

    is_open: bool
    """Whether the file request exists and is open."""
    is_admitted: bool
    """Whether the throttle admits the source; if not, nothing was counted."""
    is_started: bool
    blocked_until: datetime | None


def source_parameters(sources: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of `count_guest_upload`: the keys of the network and of the wider networks around it, the narrowest first.

    With the free points of each kind of network.
    """
    kinds = (AttemptKind.GUEST, *FREE_POINTS_OF_WIDER_NETWORK)
    free = {f"free_points_{kind.value}": points for kind, points in FREE_POINTS_OF_WIDER_NETWORK.items()}
    return {"sources": list(sources), "kinds": [kind.value for kind in kinds[: len(sources)]], "free_points": FREE_POINTS, **free}


def count_guest_upload(
    rows: CTE, *, reveals_quota: ColumnElement[bool], now: datetime, reset_before: datetime, sources: Any, kinds: Any, **free_points: Any
) -> CTE:
    """Return the CTE that counts one upload of the sources if `rows` has a row. It has a row itself unless a source is blocked.

    Lock order: the sources.
    """
    keys = as_column(sources, ARRAY(String))
    columns = column("key", String), column("kind", SmallInteger)
    unnested = func.unnest(keys, cast(as_column(kinds, ARRAY(SmallInteger)), ARRAY(SmallInteger)))
    counters = unnested.table_valued(*columns, name="counters").render_derived()
    points = (
        select(counters.c.key, counters.c.kind, case((reveals_quota, POINTS_PER_REFUSAL), else_=1))
        .select_from(rows.join(counters, true()))
        .where(blocked_until(sources, now).is_(None))
        .order_by(counters.c.kind)
    )
    limits = {name: cast(points, Integer) for name, points in free_points.items()}
    wider = ((SignInAttempt.kind == kind, limits[f"free_points_{kind.value}"]) for kind in FREE_POINTS_OF_WIDER_NETWORK)
    free = case(*wider, else_=limits["free_points"])

    def delay(spent: ColumnElement[int]) -> ColumnElement[datetime | None]:
        # Each further step of the delay takes the points of one refusal.
        steps = func.ceil((spent - free) * 1.0 / POINTS_PER_REFUSAL)
        return delay_after(steps, now, first_seconds=FIRST_DELAY_SECONDS)

    counted = count_attempts(points, now=now, reset_before=reset_before, blocked_until=delay).cte("counted_attempts")
    # A concurrent upload can block a source while this one waits for the lock of its counter.
    number = select(func.count()).select_from(counted).scalar_subquery()
    return select(literal(1).label("admitted")).where(number == func.cardinality(keys)).cte("admitted_attempt")


def blocked_until(sources: Any, now: datetime) -> ScalarSelect[datetime | None]:
    """Return the end of the longest current delay of the sources; NULL if there is none."""
    is_blocked = (SignInAttempt.key == any_(as_column(sources, ARRAY(String))), SignInAttempt.blocked_until > now)
    return select(func.max(SignInAttempt.blocked_until)).where(*is_blocked).scalar_subquery()
