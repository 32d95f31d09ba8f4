"""Totals of the deployment: users, files, bytes and uploads per day."""

from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Date, Delete, Select, and_, cast, column, delete, func, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from lambda_app.core import clock
from lambda_app.models import CHARGED, File, FileStatus, UploadHour, User
from lambda_app.repositories.statements import OWN_TRANSACTION, as_column, built_once, table_of

STATS_DAYS = 30
"""Number of days for which uploads are counted per day."""
HOUR = timedelta(hours=1)
HOUR_GRACE = timedelta(minutes=5)
"""Time after the end of an hour at which all transactions that started uploads in it have ended."""


class StatusTotal(NamedTuple):
    """Number and size of the files in one state."""

    status: str
    files: int
    bytes: int


class StatsRepository:
    """Computes totals over all users."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def totals(self) -> tuple[dict[str, int], list[StatusTotal]]:
        """Return the numbers of users, and the number and total size of files per state; states without files are absent.

        Of the many available files, none is read: they are the users' charged files but for the pending and trashed ones. One statement,
        because the numbers belong together only in one snapshot.
        """
        rows = self._session.execute(*_totals()).all()
        totals = [StatusTotal(row[5], row[6], int(row[7])) for row in rows if row[5] is not None]
        charged = [total for total in totals if total.status in CHARGED]
        files_count = int(rows[0].files) - sum(total.files for total in charged)
        if files_count:
            totals.append(StatusTotal(FileStatus.AVAILABLE, files_count, int(rows[0].bytes) - sum(total.bytes for total in charged)))
        return {name: getattr(rows[0], name) for name in ("total", "active", "superusers")}, sorted(totals)

    def uploads_by_day(self, *, days: int) -> list[tuple[date, int]]:
        """Return the number of uploads started on each of the last `days` days (UTC); days without uploads are absent.

        Hours that `count_ended_hours` has counted come from there, later uploads from the files.
        """
        now = clock.now()
        counted = self._session.execute(*_uploads_by_day(since=now - timedelta(days=days), until=now + HOUR))
        return [(row[0], int(row[1])) for row in counted]

    def count_ended_hours(self, *, days: int) -> int:
        """Count the uploads of each hour of the last `days` days that has ended and is not counted yet; return how many hours.

        Deletes older hours. Each day is a transaction of its own, whose time is bounded.
        """
        now = clock.now()
        ended = (now - HOUR_GRACE).replace(minute=0, second=0, microsecond=0)
        oldest = ended - timedelta(days=days)
        self._session.execute(*_delete_hours(before=oldest))
        newest: datetime | None = self._session.execute(*_newest_hour()).scalar_one()
        begin = oldest if newest is None else newest + HOUR
        hours = 0
        while begin < ended:
            end = min(begin + timedelta(days=1), ended)
            hours += len(self._session.execute(*_count_hours(begin=begin, last=end - HOUR, end=end)).all())
            begin = end
        return hours


@built_once
def _totals() -> Select[Any]:
    users = select(
        func.count().label("total"),
        func.count().filter(User.is_active).label("active"),
        func.count().filter(User.is_superuser).label("superusers"),
        func.coalesce(func.sum(User.files_count), 0).label("files"),
        func.coalesce(func.sum(User.bytes_used), 0).label("bytes"),
    ).subquery("users")
    size = func.coalesce(func.sum(File.size_bytes), 0)
    is_unfinished = File.status.in_([status for status in FileStatus if status is not FileStatus.AVAILABLE])
    files = select(File.status, func.count().label("files"), size.label("bytes")).where(is_unfinished).group_by(File.status)
    unfinished = files.subquery("unfinished")
    query = select(users, unfinished.c.status, unfinished.c.files, unfinished.c.bytes)
    return query.select_from(users.outerjoin(unfinished, true()))


@built_once
def _uploads_by_day(*, since: datetime, until: datetime) -> Select[Any]:
    counted = select(UploadHour.hour.label("at"), UploadHour.uploads).where(UploadHour.hour >= since)
    # The first hour, as a bound that PostgreSQL looks up before it scans the index of creation times.
    uncounted = func.coalesce(select(func.max(UploadHour.hour) + HOUR).scalar_subquery(), since)
    hour: Any = func.date_trunc("hour", File.created_at, "UTC")
    # The second bound excludes nothing. With the first alone, whose value it does not know, PostgreSQL expects a third of all rows, and
    # reads the whole table from some millions on.
    is_later = and_(File.created_at >= func.greatest(uncounted, since), File.created_at < until)
    later = select(hour.label("at"), func.count().label("uploads")).where(is_later)
    hours = counted.union_all(later.group_by(hour)).subquery("hours")
    day: Any = cast(func.timezone("UTC", hours.c.at), Date)
    return select(day, func.sum(hours.c.uploads)).group_by(day).having(func.sum(hours.c.uploads) > 0).order_by(day)


@built_once
def _delete_hours(*, before: datetime) -> Delete:
    return delete(UploadHour).where(UploadHour.hour < before).execution_options(**OWN_TRANSACTION)


@built_once
def _newest_hour() -> Select[datetime]:
    return select(func.max(UploadHour.hour))


@built_once
def _count_hours(*, begin: datetime, last: datetime, end: datetime) -> ReturningInsert[datetime]:
    """Return the statement that counts each hour from `begin` to `end`; hours without uploads too, to show that they are counted."""
    hour_type = UploadHour.__table__.c.hour.type
    series = func.generate_series(as_column(begin, hour_type), as_column(last, hour_type), HOUR)
    hours = series.table_valued(column("hour", hour_type)).render_derived(name="hours")
    started: Any = func.date_trunc("hour", File.created_at, "UTC")
    files = select(started.label("hour"), func.count().label("uploads")).where(File.created_at >= begin, File.created_at < end)
    counted = files.group_by(started).subquery("counted")
    rows = select(hours.c.hour, func.coalesce(counted.c.uploads, 0))
    rows = rows.select_from(hours.outerjoin(counted, counted.c.hour == hours.c.hour))
    new = insert(table_of(UploadHour)).from_select(["hour", "uploads"], rows).on_conflict_do_nothing()
    return new.returning(UploadHour.hour).execution_options(**OWN_TRANSACTION)
