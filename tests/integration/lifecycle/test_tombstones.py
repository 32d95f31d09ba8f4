"""Write URLs that outlive their file: what they store is charged until they expire, and deleted by the S3 event or the sweep."""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text, update

from lambda_app.core import clock
from lambda_app.db.engine import create_database_engine
from lambda_app.db.session import create_session_factory
from lambda_app.models import FileStatus, Tombstone, User
from lambda_app.schemas.files.uploads import PartRequest
from lambda_app.services.files import sweep as sweep_module
from lambda_app.storage.keys import object_key
from lambda_app.storage.object_store import PresignedRequest
from tests.support.lifecycle import LONG_ENOUGH, Lifecycle, refused
from tests.support.object_store import FakeObject
from tests.support.racing_store import RacingStore
from tests.support.tombstones import BODY, delete_now, deleted_in_parts, start_as_guest

REPLAYS = int(os.environ.get("LIFECYCLE_REPLAYS", "60"))
"""`make test-slow` takes 1,000."""
URL_LIFETIME = timedelta(seconds=900)


pytestmark = pytest.mark.usefixtures("empty_tables")


def usage(lifecycle: Lifecycle, user: User) -> tuple[int, int]:
    with lifecycle.services.unit_of_work() as session:
        row = session.get_one(User, user.id)
        return row.bytes_used, row.files_count


def tombstones(lifecycle: Lifecycle) -> int:
    with lifecycle.services.unit_of_work() as session:
        return session.query(Tombstone).count()


def deleted_while_pending(lifecycle: Lifecycle, user: User) -> PresignedRequest:
    started = lifecycle.start_signed(user, BODY)
    delete_now(lifecycle, user, started.file.id)
    return started.request


def deleted_while_available(lifecycle: Lifecycle, user: User) -> PresignedRequest:
    started = lifecycle.start_signed(user, BODY)
    assert lifecycle.objects.put(started.request, BODY) == 200
    lifecycle.complete(user, started.file.id)
    delete_now(lifecycle, user, started.file.id)
    return started.request


def deleted_after_a_replay(lifecycle: Lifecycle, user: User) -> PresignedRequest:
    """The replay of an idempotency key signs another URL, which expires later than the first."""
    key = str(uuid4())
    first = lifecycle.start_signed(user, BODY, key)
    assert lifecycle.objects.put(first.request, BODY) == 200
    lifecycle.complete(user, first.file.id)
    lifecycle.traveller.shift(URL_LIFETIME - timedelta(seconds=1))
    replayed = lifecycle.start_signed(user, BODY, key)
    assert replayed.file.id == first.file.id
    delete_now(lifecycle, user, first.file.id)
    return replayed.request


def rejected(lifecycle: Lifecycle, user: User) -> PresignedRequest:
    """The client reports a wrong checksum, which deletes the object; the URL could store it again."""
    started = lifecycle.start_signed(user, BODY)
    assert lifecycle.objects.put(started.request, BODY) == 200
    lifecycle.objects.objects[started.file.s3_key] = FakeObject(BODY, "text/plain", None, "AAAAAAAAAAA=")
    assert refused(partial(lifecycle.complete, user, started.file.id, crc64nvme="BBBBBBBBBBA=")) == "upload_rejected"
    return started.request


def rejected_and_deleted(lifecycle: Lifecycle, user: User) -> PresignedRequest:
    request = rejected(lifecycle, user)
    with lifecycle.services.unit_of_work() as session:
        file_id = session.execute(text("SELECT id FROM file WHERE status = 'rejected' ORDER BY created_at DESC, id LIMIT 1")).scalar_one()
    delete_now(lifecycle, user, file_id)
    return request


def deleted_guest_upload(lifecycle: Lifecycle, user: User) -> PresignedRequest:
    started = start_as_guest(lifecycle, user)
    delete_now(lifecycle, user, started.file.id)
    return started.request


def deleted_during_its_multipart_completion(lifecycle: Lifecycle, user: User) -> PresignedRequest:
    """S3 creates the object after the deletion of the file has deleted it."""
    file = lifecycle.start_parts(user, len(BODY))
    (part,) = lifecycle.upload(lambda uploads: uploads.sign_parts(user, file.id, [PartRequest(number=1)]))
    assert lifecycle.objects.put(part.request, BODY) == 200
    store: Any = RacingStore(lifecycle.objects, "read_small", partial(delete_now, lifecycle, user, file.id))
    refused(partial(lifecycle.with_store(store).complete, user, file.id))
    lifecycle.objects.objects[file.s3_key] = FakeObject(BODY, "video/mp4", None)
    return part.request


