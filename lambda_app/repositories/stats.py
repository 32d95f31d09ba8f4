"""Totals of the deployment: users, files, bytes and uploads per day."""

from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Date, cast, func, select
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.models import File, User


class StatusTotal(NamedTuple):
    """Number and size of the files in one state."""

    status: str
    files: int
    bytes: int


class StatsRepository:
    """Computes totals over all users."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def users(self) -> dict[str, int]:
        """Return the number of all users, of active ones and of superusers."""
        query = select(func.count(), func.count().filter(User.is_active), func.count().filter(User.is_superuser)).select_from(User)
        total, active, superusers = self._session.execute(query).one()
        return {"total": total, "active": active, "superusers": superusers}

    def files_by_status(self) -> list[StatusTotal]:
        """Return the number and total size of files per state; states without files are absent."""
        query = select(File.status, func.count(), func.coalesce(func.sum(File.size_bytes), 0)).group_by(File.status).order_by(File.status)
        return [StatusTotal(status, files, int(size)) for status, files, size in self._session.execute(query)]

    def uploads_by_day(self, *, days: int) -> list[tuple[date, int]]:
        """Return the number of uploads started on each of the last `days` days (UTC); days without uploads are absent."""
        since: datetime = clock.now() - timedelta(days=days)
        day: Any = cast(func.timezone("UTC", File.created_at), Date)
        query = select(day, func.count()).where(File.created_at >= since).group_by(day).order_by(day)
        return [(row[0], row[1]) for row in self._session.execute(query)]
