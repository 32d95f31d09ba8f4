"""Deletion of accounts: who may request and cancel it, what is closed at once, and what is deleted when it is due."""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import event, text

from lambda_app.factory import Services
from lambda_app.repositories.accounts import deletions
from lambda_app.storage.keys import object_key
from tests.support.accounts import Account, make_file, put_object, start_upload
from tests.support.mailing import Mailing
from tests.support.problems import assert_problem
from tests.support.second_factor import set_up
from tests.support.shares import make_share

USERS = "/api/v1/users"
TOKEN = "/api/v1/login/token"
SESSION = "/api/v1/session"
SESSION_HEADERS = {"X-We-Upload-Session": "1", "Sec-Fetch-Site": "same-origin"}


ROWS_OF_AN_ACCOUNT = """
INSERT INTO published_event (owner_id, type, at, subject, data)
SELECT :id, 'file.available', now(), 'file:' || n, '{}' FROM generate_series(1, :rows) n;
INSERT INTO webhook (id, owner_id, url, encrypted_secret, created_at, updated_at)
VALUES (gen_random_uuid(), :id, 'https://hooks.example.com', 'x', now(), now());
INSERT INTO webhook_delivery (webhook_id, event_id, next_attempt_at)
SELECT w.id, e.id, now() FROM webhook w, published_event e WHERE w.owner_id = :id AND e.owner_id = :id;
INSERT INTO notification (user_id, kind, subject, count, items, first_at, last_at)
SELECT :id, 'new_sign_ins', 'user:' || n, 1, '{}', now(), now() FROM generate_series(1, :rows) n
"""
"""More rows of one account than a batch has."""


def leave(client: httpx.Client, account: Account, **proof: Any) -> httpx.Response:
    proof = {"current_password": account.password} | proof
    return client.request("DELETE", f"{USERS}/me", json=proof, headers=account.headers)


def sign_in(client: httpx.Client, account: Account, **fields: str) -> httpx.Response:
    return client.post(TOKEN, data={"username": account.email, "password": account.password, **fields})


def sweep(services: Services) -> Any:
    with services.unit_of_work() as session:
        services.archive_sweep(session).run(budget_seconds=600)
    with services.unit_of_work() as session:
        return services.sweep(session).run(budget_seconds=600)


def end_grace(services: Services, account: Account) -> None:
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE \"user\" SET deletion_at = now() - interval '1 second' WHERE id = :id"), {"id": account.id})


def count(services: Services, table: str, **where: Any) -> int:
    conditions = " AND ".join(f"{name} = :{name}" for name in where)
    with services.engine.begin() as connection:
        return int(connection.execute(text(f'SELECT count(*) FROM "{table}" WHERE {conditions}'), where).scalar_one())  # noqa: S608 - constants


def test_account_is_closed_at_once(client: httpx.Client, make_user: Callable[..., Account]) -> None:
    account, recipient = make_user(), make_user()
    file = make_file(client, account)
    share = make_share(client, account, file["id"])
    request = client.post("/api/v1/file-requests", json={"title": "x"}, headers=account.headers).json()
    key = client.post(f"{USERS}/me/api-keys", json={"name": "k", "scopes": ["files:read"]}, headers=account.headers).json()["key"]
    client.post(f"/api/v1/files/{file['id']}/grants", json={"email": recipient.email}, headers=account.headers)

    left = leave(client, account)

    assert left.status_code == 202
    assert (left.json()["is_active"], left.json()["deletion_at"] > left.json()["updated_at"]) == (False, True)
    for headers in (account.headers, {"Authorization": f"Bearer {key}"}):
        assert client.get("/api/v1/files", headers=headers).status_code == 401
    assert client.post("/api/v1/login/refresh", json={"refresh_token": account.refresh_token}).status_code == 401
    for path in (share["url"], request["url"], f"/api/v1/files/{file['id']}", f"/api/v1/files/download/{file['id']}"):
        assert client.get(path, headers=recipient.headers).status_code in (403, 404), path


