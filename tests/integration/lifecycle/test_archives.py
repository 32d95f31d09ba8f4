"""Zips that are built in turns: whole after any crash, by two workers at once, and gone when their time is over."""

import random
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from lambda_app.core.errors import UnavailableError
from lambda_app.models import Archive, File, User
from lambda_app.services.archives import archives
from lambda_app.services.archives import builds as archive_builds
from lambda_app.services.archives.archives import REQUEUE_GRACE, UNFINISHED_MAX_COUNT
from lambda_app.services.archives.builds import LEASE, PAUSES_SECONDS, SCAN_GRACE, BuildResult
from lambda_app.services.archives.sweep import ATTEMPTS_MAX_COUNT
from tests.integration.lifecycle.test_crashes import Crash, Fuse, WatchedStore, crashing
from tests.support import object_store
from tests.support.archives import ask, build, deliver, leftovers, link_to, look, opened, requested, revoke, start, start_at, sweep
from tests.support.lifecycle import Lifecycle, refused
from tests.support.object_store import HeldObject

SMALL_PART = 64 * 1024
DICE = random.Random(6)
# A header that waits for the end of its file in the part after next, one in the next, one cut by the end of a part, and empty files.
BODIES = (b"first", DICE.randbytes(150_000), b"", DICE.randbytes(46_000), DICE.randbytes(40_000), b"", b"last")


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the worker makes, which take no time here."""
    taken: list[float] = []
    monkeypatch.setattr(archive_builds, "sleep", taken.append)
    return taken


@pytest.fixture(autouse=True)
def _small_parts(life: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "PART_SIZE_BYTES", SMALL_PART)
    monkeypatch.setattr(object_store, "S3_PART_MIN_BYTES", SMALL_PART)
    life.objects.objects.clear()
    life.objects.uploads.clear()
    with life.services.unit_of_work() as session:
        session.execute(text("TRUNCATE archive CASCADE"))


def make_file(life: Lifecycle, user: User, body: bytes = b"hello", **fields: object) -> File:
    file = life.start(user, body, **fields)
    life.put(file, body)
    return life.complete(user, file.id)


def make_files(life: Lifecycle, user: User) -> list[File]:
    return [make_file(life, user, body, filename=f"{number}.bin") for number, body in enumerate(BODIES)]


def build_parts(life: Lifecycle, archive_id: UUID, *, count: int) -> None:
    """Give a worker a turn that is over after so many parts."""
    ticks = iter(range(10**6))
    with pytest.MonkeyPatch.context() as patch:
        # The first tick is the start of the turn, and each part looks at one.
        patch.setattr(archive_builds, "monotonic", lambda: next(ticks))
        assert build(life, archive_id, budget_seconds=count + 1) is BuildResult.UNFINISHED


def breaking(life: Lifecycle, *, at: int) -> Lifecycle:
    """The same life, in which one call of the store fails."""
    calls = 0

    def around(call: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise UnavailableError
        return call()

    return life.through(WatchedStore(life.objects, around))


def assert_holds_bodies(life: Lifecycle, archive: Archive) -> None:
    with opened(life, archive) as found:
        assert [entry.filename for entry in found.infolist()] == [f"{number}.bin" for number in range(len(BODIES))]
        assert [found.read(entry) for entry in found.infolist()] == list(BODIES)


def test_zip_of_several_parts_holds_every_file(life: Lifecycle) -> None:
    user = life.new_user()
    archive = start(life, user, make_files(life, user), filename="all")

    before = look(life, user, archive.id)
    assert deliver(life) == [BuildResult.READY]
    after = look(life, user, archive.id)

    assert (before.status, before.request, before.archive.filename) == ("queued", None, "all.zip")
    assert (after.status, after.archive.done_bytes) == ("ready", archive.size_bytes)
    assert len(life.objects.objects[archive.s3_key].body) == archive.size_bytes > 3 * SMALL_PART
    assert after.request is not None
    assert_holds_bodies(life, archive)
    assert leftovers(life) == [archive.s3_key]


def test_every_turn_may_end_after_one_part(life: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    user = life.new_user()
    archive = start(life, user, make_files(life, user))
    ticks = iter(range(10**6))
    monkeypatch.setattr(archive_builds, "monotonic", lambda: next(ticks))

    # The first tick is the start of a turn, and each part looks at one.
    turns = 0
    while (built := build(life, archive.id, budget_seconds=2)) is BuildResult.UNFINISHED:
        turns += 1
        assert requested(life) == [archive.id], "the next turn is asked for"

    assert built is BuildResult.READY
    assert turns >= archive.size_bytes // SMALL_PART
    assert_holds_bodies(life, archive)


def test_worker_that_dies_after_any_effect_is_continued(life: Lifecycle) -> None:
    user = life.new_user()
    files = make_files(life, user)
    crashes = 0
    while True:
        archive = start(life, user, files, filename=f"{crashes}.zip")
        has_crashed = False
        try:
            with crashing(life, Fuse(at=crashes + 1)) as doomed:
                build(doomed, archive.id)
        except Crash:
            has_crashed = True
        life.traveller.shift(LEASE + REQUEUE_GRACE + timedelta(seconds=1))

        report = sweep(life)
        deliver(life)

        assert (report.archive_failures, report.archives_are_finished) == (0, True)
        assert look(life, user, archive.id).status == "ready"
        assert_holds_bodies(life, archive)
        if not has_crashed:
            break
        crashes += 1
    print(f"{crashes} crashes")
    life.traveller.shift(timedelta(days=2))
    sweep(life)
    assert leftovers(life) == []
    assert crashes > 2 * archive.size_bytes // SMALL_PART


def delete_while_it_waits(life: Lifecycle, user: User, files: list[File]) -> Callable[[Lifecycle], object]:
    archive = start(life, user, files)
    return lambda doomed: ask(doomed.services, lambda archives: archives.delete(user, archive.id))


def delete_half_way(life: Lifecycle, user: User, files: list[File]) -> Callable[[Lifecycle], object]:
    delete = delete_while_it_waits(life, user, files)
    build_parts(life, *requested(life), count=1)
    return delete


def delete_when_ready(life: Lifecycle, user: User, files: list[File]) -> Callable[[Lifecycle], object]:
    delete = delete_while_it_waits(life, user, files)
    deliver(life)
    return delete


def revoke_the_link_half_way(life: Lifecycle, user: User, files: list[File]) -> Callable[[Lifecycle], object]:
    share = link_to(life, user, *files)
    archive = start_at(life, share, *files)
    build_parts(life, archive.id, count=1)

    def act(doomed: Lifecycle) -> None:
        revoke(doomed, user, share)
        sweep(doomed)

    return act


def fail_half_way(life: Lifecycle, user: User, files: list[File]) -> Callable[[Lifecycle], object]:
    archive = start(life, user, files)
    build_parts(life, archive.id, count=1)
    life.delete(user, files[1].id, is_permanent=True)
    return lambda doomed: build(doomed, archive.id)


def expire(life: Lifecycle, user: User, files: list[File]) -> Callable[[Lifecycle], object]:
    start(life, user, files)
    deliver(life)
    life.traveller.shift(timedelta(days=2))
    return sweep


def ask_for_it(_transitions: Lifecycle, user: User, files: list[File]) -> Callable[[Lifecycle], object]:
    return lambda doomed: start(doomed, user, files)


@pytest.mark.parametrize(
    "flow",
    [ask_for_it, delete_while_it_waits, delete_half_way, delete_when_ready, revoke_the_link_half_way, fail_half_way, expire],
    ids=lambda flow: flow.__name__,
)
def test_crash_of_anything_else_leaves_nothing_behind(life: Lifecycle, flow: Callable[..., Callable[[Lifecycle], object]]) -> None:
    crashes = 0
    has_crashed = True
    while has_crashed:
        user = life.new_user()
        act = flow(life, user, [make_file(life, user, BODIES[1]), make_file(life, user)])
        try:
            with crashing(life, Fuse(at=crashes + 1)) as doomed:
                act(doomed)
        except Crash:
            crashes += 1
        else:
            has_crashed = False

        # The last row goes in a sweep of its own: its number is kept for a while.
        for _ in range(3):
            life.traveller.shift(timedelta(days=2))
            assert sweep(life).archive_failures == 0
            deliver(life)

        assert leftovers(life) == []
        with life.services.unit_of_work() as session:
            assert session.execute(text("SELECT count(*) FROM archive")).scalar_one() == 0
    assert crashes >= 2


def test_two_workers_at_once_make_one_whole_zip(life: Lifecycle) -> None:
    user = life.new_user()
    archive = start(life, user, make_files(life, user))
    done: list[BuildResult] = []

    workers = [threading.Thread(target=lambda: done.append(build(life, archive.id))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert sorted(built.value for built in done) == ["nothing"] * 3 + ["ready"]
    assert_holds_bodies(life, archive)


def test_worker_that_slept_through_its_lease_changes_nothing(life: Lifecycle) -> None:
    user = life.new_user()
    archive = start(life, user, make_files(life, user))
    sent = 0

    def around(call: Callable[[], Any]) -> Any:
        nonlocal sent
        sent += 1
        if sent == 8:
            life.traveller.shift(LEASE + timedelta(seconds=1))
            assert build(life, archive.id) is BuildResult.READY
        return call()

    sleeper = life.through(WatchedStore(life.objects, around))

    assert build(sleeper, archive.id) is BuildResult.SUPERSEDED
    assert look(life, user, archive.id).status == "ready"
    assert_holds_bodies(life, archive)


def test_upload_that_the_store_lost_is_begun_again(life: Lifecycle) -> None:
    user = life.new_user()
    archive = start(life, user, make_files(life, user))
    build_parts(life, archive.id, count=2)
    life.objects.uploads.clear()

    assert deliver(life) == [BuildResult.READY]
    assert_holds_bodies(life, archive)


def test_file_that_vanishes_half_way_fails_the_archive(life: Lifecycle) -> None:
    user = life.new_user()
    files = make_files(life, user)
    archive = start(life, user, files)
    build_parts(life, archive.id, count=1)
    life.delete(user, files[-1].id, is_permanent=True)

    assert deliver(life) == [BuildResult.FAILED]
    seen = look(life, user, archive.id)
    assert (seen.status, seen.error_code, seen.request) == ("failed", "files_changed", None)
    assert leftovers(life) == []
    assert start(life, user, files[:-1]).id != archive.id


@pytest.mark.parametrize("loss", ["trashed", "private", "disabled"])
def test_permission_that_is_lost_before_the_build_fails_it_and_after_it_takes_the_address_away(life: Lifecycle, loss: str) -> None:
    owner, reader = life.new_user(), life.new_user()

    def lose(file: File) -> None:
        if loss == "trashed":
            life.delete(owner, file.id)
        elif loss == "private":
            with life.services.unit_of_work() as session:
                session.execute(text("UPDATE file SET is_public = false WHERE id = :id"), {"id": file.id})
        else:
            with life.services.unit_of_work() as session:
                session.execute(text('UPDATE "user" SET is_active = false WHERE id = :id'), {"id": reader.id})

    early, late = make_file(life, owner, is_public=True), make_file(life, owner, is_public=True)
    ready = start(life, reader, [late])
    assert deliver(life) == [BuildResult.READY]
    assert look(life, reader, ready.id).request is not None
    waiting = start(life, reader, [early])

    lose(early)
    lose(late)

    assert deliver(life) == [BuildResult.FAILED]
    assert look(life, reader, waiting.id).error_code == "files_changed"
    if loss != "disabled":  # whose requests are not let in at all
        seen = look(life, reader, ready.id)
        assert (seen.status, seen.error_code, seen.request) == ("failed", "files_changed", None)


def test_archive_deleted_while_it_is_built_is_gone(life: Lifecycle) -> None:
    user = life.new_user()
    archive = start(life, user, make_files(life, user))
    calls = 0

    def around(call: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        answer = call()
        if calls == 8:
            ask(life.services, lambda archives: archives.delete(user, archive.id))
        return answer

    assert build(life.through(WatchedStore(life.objects, around)), archive.id) is BuildResult.SUPERSEDED
    assert leftovers(life) == []
    assert refused(lambda: look(life, user, archive.id)) == "archive_not_found"


def test_expired_archive_is_refused_then_removed(life: Lifecycle) -> None:
    user = life.new_user()
    archive = start(life, user, [make_file(life, user)])
    deliver(life)
    life.traveller.shift(timedelta(hours=24))

    assert refused(lambda: look(life, user, archive.id)) == "archive_expired"
    life.traveller.shift(timedelta(seconds=1))
    assert sweep(life).removed_archives == 1
    assert refused(lambda: look(life, user, archive.id)) == "archive_not_found"
    assert leftovers(life) == []


def test_archive_that_workers_die_over_is_given_up(life: Lifecycle) -> None:
    user = life.new_user()
    archive = start(life, user, [make_file(life, user)])
    woken = 0
    while True:
        with pytest.raises(Crash), crashing(life, Fuse(at=3)) as doomed:
            build(doomed, archive.id)
        life.traveller.shift(LEASE + timedelta(seconds=1))
        report = sweep(life)
        if report.given_up_archives:
            break
        woken += report.woken_archives

    assert woken == ATTEMPTS_MAX_COUNT - 1
    assert look(life, user, archive.id).error_code == "given_up"
    assert build(life, archive.id) is BuildResult.NOTHING
    life.traveller.shift(timedelta(hours=2))
    sweep(life)
    assert leftovers(life) == []


def test_word_that_was_lost_is_said_again(life: Lifecycle) -> None:
    user = life.new_user()
    archive = start(life, user, [make_file(life, user)])
    life.objects.objects.pop(f"archive-requests/{archive.id}")

    life.traveller.shift(REQUEUE_GRACE - timedelta(seconds=1))
    assert sweep(life).woken_archives == 0
    life.traveller.shift(timedelta(seconds=2))
    assert sweep(life).woken_archives == 1
    assert deliver(life) == [BuildResult.READY]


def test_strays_are_swept_and_what_is_under_way_is_not(life: Lifecycle) -> None:
    user = life.new_user()
    archive = start(life, user, make_files(life, user))
    with pytest.raises(Crash), crashing(life, Fuse(at=9)) as doomed:
        build(doomed, archive.id)
    life.objects.start_multipart(key=archive.s3_key, content_type="a/b", with_digests=True)
    life.objects.start_multipart(key=f"archives/{uuid4()}", content_type="a/b", with_digests=True)
    for key in (f"archives/{uuid4()}", f"archive-requests/{uuid4()}", "archives/else"):
        life.objects.objects[key] = HeldObject(b"", "a/b", None)
    life.traveller.shift(timedelta(minutes=59))
    first = sweep(life)
    life.traveller.shift(timedelta(minutes=2))

    second = sweep(life)

    assert (first.stray_archive_parts, first.stray_archive_objects) == (0, 0)
    assert (second.stray_archive_parts, second.stray_archive_objects) == (2, 3)
    assert deliver(life) == [BuildResult.READY]
    assert_holds_bodies(life, archive)


def test_store_that_is_down_leaves_everything_for_later(life: Lifecycle) -> None:
    user = life.new_user()
    files = make_files(life, user)
    life.objects.is_down = True
    assert refused(lambda: start(life, user, files)) == "unavailable"
    life.objects.is_down = False
    archive = start(life, user, files)
    life.objects.is_down = True

    assert refused(lambda: build(life, archive.id)) == "unavailable"
    assert sweep(life).archive_failures > 0
    life.objects.is_down = False

    assert deliver(life) == [BuildResult.READY]


def test_turn_that_s3_breaks_off_anywhere_is_followed_by_another(life: Lifecycle, pauses: list[float]) -> None:
    """Not by the sweep: the word is said again at once, but for a pause."""
    user = life.new_user()
    files = make_files(life, user)
    broken = 0
    while True:
        archive = start(life, user, files, filename=f"{broken}.zip")
        if build(breaking(life, at=broken + 1), archive.id) is BuildResult.READY:
            break
        assert requested(life) == [archive.id]
        assert deliver(life) == [BuildResult.READY]
        assert_holds_bodies(life, archive)
        assert sweep(life).woken_archives == 0
        broken += 1

    print(f"broken off at {broken} calls")
    assert broken > archive.size_bytes // SMALL_PART
    assert pauses == [PAUSES_SECONDS[0]] * broken


def test_s3_that_gives_nothing_is_asked_less_and_less(life: Lifecycle, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    user = life.new_user()
    archive = start(life, user, [make_file(life, user)])

    def refuse(*_: object, **__: object) -> None:
        raise UnavailableError

    monkeypatch.setattr(life.objects, "open", refuse)

    # One turn after the other while there are pauses; then each waits for the sweep, until it is given up.
    assert [build(life, archive.id) for _ in PAUSES_SECONDS] == [BuildResult.RETRY] * len(PAUSES_SECONDS)
    assert refused(lambda: build(life, archive.id)) == "unavailable"
    assert requested(life) == []
    turns = len(PAUSES_SECONDS) + 1
    while True:
        life.traveller.shift(LEASE + timedelta(seconds=1))
        report = sweep(life)
        if report.given_up_archives:
            break
        assert (report.woken_archives, requested(life)) == (1, [archive.id])
        assert refused(lambda: build(life, archive.id)) == "unavailable"
        turns += 1

    assert pauses == list(PAUSES_SECONDS)
    assert turns == ATTEMPTS_MAX_COUNT
    assert look(life, user, archive.id).error_code == "given_up"


def test_turn_that_finished_a_part_begins_the_pauses_anew(life: Lifecycle, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    user = life.new_user()
    archive = start(life, user, make_files(life, user))
    read, send, reads, sent = life.objects.open, life.objects.send_part, 0, 0

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

    monkeypatch.setattr(life.objects, "open", read_after_three_turns)
    monkeypatch.setattr(life.objects, "send_part", send_every_second)
    while (built := build(life, archive.id)) is BuildResult.RETRY:
        assert requested(life) == [archive.id]

    assert built is BuildResult.READY
    assert_holds_bodies(life, archive)
    assert pauses[: len(PAUSES_SECONDS)] == list(PAUSES_SECONDS)
    assert set(pauses[len(PAUSES_SECONDS) :]) == {PAUSES_SECONDS[0]}


def test_overtaken_turn_that_breaks_off_asks_for_none(life: Lifecycle, pauses: list[float]) -> None:
    user = life.new_user()
    archive = start(life, user, make_files(life, user))
    calls = 0

    def around(call: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            ask(life.services, lambda archives: archives.delete(user, archive.id))
            raise UnavailableError
        return call()

    assert build(life.through(WatchedStore(life.objects, around)), archive.id) is BuildResult.SUPERSEDED
    assert (pauses, requested(life)) == ([], [])


def test_file_that_waits_for_its_scan_is_waited_for(life: Lifecycle, pauses: list[float]) -> None:
    user = life.new_user()
    files = make_files(life, user)
    archive = start(life, user, files)
    life.objects.withheld.add(files[-1].s3_key)

    assert set(deliver(life)) == {BuildResult.RETRY}
    # The parts before it are finished first, which begins the pauses anew.
    assert pauses[-3:] == [5.0, 20.0, 60.0]
    life.objects.withheld.clear()
    life.traveller.shift(timedelta(minutes=15))
    sweep(life)

    assert deliver(life) == [BuildResult.READY]
    assert look(life, user, archive.id).status == "ready"


def test_last_number_is_not_given_again_while_a_request_may_be_under_way(life: Lifecycle) -> None:
    """A request that counted from it is not seen by the next; with the same number the two would not meet, and both be admitted."""
    user = life.new_user()
    files = make_files(life, user)

    def number_of(name: str) -> int:
        made = start(life, user, files, filename=name)
        with life.services.unit_of_work() as session:
            number = session.get_one(Archive, made.id).number
            life.services.archives(session).delete(session.get_one(User, user.id), made.id)
        assert refused(lambda: look(life, user, made.id)) == "archive_not_found"
        return number

    assert [number_of(name) for name in ("a.zip", "b.zip", "c.zip")] == [1, 2, 3]
    life.traveller.shift(timedelta(minutes=15))
    sweep(life)
    assert number_of("d.zip") == 1


def test_archive_is_prolonged_at_the_limit_too(life: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    user = life.new_user()
    files = make_files(life, user)
    archive = start(life, user, files)
    assert deliver(life) == [BuildResult.READY]
    monkeypatch.setattr(archives, "STORED_MAX_BYTES", archive.size_bytes)
    life.traveller.shift(timedelta(hours=23))

    assert start(life, user, files).id == archive.id
    life.traveller.shift(timedelta(hours=23))
    sweep(life)

    assert look(life, user, archive.id).status == "ready"


def test_file_that_the_store_withholds_for_long_fails_the_archive(life: Lifecycle, pauses: list[float]) -> None:
    user = life.new_user()
    files = make_files(life, user)
    archive = start(life, user, files)
    build_parts(life, archive.id, count=1)
    life.objects.withheld.add(files[-1].s3_key)
    life.traveller.shift(SCAN_GRACE + timedelta(seconds=1))

    assert deliver(life) == [BuildResult.FAILED]
    seen = look(life, user, archive.id)
    assert (seen.status, seen.error_code, seen.request) == ("failed", "file_withheld", None)
    assert leftovers(life) == []
    assert pauses == []
    assert start(life, user, files[:-1]).id != archive.id
    assert deliver(life) == [BuildResult.READY]


def test_asking_again_leads_to_the_same_archive_until_a_file_changes(life: Lifecycle) -> None:
    user = life.new_user()
    files = [make_file(life, user), make_file(life, user)]

    first = start(life, user, files)
    again = start(life, user, files)
    deliver(life)
    ready = start(life, user, files)
    turned, renamed = start(life, user, files[::-1]), start(life, user, files, filename="x.zip")

    assert first.id == again.id == ready.id
    assert len({first.id, turned.id, renamed.id}) == 3
    assert life.objects.objects.keys() >= {first.s3_key}
    with life.services.unit_of_work() as session:
        session.execute(text("UPDATE file SET revision = revision + 1 WHERE id = :id"), {"id": files[0].id})
    assert start(life, user, files).id != first.id


def test_parallel_requests_get_no_more_archives_than_may_be_under_way(life: Lifecycle) -> None:
    user = life.new_user()
    files = [make_file(life, user) for _ in range(20)]
    answers: list[str | None] = []
    threads = [threading.Thread(target=lambda file=file: answers.append(refused(lambda: start(life, user, [file])))) for file in files]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(map(str, answers)) == ["None"] * UNFINISHED_MAX_COUNT + ["too_many_archives"] * (20 - UNFINISHED_MAX_COUNT)
    # What is there already takes no place.
    with life.services.unit_of_work() as session:
        queued = session.execute(text("SELECT file_id FROM archive_file LIMIT 1")).scalar_one()
    assert refused(lambda: start(life, user, [file for file in files if file.id == queued])) is None
    deliver(life)
    assert refused(lambda: start(life, user, files)) is None


def test_no_more_is_kept_than_may_be(life: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    user = life.new_user()
    files = [make_file(life, user, BODIES[1]) for _ in range(3)]
    monkeypatch.setattr(archives, "STORED_MAX_BYTES", 2 * len(BODIES[1]) + 1000)
    kept = [start(life, user, [file]) for file in files[:2]]
    deliver(life)

    assert refused(lambda: start(life, user, files[2:])) == "too_many_archives"
    assert start(life, user, files[:1]).id == kept[0].id
    ask(life.services, lambda archives: archives.delete(user, kept[0].id))
    assert refused(lambda: start(life, user, files[2:])) is None


def test_same_request_twenty_times_at_once_is_one_archive(life: Lifecycle) -> None:
    user = life.new_user()
    file = make_file(life, user)
    made: list[Archive] = []
    threads = [threading.Thread(target=lambda: made.append(start(life, user, [file]))) for _ in range(20)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 20
    assert len({archive.id for archive in made}) == 1
    with life.services.unit_of_work() as session:
        assert session.execute(text("SELECT count(*) FROM archive_file")).scalar_one() == 1
