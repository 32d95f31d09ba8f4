"""Archives that are built in several attempts: crashes, concurrent workers, retries, limits and expiry."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.models import Archive, File, User
from lambda_app.schemas.files.files import FileUpdate
from lambda_app.services.archives import archives
from lambda_app.services.archives import builds as archive_builds
from lambda_app.services.archives.archives import REQUEUE_GRACE, UNFINISHED_MAX_COUNT
from lambda_app.services.archives.builds import LEASE, PAUSES_SECONDS, SCAN_GRACE, BuildResult
from lambda_app.services.archives.sweep import ATTEMPTS_MAX_COUNT
from lambda_app.storage.keys import ARCHIVE_PREFIX
from tests.support.archives import (
    BODIES,
    SMALL_PART,
    build,
    build_parts,
    deliver,
    get_archive,
    link_to,
    make_file,
    make_files,
    open_zip,
    remaining_keys,
    requested,
    revoke,
    start,
    start_for_link,
    sweep,
    with_archives,
)
from tests.support.crashes import Crash, CrashPoint, InterceptedStore, crashing
from tests.support.lifecycle import Lifecycle, refused
from tests.support.object_store import FakeObject

pytestmark = pytest.mark.usefixtures("pauses", "small_parts")


def with_failing_call(lifecycle: Lifecycle, *, at: int) -> Lifecycle:
    """Return a lifecycle in which the `at`-th call of the store fails."""
    calls = 0

    def around(call: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise UnavailableError
        return call()

    return lifecycle.with_store(InterceptedStore(lifecycle.objects, around))


def assert_holds_bodies(lifecycle: Lifecycle, archive: Archive) -> None:
    with open_zip(lifecycle, archive) as found:
        assert [entry.filename for entry in found.infolist()] == [f"{number}.bin" for number in range(len(BODIES))]
        assert [found.read(entry) for entry in found.infolist()] == list(BODIES)


def test_zip_of_several_parts_contains_every_file(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    archive = start(lifecycle, user, make_files(lifecycle, user), filename="all")

    before = get_archive(lifecycle, user, archive.id)
    assert deliver(lifecycle) == [BuildResult.READY]
    after = get_archive(lifecycle, user, archive.id)

    assert (before.status, before.request, before.archive.filename) == ("queued", None, "all.zip")
    assert (after.status, after.archive.done_bytes) == ("ready", archive.size_bytes)
    assert len(lifecycle.objects.objects[archive.s3_key].body) == archive.size_bytes > 3 * SMALL_PART
    assert after.request is not None
    assert_holds_bodies(lifecycle, archive)
    assert remaining_keys(lifecycle) == [archive.s3_key]


def test_build_continues_over_attempts_of_one_part_each(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    user = lifecycle.new_user()
    archive = start(lifecycle, user, make_files(lifecycle, user))
    ticks = iter(range(10**6))
    monkeypatch.setattr(archive_builds, "monotonic", lambda: next(ticks))

    # The first tick is the start of an attempt; each part reads one more.
    turns = 0
    while (built := build(lifecycle, archive.id, budget_seconds=2)) is BuildResult.UNFINISHED:
        turns += 1
        assert requested(lifecycle) == [archive.id], "the next attempt must be queued"

    assert built is BuildResult.READY
    assert turns >= archive.size_bytes // SMALL_PART
    assert_holds_bodies(lifecycle, archive)


@pytest.mark.slow
def test_build_completes_after_a_worker_crash_at_any_point(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    files = make_files(lifecycle, user)
    crashes = 0
    while True:
        archive = start(lifecycle, user, files, filename=f"{crashes}.zip")
        has_crashed = False
        try:
            with crashing(lifecycle, CrashPoint(at=crashes + 1)) as crashing_lifecycle:
                build(crashing_lifecycle, archive.id)
        except Crash:
            has_crashed = True
        lifecycle.traveller.shift(LEASE + REQUEUE_GRACE + timedelta(seconds=1))

        report = sweep(lifecycle)
        deliver(lifecycle)

        assert (report.archive_failures, report.archives_are_finished) == (0, True)
        assert get_archive(lifecycle, user, archive.id).status == "ready"
        assert_holds_bodies(lifecycle, archive)
        if not has_crashed:
            break
        crashes += 1
    print(f"{crashes} crashes")
    lifecycle.traveller.shift(timedelta(days=2))
    sweep(lifecycle)
    assert remaining_keys(lifecycle) == []
    assert crashes > 2 * archive.size_bytes // SMALL_PART


def delete_queued(lifecycle: Lifecycle, user: User, files: list[File]) -> Callable[[Lifecycle], object]:
    archive = start(lifecycle, user, files)
    return lambda crashing_lifecycle: with_archives(crashing_lifecycle.services, lambda archives: archives.delete(user, archive.id))


def delete_building(lifecycle: Lifecycle, user: User, files: list[File]) -> Callable[[Lifecycle], object]:
    delete = delete_queued(lifecycle, user, files)
    build_parts(lifecycle, *requested(lifecycle), count=1)
    return delete


def delete_ready(lifecycle: Lifecycle, user: User, files: list[File]) -> Callable[[Lifecycle], object]:
    delete = delete_queued(lifecycle, user, files)
    deliver(lifecycle)
    return delete


def revoke_link_while_building(lifecycle: Lifecycle, user: User, files: list[File]) -> Callable[[Lifecycle], object]:
    share = link_to(lifecycle, user, *files)
    archive = start_for_link(lifecycle, share, *files)
    build_parts(lifecycle, archive.id, count=1)

    def act(crashing_lifecycle: Lifecycle) -> None:
        revoke(crashing_lifecycle, user, share)
        sweep(crashing_lifecycle)

    return act


def fail_while_building(lifecycle: Lifecycle, user: User, files: list[File]) -> Callable[[Lifecycle], object]:
    archive = start(lifecycle, user, files)
    build_parts(lifecycle, archive.id, count=1)
    lifecycle.delete(user, files[1].id, is_permanent=True)
    return lambda crashing_lifecycle: build(crashing_lifecycle, archive.id)


def expire(lifecycle: Lifecycle, user: User, files: list[File]) -> Callable[[Lifecycle], object]:
    start(lifecycle, user, files)
    deliver(lifecycle)
    lifecycle.traveller.shift(timedelta(days=2))
    return sweep


def request_archive(_lifecycle: Lifecycle, user: User, files: list[File]) -> Callable[[Lifecycle], object]:
    return lambda crashing_lifecycle: start(crashing_lifecycle, user, files)


@pytest.mark.slow
@pytest.mark.parametrize(
    "flow",
    [request_archive, delete_queued, delete_building, delete_ready, revoke_link_while_building, fail_while_building, expire],
    ids=lambda flow: flow.__name__,
)
def test_crash_in_any_other_flow_leaves_no_objects(lifecycle: Lifecycle, flow: Callable[..., Callable[[Lifecycle], object]]) -> None:
    crashes = 0
    has_crashed = True
    while has_crashed:
        user = lifecycle.new_user()
        act = flow(lifecycle, user, [make_file(lifecycle, user, BODIES[1]), make_file(lifecycle, user)])
        try:
            with crashing(lifecycle, CrashPoint(at=crashes + 1)) as crashing_lifecycle:
                act(crashing_lifecycle)
        except Crash:
            crashes += 1
        else:
            has_crashed = False

        # The last row is deleted by a later sweep, because its number is reserved for a while.
        for _ in range(3):
            lifecycle.traveller.shift(timedelta(days=2))
            assert sweep(lifecycle).archive_failures == 0
            deliver(lifecycle)

        assert remaining_keys(lifecycle) == []
        with lifecycle.services.unit_of_work() as session:
            assert session.execute(text("SELECT count(*) FROM archive")).scalar_one() == 0
    assert crashes >= 2


def test_concurrent_workers_build_one_valid_zip(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    archive = start(lifecycle, user, make_files(lifecycle, user))
    done: list[BuildResult] = []

    workers = [threading.Thread(target=lambda: done.append(build(lifecycle, archive.id))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert sorted(built.value for built in done) == ["nothing"] * 3 + ["ready"]
    assert_holds_bodies(lifecycle, archive)


def test_worker_with_an_expired_lease_changes_nothing(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    archive = start(lifecycle, user, make_files(lifecycle, user))
    sent = 0

    def around(call: Callable[[], Any]) -> Any:
        nonlocal sent
        sent += 1
        if sent == 8:
            lifecycle.traveller.shift(LEASE + timedelta(seconds=1))
            assert build(lifecycle, archive.id) is BuildResult.READY
        return call()

    stalled = lifecycle.with_store(InterceptedStore(lifecycle.objects, around))

    assert build(stalled, archive.id) is BuildResult.SUPERSEDED
    assert get_archive(lifecycle, user, archive.id).status == "ready"
    assert_holds_bodies(lifecycle, archive)


def test_build_restarts_when_the_multipart_upload_is_lost(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    archive = start(lifecycle, user, make_files(lifecycle, user))
    build_parts(lifecycle, archive.id, count=2)
    lifecycle.objects.uploads.clear()

    assert deliver(lifecycle) == [BuildResult.READY]
    assert_holds_bodies(lifecycle, archive)


def test_file_deleted_during_the_build_fails_the_archive(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    files = make_files(lifecycle, user)
    archive = start(lifecycle, user, files)
    build_parts(lifecycle, archive.id, count=1)
    lifecycle.delete(user, files[-1].id, is_permanent=True)

    assert deliver(lifecycle) == [BuildResult.FAILED]
    found = get_archive(lifecycle, user, archive.id)
    assert (found.status, found.error_code, found.request) == ("failed", "files_changed", None)
    assert remaining_keys(lifecycle) == []
    assert start(lifecycle, user, files[:-1]).id != archive.id


@pytest.mark.parametrize("loss", ["trashed", "private", "disabled"])
def test_lost_permission_fails_the_build_and_withdraws_the_download(lifecycle: Lifecycle, loss: str) -> None:
    owner, reader = lifecycle.new_user(), lifecycle.new_user()

    def lose(file: File) -> None:
        if loss == "trashed":
            lifecycle.delete(owner, file.id)
        elif loss == "private":
            with lifecycle.services.unit_of_work() as session:
                session.execute(text("UPDATE file SET is_public = false WHERE id = :id"), {"id": file.id})
        else:
            with lifecycle.services.unit_of_work() as session:
                session.execute(text('UPDATE "user" SET is_active = false WHERE id = :id'), {"id": reader.id})

    early, late = make_file(lifecycle, owner, is_public=True), make_file(lifecycle, owner, is_public=True)
    ready = start(lifecycle, reader, [late])
    assert deliver(lifecycle) == [BuildResult.READY]
    assert get_archive(lifecycle, reader, ready.id).request is not None
    waiting = start(lifecycle, reader, [early])

    lose(early)
    lose(late)

    assert deliver(lifecycle) == [BuildResult.FAILED]
    assert get_archive(lifecycle, reader, waiting.id).error_code == "files_changed"
    if loss != "disabled":  # requests of a disabled user are refused before
        found = get_archive(lifecycle, reader, ready.id)
        assert (found.status, found.error_code, found.request) == ("failed", "files_changed", None)


@pytest.mark.parametrize("loss", ["trashed", "deleted", "private", "unlinked", "revoked"])
def test_sweep_deletes_a_zip_that_its_requester_may_not_read_any_more(lifecycle: Lifecycle, loss: str) -> None:
    owner, reader = lifecycle.new_user(), lifecycle.new_user()
    kept, lost = (make_file(lifecycle, owner, is_public=True) for _ in range(2))
    share = link_to(lifecycle, owner, kept, lost)
    of_reader, of_link = start(lifecycle, reader, [kept, lost]), start_for_link(lifecycle, share, kept, lost)
    untouched = start(lifecycle, reader, [kept])
    assert deliver(lifecycle).count(BuildResult.READY) == 3
    assert sweep(lifecycle).removed_archives == 0

    match loss:
        case "trashed" | "deleted":
            lifecycle.delete(owner, lost.id, is_permanent=loss == "deleted")
        case "private":
            lifecycle.file(lambda files: files.update_file(owner, lost.id, FileUpdate(is_public=False)))
        case "unlinked":
            with lifecycle.services.unit_of_work() as session:
                session.execute(text("DELETE FROM share_file WHERE file_id = :lost"), {"lost": lost.id})
        case "revoked":
            revoke(lifecycle, owner, share)
    ends = {"trashed": {of_reader.id, of_link.id}, "deleted": {of_reader.id, of_link.id}, "private": {of_reader.id}}.get(loss, {of_link.id})

    report = sweep(lifecycle)

    # The revocation of a link ends its archives by itself.
    assert (report.withdrawn_archives, report.removed_archives) == ((0, 1) if loss == "revoked" else (len(ends), 0))
    expected = {archive.s3_key for archive in (of_reader, of_link, untouched) if archive.id not in ends}
    assert {key for key in lifecycle.objects.objects if key.startswith(ARCHIVE_PREFIX)} == expected
    assert sweep(lifecycle).withdrawn_archives == 0


def test_zip_of_own_files_only_has_a_url_for_the_usual_time(lifecycle: Lifecycle) -> None:
    owner, other = lifecycle.new_user(), lifecycle.new_user()
    own, public = make_file(lifecycle, owner), make_file(lifecycle, other, is_public=True)
    of_own, of_both = start(lifecycle, owner, [own]), start(lifecycle, owner, [own, public])
    deliver(lifecycle)

    requests = [get_archive(lifecycle, owner, archive.id).request for archive in (of_own, of_both)]

    now = clock.now()
    assert [request and (request.expires_at - now).total_seconds() for request in requests] == [900, 60]


def test_archive_deleted_during_the_build_leaves_no_objects(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    archive = start(lifecycle, user, make_files(lifecycle, user))
    calls = 0

    def around(call: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        answer = call()
        if calls == 8:
            with_archives(lifecycle.services, lambda archives: archives.delete(user, archive.id))
        return answer

    assert build(lifecycle.with_store(InterceptedStore(lifecycle.objects, around)), archive.id) is BuildResult.SUPERSEDED
    assert remaining_keys(lifecycle) == []
    assert refused(lambda: get_archive(lifecycle, user, archive.id)) == "archive_not_found"


def test_expired_archive_is_refused_then_removed(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    archive = start(lifecycle, user, [make_file(lifecycle, user)])
    deliver(lifecycle)
    lifecycle.traveller.shift(timedelta(hours=24))

    assert refused(lambda: get_archive(lifecycle, user, archive.id)) == "archive_expired"
    lifecycle.traveller.shift(timedelta(seconds=1))
    assert sweep(lifecycle).removed_archives == 1
    assert refused(lambda: get_archive(lifecycle, user, archive.id)) == "archive_not_found"
    assert remaining_keys(lifecycle) == []


def test_archive_fails_after_repeated_worker_crashes(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    archive = start(lifecycle, user, [make_file(lifecycle, user)])
    woken = 0
    while True:
        with pytest.raises(Crash), crashing(lifecycle, CrashPoint(at=3)) as crashing_lifecycle:
            build(crashing_lifecycle, archive.id)
        lifecycle.traveller.shift(LEASE + timedelta(seconds=1))
        report = sweep(lifecycle)
        if report.given_up_archives:
            break
        woken += report.woken_archives

    assert woken == ATTEMPTS_MAX_COUNT - 1
    assert get_archive(lifecycle, user, archive.id).error_code == "given_up"
    assert build(lifecycle, archive.id) is BuildResult.NOTHING
    lifecycle.traveller.shift(timedelta(hours=2))
    sweep(lifecycle)
    assert remaining_keys(lifecycle) == []


def test_sweep_queues_an_archive_whose_marker_was_lost(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    archive = start(lifecycle, user, [make_file(lifecycle, user)])
    lifecycle.objects.objects.pop(f"archive-requests/{archive.id}")

    lifecycle.traveller.shift(REQUEUE_GRACE - timedelta(seconds=1))
    assert sweep(lifecycle).woken_archives == 0
    lifecycle.traveller.shift(timedelta(seconds=2))
    assert sweep(lifecycle).woken_archives == 1
    assert deliver(lifecycle) == [BuildResult.READY]


def test_sweep_deletes_orphans_and_leaves_unfinished_archives(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    archive = start(lifecycle, user, make_files(lifecycle, user))
    with pytest.raises(Crash), crashing(lifecycle, CrashPoint(at=9)) as crashing_lifecycle:
        build(crashing_lifecycle, archive.id)
    lifecycle.objects.start_multipart(key=archive.s3_key, content_type="a/b", with_digests=True)
    lifecycle.objects.start_multipart(key=f"archives/{uuid4()}", content_type="a/b", with_digests=True)
    for key in (f"archives/{uuid4()}", f"archive-requests/{uuid4()}", "archives/else"):
        lifecycle.objects.objects[key] = FakeObject(b"", "a/b", None)
    lifecycle.traveller.shift(timedelta(minutes=59))
    first = sweep(lifecycle)
    lifecycle.traveller.shift(timedelta(minutes=2))

    second = sweep(lifecycle)

    assert (first.stray_archive_parts, first.stray_archive_objects) == (0, 0)
    assert (second.stray_archive_parts, second.stray_archive_objects) == (2, 3)
    assert deliver(lifecycle) == [BuildResult.READY]
    assert_holds_bodies(lifecycle, archive)


def test_build_and_sweep_succeed_after_an_s3_outage(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    files = make_files(lifecycle, user)
    lifecycle.objects.is_down = True
    assert refused(lambda: start(lifecycle, user, files)) == "store_unavailable"
    lifecycle.objects.is_down = False
    archive = start(lifecycle, user, files)
    lifecycle.objects.is_down = True

    assert refused(lambda: build(lifecycle, archive.id)) == "store_unavailable"
    assert sweep(lifecycle).archive_failures > 0
    lifecycle.objects.is_down = False

    assert deliver(lifecycle) == [BuildResult.READY]


@pytest.mark.slow
def test_s3_error_at_any_call_is_retried(lifecycle: Lifecycle, pauses: list[float]) -> None:
    """The worker itself queues the retry after a delay; the sweep is not involved."""
    user = lifecycle.new_user()
    files = make_files(lifecycle, user)
    broken = 0
    while True:
        archive = start(lifecycle, user, files, filename=f"{broken}.zip")
        if build(with_failing_call(lifecycle, at=broken + 1), archive.id) is BuildResult.READY:
            break
        assert requested(lifecycle) == [archive.id]
        assert deliver(lifecycle) == [BuildResult.READY]
        assert_holds_bodies(lifecycle, archive)
        assert sweep(lifecycle).woken_archives == 0
        broken += 1

    print(f"failed at {broken} calls")
    assert broken > archive.size_bytes // SMALL_PART
    assert pauses == [PAUSES_SECONDS[0]] * broken


def test_retries_back_off_while_s3_fails(lifecycle: Lifecycle, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    user = lifecycle.new_user()
    archive = start(lifecycle, user, [make_file(lifecycle, user)])

    def refuse(*_: object, **__: object) -> None:
        raise UnavailableError

    monkeypatch.setattr(lifecycle.objects, "open", refuse)

    # The worker retries with each of its delays; after that the sweep retries, until the archive fails.
    assert [build(lifecycle, archive.id) for _ in PAUSES_SECONDS] == [BuildResult.RETRY] * len(PAUSES_SECONDS)
    assert refused(lambda: build(lifecycle, archive.id)) == "unavailable"
    assert requested(lifecycle) == []
    turns = len(PAUSES_SECONDS) + 1
    while True:
        lifecycle.traveller.shift(LEASE + timedelta(seconds=1))
        report = sweep(lifecycle)
        if report.given_up_archives:
            break
        assert (report.woken_archives, requested(lifecycle)) == (1, [archive.id])
        assert refused(lambda: build(lifecycle, archive.id)) == "unavailable"
        turns += 1

    assert pauses == list(PAUSES_SECONDS)
    assert turns == ATTEMPTS_MAX_COUNT
    assert get_archive(lifecycle, user, archive.id).error_code == "given_up"


def test_finished_part_resets_the_backoff(lifecycle: Lifecycle, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    user = lifecycle.new_user()
    archive = start(lifecycle, user, make_files(lifecycle, user))
    read, send, reads, sent = lifecycle.objects.open, lifecycle.objects.send_part, 0, 0

    def read_after_three_turns(key: str, *, offset: int) -> Any:
        nonlocal reads
        reads += 1
        if reads <= len(PAUSES_SECONDS):
            raise UnavailableError
        return read(key, offset=offset)

    def send_every_second(**part: Any) -> bool:
        nonlocal sent
        sent += 1
        if sent % 2 == 0:
            raise UnavailableError
        return send(**part)

    monkeypatch.setattr(lifecycle.objects, "open", read_after_three_turns)
    monkeypatch.setattr(lifecycle.objects, "send_part", send_every_second)
    while (built := build(lifecycle, archive.id)) is BuildResult.RETRY:
        assert requested(lifecycle) == [archive.id]

    assert built is BuildResult.READY
    assert_holds_bodies(lifecycle, archive)
    assert pauses[: len(PAUSES_SECONDS)] == list(PAUSES_SECONDS)
    assert set(pauses[len(PAUSES_SECONDS) :]) == {PAUSES_SECONDS[0]}


def test_superseded_attempt_queues_no_retry(lifecycle: Lifecycle, pauses: list[float]) -> None:
    user = lifecycle.new_user()
    archive = start(lifecycle, user, make_files(lifecycle, user))
    calls = 0

    def around(call: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            with_archives(lifecycle.services, lambda archives: archives.delete(user, archive.id))
            raise UnavailableError
        return call()

    assert build(lifecycle.with_store(InterceptedStore(lifecycle.objects, around)), archive.id) is BuildResult.SUPERSEDED
    assert (pauses, requested(lifecycle)) == ([], [])


def test_build_waits_for_a_malware_scan(lifecycle: Lifecycle, pauses: list[float]) -> None:
    user = lifecycle.new_user()
    files = make_files(lifecycle, user)
    archive = start(lifecycle, user, files)
    lifecycle.objects.withheld.add(files[-1].s3_key)

    assert set(deliver(lifecycle)) == {BuildResult.RETRY}
    # The parts before the withheld file are finished first, which resets the backoff.
    assert pauses[-3:] == [5.0, 20.0, 60.0]
    lifecycle.objects.withheld.clear()
    lifecycle.traveller.shift(timedelta(minutes=15))
    sweep(lifecycle)

    assert deliver(lifecycle) == [BuildResult.READY]
    assert get_archive(lifecycle, user, archive.id).status == "ready"


def test_last_number_is_not_reused_while_a_request_can_be_in_progress(lifecycle: Lifecycle) -> None:
    """A concurrent request may have counted up to this number. With the same number, two requests would both pass the limit."""
    user = lifecycle.new_user()
    files = make_files(lifecycle, user)

    def number_of(name: str) -> int:
        created = start(lifecycle, user, files, filename=name)
        with lifecycle.services.unit_of_work() as session:
            number = session.get_one(Archive, created.id).number
            lifecycle.services.archives(session).delete(session.get_one(User, user.id), created.id)
        assert refused(lambda: get_archive(lifecycle, user, created.id)) == "archive_not_found"
        return number

    assert [number_of(name) for name in ("a.zip", "b.zip", "c.zip")] == [1, 2, 3]
    lifecycle.traveller.shift(timedelta(minutes=15))
    sweep(lifecycle)
    assert number_of("d.zip") == 1


def test_repeated_request_extends_an_archive_at_the_storage_limit(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    user = lifecycle.new_user()
    files = make_files(lifecycle, user)
    archive = start(lifecycle, user, files)
    assert deliver(lifecycle) == [BuildResult.READY]
    monkeypatch.setattr(archives, "STORED_MAX_BYTES", archive.size_bytes)
    lifecycle.traveller.shift(timedelta(hours=23))

    assert start(lifecycle, user, files).id == archive.id
    lifecycle.traveller.shift(timedelta(hours=23))
    sweep(lifecycle)

    assert get_archive(lifecycle, user, archive.id).status == "ready"


def test_file_withheld_beyond_the_grace_period_fails_the_archive(lifecycle: Lifecycle, pauses: list[float]) -> None:
    user = lifecycle.new_user()
    files = make_files(lifecycle, user)
    archive = start(lifecycle, user, files)
    build_parts(lifecycle, archive.id, count=1)
    lifecycle.objects.withheld.add(files[-1].s3_key)
    lifecycle.traveller.shift(SCAN_GRACE + timedelta(seconds=1))

    assert deliver(lifecycle) == [BuildResult.FAILED]
    found = get_archive(lifecycle, user, archive.id)
    assert (found.status, found.error_code, found.request) == ("failed", "file_withheld", None)
    assert remaining_keys(lifecycle) == []
    assert pauses == []
    assert start(lifecycle, user, files[:-1]).id != archive.id
    assert deliver(lifecycle) == [BuildResult.READY]


def test_repeated_request_returns_the_same_archive_until_a_file_changes(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    files = [make_file(lifecycle, user), make_file(lifecycle, user)]

    first = start(lifecycle, user, files)
    again = start(lifecycle, user, files)
    deliver(lifecycle)
    ready = start(lifecycle, user, files)
    turned, renamed = start(lifecycle, user, files[::-1]), start(lifecycle, user, files, filename="x.zip")

    assert first.id == again.id == ready.id
    assert len({first.id, turned.id, renamed.id}) == 3
    assert lifecycle.objects.objects.keys() >= {first.s3_key}
    with lifecycle.services.unit_of_work() as session:
        session.execute(text("UPDATE file SET revision = revision + 1 WHERE id = :id"), {"id": files[0].id})
    assert start(lifecycle, user, files).id != first.id


def test_concurrent_requests_do_not_exceed_the_unfinished_limit(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    files = [make_file(lifecycle, user) for _ in range(20)]
    answers: list[str | None] = []
    threads = [threading.Thread(target=lambda file=file: answers.append(refused(lambda: start(lifecycle, user, [file])))) for file in files]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(map(str, answers)) == ["None"] * UNFINISHED_MAX_COUNT + ["too_many_archives"] * (20 - UNFINISHED_MAX_COUNT)
    # A repeated request returns the existing archive and does not count in the limit.
    with lifecycle.services.unit_of_work() as session:
        queued = session.execute(text("SELECT file_id FROM archive_file LIMIT 1")).scalar_one()
    assert refused(lambda: start(lifecycle, user, [file for file in files if file.id == queued])) is None
    deliver(lifecycle)
    assert refused(lambda: start(lifecycle, user, files)) is None


def test_archives_do_not_exceed_the_storage_limit(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    user = lifecycle.new_user()
    files = [make_file(lifecycle, user, BODIES[1]) for _ in range(3)]
    monkeypatch.setattr(archives, "STORED_MAX_BYTES", 2 * len(BODIES[1]) + 1000)
    stored = [start(lifecycle, user, [file]) for file in files[:2]]
    deliver(lifecycle)

    assert refused(lambda: start(lifecycle, user, files[2:])) == "too_many_archives"
    assert start(lifecycle, user, files[:1]).id == stored[0].id
    with_archives(lifecycle.services, lambda archives: archives.delete(user, stored[0].id))
    assert refused(lambda: start(lifecycle, user, files[2:])) is None


def test_concurrent_identical_requests_create_one_archive(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    file = make_file(lifecycle, user)
    created: list[Archive] = []
    threads = [threading.Thread(target=lambda: created.append(start(lifecycle, user, [file]))) for _ in range(20)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(created) == 20
    assert len({archive.id for archive in created}) == 1
    with lifecycle.services.unit_of_work() as session:
        assert session.execute(text("SELECT count(*) FROM archive_file")).scalar_one() == 1
