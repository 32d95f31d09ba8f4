"""The sweep: what it repairs, what it does not change, and how it continues after its time budget."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest

from lambda_app.core import clock
from lambda_app.models import FileStatus
from lambda_app.services.files import sweep as sweep_module
from lambda_app.services.files.sweep import SweepReport
from lambda_app.storage.keys import object_key
from tests.support.lifecycle import LONG_ENOUGH, Lifecycle, refused
from tests.support.object_store import FakeObject


def held(body: bytes = b"x") -> FakeObject:
    return FakeObject(body, "text/plain", None)


@pytest.fixture(autouse=True)
def clean(lifecycle: Lifecycle) -> None:
    lifecycle.objects.objects.clear()
    lifecycle.objects.uploads.clear()
    lifecycle.sweep()
    with lifecycle.services.unit_of_work() as session:
        session.connection().exec_driver_sql('TRUNCATE file, idempotency_key, "user", sweep_position, tombstone CASCADE')


def test_sweep_leaves_active_uploads_unchanged(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    single, slow, parts = lifecycle.start(user), lifecycle.start(user), lifecycle.start_parts(user, 20)
    lifecycle.send_parts(user, parts, b"x" * 20)
    lifecycle.put(slow)
    lifecycle.traveller.shift(timedelta(minutes=14))

    assert lifecycle.sweep() == SweepReport()
    assert {lifecycle.status_of(file.id) for file in (single, slow, parts)} == {FileStatus.PENDING}
    assert lifecycle.complete(user, slow.id).status == "available"
    lifecycle.traveller.shift(timedelta(days=6))
    lifecycle.sweep()
    assert lifecycle.complete(user, parts.id).status == "available"


def test_large_put_that_started_in_time_can_finish_after_the_url_expires(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    size_bytes = 2 * 1024**3
    lifecycle.start(user, size_bytes=size_bytes)
    lifecycle.traveller.shift(timedelta(hours=4))

    assert lifecycle.sweep().expired == 0
    lifecycle.traveller.shift(timedelta(hours=2))
    assert lifecycle.sweep().expired == 1


def test_unreported_upload_becomes_available_even_after_its_deadline(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    file = lifecycle.start(user)
    lifecycle.put(file)
    lifecycle.traveller.shift(LONG_ENOUGH)

    assert lifecycle.sweep() == SweepReport(became_available=1)
    assert lifecycle.status_of(file.id) == FileStatus.AVAILABLE


def test_one_sweep_removes_an_interrupted_upload(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    parts = lifecycle.start_parts(user, 20)
    lifecycle.send_parts(user, parts, b"x" * 20)
    lifecycle.traveller.shift(timedelta(days=7, seconds=1))

    assert lifecycle.sweep() == SweepReport(expired=1, removed=1)
    assert lifecycle.status_of(parts.id) is None
    assert lifecycle.objects.uploads == {}
    lifecycle.assert_nothing_differs()


def test_sweep_deletes_files_from_the_trash_after_the_retention(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    file = lifecycle.start(user)
    lifecycle.put(file)
    lifecycle.complete(user, file.id)
    lifecycle.delete(user, file.id)
    lifecycle.traveller.shift(timedelta(days=6, hours=23))
    assert lifecycle.sweep() == SweepReport()

    lifecycle.traveller.shift(timedelta(hours=2))

    assert lifecycle.sweep() == SweepReport(purged=1, removed=1)
    assert refused(partial(lifecycle.restore, user, file.id)) == "file_not_found"
    lifecycle.assert_nothing_differs()


def test_sweep_deletes_orphans_and_leaves_recent_uploads(lifecycle: Lifecycle) -> None:
    orphan = object_key(uuid4())
    lifecycle.objects.objects[orphan] = held()
    lifecycle.objects.objects["uploads/not-ours"] = held()
    lifecycle.objects.objects["elsewhere/file"] = held()
    lifecycle.traveller.shift(timedelta(hours=1))
    young = lifecycle.objects.start_multipart(key=object_key(uuid4()), content_type="a/b", with_digests=False)
    fresh = object_key(uuid4())
    lifecycle.objects.objects[fresh] = held()

    assert lifecycle.sweep() == SweepReport(deleted_objects=1)
    assert fresh in lifecycle.objects.objects
    del lifecycle.objects.objects[fresh]
    assert set(lifecycle.objects.objects) == {"uploads/not-ours", "elsewhere/file"}
    assert set(lifecycle.objects.uploads) == {young}
    lifecycle.traveller.shift(timedelta(hours=1))
    assert lifecycle.sweep() == SweepReport(aborted_uploads=1)
    del lifecycle.objects.objects["uploads/not-ours"], lifecycle.objects.objects["elsewhere/file"]


def test_sweep_deletes_nothing_if_most_objects_are_unknown(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example after an old backup of the database was restored, or with a wrong DATABASE_URL."""
    monkeypatch.setattr(sweep_module, "UNKNOWN_OBJECTS_MAX_COUNT", 10)
    for _ in range(11):
        lifecycle.objects.objects[object_key(uuid4())] = held()
    lifecycle.traveller.shift(LONG_ENOUGH)

    report = lifecycle.sweep()

    assert (report.deleted_objects, report.failures, report.is_finished) == (0, 1, False)
    assert len(lifecycle.objects.objects) == 11
    lifecycle.objects.objects.clear()