def test_sign_in_during_the_grace_only_cancels(client: httpx.Client, browser: httpx.Client, make_user: Callable[..., Account]) -> None:
    account = make_user()
    share = make_share(client, account, make_file(client, account)["id"])
    leave(client, account)

    assert_problem(sign_in(client, account), 403, "account_deletion_pending")
    credentials = {"email": account.email, "password": account.password}
    assert_problem(browser.post(SESSION, json=credentials, headers=SESSION_HEADERS), 403, "account_deletion_pending")
    assert client.get(share["url"]).status_code == 404
    kept = browser.post(SESSION, json=credentials | {"keep_account": True}, headers=SESSION_HEADERS)

    assert kept.status_code == 200
    me = client.get(f"{USERS}/me", headers={"Authorization": f"Bearer {kept.json()['access_token']}"}).json()
    assert (me["is_active"], me["deletion_at"]) == (True, None)
    assert client.get(share["url"]).status_code == 200
    assert sign_in(client, account).status_code == 200


def test_wrong_password_cancels_nothing_and_reveals_nothing(client: httpx.Client, make_user: Callable[..., Account]) -> None:
    account = make_user()
    leave(client, account)

    answer = client.post(TOKEN, data={"username": account.email, "password": "wrong password", "keep_account": "true"})

    assert_problem(answer, 401, "bad_credentials")
    assert_problem(sign_in(client, account), 403, "account_deletion_pending")


@pytest.mark.parametrize("proof", [{"current_password": "wrong password"}, {"current_password": ""}])
def test_leaving_needs_the_password(client: httpx.Client, make_user: Callable[..., Account], proof: dict[str, str]) -> None:
    account = make_user()

    assert_problem(leave(client, account, **proof), 403, "current_password_required")
    assert sign_in(client, account).status_code == 200


def test_everything_is_deleted_when_it_is_due(client: httpx.Client, services: Services, make_user: Callable[..., Account]) -> None:
    account, other = make_user(), make_user()
    files = [make_file(client, account, body=bytes([number])) for number in range(3)]
    pending = start_upload(client, account)
    others_file = make_file(client, other)
    make_share(client, account, files[0]["id"])
    client.post("/api/v1/archives", json={"file_ids": [file["id"] for file in files[:2]]}, headers=account.headers)
    leave(client, account)

    sweep(services)
    assert count(services, "file", owner_id=account.id) == 4
    end_grace(services, account)
    reports = [sweep(services), sweep(services)]

    assert sum(report.deleted_accounts for report in reports) == 1
    owned = {"file": "owner_id", "share": "owner_id", "archive": "holder_id", "user": "id", "user_session": "user_id"}
    for table, column in owned.items():
        assert count(services, table, **{column: account.id}) == 0, table
    for file_id in (*(file["id"] for file in files), pending["file_id"]):
        assert services.store.head(object_key(UUID(file_id))) is None
    assert client.get(f"/api/v1/files/{others_file['id']}", headers=other.headers).status_code == 200
    assert_problem(sign_in(client, account, keep_account="true"), 401, "bad_credentials")


