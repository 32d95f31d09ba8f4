"""Archives of share links: the common limits of all links of an owner, and deletion with the link."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from lambda_app.db.engine import create_database_engine
from lambda_app.db.session import create_session_factory
from lambda_app.models import Archive, ArchiveStatus, File, Share, User
from lambda_app.repositories.archives.transitions import ArchiveTransitionRepository
from lambda_app.services.archives import archives
from lambda_app.services.archives.archives import LINKS_UNFINISHED_MAX_COUNT, REQUEUE_GRACE
from lambda_app.services.archives.builds import BuildResult
from lambda_app.storage.keys import archive_request_key
from tests.support.archives import (
    BODIES,
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
)
from tests.support.crashes import InterceptedStore
from tests.support.lifecycle import Lifecycle, refused
from tests.support.locks import EVENT_BARRIER, events_wait, wait_until_blocked, wait_until_waiting

pytestmark = pytest.mark.usefixtures("small_parts")

CROWD = 12
ROUNDS = 3


@pytest.fixture
def crowd(lifecycle: Lifecycle) -> Iterator[Lifecycle]:
    """The lifecycle with enough database connections for all concurrent visitors."""
    engine = create_database_engine(
        lifecycle.services.settings.model_copy(update={"database_pool_size": CROWD + 3, "database_timeout_seconds": 60.0})
    )
    yield Lifecycle(replace(lifecycle.services, engine=engine, session_factory=create_session_factory(engine)), lifecycle.traveller)
    engine.dispose()


def visit(lifecycle: Lifecycle, share: Share, file: File) -> str | None:
    """Request an archive of a link; return the error code, or None."""
    return refused(lambda: start_for_link(lifecycle, share, file))


def leave_queued(_lifecycle: Lifecycle, _archive: Archive) -> None:
    """No worker has started the build."""


def build_half(lifecycle: Lifecycle, archive: Archive) -> None:
    build_parts(lifecycle, archive.id, count=1)


def build_all(lifecycle: Lifecycle, _archive: Archive) -> None:
    assert deliver(lifecycle) == [BuildResult.READY]


@pytest.mark.parametrize("before", [leave_queued, build_half, build_all])
def test_revoking_a_link_deletes_its_archives(lifecycle: Lifecycle, before: Callable[[Lifecycle, Archive], None]) -> None:
    user = lifecycle.new_user()
    files = make_files(lifecycle, user)
    share, other = link_to(lifecycle, user, *files), link_to(lifecycle, user, *files)
    archive, other_archive = start_for_link(lifecycle, share, *files), start_for_link(lifecycle, other, *files)
    before(lifecycle, archive) if before is not build_all else None
    own = start(lifecycle, user, files)
    if before is build_all:
        deliver(lifecycle)

    revoke(lifecycle, user, share)

    assert build(lifecycle, archive.id) is BuildResult.NOTHING
    assert sweep(lifecycle).removed_archives == 1
    assert archive.s3_key not in remaining_keys(lifecycle)
    with lifecycle.services.unit_of_work() as session:
        assert session.get(Archive, archive.id) is None
    # The archives of another link and of the owner are not affected.
    deliver(lifecycle)
    assert get_archive(lifecycle, user, own.id).status == "ready"
    with open_zip(lifecycle, other_archive) as found:
        assert [found.read(entry) for entry in found.infolist()] == list(BODIES)
    assert sorted(remaining_keys(lifecycle)) == sorted([own.s3_key, other_archive.s3_key])


def test_revoking_all_links_of_a_file_deletes_their_archives(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    file, other = make_file(lifecycle, user), make_file(lifecycle, user)
    created = [start_for_link(lifecycle, link_to(lifecycle, user, *files), *files) for files in ([file], [file, other], [other])]
    deliver(lifecycle)

    with lifecycle.services.unit_of_work() as session:
        lifecycle.services.shares(session).revoke_all_of_file(user, file.id)

    assert sweep(lifecycle).removed_archives == 2
    assert remaining_keys(lifecycle) == [created[2].s3_key]


def test_repeated_requests_of_visitors_queue_no_further_builds(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    file = make_file(lifecycle, user)
    share = link_to(lifecycle, user, file)
    archive = start_for_link(lifecycle, share, file)
    assert requested(lifecycle) == [archive.id]
    lifecycle.objects.delete(archive_request_key(archive.id))

    for _ in range(3):
        assert start_for_link(lifecycle, share, file).id == archive.id
    assert requested(lifecycle) == []

    # The queue marker may have been lost.
    lifecycle.traveller.shift(REQUEUE_GRACE + timedelta(seconds=1))
    start_for_link(lifecycle, share, file)
    assert requested(lifecycle) == [archive.id]


@pytest.mark.parametrize("calls_before", range(3, 12))
def test_worker_stops_when_the_link_is_revoked(lifecycle: Lifecycle, calls_before: int) -> None:
    user = lifecycle.new_user()
    files = make_files(lifecycle, user)
    share = link_to(lifecycle, user, *files)
    archive = start_for_link(lifecycle, share, *files)
    calls = 0

    def around(call: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        answer = call()
        if calls == calls_before:
            revoke(lifecycle, user, share)
            sweep(lifecycle)
        return answer

    assert build(lifecycle.with_store(InterceptedStore(lifecycle.objects, around)), archive.id) is BuildResult.SUPERSEDED
    assert calls_before <= calls <= calls_before + 2
    # A part that was being uploaded during the sweep is an orphan.
    lifecycle.traveller.shift(timedelta(hours=2))
    sweep(lifecycle)
    assert remaining_keys(lifecycle) == []


def test_archives_of_revoked_links_count_until_their_bytes_are_deleted(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a visitor could fill the bucket by repeatedly creating a link, requesting its archive and revoking the link."""
    user = lifecycle.new_user()
    file, again = make_file(lifecycle, user, BODIES[1]), make_file(lifecycle, user, BODIES[1])
    monkeypatch.setattr(archives, "STORED_MAX_BYTES", 2 * len(BODIES[1]) + 1000)
    for _ in range(2):
        share = link_to(lifecycle, user, file)
        start_for_link(lifecycle, share, file)
        deliver(lifecycle)
        revoke(lifecycle, user, share)

    third = link_to(lifecycle, user, file)
    assert visit(lifecycle, third, file) == "too_many_archives"
    # The limits of the owner's own archives and of visitors are independent.
    for own in (file, again):
        start(lifecycle, user, [own])
    assert refused(lambda: start(lifecycle, user, [file, again])) == "too_many_archives"

    assert sweep(lifecycle).removed_archives == 2
    assert visit(lifecycle, third, file) is None


