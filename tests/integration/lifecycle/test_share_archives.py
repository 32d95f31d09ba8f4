"""Zips of share links: what all links of one owner may take together, and that they end with their link."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text

from lambda_app.db.engine import create_database_engine
from lambda_app.db.session import create_session_factory
from lambda_app.models import Archive, ArchiveStatus, File, Share, User
from lambda_app.repositories.archives.transitions import ArchiveTransitionRepository
from lambda_app.services.archives import archives
from lambda_app.services.archives.archives import LINKS_UNFINISHED_MAX_COUNT, REQUEUE_GRACE
from lambda_app.services.archives.builds import BuildResult
from lambda_app.storage.keys import archive_request_key
from tests.integration.lifecycle.test_archives import BODIES, _small_parts, build_parts, make_file, make_files  # noqa: F401 - the fixture
from tests.integration.lifecycle.test_crashes import WatchedStore
from tests.support.archives import build, deliver, leftovers, link_to, look, opened, requested, revoke, start, start_at, sweep
from tests.support.lifecycle import Lifecycle, refused
from tests.support.locks import wait_until_blocked, wait_until_waiting

CROWD = 12
ROUNDS = 3


@pytest.fixture
def crowd(life: Lifecycle) -> Iterator[Lifecycle]:
    """The same life, with a connection for everybody at once."""
    engine = create_database_engine(
        life.services.settings.model_copy(update={"database_pool_size": CROWD + 3, "database_timeout_seconds": 60.0})
    )
    yield Lifecycle(replace(life.services, engine=engine, session_factory=create_session_factory(engine)), life.traveller)
    engine.dispose()


def visit(life: Lifecycle, share: Share, file: File) -> str | None:
    """Ask for a link's zip; return the code of the refusal, None for none."""
    return refused(lambda: start_at(life, share, file))


def leave_alone(_transitions: Lifecycle, _archive: Archive) -> None:
    """Nobody has come yet."""


def build_half(life: Lifecycle, archive: Archive) -> None:
    build_parts(life, archive.id, count=1)


def build_all(life: Lifecycle, _archive: Archive) -> None:
    assert deliver(life) == [BuildResult.READY]


@pytest.mark.parametrize("before", [leave_alone, build_half, build_all])
def test_revoked_link_takes_its_zips_along(life: Lifecycle, before: Callable[[Lifecycle, Archive], None]) -> None:
    user = life.new_user()
    files = make_files(life, user)
    share, other = link_to(life, user, *files), link_to(life, user, *files)
    archive, kept = start_at(life, share, *files), start_at(life, other, *files)
    before(life, archive) if before is not build_all else None
    own = start(life, user, files)
    if before is build_all:
        deliver(life)

    revoke(life, user, share)

    assert build(life, archive.id) is BuildResult.NOTHING
    assert sweep(life).removed_archives == 1
    assert archive.s3_key not in leftovers(life)
    with life.services.unit_of_work() as session:
        assert session.get(Archive, archive.id) is None
    # Those of another link, and the owner's, go on.
    deliver(life)
    assert look(life, user, own.id).status == "ready"
    with opened(life, kept) as found:
        assert [found.read(entry) for entry in found.infolist()] == list(BODIES)
    assert sorted(leftovers(life)) == sorted([own.s3_key, kept.s3_key])


def test_all_links_to_a_file_take_their_zips_along(life: Lifecycle) -> None:
    user = life.new_user()
    file, other = make_file(life, user), make_file(life, user)
    made = [start_at(life, link_to(life, user, *files), *files) for files in ([file], [file, other], [other])]
    deliver(life)

    with life.services.unit_of_work() as session:
        life.services.shares(session).revoke_all_of_file(user, file.id)

    assert sweep(life).removed_archives == 2
    assert leftovers(life) == [made[2].s3_key]


def test_visitors_who_ask_again_wake_no_further_workers(life: Lifecycle) -> None:
    user = life.new_user()
    file = make_file(life, user)
    share = link_to(life, user, file)
    archive = start_at(life, share, file)
    assert requested(life) == [archive.id]
    life.objects.delete(archive_request_key(archive.id))

    for _ in range(3):
        assert start_at(life, share, file).id == archive.id
    assert requested(life) == []

    # The word may have been lost.
    life.traveller.shift(REQUEUE_GRACE + timedelta(seconds=1))
    start_at(life, share, file)
    assert requested(life) == [archive.id]