KINDS: tuple[Callable[[Lifecycle, User], PresignedRequest], ...] = (
    deleted_while_pending,
    deleted_while_available,
    deleted_after_a_replay,
    rejected,
    rejected_and_deleted,
    deleted_guest_upload,
    deleted_in_parts,
    deleted_during_its_multipart_completion,
)
BY_ONE_PUT = tuple(kind for kind in KINDS if "parts" not in kind.__name__ and "multipart" not in kind.__name__)


@pytest.mark.parametrize("kind", BY_ONE_PUT)
def test_write_url_is_charged_until_it_expires(lifecycle: Lifecycle, kind: Callable[[Lifecycle, User], PresignedRequest]) -> None:
    user = lifecycle.new_user()
    kind(lifecycle, user)
    assert usage(lifecycle, user) == (len(BODY), 1)
    lifecycle.sweep()
    assert usage(lifecycle, user) == (len(BODY), 1)
    lifecycle.assert_nothing_differs()

    lifecycle.traveller.shift(URL_LIFETIME + timedelta(seconds=1))

    assert lifecycle.sweep().ended_charges == 1
    assert usage(lifecycle, user) == (0, 0)
    lifecycle.assert_nothing_differs()


@pytest.mark.parametrize("kind", BY_ONE_PUT)
@pytest.mark.parametrize("is_reported", [True, False], ids=["event", "sweep"])
def test_object_written_after_the_deletion_is_deleted(
    lifecycle: Lifecycle, kind: Callable[[Lifecycle, User], PresignedRequest], is_reported: bool
) -> None:
    user = lifecycle.new_user()
    request = kind(lifecycle, user)
    assert lifecycle.objects.put(request, BODY) == 200
    (key,) = lifecycle.objects.objects

    if is_reported:
        lifecycle.deliver_event_for(key)
    else:
        # The object is younger than an orphan has to be.
        assert lifecycle.sweep().deleted_objects == 1

    assert lifecycle.objects.objects == {}