def test_all_links_of_an_owner_share_one_unfinished_limit(lifecycle: Lifecycle) -> None:
    user, neighbour = lifecycle.new_user(), lifecycle.new_user()
    file, other = make_file(lifecycle, user), make_file(lifecycle, neighbour)
    shares = [link_to(lifecycle, user, file) for _ in range(LINKS_UNFINISHED_MAX_COUNT + 1)]

    answers = [visit(lifecycle, share, file) for share in shares]

    assert answers == [None] * LINKS_UNFINISHED_MAX_COUNT + ["too_many_archives"]
    # A repeated request for an unfinished archive does not count.
    assert visit(lifecycle, shares[0], file) is None
    # The limit affects neither the owner nor other users.
    start(lifecycle, user, [file])
    start_for_link(lifecycle, link_to(lifecycle, neighbour, other), other)


@pytest.mark.parametrize("limit", ["places", "bytes"])
def test_concurrent_visitors_of_many_links_get_exactly_the_limit(crowd: Lifecycle, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    most = 5 if limit == "places" else 3
    monkeypatch.setattr(archives, "LINKS_UNFINISHED_MAX_COUNT", 5)
    if limit == "bytes":
        monkeypatch.setattr(archives, "STORED_MAX_BYTES", most * (len(BODIES[1]) + 300))
    counts: list[int] = []
    with ThreadPoolExecutor(CROWD + 1) as threads:
        for _ in range(ROUNDS):
            user = crowd.new_user()
            file = make_file(crowd, user, BODIES[1])
            shares = [link_to(crowd, user, file) for _ in range(CROWD)]
            # The lock makes all requests check the limit before any of them commits.
            with events_wait(crowd.services.engine), crowd.services.engine.connect() as holder:
                holder.execute(text(EVENT_BARRIER))
                own = threads.submit(start, crowd, user, [file])
                requests = [threads.submit(visit, crowd, share, file) for share in shares]
                wait_until_waiting(crowd.services, count=CROWD + 1)
                holder.rollback()
            own.result()
            assert {answer.result() for answer in requests} == {None, "too_many_archives"}
            counts.append(_count(crowd, user))

    assert counts == [most] * ROUNDS


def test_place_freed_concurrently_does_not_exceed_the_storage_limit(crowd: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    """An uncommitted request has passed the check. A concurrent request with another free number must still count its bytes."""
    user = crowd.new_user()
    first, second, third = (make_file(crowd, user, BODIES[1]) for _ in range(3))
    monkeypatch.setattr(archives, "STORED_MAX_BYTES", 2 * (len(BODIES[1]) + 300))
    built = start_for_link(crowd, link_to(crowd, user, first), first)
    with crowd.services.unit_of_work() as session:
        transitions = ArchiveTransitionRepository(session)
        claimed = transitions.claim(built.id, lease_id=built.id, lease_until=built.lease_until + timedelta(hours=1))
    assert claimed is not None
    links = {file.id: link_to(crowd, user, file) for file in (second, third)}

    with ThreadPoolExecutor(2) as threads, events_wait(crowd.services.engine), crowd.services.engine.connect() as holder:
        pid = holder.execute(text("SELECT pg_backend_pid()")).scalar_one()
        holder.execute(text(EVENT_BARRIER))
        waiting = threads.submit(visit, crowd, links[second.id], second)
        wait_until_blocked(crowd.services, by=pid)
        # As `finish` does it, without its event, which would wait too.
        ready = {"status": ArchiveStatus.READY, "expires_at": built.lease_until + timedelta(days=1)}
        with crowd.services.unit_of_work() as session:
            session.execute(update(Archive).where(Archive.id == claimed.id).values(ready))
        late = threads.submit(visit, crowd, links[third.id], third)
        wait_until_waiting(crowd.services, count=2)
        holder.rollback()

        assert (waiting.result(timeout=10), late.result(timeout=10)) == (None, "too_many_archives")


def _count(lifecycle: Lifecycle, user: User) -> int:
    mine = (Archive.holder_id == user.id, Archive.share_id.is_not(None), Archive.status != ArchiveStatus.DELETING)
    with lifecycle.services.unit_of_work() as session:
        return session.execute(select(func.count()).select_from(Archive).where(*mine)).scalar_one()
