"""The deletion allowance of users, a leaky bucket in two columns of the user's row.

A versioned bucket stores a deleted object for days, charged to no user. So the deleted bytes of each user are counted. The count falls
continuously, by the whole allowance in `DELETION_WINDOW`; above the allowance, new uploads are refused.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Double, cast, func, literal

from lambda_app.models import User
from lambda_app.models.accounts.users import DELETION_WINDOW
from lambda_app.repositories.statements import as_column

BIGINT_MAX = 9e18


def deleted_bytes_now(now: datetime | ColumnElement[datetime], *, allowance_bytes: int | ColumnElement[int]) -> ColumnElement[int]:
    """Return the count of the user's deleted bytes at `now`. Values or parameters."""
    elapsed = func.coalesce(func.extract("epoch", as_column(now, User.updated_at.type) - User.deleted_bytes_at), 0)
    share = cast(elapsed, Double) / literal(DELETION_WINDOW.total_seconds(), Double)
    grown_back = func.least(share * cast(as_column(allowance_bytes, BigInteger()), Double), literal(BIGINT_MAX, Double))
    return func.greatest(0, User.deleted_bytes - cast(func.floor(grown_back), BigInteger))


def with_deletion(
    size_bytes: ColumnElement[int], now: datetime | ColumnElement[datetime], *, allowance_bytes: int | ColumnElement[int]
) -> dict[str, Any]:
    """Return the values of an update of the user that count a deleted object of `size_bytes`."""
    return {"deleted_bytes": deleted_bytes_now(now, allowance_bytes=allowance_bytes) + size_bytes, "deleted_bytes_at": now}
