"""Routes for superusers: user search, statistics and revoking the sessions of a user."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import time_machine
from pydantic import SecretStr
from sqlalchemy import Insert, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.settings import Settings
from lambda_app.db.engine import create_database_engine
from lambda_app.models import CHARGED, AuditEvent, File, FileStatus, UploadHour, User
from lambda_app.repositories.stats import DayTraffic, StatsRepository
from lambda_app.schemas.admin import STATS_DAYS, STATS_DAYS_MAX
from tests.support.accounts import Account, make_file, sign_in
from tests.support.problems import assert_problem, assert_unauthenticated

USERS, STATS = "/api/v1/users", "/api/v1/admin/stats"


def test_search_finds_users_by_part_of_the_address(client: httpx.Client, owner: Account, admin: Account) -> None:
    fragment = owner.email.split("@")[0][5:25]

    found = client.get(USERS, params={"search": fragment.upper()}, headers=admin.headers).json()

    assert [user["id"] for user in found] == [str(owner.id)]
    assert client.get(USERS, params={"search": "%"}, headers=admin.headers).json() == []
    assert client.get(USERS, params={"search": f"{fragment}_"}, headers=admin.headers).json() == []


def test_users_are_filtered_by_is_active(client: httpx.Client, owner: Account, admin: Account) -> None:
    client.put(f"{USERS}/{owner.id}", json={"is_active": False}, headers=admin.headers)

    def ids(is_active: bool) -> list[str]:
        query: dict[str, str | bool] = {"search": owner.email, "is_active": is_active}
        return [user["id"] for user in client.get(USERS, params=query, headers=admin.headers).json()]

    assert ids(False) == [str(owner.id)]
    assert ids(True) == []


@pytest.mark.parametrize("query", [{"search": ""}, {"search": "x" * 255}, {"search": "\x00"}, {"is_active": "maybe"}])
def test_invalid_search_returns_422(client: httpx.Client, admin: Account, query: dict[str, Any]) -> None:
    assert_problem(client.get(USERS, params=query, headers=admin.headers), 422, "malformed_request")


def test_stats_count_users_files_and_bytes(client: httpx.Client, owner: Account, admin: Account) -> None:
    before = client.get(STATS, headers=admin.headers).json()
    make_file(client, owner, b"12345", status="pending")
    make_file(client, owner, b"1234567")

    after = client.get(STATS, headers=admin.headers).json()

    def total(stats: dict[str, Any], status: str, field: str) -> int:
        return sum(item[field] for item in stats["files"] if item["status"] == status)

    assert total(after, "pending", "bytes") - total(before, "pending", "bytes") == 5
    assert total(after, "available", "bytes") - total(before, "available", "bytes") == 7
    assert total(after, "available", "files") - total(before, "available", "files") == 1
    uploads = [sum(day["uploads"] for day in stats["uploads_by_day"]) for stats in (before, after)]
    assert uploads[1] - uploads[0] == 2
    assert after["users"]["total"] >= after["users"]["active"] >= after["users"]["superusers"] >= 1
    assert_problem(client.get(STATS, headers=owner.headers), 403, "permission_denied")


@pytest.fixture
def own_session(settings: Settings, make_migrated_database: Callable[[], str]) -> Iterator[Session]:
    """A session on a database that no other test uses."""
    engine = create_database_engine(settings.model_copy(update={"database_url": SecretStr(make_migrated_database())}))
    with Session(engine) as session:
        yield session
    engine.dispose()


def add_file(session: Session, created_at: datetime, *, status: FileStatus = FileStatus.AVAILABLE, size: int = 1) -> File:
    """Insert a charged file and its owner."""
    user = User(id=uuid4(), email=f"{uuid4()}@example.com", hashed_password="x", bytes_used=0, files_count=0)
    if status in CHARGED:
        user.bytes_used, user.files_count = size, 1
    session.add(user)
    session.flush()
    file = File(id=uuid4(), filename="a", content_type="a/b", size_bytes=size, s3_key=str(uuid4()), owner_id=user.id, status=status)
    file.upload_expires_at = file.created_at = created_at
    session.add(file)
    session.commit()
    return file


def uploads_by_day(stats: StatsRepository) -> list[tuple[date, int]]:
    """Return the number of uploads on each day that had any."""
    return [(day.day, day.uploads) for day in stats.traffic_by_day(days=STATS_DAYS) if day.uploads]


def test_uploads_of_counted_hours_and_of_later_ones_are_summed_by_day(own_session: Session) -> None:
    stats, now = StatsRepository(own_session), clock.now()
    for hours in (0, 0, 1, 2, 25, 25, 24 * 29, 24 * 40):
        add_file(own_session, now - timedelta(hours=hours))
    expected = sorted(Counter((now - timedelta(hours=hours)).date() for hours in (0, 0, 1, 2, 25, 25, 24 * 29)).items())

    before = uploads_by_day(stats)
    hours = stats.count_ended_hours(days=STATS_DAYS)
    after = uploads_by_day(stats)

    assert before == after == expected
    assert hours == 24 * STATS_DAYS
    assert stats.count_ended_hours(days=STATS_DAYS) == 0


def test_hours_are_counted_again_only_after_they_have_ended(own_session: Session) -> None:
    stats, now = StatsRepository(own_session), clock.now().replace(minute=30)
    with time_machine.travel(now, tick=False):
        stats.count_ended_hours(days=STATS_DAYS)
        add_file(own_session, clock.now())
        assert sum(uploads for _, uploads in uploads_by_day(stats)) == 1
    with time_machine.travel(now + timedelta(minutes=34), tick=False):
        # An upload of the hour that has just ended may not be committed yet.
        assert stats.count_ended_hours(days=STATS_DAYS) == 0
    with time_machine.travel(now + timedelta(minutes=36), tick=False):
        assert stats.count_ended_hours(days=STATS_DAYS) == 1
        assert sum(uploads for _, uploads in uploads_by_day(stats)) == 1
    with time_machine.travel(now + timedelta(days=STATS_DAYS + 2), tick=False):
        assert stats.count_ended_hours(days=STATS_DAYS) > 24
        assert own_session.execute(select(func.count()).select_from(UploadHour)).scalar_one() == 24 * STATS_DAYS
        assert uploads_by_day(stats) == []


def test_traffic_of_a_day_has_bytes_downloads_and_storage(own_session: Session) -> None:
    stats, noon = StatsRepository(own_session), datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
    with time_machine.travel(noon, tick=False):
        add_file(own_session, noon, size=700)
        add_file(own_session, noon, size=50, status=FileStatus.PENDING)
        for action in ("share.downloaded", "share.downloaded", "share.download_resumed"):
            own_session.add(AuditEvent(at=noon, action=action))
        own_session.commit()
        uncounted = stats.traffic_by_day(days=2)
    with time_machine.travel(noon + timedelta(minutes=40), tick=False):
        stats.count_ended_hours(days=2)
        counted = stats.traffic_by_day(days=2)

    assert uncounted == [DayTraffic(noon.date(), 2, 750, 0, None)]
    assert counted[-1] == DayTraffic(noon.date(), 2, 750, 2, 750)
    # The hours that were counted together with the current one have no storage: it was not recorded at their end.
    assert counted[:-1] == [DayTraffic(noon.date() - timedelta(days=1), 0, 0, 0, None)]


def test_hours_of_an_earlier_version_have_uploads_only(own_session: Session) -> None:
    stats, midnight = StatsRepository(own_session), datetime(2026, 3, 4, tzinfo=UTC)
    own_session.add(UploadHour(hour=midnight, uploads=3))
    # The day on which the new version was installed: what is known of it is not all.
    own_session.add(UploadHour(hour=midnight + timedelta(days=1), uploads=2))
    own_session.add(UploadHour(hour=midnight + timedelta(days=1, hours=1), uploads=1, bytes=50, downloads=4, stored_bytes=70))
    # No uploads have no bytes.
    own_session.add(UploadHour(hour=midnight + timedelta(days=2), uploads=0))
    own_session.commit()

    with time_machine.travel(midnight + timedelta(days=2, hours=12), tick=False):
        traffic = stats.traffic_by_day(days=3)

    day = midnight.date()
    assert traffic == [
        DayTraffic(day, 3, None, None, None),
        DayTraffic(day + timedelta(days=1), 3, None, None, 70),
        DayTraffic(day + timedelta(days=2), 0, 0, None, None),
    ]


def test_hours_are_counted_in_statements_of_their_own(own_session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    stats, now = StatsRepository(own_session), datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
    with time_machine.travel(now, tick=False):
        stats.count_ended_hours(days=1)
    counted, execute = [], own_session.execute

    def fail_after_three(statement: Any, *args: Any, **options: Any) -> Any:
        if isinstance(statement, Insert):
            counted.append(statement)
            if len(counted) > 3:
                raise OperationalError("INSERT", {}, Exception("canceling statement due to statement timeout"))
        return execute(statement, *args, **options)

    with time_machine.travel(now + timedelta(hours=5), tick=False):
        monkeypatch.setattr(own_session, "execute", fail_after_three)
        with pytest.raises(OperationalError):
            stats.count_ended_hours(days=1)
        monkeypatch.undo()

        # The hours before the failure stay counted.
        assert stats.count_ended_hours(days=1) == 2


@pytest.mark.parametrize(("days", "first"), [(1, "2026-03-04"), (2, "2026-03-03")])
def test_stats_have_whole_days(own_session: Session, days: int, first: str) -> None:
    stats, midnight = StatsRepository(own_session), datetime(2026, 3, 4, tzinfo=UTC)
    for age in range(4):
        add_file(own_session, midnight - timedelta(days=age))
        add_file(own_session, midnight - timedelta(days=age) + timedelta(hours=23))

    for time in (midnight + timedelta(hours=23), midnight + timedelta(hours=23, minutes=59)):
        with time_machine.travel(time, tick=False):
            traffic = stats.traffic_by_day(days=days)

        assert traffic[0].day == date.fromisoformat(first)
        assert [day.uploads for day in traffic] == [2] * days


def test_stats_show_the_days_that_are_asked_for(client: httpx.Client, owner: Account, admin: Account) -> None:
    make_file(client, owner, b"1234567")

    stats = client.get(STATS, params={"days": 1}, headers=admin.headers).json()

    days = stats["traffic_by_day"]
    assert len(days) == 1
    assert days[0]["uploads"] >= 1
    assert days[0]["uploaded_bytes"] >= 7
    assert stats["uploads_by_day"] == [{"day": day["day"], "uploads": day["uploads"]} for day in days]


@pytest.mark.parametrize("days", ["0", str(STATS_DAYS_MAX + 1), "seven"])
def test_stats_refuse_other_numbers_of_days(client: httpx.Client, admin: Account, days: str) -> None:
    assert_problem(client.get(STATS, params={"days": days}, headers=admin.headers), 422, "malformed_request")


def test_totals_agree_with_the_files_of_each_state(own_session: Session) -> None:
    stats = StatsRepository(own_session)
    assert stats.totals() == ({"total": 0, "active": 0, "superusers": 0}, [])
    for size, status in enumerate([*FileStatus, FileStatus.AVAILABLE], start=1):
        add_file(own_session, clock.now(), status=status, size=size)

    users, files = stats.totals()

    total = func.sum(File.size_bytes)
    query = select(File.status, func.count(), total).group_by(File.status).order_by(File.status)
    assert [tuple(row) for row in files] == [(status, count, int(size)) for status, count, size in own_session.execute(query)]
    assert users["total"] == len(FileStatus) + 1


def test_revoking_sessions_of_an_unknown_user_returns_404(client: httpx.Client, owner: Account, admin: Account) -> None:
    assert_problem(client.delete(f"{USERS}/{uuid4()}/sessions", headers=admin.headers), 404, "user_not_found")
    assert_problem(client.delete(f"{USERS}/{owner.id}/sessions", headers=owner.headers), 403, "permission_denied")


def test_demoted_superuser_loses_access_on_the_next_request(client: httpx.Client, make_user: Any, admin: Account) -> None:
    other: Account = make_user(is_superuser=True)
    assert client.get(STATS, headers=other.headers).status_code == 200

    demotion = {"is_superuser": False, "current_password": admin.password}
    assert client.put(f"{USERS}/{other.id}", json=demotion, headers=admin.headers).status_code == 200

    assert_unauthenticated(client.get(STATS, headers=other.headers))
    signed_in_again = {"Authorization": f"Bearer {sign_in(client, email=other.email, password=other.password)}"}
    assert_problem(client.get(STATS, headers=signed_in_again), 403, "permission_denied")
    assert_unauthenticated(client.get(STATS))
