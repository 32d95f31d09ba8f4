"""Many uploads that one request completes: the results are those of single requests, and one listing finds the objects of a batch."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from lambda_app.core.errors import AppError
from lambda_app.db.engine import create_database_engine
from lambda_app.db.session import create_session_factory
from lambda_app.models import File, User
from lambda_app.schemas.files.files import FileCreate
from lambda_app.services.files import upload_completion
from lambda_app.services.files.upload_batches import StartedBatchUpload
from lambda_app.storage.object_store import ObjectPage, StoredObject
from tests.support.accounts import sha256_hex
from tests.support.lifecycle import LONG_ENOUGH, Lifecycle
from tests.support.object_store import FakeObject, FakeObjectStore
from tests.support.quota_assertions import assert_nothing_differs, assert_quota_is_exact

pytestmark = pytest.mark.usefixtures("empty_tables")

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


class RecordingStore(FakeObjectStore):
    """A store that records its reads: `head`, `read_small`, `list_objects`."""

    def __init__(self, held: FakeObjectStore) -> None:
        super().__init__()
        self.objects, self.uploads = held.objects, held.uploads
        self.reads: list[str] = []
        self.before_listing: Callable[[], None] = lambda: None

    def head(self, key: str) -> StoredObject | None:
        """Record and return the properties of the object."""
        self.reads.append("head")
        return super().head(key)

    def read_small(self, key: str, max_bytes: int) -> tuple[StoredObject, bytes] | None:
        """Record and return the properties and the content of the object."""
        found = super().read_small(key, max_bytes)
        # It calls `head`.
        self.reads[-1] = "read_small"
        return found

    def list_objects(self, **parameters: Any) -> ObjectPage:
        """Record and list the objects."""
        self.reads.append("list_objects")
        self.before_listing()
        return super().list_objects(**parameters)


@pytest.fixture
def store(lifecycle: Lifecycle) -> RecordingStore:
    """The store of the services, with a record of its reads."""
    return RecordingStore(lifecycle.objects)


@pytest.fixture
def recorded(lifecycle: Lifecycle, store: RecordingStore) -> Lifecycle:
    """The services with the recording store."""
    return lifecycle.with_store(store)


def start_batch(lifecycle: Lifecycle, user: User, bodies: Sequence[bytes], **fields: Any) -> list[File]:
    """Start uploads by one request, and return their rows."""
    own = {"filename": "a.bin", "content_type": "application/octet-stream", **fields}
    declared = [FileCreate.model_validate({"size_bytes": len(body), "sha256": sha256_hex(body), **own}) for body in bodies]
    with lifecycle.services.unit_of_work() as session:
        started = lifecycle.services.upload_batches(session).start_uploads(user, declared)
    ids = [upload.file_id for upload in started if isinstance(upload, StartedBatchUpload)]
    assert len(ids) == len(bodies)
    with lifecycle.services.unit_of_work() as session:
        return [session.get_one(File, file_id) for file_id in ids]


def complete(lifecycle: Lifecycle, user: User, file_ids: Sequence[UUID]) -> list[str]:
    """Complete uploads by one request, and return the status or the error code of each."""
    with lifecycle.services.unit_of_work() as session:
        results = lifecycle.services.completion(session).complete_many(user, file_ids)
    return [result.code if isinstance(result, AppError) else str(result) for result in results]


def statuses(lifecycle: Lifecycle, files: Sequence[File]) -> list[str]:
    with lifecycle.services.unit_of_work() as session:
        return [session.get_one(File, file.id).status for file in files]


def test_one_listing_finds_the_objects_of_a_batch(recorded: Lifecycle, store: RecordingStore) -> None:
    user = recorded.new_user()
    bodies = [b"%d" % number for number in range(100)]
    files = start_batch(recorded, user, bodies)
    for file, body in zip(files, bodies, strict=True):
        recorded.put(file, body)

    results = complete(recorded, user, [file.id for file in files])

    assert results == ["available"] * 100
    assert store.reads == ["list_objects"]
    assert_quota_is_exact(recorded.services, [user.id])


def test_files_without_an_object_stay_pending(recorded: Lifecycle, store: RecordingStore) -> None:
    user = recorded.new_user()
    files = start_batch(recorded, user, [b"hello"] * 10)
    for file in files[:7]:
        recorded.put(file)

    results = complete(recorded, user, [file.id for file in files])

    assert results == ["available"] * 7 + ["upload_missing"] * 3
    assert statuses(recorded, files) == ["available"] * 7 + ["pending"] * 3
    assert store.reads == ["list_objects"]


def test_object_of_another_size_is_rejected(recorded: Lifecycle, store: RecordingStore) -> None:
    user = recorded.new_user()
    files = start_batch(recorded, user, [b"hello"] * 10)
    for file in files[1:]:
        recorded.put(file)
    store.objects[files[0].s3_key] = FakeObject(b"another size", "text/plain", None, None)

    results = complete(recorded, user, [file.id for file in files])

    assert results == ["upload_rejected"] + ["available"] * 9
    assert files[0].s3_key not in store.objects
    assert store.reads == ["list_objects", "head"]


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({"sha256": None}, "head"),
        ({"content_type": "text/plain"}, "read_small"),
        ({"content_type": "image/png", "filename": "a.png"}, "read_small"),
    ],
    ids=["without a digest", "text", "image"],
)
def test_objects_that_a_size_does_not_decide_are_read(
    recorded: Lifecycle, store: RecordingStore, fields: dict[str, Any], read: str
) -> None:
    user = recorded.new_user()
    files = start_batch(recorded, user, [b"hello"] * 6, **fields)
    for file in files:
        recorded.put(file)

    assert complete(recorded, user, [file.id for file in files]) == ["available"] * 6
    assert store.reads == [read] * 6


def test_type_that_the_bytes_contradict_is_recorded(recorded: Lifecycle) -> None:
    user = recorded.new_user()
    files = start_batch(recorded, user, [PNG] * 6, content_type="text/plain")
    for file in files:
        recorded.put(file, PNG)

    complete(recorded, user, [file.id for file in files])

    with recorded.services.unit_of_work() as session:
        assert {session.get_one(File, file.id).detected_content_type for file in files} == {"image/png"}


def test_few_files_and_files_of_several_batches_are_read_one_by_one(recorded: Lifecycle, store: RecordingStore) -> None:
    user = recorded.new_user()
    files = [file for _ in range(3) for file in start_batch(recorded, user, [b"hello"] * 2)]
    for file in files:
        recorded.put(file)

    assert complete(recorded, user, [file.id for file in files]) == ["available"] * 6
    assert store.reads == ["head"] * 6


def test_events_of_a_batch_are_verified_by_one_listing(recorded: Lifecycle, store: RecordingStore) -> None:
    user = recorded.new_user()
    files = start_batch(recorded, user, [b"hello"] * 20)
    for file in files:
        recorded.put(file)

    with recorded.services.unit_of_work() as session:
        errors = recorded.services.completion(session).complete_from_events([file.id for file in files[:10]])

    assert errors == {}
    assert statuses(recorded, files) == ["available"] * 10 + ["pending"] * 10
    assert store.reads == ["list_objects"]


def test_results_are_those_of_single_requests(lifecycle: Lifecycle) -> None:
    user, stranger = lifecycle.new_user(), lifecycle.new_user()

    def stored(owner: User, **fields: Any) -> UUID:
        file = lifecycle.start(owner, **fields)
        lifecycle.put(file)
        return file.id

    def in_parts(*, is_sent: bool) -> UUID:
        file = lifecycle.start_parts(user, 5)
        if is_sent:
            lifecycle.send_parts(user, file, b"hello")
        return file.id

    def rejected() -> UUID:
        file = lifecycle.start(user)
        lifecycle.objects.objects[file.s3_key] = FakeObject(b"another size", "text/plain", None, None)
        return file.id

    def trashed() -> UUID:
        file_id = stored(user)
        lifecycle.complete(user, file_id)
        lifecycle.delete(user, file_id)
        return file_id

    def deleted() -> UUID:
        file_id = stored(user)
        lifecycle.delete(user, file_id, is_permanent=True)
        return file_id

    expired = lifecycle.start(user).id
    with lifecycle.services.unit_of_work() as session:
        # As the sweep does, which then deletes the row.
        session.execute(text("UPDATE file SET status = 'expired' WHERE id = :id"), {"id": expired})
    made: list[tuple[UUID, str]] = [
        (stored(user), "available"),
        (lifecycle.start(user).id, "upload_missing"),
        (in_parts(is_sent=True), "available"),
        (in_parts(is_sent=False), "parts_missing"),
        (rejected(), "upload_rejected"),
        (trashed(), "trashed"),
        (deleted(), "file_not_found"),
        (uuid4(), "file_not_found"),
        (stored(stranger), "file_forbidden"),
        (expired, "file_not_available"),
    ]

    ids = [file_id for file_id, _ in made]
    first = complete(lifecycle, user, ids)
    again = complete(lifecycle, user, ids)

    assert first == [result for _, result in made]
    assert again == first
    for file_id, result in made:
        try:
            alone = lifecycle.complete(user, file_id).status
        except AppError as error:
            alone = error.code
        assert alone == result
    with lifecycle.services.unit_of_work() as session:
        session.execute(text("UPDATE file SET status = 'pending' WHERE id = :id"), {"id": expired})
    assert_quota_is_exact(lifecycle.services, [user.id, stranger.id])


def test_store_that_does_not_answer_is_an_error_of_each_file(recorded: Lifecycle, store: RecordingStore) -> None:
    user = recorded.new_user()
    batch, alone = start_batch(recorded, user, [b"hello"] * 10), recorded.start(user)
    for file in (*batch, alone):
        recorded.put(file)
    store.is_down = True

    results = complete(recorded, user, [file.id for file in (*batch, alone)])

    assert results == ["store_unavailable"] * 11
    assert statuses(recorded, [*batch, alone]) == ["pending"] * 11
    # The listing is not followed by a request for each file.
    assert store.reads == ["list_objects", "head"]
    store.is_down = False
    assert complete(recorded, user, [file.id for file in (*batch, alone)]) == ["available"] * 11


def test_withheld_object_has_the_error_of_a_single_request(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    files = [lifecycle.start(user) for _ in range(2)]
    for file in files:
        lifecycle.put(file)
    lifecycle.objects.withheld.add(files[0].s3_key)

    assert complete(lifecycle, user, [file.id for file in files]) == ["upload_withheld", "available"]
    lifecycle.objects.withheld.clear()


def test_files_that_are_not_reached_in_time_stay_pending(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_completion, "BATCH_SECONDS", -1)
    user = lifecycle.new_user()
    in_parts = lifecycle.start_parts(user, 5)
    files = [lifecycle.start(user), *start_batch(lifecycle, user, [b"hello"] * 6)]
    for file in files:
        lifecycle.put(file)
    lifecycle.send_parts(user, in_parts, b"hello")
    ids = [file.id for file in (in_parts, *files)]

    assert complete(lifecycle, user, ids) == ["pending"] * 8
    monkeypatch.undo()
    assert complete(lifecycle, user, ids) == ["available"] * 8


def test_listed_files_are_withheld_until_their_scan(recorded: Lifecycle, store: RecordingStore) -> None:
    scanning = recorded.services.settings.model_copy(update={"scans_for_malware": True})
    recorded.services = replace(recorded.services, settings=scanning)
    user = recorded.new_user()
    files = start_batch(recorded, user, [b"hello"] * 6)
    for file in files:
        recorded.put(file)
    # The API must not read them before the scan.
    store.withheld.update(file.s3_key for file in files)

    assert complete(recorded, user, [file.id for file in files]) == ["available"] * 6
    with recorded.services.unit_of_work() as session:
        assert all(session.get_one(File, file.id).is_withheld for file in files)


def test_file_that_is_deleted_meanwhile_is_not_accepted(recorded: Lifecycle, store: RecordingStore) -> None:
    user = recorded.new_user()
    files = start_batch(recorded, user, [b"hello"] * 6)
    for file in files:
        recorded.put(file)
    store.before_listing = lambda: recorded.delete(user, files[0].id)

    results = complete(recorded, user, [file.id for file in files])
    store.before_listing = lambda: None

    assert results == ["file_not_found"] + ["available"] * 5
    assert_quota_is_exact(recorded.services, [user.id])
    recorded.traveller.shift(LONG_ENOUGH)
    recorded.sweep()
    assert_nothing_differs(recorded.services, recorded.objects, [user.id])


def test_concurrent_requests_accept_each_file_once(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    files = start_batch(lifecycle, user, [b"hello"] * 40)
    for file in files:
        lifecycle.put(file)
    engine = create_database_engine(lifecycle.services.settings.model_copy(update={"database_pool_size": 4}))
    concurrent = replace(lifecycle.services, engine=engine, session_factory=create_session_factory(engine))

    def run(reverse: bool) -> list[str]:
        ids = [file.id for file in files]
        with concurrent.unit_of_work() as session:
            results = concurrent.completion(session).complete_many(user, ids[::-1] if reverse else ids)
        return [result.code if isinstance(result, AppError) else str(result) for result in results]

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(run, [False, True, False, True]))
    engine.dispose()

    assert results == [["available"] * 40] * 4
    assert_quota_is_exact(lifecycle.services, [user.id])


def test_ids_of_a_batch_have_only_their_start_in_common(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    batches = [start_batch(lifecycle, user, [b"hello"] * 100) for _ in range(2)]
    ids = [[file.id for file in batch] for batch in batches]

    prefixes = [{file_id.bytes[:8] for file_id in batch} for batch in ids]
    assert [len(prefix) for prefix in prefixes] == [1, 1]
    assert prefixes[0] != prefixes[1]
    assert len({file_id.bytes[8:] for batch in ids for file_id in batch}) == 200
    assert all(file_id.version == 4 for batch in ids for file_id in batch)
