"""Requests of a squatter that run while the owner of the address takes the account over: nothing that they open survives."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from lambda_app.core.settings import Settings
from lambda_app.repositories.sharing.open_access import OpenAccessRepository
from tests.support.accounts import Account, make_account, make_file
from tests.support.mailing import Mailing, mailing
from tests.support.problems import assert_problem, assert_unauthenticated

API = "/api/v1"
ME = f"{API}/users/me"
FILE = {"filename": "a", "content_type": "text/plain", "size_bytes": 1}


@pytest.fixture(scope="module")
def site(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailing]:
    """An API with several connections that sends mail, and lets users invite."""
    with mailing(
        settings, tmp_path_factory.mktemp("mail"), database_pool_size=4, database_timeout_seconds=60.0, invitations_by_users=True
    ) as made:
        yield made


@pytest.fixture(scope="module")
def thread() -> Iterator[ThreadPoolExecutor]:
    """A thread with the event loop that the gateway's handler needs."""
    with ThreadPoolExecutor(1, initializer=lambda: asyncio.set_event_loop(asyncio.new_event_loop())) as thread:
        yield thread
        thread.submit(lambda: asyncio.get_event_loop().close()).result()


class Squatter:
    """An account, one of its files, and another person."""

    def __init__(self, site: Mailing, *, is_verified: bool) -> None:
        self.client = site.client
        self.account = make_account(site.services, is_verified=is_verified)
        self.friend = make_account(site.services)
        self.file = str(make_file(site.client, self.account)["id"])

    def send(self, method: str, path: str, **body: Any) -> httpx.Response:
        return self.client.request(method, path, json=body, headers=self.account.headers)

    def share(self) -> httpx.Response:
        return self.send("POST", f"{API}/shares", file_ids=[self.file])

    def request_files(self) -> httpx.Response:
        return self.send("POST", f"{API}/file-requests", title="t")

    def add_webhook(self) -> httpx.Response:
        return self.send("POST", f"{API}/webhooks", url="https://hooks.example.com/a")

    def grant(self) -> httpx.Response:
        return self.send("PUT", f"{API}/files/{self.file}/grants", user_id=str(self.friend.id), role="viewer")

    def publish(self) -> httpx.Response:
        return self.send("PATCH", f"{API}/files/{self.file}", is_public=True)

    def publish_batch(self) -> httpx.Response:
        return self.send("POST", f"{API}/files/visibility", file_ids=[self.file], is_public=True)

    def upload(self) -> httpx.Response:
        return self.send("POST", f"{API}/files/upload", **FILE, is_public=True)

    def upload_batch(self) -> httpx.Response:
        return self.send("POST", f"{API}/files/uploads", files=[{**FILE, "is_public": True}])

    def invite(self) -> httpx.Response:
        return self.send("POST", f"{API}/files/{self.file}/invitations", email=f"{uuid4()}@example.com", role="viewer")

    def offer(self) -> httpx.Response:
        return self.send("POST", f"{ME.replace('me', str(self.account.id))}/transfer", email=self.friend.email, **self.proof)

    def change_password(self) -> httpx.Response:
        return self.send("PUT", ME, password="an even better password", **self.proof)

    def change_address(self) -> httpx.Response:
        return self.send("PUT", ME, email=f"{uuid4()}@example.com", **self.proof)

    def start_second_factor(self) -> httpx.Response:
        return self.send("POST", f"{ME}/second-factor", **self.proof)

    def delete_account(self) -> httpx.Response:
        return self.send("DELETE", ME, **self.proof)

    @property
    def proof(self) -> dict[str, str]:
        return {"current_password": self.account.password}


OPENINGS = ("share", "request_files", "add_webhook", "grant", "publish", "publish_batch", "upload", "upload_batch", "offer")
"""What a squatter can open to others."""
OTHERS = ("invite", "change_password", "change_address", "start_second_factor", "delete_account")
"""What only a confirmed account can do, and changes of the account itself."""
COUNTS = {
    "share": "SELECT count(*) FROM share WHERE owner_id = :id AND revoked_at IS NULL",
    "file_request": "SELECT count(*) FROM file_request WHERE owner_id = :id AND revoked_at IS NULL",
    "webhook": "SELECT count(*) FROM webhook WHERE owner_id = :id AND deleted_at IS NULL",
    "grant": "SELECT count(*) FROM file_grant WHERE owner_id = :id",
    "public file": "SELECT count(*) FROM file WHERE owner_id = :id AND is_public",
    "invitation": "SELECT count(*) FROM invitation WHERE inviter_id = :id",
    "offer": "SELECT count(*) FROM ownership_transfer WHERE from_id = :id AND status IN ('requested', 'moving')",
}


def count_open(site: Mailing, account: Account) -> dict[str, int]:
    with site.services.engine.connect() as connection:
        return {name: connection.execute(text(query), {"id": account.id}).scalar_one() for name, query in COUNTS.items()}


def state_of(site: Mailing, account: Account) -> tuple[Any, ...]:
    columns = "email, hashed_password, totp_secret, deletion_at"
    with site.services.engine.connect() as connection:
        return tuple(connection.execute(text(f'SELECT {columns} FROM "user" WHERE id = :id'), {"id": account.id}).one())  # noqa: S608  # names