@pytest.mark.parametrize("calls_before", range(3, 12))
def test_worker_stops_where_it_is_when_the_link_is_revoked(life: Lifecycle, calls_before: int) -> None:
    user = life.new_user()
    files = make_files(life, user)
    share = link_to(life, user, *files)
    archive = start_at(life, share, *files)
    calls = 0

    def around(call: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        answer = call()
        if calls == calls_before:
            revoke(life, user, share)
            sweep(life)
        return answer

    assert build(life.through(WatchedStore(life.objects, around)), archive.id) is BuildResult.SUPERSEDED
    assert calls_before <= calls <= calls_before + 2
    # A part that was on its way when the sweep came is a orphan one.
    life.traveller.shift(timedelta(hours=2))
    sweep(life)
    assert leftovers(life) == []


def test_bytes_of_revoked_links_count_until_they_are_gone(life: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a link, ask for its zip, revoke it, again: without a bound on all of them that fills the bucket."""
    user = life.new_user()
    file, again = make_file(life, user, BODIES[1]), make_file(life, user, BODIES[1])
    monkeypatch.setattr(archives, "STORED_MAX_BYTES", 2 * len(BODIES[1]) + 1000)
    for _ in range(2):
        share = link_to(life, user, file)
        start_at(life, share, file)
        deliver(life)
        revoke(life, user, share)

    third = link_to(life, user, file)
    assert visit(life, third, file) == "too_many_archives"
    # The owner's own are not in the visitors' limit, nor the other way round.
    for own in (file, again):
        start(life, user, [own])
    assert refused(lambda: start(life, user, [file, again])) == "too_many_archives"

    assert sweep(life).removed_archives == 2
    assert visit(life, third, file) is None


def test_visitors_of_all_links_together_have_so_many_places(life: Lifecycle) -> None:
    user, neighbour = life.new_user(), life.new_user()
    file, other = make_file(life, user), make_file(life, neighbour)
    shares = [link_to(life, user, file) for _ in range(LINKS_UNFINISHED_MAX_COUNT + 1)]

    answers = [visit(life, share, file) for share in shares]

    assert answers == [None] * LINKS_UNFINISHED_MAX_COUNT + ["too_many_archives"]
    # Asking again for one that is under way is no new one.
    assert visit(life, shares[0], file) is None
    # Neither the owner nor anybody else has to wait for them.
    start(life, user, [file])
    start_at(life, link_to(life, neighbour, other), other)


@pytest.mark.parametrize("limit", ["places", "bytes"])
def test_visitors_of_many_links_at_once_get_exactly_what_there_is(crowd: Lifecycle, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    most = 5 if limit == "places" else 3
    monkeypatch.setattr(archives, "LINKS_UNFINISHED_MAX_COUNT", 5)
    if limit == "bytes":
        monkeypatch.setattr(archives, "STORED_MAX_BYTES", most * (len(BODIES[1]) + 300))
    got: list[int] = []
    with ThreadPoolExecutor(CROWD + 1) as threads:
        for _ in range(ROUNDS):
            user = crowd.new_user()
            file = make_file(crowd, user, BODIES[1])
            shares = [link_to(crowd, user, file) for _ in range(CROWD)]
            # All of them look before any of them is there.
            with crowd.services.engine.connect() as holder:
                holder.execute(text("INSERT INTO audit_event (at, action) VALUES (now(), 'test.held')"))
                own = threads.submit(start, crowd, user, [file])
                asked = [threads.submit(visit, crowd, share, file) for share in shares]
                wait_until_waiting(crowd.services, count=CROWD + 1)
                holder.rollback()
            own.result()
            assert {answer.result() for answer in asked} == {None, "too_many_archives"}
            got.append(_count(crowd, user))

    assert got == [most] * ROUNDS


def test_place_that_becomes_free_in_between_admits_no_byte_too_many(crowd: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request has looked and not committed; another one finds another place free than that one, and must still see its bytes."""
    user = crowd.new_user()
    first, second, third = (make_file(crowd, user, BODIES[1]) for _ in range(3))
    monkeypatch.setattr(archives, "STORED_MAX_BYTES", 2 * (len(BODIES[1]) + 300))
    built = start_at(crowd, link_to(crowd, user, first), first)
    with crowd.services.unit_of_work() as session:
        life = ArchiveTransitionRepository(session)
        claimed = life.claim(built.id, lease_id=built.id, lease_until=built.lease_until + timedelta(hours=1))
    assert claimed is not None
    links = {file.id: link_to(crowd, user, file) for file in (second, third)}

    with ThreadPoolExecutor(2) as threads, crowd.services.engine.connect() as holder:
        pid = holder.execute(text("SELECT pg_backend_pid()")).scalar_one()
        holder.execute(text("INSERT INTO audit_event (at, action) VALUES (now(), 'test.held')"))
        waiting = threads.submit(visit, crowd, links[second.id], second)
        wait_until_blocked(crowd.services, by=pid)
        with crowd.services.unit_of_work() as session:
            assert ArchiveTransitionRepository(session).finish(claimed, expires_at=built.lease_until + timedelta(days=1))
        late = threads.submit(visit, crowd, links[third.id], third)
        wait_until_waiting(crowd.services, count=2)
        holder.rollback()

        assert (waiting.result(timeout=10), late.result(timeout=10)) == (None, "too_many_archives")


def _count(life: Lifecycle, user: User) -> int:
    mine = (Archive.holder_id == user.id, Archive.share_id.is_not(None), Archive.status != ArchiveStatus.DELETING)
    with life.services.unit_of_work() as session:
        return session.execute(select(func.count()).select_from(Archive).where(*mine)).scalar_one()