def test_put_that_ends_after_its_url_expired_is_deleted(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    expired, deleted = lifecycle.start(user), lifecycle.start(user)
    delete_now(lifecycle, user, deleted.id)
    lifecycle.traveller.shift(URL_LIFETIME + timedelta(hours=3))
    assert lifecycle.sweep().expired == 1
    assert usage(lifecycle, user) == (0, 0)

    for file in (expired, deleted):
        lifecycle.objects.objects[file.s3_key] = FakeObject(BODY, "text/plain", None)
        lifecycle.deliver_event(file.id)

    assert lifecycle.objects.objects == {}


def test_event_of_an_unknown_object_deletes_nothing(lifecycle: Lifecycle) -> None:
    """With a wrong or restored database, every object is unknown."""
    key = object_key(uuid4())
    lifecycle.objects.objects[key] = FakeObject(BODY, "text/plain", None)

    lifecycle.deliver_event_for(key)

    assert key in lifecycle.objects.objects


def test_tombstone_survives_the_deletion_of_the_account(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    requests = [deleted_while_pending(lifecycle, user), deleted_while_available(lifecycle, user)]
    with lifecycle.services.unit_of_work() as session:
        session.execute(text('DELETE FROM "user"'))
    lifecycle.users.clear()
    for request in requests:
        assert lifecycle.objects.put(request, BODY) == 200
    first, _ = lifecycle.objects.objects

    lifecycle.deliver_event_for(first)
    lifecycle.traveller.shift(URL_LIFETIME * 2)
    report = lifecycle.sweep()

    assert (report.deleted_objects, report.failures) == (1, 0)
    assert lifecycle.objects.objects == {}


def test_safety_brake_does_not_count_what_callers_wrote(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "UNKNOWN_OBJECTS_MAX_COUNT", 3)
    user = lifecycle.new_user()
    lifecycle.objects.objects[object_key(uuid4())] = FakeObject(BODY, "text/plain", None)
    lifecycle.traveller.shift(timedelta(hours=2))
    for _ in range(5):
        assert lifecycle.objects.put(deleted_while_pending(lifecycle, user), BODY) == 200

    report = lifecycle.sweep()

    assert (report.deleted_objects, report.failures, report.is_finished) == (6, 0, True)
    assert lifecycle.objects.objects == {}


def test_safety_brake_does_not_keep_what_callers_wrote(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "UNKNOWN_OBJECTS_MAX_COUNT", 3)
    user = lifecycle.new_user()
    unknown = {object_key(uuid4()) for _ in range(10)}
    lifecycle.objects.objects.update({key: FakeObject(BODY, "text/plain", None) for key in unknown})
    lifecycle.traveller.shift(timedelta(hours=2))
    assert lifecycle.objects.put(deleted_while_pending(lifecycle, user), BODY) == 200

    report = lifecycle.sweep()

    assert (report.deleted_objects, report.failures, report.is_finished) == (1, 1, False)
    assert set(lifecycle.objects.objects) == unknown


def test_replay_after_the_deletion_signs_no_url(lifecycle: Lifecycle) -> None:
    """The file is deleted between the read of its row and the signature of the new URL."""
    user = lifecycle.new_user()
    started = lifecycle.start_signed(user, BODY, "k")
    assert lifecycle.objects.put(started.request, BODY) == 200
    lifecycle.complete(user, started.file.id)
    # The request holds the one connection of its pool while it signs.
    engine = create_database_engine(lifecycle.services.settings)
    elsewhere = replace(lifecycle.services, engine=engine, session_factory=create_session_factory(engine))
    delete = partial(delete_now, Lifecycle(elsewhere, lifecycle.traveller), user, started.file.id)
    store: Any = RacingStore(lifecycle.objects, "presign_upload", delete)

    code = refused(partial(lifecycle.with_store(store).start_signed, user, BODY, "k"))

    engine.dispose()
    assert code == "idempotent_file_gone"


def test_room_of_an_expired_url_is_available_without_a_sweep(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user(quota_bytes=len(BODY), quota_files=1)
    deleted_while_pending(lifecycle, user)
    assert refused(partial(lifecycle.start, user)) == "quota_exceeded"
    assert refused(partial(lifecycle.start_parts, user, 5)) == "quota_exceeded"
    lifecycle.traveller.shift(URL_LIFETIME + timedelta(seconds=1))

    delete_now(lifecycle, user, lifecycle.start(user).id)
    lifecycle.traveller.shift(URL_LIFETIME + timedelta(seconds=1))
    with lifecycle.services.unit_of_work() as session:
        current = session.get_one(User, user.id)
    file = lifecycle.start_parts(current, 5)

    assert usage(lifecycle, user) == (5, 1)
    assert file.status == FileStatus.PENDING


def test_guest_gets_the_room_of_an_expired_url(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user(quota_bytes=len(BODY), quota_files=1)
    deleted_while_pending(lifecycle, user)
    assert refused(partial(start_as_guest, lifecycle, user)) == "no_room"

    lifecycle.traveller.shift(URL_LIFETIME + timedelta(seconds=1))

    assert start_as_guest(lifecycle, user).file.status == FileStatus.PENDING


def test_upload_in_parts_is_not_charged_after_its_deletion(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    request = deleted_in_parts(lifecycle, user)

    assert usage(lifecycle, user) == (0, 0)
    assert lifecycle.objects.put(request, BODY) == 404


def test_completion_that_ends_after_the_deletion_leaves_nothing(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    deleted_during_its_multipart_completion(lifecycle, user)
    (key,) = lifecycle.objects.objects

    lifecycle.deliver_event_for(key)

    assert lifecycle.objects.objects == {}


def test_recount_includes_charged_tombstones(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    lifecycle.start(user)
    deleted_while_pending(lifecycle, user)
    assert usage(lifecycle, user) == (10, 2)
    with lifecycle.services.unit_of_work() as session:
        session.execute(update(User).values(bytes_used=1))

    with lifecycle.services.unit_of_work() as session:
        (recounted,) = lifecycle.services.usage(session).recount(is_dry=False)

    assert recounted.is_corrected
    assert usage(lifecycle, user) == (10, 2)


def test_tombstones_are_forgotten_and_none_is_written_for_old_files(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    old = lifecycle.start(user)
    lifecycle.put(old)
    lifecycle.complete(user, old.id)
    deleted_while_pending(lifecycle, user)
    assert tombstones(lifecycle) == 1
    lifecycle.traveller.shift(LONG_ENOUGH)

    delete_now(lifecycle, user, old.id)
    assert usage(lifecycle, user) == (5, 1)
    assert lifecycle.sweep().forgotten_tombstones == 1

    assert tombstones(lifecycle) == 0
    assert usage(lifecycle, user) == (0, 0)
    lifecycle.assert_nothing_differs()


def test_dry_run_counts_tombstones_and_changes_nothing(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    assert lifecycle.objects.put(deleted_while_pending(lifecycle, user), BODY) == 200
    lifecycle.traveller.shift(LONG_ENOUGH)

    with lifecycle.services.unit_of_work() as session:
        report = lifecycle.services.sweep(session).run(budget_seconds=600, is_dry=True)

    assert (report.ended_charges, report.deleted_objects, report.forgotten_tombstones) == (1, 1, 1)
    assert (len(lifecycle.objects.objects), tombstones(lifecycle), usage(lifecycle, user)) == (1, 1, (5, 1))


def test_lifetime_of_a_write_url_follows_from_the_deadline_of_its_upload(lifecycle: Lifecycle) -> None:
    """A large file has a deadline far beyond the expiry of its URL; the charge ends with the URL."""
    user = lifecycle.new_user()
    large = lifecycle.start(user, size_bytes=5 * 1024**3)
    assert large.upload_expires_at - clock.now() > timedelta(hours=11)
    delete_now(lifecycle, user, large.id)
    lifecycle.traveller.shift(URL_LIFETIME - timedelta(seconds=2))
    assert lifecycle.sweep().ended_charges == 0

    lifecycle.traveller.shift(timedelta(seconds=3))

    assert lifecycle.sweep().ended_charges == 1


@dataclass
class Replay:
    """One attempt to store bytes after the deletion, and whether S3 reports them."""

    request: PresignedRequest
    is_reported: bool


def test_replays_in_any_order_leave_no_object_and_no_uncharged_byte(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = int(os.environ.get("LIFECYCLE_SEED", random.randrange(2**32)))
    print(f"LIFECYCLE_SEED={seed}")
    rng = random.Random(seed)
    # Every replay comes from one user within the lifetime of the URLs.
    monkeypatch.setattr(sweep_module, "UNKNOWN_OBJECTS_MAX_COUNT", 10)
    user = lifecycle.new_user()
    honest = lifecycle.start(user)
    lifecycle.put(honest)
    lifecycle.complete(user, honest.id)
    orphans = {object_key(uuid4()) for _ in range(10)}
    lifecycle.objects.objects.update({key: FakeObject(BODY, "text/plain", None) for key in orphans})
    lifecycle.traveller.shift(timedelta(hours=2))
    kinds = [kind for kind in KINDS if kind is not deleted_after_a_replay]  # it moves the clock
    waiting: list[Replay] = []
    accepted = 0
    for _ in range(REPLAYS):
        waiting.append(Replay(rng.choice(kinds)(lifecycle, user), rng.random() < 0.5))
        while waiting and rng.random() < 0.6:
            accepted += send(lifecycle, waiting.pop(rng.randrange(len(waiting))))
            assert_all_bytes_are_charged(lifecycle, user, but=orphans)
    waiting.append(Replay(deleted_after_a_replay(lifecycle, user), is_reported=False))
    rng.shuffle(waiting)
    accepted += sum(send(lifecycle, replay) for replay in waiting)

    report = lifecycle.sweep()

    print(f"{accepted} objects were written, {report.deleted_objects} deleted by the sweep")
    assert accepted > REPLAYS / 4
    assert report.deleted_objects > 10
    assert report.failures == 0
    assert report.is_finished
    assert set(lifecycle.objects.objects) == {honest.s3_key}
    lifecycle.assert_nothing_differs()
    lifecycle.traveller.shift(URL_LIFETIME + timedelta(seconds=1))
    lifecycle.sweep()
    assert usage(lifecycle, user) == (len(BODY), 1)


def send(lifecycle: Lifecycle, replay: Replay) -> bool:
    """Send the bytes, and deliver the event if S3 reports it."""
    before = set(lifecycle.objects.objects)
    is_stored = lifecycle.objects.put(replay.request, BODY) == 200
    for key in set(lifecycle.objects.objects) - before:
        if replay.is_reported:
            lifecycle.deliver_event_for(key)
    return is_stored


def assert_all_bytes_are_charged(lifecycle: Lifecycle, user: User, *, but: set[str]) -> None:
    """Assert that the user's charge covers everything that the user's single PUTs stored."""
    stored = [held for key, held in lifecycle.objects.objects.items() if key not in but and held.content_type == "text/plain"]
    assert sum(len(held.body) for held in stored) <= usage(lifecycle, user)[0]