def test_rows_of_an_account_are_deleted_in_batches(
    client: httpx.Client, services: Services, make_user: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, rows = 10, 25
    monkeypatch.setattr(deletions, "BATCH_ROWS", batch)
    account = make_user()
    leave(client, account)
    with services.engine.begin() as connection:
        for statement in ROWS_OF_AN_ACCOUNT.split(";"):
            connection.execute(text(statement), {"id": account.id, "rows": rows})
    end_grace(services, account)
    deleted: dict[str, list[int]] = {}

    def record(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if found := re.search(r'DELETE FROM "?(\w+)', statement):
            deleted.setdefault(found[1], []).append(cursor.rowcount)

    event.listen(services.engine, "after_cursor_execute", record)
    try:
        report = sweep(services)
    finally:
        event.remove(services.engine, "after_cursor_execute", record)

    assert (report.deleted_accounts, count(services, "user", id=account.id)) == (1, 0)
    for table in ("webhook_delivery", "published_event", "notification"):
        # All of them: the statement that deletes the account, and the foreign keys, had none left to delete.
        assert (sum(deleted[table]), max(deleted[table]) <= batch) == (rows, True), table


def test_upload_that_arrives_after_the_account_is_deleted_is_deleted_too(
    client: httpx.Client, services: Services, make_user: Callable[..., Account]
) -> None:
    account = make_user()
    pending = start_upload(client, account, b"late")
    leave(client, account)
    end_grace(services, account)
    sweep(services)
    assert count(services, "user", id=account.id) == 0

    assert put_object(pending, b"late").status_code == 200
    sweep(services)

    assert services.store.head(object_key(UUID(pending["file_id"]))) is None


def test_deletion_is_audited_and_told_by_mail(mail: Mailing, make_user: Callable[..., Account]) -> None:
    account, admin = make_user(), make_user(is_superuser=True)

    leave(mail.client, account)
    sign_in(mail.client, account, keep_account="true")

    events = mail.client.get("/api/v1/admin/audit", params={"subject": f"user:{account.id}"}, headers=admin.headers).json()
    actions = [event["action"] for event in events]
    assert actions.index("user.deletion_cancelled") < actions.index("user.deletion_requested")
    assert [(to, "will be deleted" in body) for to, body in mail.sent()] == [(account.email, True)]


def test_superuser_deletes_an_account_that_only_a_superuser_can_keep(
    client: httpx.Client, admin: Account, make_user: Callable[..., Account]
) -> None:
    account = make_user()
    path = f"{USERS}/{account.id}"

    refused = client.request("DELETE", path, json={"current_password": "wrong password"}, headers=admin.headers)
    assert_problem(refused, 403, "current_password_required")
    assert client.request("DELETE", path, json={"current_password": admin.password}, headers=admin.headers).status_code == 202
    assert_problem(sign_in(client, account, keep_account="true"), 401, "bad_credentials")
    assert_problem(client.patch(path, json={"is_active": True}, headers=admin.headers), 409, "deletion_pending")
    assert client.post(f"{path}/deletion/cancel", headers=admin.headers).json()["deletion_at"] is None
    assert sign_in(client, account).status_code == 200
    assert_problem(client.post(f"{path}/deletion/cancel", headers=admin.headers), 409, "no_deletion_pending")


def test_user_cannot_delete_another_account(client: httpx.Client, owner: Account, make_user: Callable[..., Account]) -> None:
    account = make_user()
    proof = {"current_password": owner.password}

    answer = client.request("DELETE", f"{USERS}/{account.id}", json=proof, headers=owner.headers)

    assert_problem(answer, 403, "permission_denied")
    assert sign_in(client, account).status_code == 200


def test_last_superuser_cannot_leave(client: httpx.Client, services: Services, make_user: Callable[..., Account]) -> None:
    first, second = make_user(is_superuser=True), make_user(is_superuser=True)
    with services.engine.begin() as connection:
        ids = {"first": first.id, "second": second.id}
        demotion = 'UPDATE "user" SET is_superuser = false WHERE is_superuser AND id NOT IN (:first, :second) RETURNING id'
        others = connection.execute(text(demotion), ids)
        demoted = [row.id for row in others]
    try:
        assert leave(client, first).status_code == 202
        assert_problem(leave(client, second), 409, "last_superuser")
    finally:
        with services.engine.begin() as connection:
            connection.execute(text('UPDATE "user" SET is_superuser = true WHERE id = ANY(:ids)'), {"ids": demoted})


def test_deletion_needs_the_second_factor(client: httpx.Client, make_user: Callable[..., Account]) -> None:
    account = make_user()
    _, codes = set_up(client, account)

    assert_problem(leave(client, account), 403, "second_factor_required")
    assert leave(client, account, otp=codes[0]).status_code == 202
    assert_problem(sign_in(client, account, keep_account="true"), 403, "second_factor_required")
    assert sign_in(client, account, keep_account="true", otp=codes[1]).status_code == 200