def wait_until_blocked_or_done(site: Mailing, by: int, running: "Future[httpx.Response]") -> None:
    """Wait until the request waits for the transaction of the process `by`, or has ended without waiting."""
    blocked = text("SELECT count(*) FROM pg_stat_activity WHERE CAST(:pid AS integer) = ANY(pg_blocking_pids(pid))")
    deadline = time.monotonic() + 60
    while not running.done() and time.monotonic() < deadline:
        with site.services.engine.connect() as connection:
            if connection.execute(blocked, {"pid": by}).scalar_one():
                return
        time.sleep(0.01)


@pytest.mark.parametrize("name", [*OPENINGS, *OTHERS])
def test_request_that_a_takeover_overtakes_changes_nothing(site: Mailing, thread: ThreadPoolExecutor, name: str) -> None:
    """The request was authenticated before the takeover, and writes after it."""
    squatter = Squatter(site, is_verified=True)
    before = state_of(site, squatter.account)
    send: Callable[[], httpx.Response] = getattr(squatter, name)
    with site.services.engine.connect() as takeover:
        # As a takeover that has locked the account and ended its credentials, and has not committed yet.
        takeover.execute(text('UPDATE "user" SET token_epoch = token_epoch + 1 WHERE id = :id'), {"id": squatter.account.id})
        pid = takeover.execute(text("SELECT pg_backend_pid()")).scalar_one()
        running = thread.submit(send)
        wait_until_blocked_or_done(site, pid, running)
        takeover.commit()
        response = running.result(timeout=60)

    if name == "offer":
        # An offer names the credentials that made it, and cannot be accepted without them.
        accepted = site.client.post(f"{API}/transfers/{response.json()['id']}/accept", headers=squatter.friend.headers)
        assert_problem(accepted, 409, "transfer_closed")
    else:
        if name == "share":
            # The creation of a link does not distinguish this from other obstacles that are gone with the next attempt.
            assert_problem(response, 503, "unavailable")
            assert_unauthenticated(send())
        elif name == "publish_batch":
            assert [result["error"]["code"] for result in response.json()["results"]] == ["file_changed"]
        else:
            assert_unauthenticated(response)
        assert not any(count_open(site, squatter.account).values())
        assert state_of(site, squatter.account) == before


def test_takeover_closes_what_was_opened_while_it_ran(site: Mailing, thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The squatter's requests commit after the takeover has closed what it found, and before it has locked the account."""
    squatter = Squatter(site, is_verified=False)
    site.client.post(f"{API}/login/forgot-password", json={"email": squatter.account.email})
    token = site.token()
    close_all = OpenAccessRepository.close_all
    opened: list[httpx.Response] = []

    def close_slowly(repository: OpenAccessRepository, *args: Any) -> dict[str, int]:
        closed = close_all(repository, *args)
        if not opened:
            opened.extend(thread.submit(getattr(squatter, name)).result(timeout=60) for name in OPENINGS)
        return closed

    monkeypatch.setattr(OpenAccessRepository, "close_all", close_slowly)

    reset = site.client.post(f"{API}/login/reset-password", json={"token": token, "password": "a better password"})

    assert [response.is_success for response in opened] == [True] * len(OPENINGS), [response.text for response in opened]
    assert reset.status_code == 204, reset.text
    assert not any(count_open(site, squatter.account).values())
    with site.services.engine.connect() as connection:
        query = text("SELECT details FROM audit_event WHERE action = 'password.reset' AND subject = :subject")
        details = connection.execute(query, {"subject": f"user:{squatter.account.id}"}).scalar_one()
    assert '"shares":1' in details.replace(" ", "")


def turn_factor_on(site: Mailing, account: Account) -> None:
    with site.services.engine.begin() as connection:
        planted = "UPDATE \"user\" SET totp_secret = 'planted', totp_confirmed_at = now() WHERE id = :id"
        connection.execute(text(planted), {"id": account.id})


def reset_password(site: Mailing, email: str) -> httpx.Response:
    """Reset the password by mail, and return the response to the sign-in with it."""
    site.client.post(f"{API}/login/forgot-password", json={"email": email})
    reset = site.client.post(f"{API}/login/reset-password", json={"token": site.token(), "password": "a better password"})
    assert reset.status_code == 204
    return site.client.post(f"{API}/login/token", data={"username": email, "password": "a better password"})


def test_takeover_by_mail_removes_the_second_factor_of_a_squatter(site: Mailing) -> None:
    squatter = make_account(site.services, is_verified=False)
    turn_factor_on(site, squatter)

    signed_in = reset_password(site, squatter.email)

    assert signed_in.status_code == 200, signed_in.text


def test_reader_of_a_mistyped_address_does_not_get_past_the_second_factor(site: Mailing) -> None:
    account, mistyped = make_account(site.services), f"{uuid4()}@example.com"
    proof = {"current_password": account.password}
    site.client.put(ME, json={"email": mistyped, **proof}, headers=account.headers).raise_for_status()
    turn_factor_on(site, account)

    signed_in = reset_password(site, mistyped)

    assert_problem(signed_in, 403, "second_factor_required")
