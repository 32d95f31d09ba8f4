"""Limits of share links with many concurrent callers, each on its own database connection."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import httpx
import pytest
from sqlalchemy import delete, func, select

from lambda_app.core.settings import Settings
from lambda_app.db.compiled import StatementRunner
from lambda_app.db.engine import create_database_engine
from lambda_app.db.session import create_session_factory
from lambda_app.factory import Services
from lambda_app.models import Archive, AuditEvent, Share
from lambda_app.repositories.sharing.caller_links import CallerLinkRepository, GrantedFile
from lambda_app.services.sharing.share_links import NoSuchLinkError, Visitor
from tests.support.accounts import Account, make_file
from tests.support.archives_api import run_worker
from tests.support.lifecycle import refused
from tests.support.locks import hold_until_blocked, wait_until_waiting
from tests.support.shares import make_share, visitor

CALLERS = 100
"""Each has its own connection, so that all of them run at once."""
LIMIT = 10
ROUNDS = 20
ANONYMOUS = Visitor(None, None)


@pytest.fixture(scope="module")
def crowd(settings: Settings, services: Services) -> Iterator[Services]:
    """Services with a connection for every caller."""
    engine = create_database_engine(settings.model_copy(update={"database_pool_size": CALLERS, "database_timeout_seconds": 60.0}))
    yield replace(services, engine=engine, session_factory=create_session_factory(engine))
    engine.dispose()


@pytest.fixture(scope="module")
def owner(make_user: Callable[..., Account]) -> Account:
    """One owner for all tests."""
    return make_user()


def is_granted(crowd: Services, token: str, file_id: UUID, number: int = 0) -> bool:
    try:
        with visitor(number):
            crowd.link_downloads().start_download(token, file_id, None, None, is_resumption=False)
    except NoSuchLinkError:
        return False
    return True


@pytest.mark.slow
def test_concurrent_downloads_never_exceed_the_limit(client: httpx.Client, crowd: Services, owner: Account) -> None:
    granted, counted, logged = [], [], []
    files = [str(make_file(client, owner)["id"]) for _ in range(2)]
    with ThreadPoolExecutor(CALLERS) as threads:
        for _ in range(ROUNDS):
            share = make_share(client, owner, *files, max_downloads=LIMIT)
            token = share["url"].removeprefix("/s/")
            # One limit applies to all files of the link.
            file_ids = [UUID(files[number % 2]) for number in range(CALLERS)]
            granted.append(sum(threads.map(partial(is_granted, crowd, token), file_ids, range(CALLERS))))
            with crowd.unit_of_work() as session:
                counted.append(session.get_one(Share, UUID(share["id"])).download_count)
                events = select(func.count()).where(AuditEvent.subject == f"share:{share['id']}", AuditEvent.action == "share.downloaded")
                logged.append(session.execute(events).scalar_one())

    assert granted == counted == logged == [LIMIT] * ROUNDS


@pytest.mark.parametrize("limit", [1, 2, None])
@pytest.mark.parametrize("kind", ["file", "archive"])
def test_simultaneous_first_downloads_of_one_visitor_count_once(
    client: httpx.Client, crowd: Services, owner: Account, kind: str, limit: int | None
) -> None:
    file = str(make_file(client, owner)["id"])
    share = make_share(client, owner, file, max_downloads=limit)
    token, callers = share["url"].removeprefix("/s/"), 8
    if kind == "archive":
        archive = client.post(f"{share['url']}/archives").json()
        run_worker(crowd, archive)

    def download(_: int) -> bool:
        if kind == "file":
            return is_granted(crowd, token, UUID(file))
        with visitor(0), crowd.unit_of_work() as session:
            crowd.share_links(session).start_archive_download(token, UUID(archive["id"]), ANONYMOUS, is_resumption=False)
        return True

    with ThreadPoolExecutor(callers) as threads:
        lock = "SELECT 1 FROM share WHERE id = :id FOR UPDATE"
        with hold_until_blocked(crowd.engine, lock, {"id": share["id"]}, count=callers):
            downloads = [threads.submit(download, number) for number in range(callers)]
        assert [done.result() for done in downloads] == [True] * callers

    with crowd.unit_of_work() as session:
        assert session.get_one(Share, UUID(share["id"])).download_count == 1
        events = select(AuditEvent.action, func.count()).where(AuditEvent.subject == f"share:{share['id']}").group_by(AuditEvent.action)
        actions = {action: number for action, number in session.execute(events) if action.startswith("share.download")}
        assert actions == {"share.downloaded": 1, "share.download_resumed": callers - 1}


def test_concurrent_openings_are_all_counted(client: httpx.Client, crowd: Services, owner: Account) -> None:
    share = make_share(client, owner, str(make_file(client, owner)["id"]))
    token = share["url"].removeprefix("/s/")

    def open_link(_: int) -> int:
        with crowd.unit_of_work() as session:
            return len(crowd.share_links(session).open(token, ANONYMOUS, is_counted=True).files)

    with ThreadPoolExecutor(CALLERS) as threads:
        assert list(threads.map(open_link, range(CALLERS))) == [1] * CALLERS

    with crowd.unit_of_work() as session:
        assert session.get_one(Share, UUID(share["id"])).open_count == CALLERS


def test_download_that_waited_for_a_revocation_is_refused(client: httpx.Client, crowd: Services, owner: Account) -> None:
    """The download started before the revocation and waited for its lock."""
    share = make_share(client, owner, str(make_file(client, owner)["id"]))
    token, file_id = share["url"].removeprefix("/s/"), UUID(share["file_ids"][0])
    with crowd.session_factory() as holder, ThreadPoolExecutor(1) as thread:
        row = holder.execute(select(Share).where(Share.id == UUID(share["id"])).with_for_update()).scalar_one()
        waiting = thread.submit(is_granted, crowd, token, file_id)
        wait_until_waiting(crowd, count=1)
        row.revoked_at = datetime(2020, 1, 1, tzinfo=UTC)
        holder.commit()

        assert waiting.result() is False


def test_file_deleted_during_the_download_request_is_refused(client: httpx.Client, crowd: Services, owner: Account) -> None:
    file = str(make_file(client, owner)["id"])
    share = make_share(client, owner, file)
    with crowd.session_factory() as holder, ThreadPoolExecutor(1) as thread:
        holder.execute(select(Share).where(Share.id == UUID(share["id"])).with_for_update()).scalar_one()
        waiting = thread.submit(is_granted, crowd, share["url"].removeprefix("/s/"), UUID(file))
        wait_until_waiting(crowd, count=1)
        assert client.delete(f"/api/v1/files/{file}", headers=owner.headers).status_code == 204
        holder.rollback()

        assert waiting.result() is False
    with crowd.unit_of_work() as session:
        assert session.get_one(Share, UUID(share["id"])).download_count == 0


def test_zip_deleted_during_the_download_request_is_refused(client: httpx.Client, crowd: Services, owner: Account) -> None:
    share = make_share(client, owner, str(make_file(client, owner)["id"]))
    token, archive = share["url"].removeprefix("/s/"), client.post(f"{share['url']}/archives").json()
    run_worker(crowd, archive)

    def refusal() -> str | None:
        with crowd.unit_of_work() as session:
            links = crowd.share_links(session)
            return refused(lambda: links.start_archive_download(token, UUID(archive["id"]), ANONYMOUS, is_resumption=False))

    with crowd.session_factory() as holder, ThreadPoolExecutor(1) as thread:
        holder.execute(select(Share).where(Share.id == UUID(share["id"])).with_for_update()).scalar_one()
        waiting = thread.submit(refusal)
        wait_until_waiting(crowd, count=1)
        with crowd.engine.begin() as connection:
            connection.execute(delete(Archive).where(Archive.id == UUID(archive["id"])))
        holder.rollback()

        assert waiting.result() == "archive_not_found"
    with crowd.unit_of_work() as session:
        assert session.get_one(Share, UUID(share["id"])).download_count == 0


def test_expired_link_is_refused_by_the_time_of_the_request(client: httpx.Client, crowd: Services, owner: Account) -> None:
    """The expiry is compared with the time of the request, not with the clock of the database."""
    share = make_share(client, owner, str(make_file(client, owner)["id"]), expires_at="2100-01-01T00:00:00Z")
    token, file_id = share["url"].removeprefix("/s/"), UUID(share["file_ids"][0])
    links = CallerLinkRepository(StatementRunner(crowd.engine))
    before, at = datetime(2099, 12, 31, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

    def grant(now: datetime) -> GrantedFile:
        return links.grant(token, file_id, at=now, proven=None, credential=None, visitor="v", is_resumption=False)

    assert grant(at).file is None
    assert grant(before).file is not None