def test_file_without_its_object_is_reported_and_not_changed(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    file = lifecycle.start(user)
    lifecycle.put(file)
    lifecycle.complete(user, file.id)
    lifecycle.objects.objects.clear()

    assert lifecycle.sweep() == SweepReport(lost_objects=1)
    assert lifecycle.status_of(file.id) == FileStatus.AVAILABLE


def test_dry_run_reports_and_changes_nothing(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    pending = lifecycle.start(user)
    lifecycle.objects.objects[object_key(uuid4())] = held()
    lifecycle.traveller.shift(LONG_ENOUGH)

    with lifecycle.services.unit_of_work() as session:
        dry = lifecycle.services.sweep(session).run(budget_seconds=600, is_dry=True)

    assert dry == SweepReport(expired=1, deleted_objects=1)
    assert lifecycle.status_of(pending.id) == FileStatus.PENDING
    assert len(lifecycle.objects.objects) == 1


def test_sweep_continues_where_its_time_budget_ended(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "PAGE_KEYS", 2)
    for _ in range(7):
        lifecycle.objects.objects[object_key(uuid4())] = held()
    lifecycle.traveller.shift(timedelta(hours=1))
    reports = []
    for _ in range(20):
        with lifecycle.services.unit_of_work() as session:
            reports.append(lifecycle.services.sweep(session).run(budget_seconds=0))
        if reports[-1].is_finished:
            break
        monkeypatch.setattr(sweep_module, "monotonic", ticking(12))

    assert not reports[0].is_finished
    assert sum(report.deleted_objects for report in reports) == 7
    assert max(report.deleted_objects for report in reports) < 7
    assert lifecycle.objects.objects == {}


def ticking(steps: int) -> Callable[[], float]:
    """Return a clock with which a run executes some steps before its time budget ends."""
    left = iter([0.0, *([-1.0] * 3)])
    return lambda: next(left, 1.0)


def test_sweep_counts_s3_failures_and_retries_them(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    file = lifecycle.start(user)
    lifecycle.traveller.shift(LONG_ENOUGH)
    lifecycle.objects.is_down = True
    report = lifecycle.sweep()
    lifecycle.objects.is_down = False

    assert report.failures == 3
    assert lifecycle.status_of(file.id) == FileStatus.PENDING
    assert lifecycle.sweep().failures == 0
    lifecycle.assert_nothing_differs()


def test_rejected_files_are_listed_for_thirty_days(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    file = lifecycle.start(user)
    lifecycle.objects.objects[file.s3_key] = held(b"another length")
    assert refused(partial(lifecycle.complete, user, file.id)) == "upload_rejected"
    lifecycle.traveller.shift(timedelta(days=29))
    lifecycle.sweep()
    assert lifecycle.status_of(file.id) == FileStatus.REJECTED

    lifecycle.traveller.shift(timedelta(days=2))

    assert lifecycle.sweep() == SweepReport(purged=1, removed=1)
    assert clock.now() > file.created_at
