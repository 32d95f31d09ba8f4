"""Previews in the life of a file: requests that the sweep repeats, and images that it deletes."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from lambda_app.core.errors import StoreUnavailableError
from lambda_app.models import File, FilePreview, FileStatus
from lambda_app.services.files import previews
from lambda_app.services.files.sweep import PREVIEW_REPEAT_AFTER, PREVIEW_REQUESTS_MAX_COUNT
from lambda_app.storage.keys import preview_keys, preview_request_key
from tests.support.lifecycle import Lifecycle
from tests.support.object_store import FakeObject


@pytest.fixture
def previewing(lifecycle: Lifecycle) -> Lifecycle:
    """The services with a preview worker, without earlier files."""
    lifecycle.objects.objects.clear()
    settings = lifecycle.services.settings.model_copy(update={"previews_enabled": True})
    with lifecycle.services.unit_of_work() as session:
        session.connection().exec_driver_sql('TRUNCATE file, "user", sweep_position, tombstone CASCADE')
    return Lifecycle(replace(lifecycle.services, settings=settings), lifecycle.traveller)


def uploaded(lifecycle: Lifecycle, *, filename: str = "a.png", content_type: str = "image/png") -> File:
    user = lifecycle.new_user()
    file = lifecycle.start(user, filename=filename, content_type=content_type)
    lifecycle.put(file)
    return lifecycle.complete(user, file.id)


def state_of(lifecycle: Lifecycle, file_id: UUID) -> str | None:
    with lifecycle.services.unit_of_work() as session:
        row = session.get(FilePreview, file_id)
        return None if row is None else row.state


def put_images(lifecycle: Lifecycle, file_id: UUID) -> None:
    for key in preview_keys(file_id):
        lifecycle.objects.objects[key] = FakeObject(b"x", "image/webp", None)


def has_images(lifecycle: Lifecycle, file_id: UUID) -> bool:
    return any(key in lifecycle.objects.objects for key in preview_keys(file_id))


def test_each_way_to_complete_an_upload_requests_the_preview(previewing: Lifecycle) -> None:
    by_client = uploaded(previewing)
    user = previewing.new_user()
    by_event, by_sweep = (previewing.start(user, filename="a.png", content_type="image/png") for _ in range(2))
    for file in (by_event, by_sweep):
        previewing.put(file)
    previewing.deliver_event(by_event.id)
    previewing.traveller.shift(timedelta(days=1))
    previewing.sweep()

    for file in (by_client, by_event, by_sweep):
        assert preview_request_key(file.id) in previewing.objects.objects
        assert state_of(previewing, file.id) == "pending"


def uploaded_before(previewing: Lifecycle, **fields: str) -> File:
    """Upload a file to the services without a preview worker."""
    settings = previewing.services.settings.model_copy(update={"previews_enabled": False})
    earlier = Lifecycle(replace(previewing.services, settings=settings), previewing.traveller)
    file = uploaded(earlier, **fields)
    previewing.users += earlier.users
    return file


def request_missing(lifecycle: Lifecycle, limit: int) -> int:
    with lifecycle.services.unit_of_work() as session:
        return lifecycle.services.previews(session).request_missing(limit=limit)


def test_missing_previews_are_requested_oldest_first(previewing: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "PAGE_ROWS", 2)
    files = []
    for _ in range(5):
        previewing.traveller.shift(timedelta(minutes=1))
        files.append(uploaded_before(previewing))
    previewing.traveller.shift(timedelta(hours=1))

    requested = []
    for limit in (1, 3, 9, 9):
        count = request_missing(previewing, limit)
        requested.append((count, [state_of(previewing, file.id) for file in files].count("pending")))
        assert all(state_of(previewing, file.id) == "pending" for file in files[: requested[-1][1]])

    assert requested == [(1, 1), (3, 4), (1, 5), (0, 5)]
    assert previewing.sweep().requested_previews == 5
    assert previewing.sweep().requested_previews == 0
    assert all(preview_request_key(file.id) in previewing.objects.objects for file in files)


def test_preview_that_was_requested_later_is_repeated_as_often_as_others(previewing: Lifecycle) -> None:
    file = uploaded_before(previewing)
    request_missing(previewing, 1)

    for _ in range(PREVIEW_REQUESTS_MAX_COUNT):
        previewing.traveller.shift(PREVIEW_REPEAT_AFTER + timedelta(minutes=1))
        assert previewing.sweep().requested_previews == 1
    previewing.traveller.shift(PREVIEW_REPEAT_AFTER + timedelta(minutes=1))

    assert previewing.sweep().failed_previews == 1
    assert state_of(previewing, file.id) == "failed"


def test_files_that_have_no_preview_are_not_requested(previewing: Lifecycle) -> None:
    text = uploaded_before(previewing, filename="a.txt", content_type="text/plain")
    trashed, withheld, done = (uploaded_before(previewing) for _ in range(3))
    with previewing.services.unit_of_work() as session:
        session.get_one(File, trashed.id).status = FileStatus.TRASHED
        session.get_one(File, withheld.id).is_withheld = True
        session.add(FilePreview(file_id=done.id, state="failed", requested_at=done.created_at))

    assert request_missing(previewing, 9) == 0
    assert [state_of(previewing, file.id) for file in (text, trashed, withheld, done)] == [None, None, None, "failed"]


def test_unanswered_request_is_repeated_and_given_up(previewing: Lifecycle) -> None:
    file = uploaded(previewing)
    key = preview_request_key(file.id)

    for _ in range(PREVIEW_REQUESTS_MAX_COUNT - 1):
        del previewing.objects.objects[key]
        previewing.traveller.shift(PREVIEW_REPEAT_AFTER + timedelta(minutes=1))
        assert previewing.sweep().requested_previews == 1
        assert previewing.sweep().requested_previews == 0
        assert key in previewing.objects.objects
    previewing.traveller.shift(PREVIEW_REPEAT_AFTER + timedelta(minutes=1))

    assert previewing.sweep().failed_previews == 1
    assert state_of(previewing, file.id) == "failed"


def test_upload_is_completed_when_its_preview_cannot_be_requested(previewing: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_key: str) -> None:
        raise StoreUnavailableError

    monkeypatch.setattr(previewing.objects, "put_marker", fail)

    file = uploaded(previewing)

    assert previewing.status_of(file.id) is FileStatus.AVAILABLE
    assert state_of(previewing, file.id) == "pending"


def test_sweep_deletes_the_images_of_files_that_are_gone(previewing: Lifecycle) -> None:
    file, gone = uploaded(previewing), uuid4()
    for file_id in (file.id, gone):
        put_images(previewing, file_id)

    assert previewing.sweep().deleted_previews == 2
    assert has_images(previewing, file.id)
    assert not has_images(previewing, gone)


def test_sweep_deletes_no_images_with_the_wrong_database(previewing: Lifecycle) -> None:
    unknown = [uuid4() for _ in range(60)]
    for file_id in unknown:
        put_images(previewing, file_id)

    report = previewing.sweep()

    assert (report.deleted_previews, report.failures) == (0, 1)
    assert all(has_images(previewing, file_id) for file_id in unknown)


def test_end_of_the_trash_deletes_the_images(previewing: Lifecycle) -> None:
    file = uploaded(previewing)
    put_images(previewing, file.id)
    previewing.delete(previewing.users[-1], file.id)
    assert has_images(previewing, file.id)

    previewing.traveller.shift(timedelta(days=8))
    previewing.sweep()

    assert not has_images(previewing, file.id)
    assert state_of(previewing, file.id) is None
