"""Limits of what an account can create are exact, also for concurrent requests.

Each test makes all requests wait for each other with the state of the database that each of them saw at its start. The limits of files and
bytes, downloads, guests and archives have tests of their own: `test_quota`, `test_share_races`, `test_file_requests` and
`integration/lifecycle/test_archives`.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.core.request_context import RequestContext, reset_request_context, set_request_context
from lambda_app.core.settings import Settings
from lambda_app.db.engine import create_database_engine
from lambda_app.db.session import create_session_factory
from lambda_app.factory import Services
from lambda_app.models import ApiKey, FileGrant, FileRequest, Share, ShareAudience, ShareRecipient, User
from lambda_app.schemas.accounts.api_keys import ApiKeyCreate, Scope
from lambda_app.schemas.sharing.file_requests import FileRequestCreate
from lambda_app.schemas.sharing.grants import GrantCreate
from lambda_app.schemas.sharing.shares import ShareOptions, ShareUpdate
from tests.support.accounts import Account, make_file
from tests.support.lifecycle import refused
from tests.support.locks import EVENT_BARRIER, events_wait, hold_until_blocked, wait_until_waiting
from tests.support.shares import make_share

CALLERS = 16
LIMIT = 5


@pytest.fixture(scope="module")
def crowd(settings: Settings, services: Services) -> Iterator[Services]:
    """Services with a connection for every caller."""
    engine = create_database_engine(settings.model_copy(update={"database_pool_size": CALLERS + 2, "database_timeout_seconds": 60.0}))
    yield replace(services, engine=engine, session_factory=create_session_factory(engine))
    engine.dispose()


@pytest.fixture
def grantees(services: Services) -> list[UUID]:
    """Other accounts, one for each caller."""
    rows = [{"id": uuid4(), "email": f"{uuid4()}@example.com", "hashed_password": "x"} for _ in range(CALLERS)]
    with services.engine.begin() as connection:
        connection.execute(insert(User), rows)
    return [UUID(str(row["id"])) for row in rows]


def outcomes(crowd: Services, create: Callable[[Session, int], object], *, lock: str = EVENT_BARRIER, **values: object) -> list[str]:
    """Run `create` for all callers at once; return the sorted codes of the refusals, "" for a success."""

    def run(number: int) -> str:
        def act() -> None:
            with crowd.unit_of_work() as session:
                create(session, number)

        return refused(act) or ""

    # Every creation is audited, so all of them wait with their event for the holder of the barrier.
    with ThreadPoolExecutor(CALLERS) as threads, events_wait(crowd.engine):
        with hold_until_blocked(crowd.engine, lock, values, count=CALLERS):
            running = [threads.submit(run, number) for number in range(CALLERS)]
        return sorted(thread.result(timeout=60) for thread in running)


def exactly(refusal: str) -> list[str]:
    return [""] * LIMIT + [refusal] * (CALLERS - LIMIT)


def user_of(session: Session, account: Account) -> User:
    return session.get_one(User, account.id)


def test_api_keys(crowd: Services, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambda_app.services.accounts.api_keys.KEYS_PER_USER", LIMIT)
    parameters = ApiKeyCreate(name="n", scopes=[Scope.SHARES])

    found = outcomes(crowd, lambda session, _: crowd.api_keys(session).create(user_of(session, owner), parameters))

    assert found == exactly("too_many_api_keys")
    with crowd.unit_of_work() as session:
        assert session.scalar(select(func.count()).where(ApiKey.user_id == owner.id)) == LIMIT


def test_share_links(client: httpx.Client, crowd: Services, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambda_app.services.sharing.shares.SHARES_PER_USER", LIMIT)
    files = [UUID(make_file(client, owner)["id"]) for _ in range(2)]

    def create(session: Session, number: int) -> None:
        crowd.shares(session).create(user_of(session, owner), [files[number % 2]], ShareOptions(), route="POST /shares")

    assert outcomes(crowd, create) == exactly("too_many_shares")
    with crowd.unit_of_work() as session:
        assert session.scalar(select(func.count()).where(Share.owner_id == owner.id)) == LIMIT


def test_slugs(client: httpx.Client, crowd: Services, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambda_app.services.sharing.shares.SLUGS_PER_USER", LIMIT)
    file = UUID(make_file(client, owner)["id"])

    def create(session: Session, number: int) -> None:
        options = ShareOptions(slug=f"limit-{number}-{uuid4().hex[:8]}")
        crowd.shares(session).create(user_of(session, owner), [file], options, route="POST /shares")

    assert outcomes(crowd, create) == exactly("too_many_slugs")


def test_file_requests(crowd: Services, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("repositories", "services"):
        monkeypatch.setattr(f"lambda_app.{module}.sharing.file_requests.REQUESTS_PER_USER", LIMIT)
    parameters = FileRequestCreate(title="t")

    found = outcomes(crowd, lambda session, _: crowd.file_requests(session).create(user_of(session, owner), parameters))

    assert found == exactly("too_many_file_requests")
    with crowd.unit_of_work() as session:
        assert session.scalar(select(func.count()).where(FileRequest.owner_id == owner.id)) == LIMIT


def test_grants_of_a_file(
    client: httpx.Client, crowd: Services, owner: Account, grantees: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_app.repositories.sharing.grants.GRANTS_PER_FILE", LIMIT)
    file = UUID(make_file(client, owner)["id"])

    def create(session: Session, number: int) -> None:
        crowd.grants(session).grant(user_of(session, owner), file, GrantCreate(user_id=grantees[number]))

    assert outcomes(crowd, create) == exactly("too_many_grants")
    with crowd.unit_of_work() as session:
        assert session.scalar(select(func.count()).where(FileGrant.file_id == file)) == LIMIT


def test_recipients_of_a_link_are_those_of_the_last_change(
    client: httpx.Client, crowd: Services, owner: Account, grantees: list[UUID]
) -> None:
    """Each change replaces the recipients of the change before.

    Otherwise concurrent changes would exceed the limit, and open the link to users whom the last change does not name.
    """
    share = make_share(client, owner, make_file(client, owner)["id"], audience=ShareAudience.NAMED, recipients=[owner.email])
    share_id = UUID(share["id"])

    def change(session: Session, number: int) -> None:
        update = ShareUpdate(recipients=[str(grantees[number])])
        crowd.shares(session).update(user_of(session, owner), share_id, update)

    found = outcomes(crowd, change, lock="SELECT 1 FROM share WHERE id = :id FOR UPDATE", id=share_id)

    assert found == [""] * CALLERS
    with crowd.unit_of_work() as session:
        assert session.scalar(select(func.count()).where(ShareRecipient.share_id == share_id)) == 1


def test_key_that_is_being_revoked_creates_no_key(client: httpx.Client, crowd: Services, owner: Account) -> None:
    body = {"name": "n", "scopes": ["admin"]}
    creator = UUID(client.post("/api/v1/users/me/api-keys", json=body, headers=owner.headers).json()["id"])

    def revoke() -> None:
        with crowd.unit_of_work() as session:
            crowd.api_keys(session).revoke(user_of(session, owner), creator)

    def create() -> None:
        token = set_request_context(RequestContext(credential=f"api_key:{creator}", scopes=frozenset({Scope.ADMIN})))
        try:
            with crowd.unit_of_work() as session:
                crowd.api_keys(session).create(user_of(session, owner), ApiKeyCreate(name="n", scopes=[Scope.ADMIN]))
        finally:
            reset_request_context(token)

    with ThreadPoolExecutor(2) as threads, crowd.session_factory() as holder:
        holder.execute(select(User.id).where(User.id == owner.id).with_for_update())
        first = threads.submit(revoke)
        wait_until_waiting(crowd, count=1)
        second = threads.submit(create)
        wait_until_waiting(crowd, count=2)
        holder.rollback()

        first.result(timeout=60)
        with pytest.raises(NotAuthenticatedError):
            second.result(timeout=60)


def test_demoted_superuser_creates_no_link_with_an_earlier_role(
    client: httpx.Client, crowd: Services, admin: Account, owner: Account, make_user: Callable[..., Account]
) -> None:
    """The request was authenticated before the demotion and waited for it."""
    superuser = make_user(is_superuser=True)
    file = UUID(make_file(client, owner)["id"])

    def create() -> str | None:
        with crowd.unit_of_work() as session:
            shares, user = crowd.shares(session), user_of(session, superuser)
            return refused(lambda: shares.create(user, [file], ShareOptions(), route="POST /shares"))

    with ThreadPoolExecutor(1) as threads, crowd.session_factory() as holder:
        demoted = holder.execute(select(User).where(User.id == superuser.id).with_for_update()).scalar_one()
        waiting = threads.submit(create)
        wait_until_waiting(crowd, count=1)
        demoted.is_superuser, demoted.token_epoch = False, demoted.token_epoch + 1
        holder.commit()

        assert waiting.result(timeout=60) is not None
    assert client.get(f"/api/v1/files/{file}/shares", headers=owner.headers).json() == []
