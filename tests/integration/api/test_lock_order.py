"""Audited transactions that lock the same rows: a foreign key locks a row late, which must not cause a deadlock."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.security.random_tokens import hash_secret, new_secret
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.models import File, MailPurpose, ShareAudience, User, UserSession
from lambda_app.repositories.accounts.mail_tokens import MailTokenRepository
from lambda_app.repositories.accounts.sessions import SessionRepository
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.repositories.sharing.shares import ShareRepository
from lambda_app.schemas.accounts.api_keys import ApiKeyCreate, Scope
from lambda_app.schemas.archives import ArchiveCreate
from lambda_app.schemas.sharing.file_requests import FileRequestCreate
from lambda_app.schemas.sharing.shares import ShareOptions, ShareUpdate
from tests.support.accounts import Account, make_file
from tests.support.locks import EVENT_BARRIER, events_wait, wait_until_blocked, wait_until_waiting

ROUNDS = 25


@pytest.fixture
def pooled(settings: Settings) -> Iterator[Services]:
    pooled = Services.build(settings.model_copy(update={"database_pool_size": 4, "database_timeout_seconds": 60.0}))
    yield pooled
    pooled.engine.dispose()


def open_session(_services: Services, session: Session, owner: Account) -> None:
    now = clock.now()
    row = UserSession(id=uuid4(), user_id=owner.id, token_epoch=0, created_at=now, last_used_at=now, expires_at=now + timedelta(days=1))
    SessionRepository(session).open(row, hash_secret(new_secret()))


def create_api_key(services: Services, session: Session, owner: Account) -> None:
    parameters = ApiKeyCreate(name="n", scopes=[Scope.ADMIN])
    services.api_keys(session).create(session.get_one(User, owner.id), parameters)


def request_mail(_services: Services, session: Session, owner: Account) -> None:
    token_hash = hash_secret(new_secret())
    MailTokenRepository(session).add_for(owner.email, MailPurpose.RESET_PASSWORD, token_hash=token_hash, lifetime=timedelta(minutes=30))


def create_share(services: Services, session: Session, owner: Account) -> None:
    services.shares(session).create(session.get_one(User, owner.id), _files(session, owner), ShareOptions(), route="POST /shares")


def request_archive(services: Services, session: Session, owner: Account) -> None:
    services.archives(session).start(session.get_one(User, owner.id), ArchiveCreate(file_ids=_files(session, owner)))


def create_file_request(services: Services, session: Session, owner: Account) -> None:
    services.file_requests(session).create(session.get_one(User, owner.id), FileRequestCreate(title="t"))


def _files(session: Session, owner: Account) -> list[UUID]:
    return list(session.scalars(select(File.id).where(File.owner_id == owner.id)))


ACTS = [open_session, create_api_key, request_mail, create_share, request_archive, create_file_request]


@pytest.mark.parametrize("act", ACTS)
def test_email_change_and_insert_that_references_the_user_do_not_deadlock(
    pooled: Services, client: httpx.Client, owner: Account, act: Callable[[Services, Session, Account], None]
) -> None:
    """One transaction holds the account's row and is about to write its event. The other starts meanwhile."""
    make_file(client, owner)

    def run() -> None:
        with pooled.unit_of_work() as session:
            act(pooled, session, owner)

    with ThreadPoolExecutor(1) as thread, pooled.engine.begin() as change:
        change.execute(text('UPDATE "user" SET email = :email WHERE id = :id'), {"email": f"moved-{uuid4()}@example.com", "id": owner.id})
        pid = change.execute(text("SELECT pg_backend_pid()")).scalar_one()
        other = thread.submit(run)
        wait_until_blocked(pooled, by=pid)

        change.execute(text("INSERT INTO audit_event (at, action) VALUES (now(), 'test.changed')"))
        change.commit()

        other.result(timeout=10)


def trash(services: Services, session: Session, owner: Account) -> None:
    services.files(session).delete_file(session.get_one(User, owner.id), *_files(session, owner))


def delete(services: Services, session: Session, owner: Account) -> None:
    services.files(session).delete_file(session.get_one(User, owner.id), *_files(session, owner), is_permanent=True)


@pytest.mark.parametrize("step", [trash, delete])
@pytest.mark.parametrize("act", [create_share])
def test_insert_that_references_a_file_and_its_state_change_do_not_deadlock(
    pooled: Services,
    client: httpx.Client,
    owner: Account,
    act: Callable[[Services, Session, Account], None],
    step: Callable[[Services, Session, Account], None],
) -> None:
    """Both transactions have locked their rows when they write their events."""
    make_file(client, owner)

    def run(work: Callable[[Services, Session, Account], None]) -> None:
        with pooled.unit_of_work() as session:
            work(pooled, session, owner)

    with ThreadPoolExecutor(2) as threads, events_wait(pooled.engine), pooled.engine.connect() as holder:
        holder.execute(text(EVENT_BARRIER))
        running = []
        for number, work in enumerate((act, step), 1):
            running.append(threads.submit(run, work))
            wait_until_waiting(pooled, count=number)
        holder.rollback()

        for done in running:
            done.result(timeout=10)


def test_link_edit_that_names_its_owner_and_the_owners_demotion_do_not_deadlock(
    pooled: Services, client: httpx.Client, admin: Account, owner: Account
) -> None:
    """The demotion has locked the account and is about to revoke its links. The edit has locked the link."""
    foreign = make_file(client, owner)["id"]
    share = client.post("/api/v1/shares", json={"file_ids": [foreign]}, headers=admin.headers).json()

    def edit() -> None:
        with pooled.unit_of_work() as session:
            editor, changes = session.get_one(User, admin.id), ShareUpdate(audience=ShareAudience.NAMED, recipients=[str(admin.id)])
            pooled.shares(session).update(editor, UUID(share["id"]), changes)

    with ThreadPoolExecutor(1) as thread, pooled.unit_of_work() as session:
        UserRepository(session).lock(admin.id)
        edited = thread.submit(edit)
        until = time.monotonic() + 10
        while not edited.done() and not waiting(pooled) and time.monotonic() < until:
            time.sleep(0.01)
        ShareRepository(session).revoke_all_that_need_superuser(admin.id)
        session.commit()

        edited.result(timeout=10)
    assert client.get(share["url"]).status_code == 404


def waiting(services: Services) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with services.engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


@pytest.mark.parametrize("act", [open_session, create_api_key, request_mail])
def test_concurrent_transactions_never_deadlock(
    pooled: Services, owner: Account, act: Callable[[Services, Session, Account], None]
) -> None:
    # The timeout ends the wait for a thread that failed with a deadlock.
    start = threading.Barrier(2, timeout=10)

    def change(user_id: UUID) -> None:
        for number in range(ROUNDS):
            start.wait()
            with pooled.unit_of_work() as session:
                # Every second change restores the first address, so that some requests for mail find the account.
                email = owner.email if number % 2 else f"moved-{uuid4()}@example.com"
                UserRepository(session).update(user_id, {"email": email}, action="user.email_changed")

    def refer(user_id: UUID) -> None:
        for _ in range(ROUNDS):
            start.wait()
            with pooled.unit_of_work() as session:
                act(pooled, session, owner)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, owner.id) for work in (change, refer)]:
            done.result(timeout=60)
