"""What one sweep mends, what it leaves alone, and how it goes on where it stopped."""

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
from tests.support.object_store import HeldObject


def held(body: bytes = b"x") -> HeldObject:
    return HeldObject(body, "text/plain", None)


@pytest.fixture(autouse=True)
def clean(life: Lifecycle) -> None:
    life.objects.objects.clear()
    life.objects.uploads.clear()
    life.sweep()
    with life.services.unit_of_work() as session:
        session.connection().exec_driver_sql('TRUNCATE file, idempotency_key, "user", sweep_position CASCADE')


def test_live_uploads_are_left_alone(life: Lifecycle) -> None:
    user = life.new_user()
    single, slow, parts = life.start(user), life.start(user), life.start_parts(user, 20)
    life.send_parts(user, parts, b"x" * 20)
    life.put(slow)
    life.traveller.shift(timedelta(minutes=14))

    assert life.sweep() == SweepReport()
    assert {life.status_of(file.id) for file in (single, slow, parts)} == {FileStatus.PENDING}
    assert life.complete(user, slow.id).status == "available"
    life.traveller.shift(timedelta(days=6))
    life.sweep()
    assert life.complete(user, parts.id).status == "available"


def test_large_put_that_began_in_time_may_take_its_time(life: Lifecycle) -> None:
    user = life.new_user()
    size_bytes = 2 * 1024**3
    life.start(user, size_bytes=size_bytes)
    life.traveller.shift(timedelta(hours=4))

    assert life.sweep().expired == 0
    life.traveller.shift(timedelta(hours=2))
    assert life.sweep().expired == 1


def test_upload_that_came_unnoticed_becomes_available_however_late(life: Lifecycle) -> None:
    user = life.new_user()
    file = life.start(user)
    life.put(file)
    life.traveller.shift(LONG_ENOUGH)

    assert life.sweep() == SweepReport(became_available=1)
    assert life.status_of(file.id) == FileStatus.AVAILABLE


def test_interrupted_upload_is_gone_after_one_sweep(life: Lifecycle) -> None:
    user = life.new_user()
    parts = life.start_parts(user, 20)
    life.send_parts(user, parts, b"x" * 20)
    life.traveller.shift(timedelta(days=7, seconds=1))

    assert life.sweep() == SweepReport(expired=1, removed=1)
    assert life.status_of(parts.id) is None
    assert life.objects.uploads == {}
    life.assert_nothing_differs()


def test_trash_is_emptied_when_its_time_is_over(life: Lifecycle) -> None:
    user = life.new_user()
    file = life.start(user)
    life.put(file)
    life.complete(user, file.id)
    life.delete(user, file.id)
    life.traveller.shift(timedelta(days=6, hours=23))
    assert life.sweep() == SweepReport()

    life.traveller.shift(timedelta(hours=2))

    assert life.sweep() == SweepReport(purged=1, removed=1)
    assert refused(partial(life.restore, user, file.id)) == "file_not_found"
    life.assert_nothing_differs()


def test_strays_are_deleted_and_young_uploads_spared(life: Lifecycle) -> None:
    orphan = object_key(uuid4())
    life.objects.objects[orphan] = held()
    life.objects.objects["uploads/not-ours"] = held()
    life.objects.objects["elsewhere/file"] = held()
    life.traveller.shift(timedelta(hours=1))
    young = life.objects.start_multipart(key=object_key(uuid4()), content_type="a/b", with_digests=False)
    fresh = object_key(uuid4())
    life.objects.objects[fresh] = held()

    assert life.sweep() == SweepReport(deleted_objects=1)
    assert fresh in life.objects.objects
    del life.objects.objects[fresh]
    assert set(life.objects.objects) == {"uploads/not-ours", "elsewhere/file"}
    assert set(life.objects.uploads) == {young}
    life.traveller.shift(timedelta(hours=1))
    assert life.sweep() == SweepReport(aborted_uploads=1)
    del life.objects.objects["uploads/not-ours"], life.objects.objects["elsewhere/file"]


def test_sweep_does_not_take_a_bucket_without_its_database_for_rubbish(life: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a database was restored to an earlier day, or DATABASE_URL named another one."""
    monkeypatch.setattr(sweep_module, "BRAKE_OBJECTS", 10)
    for _ in range(11):
        life.objects.objects[object_key(uuid4())] = held()
    life.traveller.shift(LONG_ENOUGH)

    report = life.sweep()

    assert (report.deleted_objects, report.failures, report.is_finished) == (0, 1, False)
    assert len(life.objects.objects) == 11
    life.objects.objects.clear()


def test_file_that_lost_its_object_is_reported_and_kept(life: Lifecycle) -> None:
    user = life.new_user()
    file = life.start(user)
    life.put(file)
    life.complete(user, file.id)
    life.objects.objects.clear()

    assert life.sweep() == SweepReport(lost_objects=1)
    assert life.status_of(file.id) == FileStatus.AVAILABLE


def test_dry_run_counts_and_changes_nothing(life: Lifecycle) -> None:
    user = life.new_user()
    pending = life.start(user)
    life.objects.objects[object_key(uuid4())] = held()
    life.traveller.shift(LONG_ENOUGH)

    with life.services.unit_of_work() as session:
        dry = life.services.sweep(session).run(budget_seconds=60, is_dry=True)

    assert dry == SweepReport(expired=1, deleted_objects=1)
    assert life.status_of(pending.id) == FileStatus.PENDING
    assert len(life.objects.objects) == 1


def test_sweep_goes_on_where_its_time_ran_out(life: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "PAGE_KEYS", 2)
    for _ in range(7):
        life.objects.objects[object_key(uuid4())] = held()
    life.traveller.shift(timedelta(hours=1))
    reports = []
    for _ in range(20):
        with life.services.unit_of_work() as session:
            reports.append(life.services.sweep(session).run(budget_seconds=0))
        if reports[-1].is_finished:
            break
        monkeypatch.setattr(sweep_module, "monotonic", ticking(12))

    assert not reports[0].is_finished
    assert sum(report.deleted_objects for report in reports) == 7
    assert max(report.deleted_objects for report in reports) < 7
    assert life.objects.objects == {}


def ticking(steps: int) -> Callable[[], float]:
    """A clock of which a run sees so many steps."""
    left = iter([0.0, *([-1.0] * 3)])
    return lambda: next(left, 1.0)


def test_store_that_is_down_is_counted_and_tried_again(life: Lifecycle) -> None:
    user = life.new_user()
    file = life.start(user)
    life.traveller.shift(LONG_ENOUGH)
    life.objects.is_down = True
    report = life.sweep()
    life.objects.is_down = False

    assert report.failures == 3
    assert life.status_of(file.id) == FileStatus.PENDING
    assert life.sweep().failures == 0
    life.assert_nothing_differs()


def test_rejected_files_are_shown_for_a_month(life: Lifecycle) -> None:
    user = life.new_user()
    file = life.start(user)
    life.objects.objects[file.s3_key] = held(b"another length")
    assert refused(partial(life.complete, user, file.id)) == "upload_rejected"
    life.traveller.shift(timedelta(days=29))
    life.sweep()
    assert life.status_of(file.id) == FileStatus.REJECTED

    life.traveller.shift(timedelta(days=2))

    assert life.sweep() == SweepReport(purged=1, removed=1)
    assert clock.now() > file.created_at
