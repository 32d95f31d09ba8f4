"""Ownership transfers: who may offer and accept them, what moves, and that quotas stay exact."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from lambda_app.db.engine import create_database_engine
from lambda_app.factory import Services
from lambda_app.models import OwnershipTransfer, User
from lambda_app.repositories.accounts.transfers import OwnershipTransferRepository
from lambda_app.schemas.files.files import FileCreate
from lambda_app.services.files.quota import QuotaExceededError
from lambda_app.storage.keys import object_key
from tests.support.accounts import Account, make_file, put_object, start_upload
from tests.support.mailing import Mailing
from tests.support.problems import assert_problem
from tests.support.quota_assertions import assert_quota_is_exact
from tests.support.second_factor import set_up
from tests.support.shares import make_share

TRANSFERS = "/api/v1/transfers"
MakeUser = Callable[..., Account]


@pytest.fixture
def heir(make_user: MakeUser) -> Account:
    return make_user()


def offer(client: httpx.Client, owner: Account, email: str, *, by: Account | None = None, **proof: str) -> httpx.Response:
    editor = by or owner
    body = {"email": email, "current_password": editor.password, **proof}
    return client.post(f"/api/v1/users/{owner.id}/transfer", json=body, headers=editor.headers)


def offered(client: httpx.Client, owner: Account, heir: Account) -> str:
    answer = offer(client, owner, heir.email)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def accept(client: httpx.Client, account: Account, transfer_id: str) -> httpx.Response:
    return client.post(f"{TRANSFERS}/{transfer_id}/accept", headers=account.headers)


def set_columns(services: Services, account: Account, **values: Any) -> None:
    assignments = ", ".join(f"{name} = :{name}" for name in values)
    with services.engine.begin() as connection:
        connection.execute(text(f'UPDATE "user" SET {assignments} WHERE id = :id'), {"id": account.id, **values})  # noqa: S608 - names of columns


def owner_of(services: Services, file: dict[str, Any]) -> UUID:
    with services.engine.begin() as connection:
        return UUID(str(connection.execute(text("SELECT owner_id FROM file WHERE id = :id"), {"id": file["id"]}).scalar_one()))


def test_files_links_and_requests_move_and_nothing_else_does(
    client: httpx.Client, services: Services, with_trash: httpx.Client, owner: Account, heir: Account, stranger: Account
) -> None:
    files = [make_file(client, owner, str(number).encode()) for number in range(3)]
    with_trash.delete(f"/api/v1/files/{files[2]['id']}", headers=owner.headers)
    pending = start_upload(client, owner, b"later")
    share = make_share(client, owner, files[0]["id"], notify_on_download=True)
    request = client.post("/api/v1/file-requests", json={"title": "Send", "notify_on_upload": True}, headers=owner.headers).json()
    for account in (heir, stranger):
        client.put(f"/api/v1/files/{files[0]['id']}/grants", json={"user_id": str(account.id)}, headers=owner.headers)
    transfer_id = offered(client, owner, heir)
    assert owner_of(services, files[0]) == owner.id

    done = accept(client, heir, transfer_id)

    assert done.status_code == 200, done.text
    expected = {"status": "done", "moved_files": 3, "moved_bytes": 3, "left_files": None, "left_bytes": None, "is_blocked": False}
    assert {name: done.json()[name] for name in expected} == expected
    assert [owner_of(services, file) for file in files] == [heir.id] * 3
    for file in files:
        assert services.store.head(object_key(UUID(file["id"]))) is not None
    assert client.get(f"/api/v1/files/{files[1]['id']}", headers=owner.headers).status_code == 403
    assert client.get(share["url"]).status_code == 200
    assert [link["id"] for link in client.get("/api/v1/shares", headers=heir.headers).json()] == [share["id"]]
    assert client.get("/api/v1/shares", headers=owner.headers).json() == []
    (moved_request,) = client.get("/api/v1/file-requests", headers=heir.headers).json()
    assert (moved_request["id"], moved_request["notify_on_upload"]) == (request["id"], False)
    assert client.get(f"/api/v1/shares/{share['id']}", headers=heir.headers).json()["notify_on_download"] is False
    grants = client.get(f"/api/v1/files/{files[0]['id']}/grants", headers=heir.headers).json()
    assert [grant["user_id"] for grant in grants] == [str(stranger.id)]
    assert put_object(pending, b"later").status_code == 200
    assert client.post(f"/api/v1/files/{pending['file_id']}/complete", headers=owner.headers).status_code == 200
    assert_quota_is_exact(services, (owner.id, heir.id))


def test_only_the_recipient_accepts_or_declines(
    client: httpx.Client, owner: Account, heir: Account, stranger: Account, admin: Account
) -> None:
    transfer_id = offered(client, owner, heir)

    for account in (owner, stranger, admin):
        assert_problem(accept(client, account, transfer_id), 404, "transfer_not_found")
        declined = client.post(f"{TRANSFERS}/{transfer_id}/decline", headers=account.headers)
        assert_problem(declined, 404, "transfer_not_found")
    for account in (heir, stranger):
        assert_problem(client.delete(f"{TRANSFERS}/{transfer_id}", headers=account.headers), 404, "transfer_not_found")
    assert client.get(TRANSFERS, headers=stranger.headers).json() == []
    for account in (owner, heir):
        assert [row["id"] for row in client.get(TRANSFERS, headers=account.headers).json()] == [transfer_id]


@pytest.mark.parametrize("end", ["declined", "withdrawn", "expired"])
def test_ended_offer_cannot_be_accepted(client: httpx.Client, services: Services, owner: Account, heir: Account, end: str) -> None:
    file = make_file(client, owner)
    transfer_id = offered(client, owner, heir)
    assert_problem(offer(client, owner, heir.email), 409, "transfer_open")
    if end == "declined":
        assert client.post(f"{TRANSFERS}/{transfer_id}/decline", headers=heir.headers).status_code == 204
    elif end == "withdrawn":
        assert client.delete(f"{TRANSFERS}/{transfer_id}", headers=owner.headers).status_code == 204
    else:
        with services.engine.begin() as connection:
            connection.execute(text("UPDATE ownership_transfer SET expires_at = now() WHERE id = :id"), {"id": transfer_id})

    assert_problem(accept(client, heir, transfer_id), 409, "transfer_closed")
    assert owner_of(services, file) == owner.id
    assert offer(client, owner, heir.email).status_code == 201


def test_transfer_shows_the_addresses_of_the_offer_and_no_storage_after_its_end(
    client: httpx.Client, services: Services, owner: Account, heir: Account
) -> None:
    make_file(client, owner)
    transfer_id = offered(client, owner, heir)
    set_columns(services, owner, email=f"{owner.id}@later.example.com")
    set_columns(services, heir, email=f"{heir.id}@later.example.com")
    names = ("from_email", "to_email", "left_files", "left_bytes")

    (waiting,) = client.get(TRANSFERS, headers=heir.headers).json()
    assert client.post(f"{TRANSFERS}/{transfer_id}/decline", headers=heir.headers).status_code == 204
    (ended,) = client.get(TRANSFERS, headers=heir.headers).json()

    assert [waiting[name] for name in names[:3]] == [owner.email, heir.email, 1]
    assert [ended[name] for name in names] == [owner.email, heir.email, None, None]


@pytest.mark.parametrize("event", ["reset", "sign_out", "disabled", "closed_by_superuser"])
def test_offer_ends_with_the_sessions_of_the_giver(
    client: httpx.Client, services: Services, owner: Account, heir: Account, admin: Account, event: str
) -> None:
    file = make_file(client, owner)
    transfer_id = offered(client, owner, heir)

    if event == "reset":
        with services.unit_of_work() as session:
            services.users(session).reset_password(owner.email, "chosen by the operator")
    elif event == "sign_out":
        assert client.post("/api/v1/login/logout-everywhere", headers=owner.headers).status_code == 204
    elif event == "disabled":
        assert client.put(f"/api/v1/users/{owner.id}", json={"is_active": False}, headers=admin.headers).status_code == 200
    else:
        client.request("DELETE", f"/api/v1/users/{owner.id}", json={"current_password": admin.password}, headers=admin.headers)

    assert_problem(accept(client, heir, transfer_id), 409, "transfer_closed")
    assert owner_of(services, file) == owner.id
    # An offer that is not valid any more does not have to be withdrawn first.
    renewed = offer(client, owner, heir.email, by=admin)
    assert renewed.status_code == 201, renewed.text
    assert accept(client, heir, renewed.json()["id"]).json()["status"] == "done"


@pytest.mark.parametrize("offered_by", ["owner", "superuser"])
def test_files_of_an_account_that_its_owner_closed_can_be_accepted(
    client: httpx.Client, services: Services, owner: Account, heir: Account, admin: Account, offered_by: str
) -> None:
    file = make_file(client, owner)
    transfer_id = offered(client, owner, heir) if offered_by == "owner" else None
    closed = client.request("DELETE", "/api/v1/users/me", json={"current_password": owner.password}, headers=owner.headers)
    assert closed.status_code in (200, 202), closed.text
    transfer_id = transfer_id or offer(client, owner, heir.email, by=admin).json()["id"]

    assert accept(client, heir, transfer_id).json()["status"] == "done"
    assert owner_of(services, file) == heir.id


def test_offer_needs_password_and_second_factor(client: httpx.Client, owner: Account, heir: Account) -> None:
    assert_problem(offer(client, owner, heir.email, current_password="wrong password"), 403, "current_password_required")
    _, codes = set_up(client, owner)
    assert_problem(offer(client, owner, heir.email), 403, "second_factor_required")
    assert offer(client, owner, heir.email, otp=codes[0]).status_code == 201


def test_superuser_hands_over_the_files_of_an_account_that_is_closed(
    client: httpx.Client, services: Services, admin: Account, owner: Account, heir: Account, stranger: Account
) -> None:
    file = make_file(client, owner)
    assert_problem(offer(client, owner, heir.email, by=stranger), 403, "permission_denied")
    client.request("DELETE", f"/api/v1/users/{owner.id}", json={"current_password": admin.password}, headers=admin.headers)

    transfer_id = offer(client, owner, heir.email, by=admin).json()["id"]

    assert accept(client, heir, transfer_id).json()["status"] == "done"
    assert owner_of(services, file) == heir.id


def test_recipients_without_a_confirmed_address_are_not_found(client: httpx.Client, owner: Account, make_user: MakeUser) -> None:
    assert_problem(offer(client, owner, make_user(is_verified=False).email), 404, "user_not_found")
    assert_problem(offer(client, owner, "unknown-recipient@example.com"), 404, "user_not_found")
    assert_problem(offer(client, owner, owner.email), 409, "transfer_to_self")


def test_files_must_fit_into_the_quota_of_the_recipient(client: httpx.Client, services: Services, owner: Account, heir: Account) -> None:
    file = make_file(client, owner, b"0123456789")
    transfer_id = offered(client, owner, heir)
    set_columns(services, heir, quota_bytes=9)

    assert_problem(accept(client, heir, transfer_id), 413, "quota_exceeded")

    assert owner_of(services, file) == owner.id
    set_columns(services, heir, quota_bytes=10)
    assert accept(client, heir, transfer_id).json()["status"] == "done"
    assert_quota_is_exact(services, (owner.id, heir.id))


def test_move_in_batches_stops_at_the_quota_and_the_sweep_continues(
    client: httpx.Client, services: Services, owner: Account, heir: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_app.repositories.accounts.transfers.BATCH_FILES", 2)
    monkeypatch.setattr("lambda_app.services.accounts.transfers.MOVING_SECONDS", 0)
    for number in range(5):
        make_file(client, owner, str(number).encode())
    transfer_id = offered(client, owner, heir)

    moving = accept(client, heir, transfer_id).json()
    assert (moving["status"], moving["moved_files"], moving["left_files"]) == ("moving", 2, 3)
    assert_quota_is_exact(services, (owner.id, heir.id))
    set_columns(services, heir, quota_files=3)
    with services.unit_of_work() as session:
        services.sweep(session).run(budget_seconds=600)
    blocked = client.get(TRANSFERS, headers=heir.headers).json()[0]
    assert (blocked["status"], blocked["moved_files"], blocked["is_blocked"]) == ("moving", 3, True)
    assert_quota_is_exact(services, (owner.id, heir.id))
    set_columns(services, heir, quota_files=None)
    with services.unit_of_work() as session:
        services.sweep(session).run(budget_seconds=600)
    done = client.get(TRANSFERS, headers=owner.headers).json()[0]
    assert (done["status"], done["moved_files"], done["is_blocked"]) == ("done", 5, False)
    assert_quota_is_exact(services, (owner.id, heir.id))


def test_transfer_is_not_done_when_the_files_of_one_batch_end_meanwhile(
    client: httpx.Client, services: Services, owner: Account, heir: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_app.repositories.accounts.transfers.BATCH_FILES", 1)
    older, newer = make_file(client, owner), make_file(client, owner)
    transfer_id = offered(client, owner, heir)
    original = OwnershipTransferRepository._lock_files

    def ended(self: OwnershipTransferRepository, transfer: OwnershipTransfer, ids: Sequence[UUID]) -> list[Any]:
        # The request occupies the only connection of the application.
        engine = create_database_engine(services.settings)
        with engine.begin() as connection:
            connection.execute(text("UPDATE file SET status = 'deleting' WHERE id = :id"), {"id": newer["id"]})
        engine.dispose()
        return original(self, transfer, ids)

    monkeypatch.setattr(OwnershipTransferRepository, "_lock_files", ended)

    done = accept(client, heir, transfer_id).json()

    assert (done["status"], done["moved_files"]) == ("done", 1)
    assert owner_of(services, older) == heir.id


def test_quotas_stay_exact_while_both_accounts_upload_and_files_move(
    client: httpx.Client, services: Services, owner: Account, heir: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_app.repositories.accounts.transfers.BATCH_FILES", 1)
    for number in range(4):
        make_file(client, owner, str(number).encode())
    transfer_id = UUID(offered(client, owner, heir))
    set_columns(services, heir, quota_files=8)

    def act(number: int) -> None:
        account = heir if number % 2 else owner
        with services.unit_of_work() as session, suppress(QuotaExceededError):
            user = services.users(session).get_user(User(is_superuser=True), account.id)
            if number < 2:
                services.transfers(session).accept(services.users(session).get_user(User(is_superuser=True), heir.id), transfer_id)
            else:
                services.uploads(session).start_upload(user, FileCreate(filename="a", content_type="a/b", size_bytes=7))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(act, range(14)))

    assert_quota_is_exact(services, (owner.id, heir.id))
    usage = client.get("/api/v1/users/me/usage", headers=heir.headers).json()
    assert usage["files_count"] <= 8


def test_transfer_is_audited_and_both_accounts_receive_a_mail(mail: Mailing, owner: Account, heir: Account, admin: Account) -> None:
    file = make_file(mail.client, owner)
    transfer_id = offered(mail.client, owner, heir)
    accept(mail.client, heir, transfer_id)

    assert [(to, owner.email in body, heir.email in body) for to, body in mail.sent()] == [
        (heir.email, True, False),
        (owner.email, False, True),
    ]
    subjects = (f"ownership_transfer:{transfer_id}", f"file:{file['id']}")
    found = [mail.client.get("/api/v1/admin/audit", params={"subject": subject}, headers=admin.headers).json() for subject in subjects]
    assert [event["action"] for event in found[0]] == ["ownership.transferred", "ownership.accepted", "ownership.offered"]
    assert found[1][0]["action"] == "file.transferred"
    assert (found[1][0]["details"]["from_id"], found[1][0]["details"]["to_id"]) == (str(owner.id), str(heir.id))
