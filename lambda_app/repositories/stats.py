"""Totals of the deployment: users, files, bytes, and uploads and downloads per day."""

from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Date, Delete, Select, and_, case, cast, delete, func, literal, null, select, true
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by, insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from lambda_app.core import clock
from lambda_app.models import CHARGED, AuditEvent, File, FileStatus, UploadHour, User
from lambda_app.repositories.statements import OWN_TRANSACTION, as_column, built_once, table_of

HOUR = timedelta(hours=1)
HOUR_GRACE = timedelta(minutes=5)
"""Time after the end of an hour at which all transactions that started uploads in it have ended."""


class StatusTotal(NamedTuple):
    """Number and size of the files in one state."""

    status: str
    files: int
    bytes: int


class DayTraffic(NamedTuple):
    """What happened on one day (UTC)."""

    day: date
    uploads: int
    """Uploads that were started."""
    uploaded_bytes: int | None
    """Declared size of these uploads; None if an earlier version counted some of them, without their size."""
    downloads: int | None
    """Downloads by share links, in hours that have ended; None if an earlier version counted some of the hours."""
    stored_bytes: int | None
    """Bytes that users were charged for when hours of this day were last counted; None if that was not recorded."""


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

    def traffic_by_day(self, *, days: int) -> list[DayTraffic]:
        """Return the traffic of today and the `days` - 1 days before it (UTC), oldest day first. Days of which nothing is known are absent.

        Hours that `count_ended_hours` has counted come from there, later uploads from the files. Later downloads are not read: among the
        events of the audit log, they would be counted one by one in each request.
        """
        now = clock.now()
        since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days - 1)
        rows = self._session.execute(*_traffic_by_day(since=since, until=now + HOUR))
        # PostgreSQL's sums are decimals.
        return [DayTraffic(row[0], int(row[1]), *(None if total is None else int(total) for total in row[2:])) for row in rows]

    def count_ended_hours(self, *, days: int) -> int:
        """Count the uploads and downloads of each hour of the last `days` days that has ended and is not counted yet.

        Returns the number of hours. Deletes older hours. Each hour is a transaction of its own: a statement that counts many busy hours
        would exceed the timeout in each run.
        """
        now = clock.now()
        ended = (now - HOUR_GRACE).replace(minute=0, second=0, microsecond=0)
        oldest = ended - timedelta(days=days)
        self._session.execute(*_delete_hours(before=oldest))
        newest: datetime | None = self._session.execute(*_newest_hour()).scalar_one()
        hour = oldest if newest is None else newest + HOUR
        counted = 0
        while hour < ended:
            counted += len(self._session.execute(*_count_hour(hour=hour, end=hour + HOUR, current=ended - HOUR)).all())
            hour += HOUR
        return counted


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
def _traffic_by_day(*, since: datetime, until: datetime) -> Select[Any]:
    # The size of no uploads is known, also where an earlier version counted them.
    size = case((UploadHour.uploads == 0, literal(0, BigInteger)), else_=UploadHour.bytes).label("bytes")
    columns = (UploadHour.hour.label("at"), UploadHour.uploads, size, UploadHour.downloads, UploadHour.stored_bytes)
    counted = select(*columns).where(UploadHour.hour >= since)
    # The first hour, as a bound that PostgreSQL looks up before it scans the index of creation times.
    uncounted = func.coalesce(select(func.max(UploadHour.hour) + HOUR).scalar_subquery(), since)
    hour: Any = func.date_trunc("hour", File.created_at, "UTC")
    # The second bound excludes nothing. With the first alone, whose value it does not know, PostgreSQL expects a third of all rows, and
    # reads the whole table from some millions on.
    is_later = and_(File.created_at >= func.greatest(uncounted, since), File.created_at < until)
    uploads = (func.count().label("uploads"), func.coalesce(func.sum(File.size_bytes), 0).label("bytes"))
    unknown = (literal(0, BigInteger).label("downloads"), cast(null(), BigInteger).label("stored_bytes"))
    later = select(hour.label("at"), *uploads, *unknown).where(is_later)
    hours = counted.union_all(later.group_by(hour)).subquery("hours")
    day: Any = cast(func.timezone("UTC", hours.c.at), Date)
    newest_first = func.array_agg(aggregate_order_by(hours.c.stored_bytes, hours.c.at.desc()), type_=ARRAY(BigInteger))
    stored = newest_first.filter(hours.c.stored_bytes.is_not(None))[1]
    bytes_, downloads = (case((func.bool_and(count.is_not(None)), func.sum(count))) for count in (hours.c.bytes, hours.c.downloads))
    return select(day, func.sum(hours.c.uploads), bytes_, downloads, stored).group_by(day).order_by(day)


@built_once
def _delete_hours(*, before: datetime) -> Delete:
    return delete(UploadHour).where(UploadHour.hour < before).execution_options(**OWN_TRANSACTION)


@built_once
def _newest_hour() -> Select[datetime]:
    return select(func.max(UploadHour.hour))


@built_once
def _count_hour(*, hour: datetime, end: datetime, current: datetime) -> ReturningInsert[datetime]:
    """Return the statement that counts an hour; one without uploads too, to show that it is counted.

    The `current` hour gets what is stored now.
    """
    uploads = (func.count().label("uploads"), func.coalesce(func.sum(File.size_bytes), 0).label("bytes"))
    counted = select(*uploads).where(File.created_at >= hour, File.created_at < end).subquery("counted")
    is_download = (AuditEvent.at >= hour, AuditEvent.at < end, AuditEvent.action == "share.downloaded")
    events = select(func.count().label("downloads")).where(*is_download).subquery("events")
    stored = select(func.coalesce(func.sum(User.bytes_used), 0)).scalar_subquery()
    at = as_column(hour, UploadHour.__table__.c.hour.type)
    rows = select(at, counted.c.uploads, counted.c.bytes, events.c.downloads, case((at == current, stored)))
    names = ["hour", "uploads", "bytes", "downloads", "stored_bytes"]
    new = insert(table_of(UploadHour)).from_select(names, rows.select_from(counted.join(events, true()))).on_conflict_do_nothing()
    return new.returning(UploadHour.hour).execution_options(**OWN_TRANSACTION)
