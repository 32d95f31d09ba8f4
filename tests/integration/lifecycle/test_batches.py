"""Deletions of many files by one request have the effects of as many single deletions, in every state of a file."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from lambda_app.core.errors import AppError
from lambda_app.db.engine import create_database_engine
from lambda_app.db.session import create_session_factory
from lambda_app.models import AuditEvent, File, FileRequest, FileStatus, Tombstone, User
from lambda_app.services.files import batch_changes
from lambda_app.services.files.batch_changes import FileBatchChangeService
from tests.support.lifecycle import LONG_ENOUGH, Lifecycle
from tests.support.object_store import FakeObject
from tests.support.quota_assertions import assert_nothing_differs, assert_quota_is_exact
from tests.support.tombstones import BODY, start_as_guest

pytestmark = pytest.mark.usefixtures("empty_tables")


def pending(lifecycle: Lifecycle, user: User) -> UUID:
    return lifecycle.start(user, BODY).id


def pending_in_parts(lifecycle: Lifecycle, user: User) -> UUID:
    return lifecycle.start_parts(user, len(BODY)).id


def pending_of_a_guest(lifecycle: Lifecycle, user: User) -> UUID:
    return start_as_guest(lifecycle, user).file.id


def available(lifecycle: Lifecycle, user: User) -> UUID:
    file = lifecycle.start(user, BODY)
    lifecycle.put(file, BODY)
    return lifecycle.complete(user, file.id).id


def uploaded_in_parts(lifecycle: Lifecycle, user: User) -> UUID:
    file = lifecycle.start_parts(user, len(BODY))
    lifecycle.send_parts(user, file, BODY)
    return lifecycle.complete(user, file.id).id


def trashed(lifecycle: Lifecycle, user: User) -> UUID:
    file_id = available(lifecycle, user)
    lifecycle.delete(user, file_id)
    return file_id


def rejected(lifecycle: Lifecycle, user: User) -> UUID:
    file = lifecycle.start(user, BODY)
    lifecycle.objects.objects[file.s3_key] = FakeObject(b"another size", "text/plain", None, None)
    with pytest.raises(AppError):
        lifecycle.complete(user, file.id)
    return file.id


def being_deleted(lifecycle: Lifecycle, user: User) -> UUID:
    file_id = available(lifecycle, user)
    lifecycle.objects.is_down = True
    with pytest.raises(AppError):
        lifecycle.delete(user, file_id, is_permanent=True)
    lifecycle.objects.is_down = False
    return file_id


def long_available(lifecycle: Lifecycle, user: User) -> UUID:
    """A file whose upload URL has expired."""
    file_id = available(lifecycle, user)
    with lifecycle.services.unit_of_work() as session:
        session.execute(text("UPDATE file SET upload_expires_at = '2026-01-01' WHERE id = :id"), {"id": file_id})
    return file_id


KINDS: tuple[Callable[[Lifecycle, User], UUID], ...] = (
    pending,
    pending_in_parts,
    pending_of_a_guest,
    available,
    uploaded_in_parts,
    trashed,
    rejected,
    being_deleted,
    long_available,
)


def change(lifecycle: Lifecycle, act: Callable[[FileBatchChangeService], Any]) -> Any:
    with lifecycle.services.unit_of_work() as session:
        return act(lifecycle.services.file_batch_changes(session))


def delete_all(lifecycle: Lifecycle, user: User, file_ids: Sequence[UUID], *, is_permanent: bool) -> list[Any]:
    results = change(lifecycle, lambda files: files.delete_files(user, file_ids, is_permanent=is_permanent))
    return [result.code if isinstance(result, AppError) else str(result) for result in results]


def state_of(lifecycle: Lifecycle, user: User, file_ids: Sequence[UUID]) -> dict[str, Any]:
    """Everything that a deletion changes, with positions instead of ids."""
    place = {file_id: number for number, file_id in enumerate(file_ids)}
    with lifecycle.services.unit_of_work() as session:
        row = session.get_one(User, user.id)
        files = session.scalars(select(File).where(File.owner_id == user.id)).all()
        tombstones = session.scalars(select(Tombstone).where(Tombstone.owner_id == user.id)).all()
        requests = session.scalars(select(FileRequest).where(FileRequest.owner_id == user.id)).all()
        subjects = [f"file:{file_id}" for file_id in file_ids]
        events = session.execute(select(AuditEvent.subject, AuditEvent.action).where(AuditEvent.subject.in_(subjects)))
        return {
            "user": (row.bytes_used, row.files_count, row.deleted_bytes),
            "files": sorted((place[file.id], file.status, file.purge_at, file.revision) for file in files),
            "tombstones": sorted((place[t.file_id], t.size_bytes, t.charged_until, t.expires_at) for t in tombstones),
            "requests": sorted(request.file_count for request in requests),
            "events": sorted((subjects.index(str(subject)), action) for subject, action in events),
            "objects": sorted(place[file_id] for file_id in file_ids if f"uploads/{file_id}" in lifecycle.objects.objects),
        }


@pytest.mark.parametrize("is_permanent", [False, True])
def test_batch_has_the_effects_of_single_deletions(lifecycle: Lifecycle, is_permanent: bool) -> None:
    alone, together = lifecycle.new_user(), lifecycle.new_user()
    singles, batch = ([kind(lifecycle, user) for kind in KINDS for _ in range(2)] for user in (alone, together))
    assert state_of(lifecycle, alone, singles) == state_of(lifecycle, together, batch)

    for file_id in singles:
        lifecycle.delete(alone, file_id, is_permanent=is_permanent)
    results = delete_all(lifecycle, together, batch, is_permanent=is_permanent)

    assert state_of(lifecycle, together, batch) == state_of(lifecycle, alone, singles)
    into_trash = () if is_permanent else (available, uploaded_in_parts, trashed, long_available)
    assert results == ["trashed" if kind in into_trash else "deleted" for kind in KINDS for _ in range(2)]
    assert_quota_is_exact(lifecycle.services, [alone.id, together.id])
    lifecycle.traveller.shift(LONG_ENOUGH)
    lifecycle.sweep()
    assert_nothing_differs(lifecycle.services, lifecycle.objects, [alone.id, together.id])


def test_superuser_deletes_files_of_several_owners(lifecycle: Lifecycle) -> None:
    owners = [lifecycle.new_user() for _ in range(3)]
    files = [kind(lifecycle, owner) for owner in owners for kind in (long_available, pending, pending_of_a_guest)]
    superuser = lifecycle.new_user()
    with lifecycle.services.unit_of_work() as session:
        session.get_one(User, superuser.id).is_superuser = True
    superuser.is_superuser = True

    assert delete_all(lifecycle, superuser, files, is_permanent=True) == ["deleted"] * 9
    assert_quota_is_exact(lifecycle.services, [owner.id for owner in owners])


def test_files_of_others_and_unknown_ids_are_refused_and_stay(lifecycle: Lifecycle) -> None:
    user, other = lifecycle.new_user(), lifecycle.new_user()
    own, foreign, in_trash = available(lifecycle, user), available(lifecycle, other), trashed(lifecycle, other)
    before = state_of(lifecycle, other, [foreign, in_trash])

    for is_permanent in (False, True):
        results = delete_all(lifecycle, user, [foreign, uuid4(), in_trash, own], is_permanent=is_permanent)
        assert results == ["file_forbidden", "file_not_found", "file_forbidden", "deleted" if is_permanent else "trashed"]
    restored = change(lifecycle, lambda files: files.restore_files(user, [foreign, in_trash, uuid4()]))
    published = change(lifecycle, lambda files: files.set_visibility(user, [foreign, in_trash, uuid4()], is_public=True))

    assert [error.code for error in restored] == ["file_forbidden", "file_forbidden", "file_not_found"]
    assert [error.code for error in published] == ["file_forbidden", "file_forbidden", "file_not_found"]
    assert state_of(lifecycle, other, [foreign, in_trash]) == before


def test_restored_files_and_visibility_have_the_effects_of_single_requests(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    first, second, third, fourth = (kind(lifecycle, user) for kind in (trashed, available, pending, trashed))
    lifecycle.restore(user, fourth)

    results = change(lifecycle, lambda files: files.restore_files(user, [first, second, third]))

    assert results[:2] == [FileStatus.AVAILABLE] * 2
    assert (results[2].code, results[2].extra) == ("not_in_trash", {"file_status": "pending"})
    state = state_of(lifecycle, user, [first, second, third, fourth])
    assert state["files"] == [(0, "available", None, 4), (1, "available", None, 2), (2, "pending", None, 1), (3, "available", None, 4)]
    assert [event for event in state["events"] if event[1] != "file.available"] == [
        (0, "file.restored"),
        (0, "file.trashed"),
        (3, "file.restored"),
        (3, "file.trashed"),
    ]

    published = change(lifecycle, lambda files: files.set_visibility(user, [third, first], is_public=True))
    assert published == [FileStatus.PENDING, FileStatus.AVAILABLE]
    with lifecycle.services.unit_of_work() as session:
        public = session.scalars(select(File.id).where(File.is_public))
        assert set(public) == {first, third}
        of_first = (AuditEvent.action == "file.visibility_changed", AuditEvent.subject == f"file:{first}")
        details = session.scalars(select(AuditEvent.details).where(*of_first))
        assert list(details) == ['{"is_public": true}']


def test_unavailable_store_leaves_hidden_files_that_a_repetition_or_the_sweep_deletes(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    files = [available(lifecycle, user), pending_in_parts(lifecycle, user), available(lifecycle, user)]
    lifecycle.objects.is_down = True

    assert delete_all(lifecycle, user, files, is_permanent=True) == ["store_unavailable"] * 3
    assert_quota_is_exact(lifecycle.services, [user.id])
    lifecycle.objects.is_down = False
    assert delete_all(lifecycle, user, files[:2], is_permanent=True) == ["deleted"] * 2
    lifecycle.traveller.shift(LONG_ENOUGH)
    lifecycle.sweep()
    assert_nothing_differs(lifecycle.services, lifecycle.objects, [user.id])


def test_objects_that_the_store_does_not_delete_keep_their_rows(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    user = lifecycle.new_user()
    first, second = available(lifecycle, user), available(lifecycle, user)
    monkeypatch.setattr(lifecycle.objects, "delete_many", lambda keys: {key for key in keys if str(first) in key})

    assert delete_all(lifecycle, user, [first, second], is_permanent=True) == ["store_unavailable", "deleted"]
    assert [row[:2] for row in state_of(lifecycle, user, [first, second])["files"]] == [(0, "deleting")]


def test_empty_trash_deletes_only_the_own_trash(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_changes, "TRASH_BATCH_FILES", 2)
    user, other = lifecycle.new_user(), lifecycle.new_user()
    user.is_superuser = True
    kept = [kind(lifecycle, user) for kind in (available, pending)]
    files = [trashed(lifecycle, user) for _ in range(5)]
    foreign = trashed(lifecycle, other)

    assert change(lifecycle, lambda service: service.empty_trash(user)) == (5, False)

    assert [row[0] for row in state_of(lifecycle, user, [*kept, *files])["files"]] == [0, 1]
    assert state_of(lifecycle, other, [foreign])["files"][0][1] == "trashed"
    assert change(lifecycle, lambda service: service.empty_trash(user)) == (0, False)
    assert_quota_is_exact(lifecycle.services, [user.id, other.id])


def test_empty_trash_stops_when_its_time_is_over(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_changes, "TRASH_BATCH_FILES", 2)
    times = iter([0.0, 0.0, 20.0])
    monkeypatch.setattr(batch_changes, "monotonic", lambda: next(times))
    user = lifecycle.new_user()
    files = [trashed(lifecycle, user) for _ in range(5)]

    assert change(lifecycle, lambda service: service.empty_trash(user)) == (2, True)
    assert len(state_of(lifecycle, user, files)["files"]) == 3


def test_file_that_is_restored_while_the_trash_is_emptied_stays(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    file_id = trashed(lifecycle, user)

    def restore_after_listing(service: FileBatchChangeService) -> Any:
        listed = service._transitions.list_trashed

        def list_and_restore(*args: Any, **fields: Any) -> Any:
            found = listed(*args, **fields)
            if found:
                # With the connection of the request: the pool has no other.
                assert service._transitions.restore(found, user)
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(service._transitions, "list_trashed", list_and_restore)
            return service.empty_trash(user)

    assert change(lifecycle, restore_after_listing) == (0, False)
    assert state_of(lifecycle, user, [file_id])["files"][0][1] == "available"


def test_concurrent_batches_neither_deadlock_nor_release_twice(lifecycle: Lifecycle) -> None:
    settings = lifecycle.services.settings.model_copy(update={"database_pool_size": 6, "database_timeout_seconds": 30.0})
    engine = create_database_engine(settings)
    services = replace(lifecycle.services, engine=engine, session_factory=create_session_factory(engine))
    users = [lifecycle.new_user() for _ in range(2)]
    superuser = lifecycle.new_user()
    superuser.is_superuser = True
    files = [kind(lifecycle, user) for user in users for kind in (available, pending, pending_of_a_guest, long_available) for _ in range(5)]

    def act(number: int) -> None:
        shuffled = files[number:] + files[:number]
        with services.unit_of_work() as session:
            changes = services.file_batch_changes(session)
            match number % 4:
                case 0:
                    changes.delete_files(superuser, shuffled)
                case 1:
                    changes.restore_files(superuser, shuffled[::-1])
                case 2:
                    changes.set_visibility(superuser, shuffled, is_public=number % 8 == 2)
                case _:
                    changes.delete_files(superuser, shuffled[:7], is_permanent=True)

    with ThreadPoolExecutor(6) as threads:
        errors = [future.exception() for future in [threads.submit(act, number) for number in range(24)]]
    engine.dispose()

    assert [error for error in errors if error is not None] == []
    assert_quota_is_exact(lifecycle.services, [user.id for user in users])
