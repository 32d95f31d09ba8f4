"""Exports of accounts: what they contain, who gets them, and how often."""

import io
import json
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from lambda_app.core.errors import AppError
from lambda_app.factory import Services
from lambda_app.models import Base, User
from lambda_app.repositories.accounts.exports import NOT_EXPORTED, SECTIONS
from lambda_app.repositories.archives.transitions import ArchiveTransitionRepository
from lambda_app.storage.keys import archive_key, export_document_key
from tests.support.accounts import Account, make_file, sha256_hex
from tests.support.archives_api import run_worker
from tests.support.mailing import Mailing
from tests.support.problems import assert_problem
from tests.support.second_factor import set_up
from tests.support.shares import make_share

EXPORT = "/api/v1/users/me/export"
SECRET_WORDS = ("hash", "secret", "token", "password", "encrypted", "salt", "key")


def request(client: httpx.Client, account: Account, **proof: str) -> httpx.Response:
    return client.post(EXPORT, json={"current_password": account.password, **proof}, headers=account.headers)


def read(client: httpx.Client, account: Account) -> dict[str, Any]:
    answer = client.get(EXPORT, headers=account.headers)
    assert answer.status_code == 200, answer.text
    export: dict[str, Any] = answer.json()["export"]
    return export


def archive_of(services: Services, account: Account) -> dict[str, Any]:
    query = "SELECT id, status FROM archive WHERE user_id = :id AND is_export ORDER BY created_at DESC LIMIT 1"
    with services.engine.begin() as connection:
        row = connection.execute(text(query), {"id": account.id}).one()
    return {"id": str(row.id), "status": row.status}


def build(services: Services, account: Account) -> None:
    assert run_worker(services, archive_of(services, account)) == {"batchItemFailures": []}


def download(state: dict[str, Any]) -> zipfile.ZipFile:
    with httpx.Client(trust_env=False) as s3:
        answer = s3.get(state["download_url"])
    assert answer.status_code == 200
    return zipfile.ZipFile(io.BytesIO(answer.content))


def test_export_contains_everything_about_the_user_and_no_secret(
    client: httpx.Client, services: Services, with_trash: httpx.Client, owner: Account, make_user: Callable[..., Account], admin: Account
) -> None:
    friend = make_user()
    file = make_file(client, owner, b"first", filename="export.json", description="mine")
    trashed = make_file(client, owner, b"second", filename="b.txt")
    others = make_file(client, friend, b"not mine", filename="other.txt")
    with_trash.delete(f"/api/v1/files/{trashed['id']}", headers=owner.headers)
    share = make_share(client, owner, file["id"], password="a link password", audience="named", recipients=[friend.email])
    client.post("/api/v1/file-requests", json={"title": "Please send"}, headers=owner.headers)
    key = client.post("/api/v1/users/me/api-keys", json={"name": "script", "scopes": ["files:read"]}, headers=owner.headers).json()
    client.put(f"/api/v1/files/{file['id']}/grants", json={"email": friend.email}, headers=owner.headers)
    client.put(f"/api/v1/files/{others['id']}/grants", json={"email": owner.email}, headers=friend.headers)
    client.patch(f"/api/v1/users/{owner.id}", json={"quota_files": 500}, headers=admin.headers)

    assert request(client, owner).status_code == 202
    build(services, owner)
    state = read(client, owner)
    zipped = download(state)

    assert (state["status"], state["file_count"], state["done_bytes"]) == ("ready", 3, state["size_bytes"])
    assert zipped.namelist() == ["export.json", "export (2).json", "b.txt"]
    assert (zipped.read("export (2).json"), zipped.read("b.txt")) == (b"first", b"second")
    raw = zipped.read("export.json").decode()
    document = json.loads(raw)
    assert list(document)[2:] == [section.name for section in SECTIONS]
    assert document["account"][0]["email"] == owner.email
    assert {row["id"]: (row["status"], row["zip_name"], row["description"]) for row in document["files"]} == {
        file["id"]: ("available", "export (2).json", "mine"),
        trashed["id"]: ("trashed", "b.txt", None),
    }
    assert [(row["id"], row["file_ids"], row["recipients"]) for row in document["share_links"]] == [
        (share["id"], [file["id"]], [friend.email])
    ]
    assert [row["title"] for row in document["file_requests"]] == ["Please send"]
    assert [(row["name"], row["hint"]) for row in document["api_keys"]] == [("script", key["key"][:10])]
    assert [row["user_id"] for row in document["grants_given"]] == [str(friend.id)]
    assert [row["file_id"] for row in document["grants_received"]] == [others["id"]]
    assert len(document["sessions"]) == 1
    assert {"share.created", "file.available"} <= {row["action"] for row in document["audit_events"]}
    by_others = [row for row in document["audit_events_by_others"] if row["action"] == "user.quota_changed"]
    assert [row["actor_id"] for row in by_others] == [str(admin.id)]
    assert "source_address" not in by_others[0]
    for secret in (owner.password, owner.token, owner.refresh_token, key["key"], "a link password", share["url"].rpartition("/")[2]):
        assert secret not in raw
        assert sha256_hex(secret.encode()) not in raw
    assert "not mine" not in raw


def test_every_table_and_every_secret_column_is_decided() -> None:
    exported = {section.model.__tablename__ for section in SECTIONS}
    assert exported & NOT_EXPORTED.keys() == set()
    assert exported | NOT_EXPORTED.keys() == set(Base.metadata.tables)
    for section in SECTIONS:
        assert section.omitted <= set(section.model.__table__.c.keys()), section.name
        shown = {str(column.key) for column in section.columns} - {"password_version", "api_key_id"}
        assert [name for name in shown if any(word in name for word in SECRET_WORDS)] == [], section.name


def test_export_of_another_user_is_never_returned(
    client: httpx.Client, services: Services, owner: Account, make_user: Callable[..., Account]
) -> None:
    stranger = make_user()
    request(client, owner)
    build(services, owner)
    archive = archive_of(services, owner)

    assert read(client, stranger) is None
    for account in (owner, stranger):
        assert_problem(client.get(f"/api/v1/archives/{archive['id']}", headers=account.headers), 404, "archive_not_found")
        assert_problem(client.delete(f"/api/v1/archives/{archive['id']}", headers=account.headers), 404, "archive_not_found")
        assert client.get("/api/v1/archives", headers=account.headers).json() == []


def test_export_needs_the_password_and_the_second_factor(client: httpx.Client, owner: Account) -> None:
    assert_problem(request(client, owner, current_password="wrong password"), 403, "current_password_required")
    _, codes = set_up(client, owner)
    assert_problem(request(client, owner), 403, "second_factor_required")
    assert read(client, owner) is None
    assert request(client, owner, otp=codes[0]).status_code == 202


@pytest.mark.parametrize("scope", ["files:read", "files:write", "shares"])
def test_narrow_keys_do_not_get_an_export(client: httpx.Client, owner: Account, make_key: Callable[..., Account], scope: str) -> None:
    key = make_key(owner, scope)

    assert_problem(request(client, key), 403, "insufficient_scope")
    assert_problem(client.get(EXPORT, headers=key.headers), 403, "insufficient_scope")


def test_account_is_exported_once_a_day(client: httpx.Client, services: Services, owner: Account) -> None:
    first = request(client, owner).json()
    assert request(client, owner).json()["created_at"] == first["created_at"]
    build(services, owner)
    assert request(client, owner).json()["status"] == "ready"
    archive_id = archive_of(services, owner)["id"]
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE archive SET expires_at = now() - interval '1 minute' WHERE id = :id"), {"id": archive_id})

    assert read(client, owner) is None
    refused = request(client, owner)
    assert_problem(refused, 429, "too_many_exports")
    assert 86_000 < int(refused.headers["Retry-After"]) <= 86_400
    with services.unit_of_work() as session:
        services.archive_sweep(session).run(budget_seconds=600)
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE \"user\" SET export_requested_at = now() - interval '25 hours' WHERE id = :id"), {"id": owner.id})
    assert request(client, owner).status_code == 202
    assert archive_of(services, owner)["id"] != archive_id


def test_concurrent_requests_lead_to_one_export(client: httpx.Client, services: Services, owner: Account) -> None:
    def start(_: int) -> str:
        with services.unit_of_work() as session:
            user = services.users(session).get_user(User(is_superuser=True), owner.id)
            try:
                archive, _mail = services.exports(session).start(user, current_password=owner.password, otp=None)
            except AppError as error:
                return error.code
            return str(archive.id)

    with ThreadPoolExecutor(3) as pool:
        results = set(pool.map(start, range(3)))

    assert len(results - {"too_many_exports"}) == 1


def test_failed_export_can_be_requested_again_after_an_hour(client: httpx.Client, services: Services, owner: Account) -> None:
    file = make_file(client, owner)
    request(client, owner)
    services.store.delete(f"uploads/{file['id']}")
    build(services, owner)

    assert (read(client, owner)["status"], read(client, owner)["error_code"]) == ("failed", "files_changed")
    refused = request(client, owner)
    assert_problem(refused, 429, "too_many_exports")
    assert 3500 < int(refused.headers["Retry-After"]) <= 3600
    client.delete(f"/api/v1/files/{file['id']}", headers=owner.headers)
    with services.engine.begin() as connection:
        earlier = "interval '61 minutes'"
        connection.execute(text(f'UPDATE "user" SET export_requested_at = now() - {earlier} WHERE id = :id'), {"id": owner.id})  # noqa: S608 - a constant
    assert request(client, owner).status_code == 202
    build(services, owner)
    assert read(client, owner)["status"] == "ready"


def test_export_does_not_tell_which_links_wait_for_a_confirmed_address(
    client: httpx.Client, services: Services, owner: Account, make_user: Callable[..., Account]
) -> None:
    waiting = make_user(is_verified=False)
    file = make_file(client, owner)
    share = make_share(client, owner, file["id"], audience="named", recipients=[waiting.email])
    assert share["id"]
    request(client, waiting)
    build(services, waiting)

    assert json.loads(download(read(client, waiting)).read("export.json"))["share_links_received"] == []


def withhold(services: Services, file: dict[str, Any]) -> None:
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE file SET scan_status = 'infected', is_withheld = true WHERE id = :id"), {"id": file["id"]})


def test_export_leaves_out_files_that_a_malware_scan_withholds(client: httpx.Client, services: Services, owner: Account) -> None:
    infected, clean = make_file(client, owner, filename="infected.txt"), make_file(client, owner, filename="clean.txt")
    withhold(services, infected)
    request(client, owner)
    build(services, owner)

    zipped = download(read(client, owner))

    assert zipped.namelist() == ["export.json", "clean.txt"]
    names = {row["id"]: row["zip_name"] for row in json.loads(zipped.read("export.json"))["files"]}
    assert names == {infected["id"]: None, clean["id"]: "clean.txt"}


def test_build_of_an_export_stops_when_a_file_is_found_infected(
    client: httpx.Client, services: Services, owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_file(client, owner)
    request(client, owner)
    set_entries = ArchiveTransitionRepository.set_entries

    def set_entries_before_the_result(*positional: Any, **named: Any) -> bool:
        is_set = set_entries(*positional, **named)
        withhold(services, file)
        return is_set

    monkeypatch.setattr(ArchiveTransitionRepository, "set_entries", set_entries_before_the_result)
    build(services, owner)

    assert (read(client, owner)["status"], read(client, owner)["error_code"]) == ("failed", "files_changed")


def test_ready_export_is_closed_when_a_file_is_found_infected(client: httpx.Client, services: Services, owner: Account) -> None:
    file = make_file(client, owner)
    request(client, owner)
    build(services, owner)
    withhold(services, file)

    state = read(client, owner)

    assert (state["status"], state["error_code"], state["download_url"]) == ("failed", "file_withheld", None)
    refused = request(client, owner)
    assert_problem(refused, 429, "too_many_exports")
    assert 3500 < int(refused.headers["Retry-After"]) <= 3600
    with services.engine.begin() as connection:
        earlier = "interval '61 minutes'"
        connection.execute(text(f'UPDATE "user" SET export_requested_at = now() - {earlier} WHERE id = :id'), {"id": owner.id})  # noqa: S608 - a constant
    assert request(client, owner).json()["status"] == "queued"
    build(services, owner)
    assert download(read(client, owner)).namelist() == ["export.json"]


def test_export_is_charged_to_no_quota_and_no_limit_of_archives(client: httpx.Client, services: Services, owner: Account) -> None:
    file = make_file(client, owner)
    before = client.get("/api/v1/users/me/usage", headers=owner.headers).json()
    request(client, owner)
    build(services, owner)
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE archive SET size_bytes = :size WHERE user_id = :id"), {"id": owner.id, "size": 2**50})

    assert client.get("/api/v1/users/me/usage", headers=owner.headers).json() == before
    assert client.post("/api/v1/archives", json={"file_ids": [file["id"]]}, headers=owner.headers).status_code == 202


def test_sweep_keeps_a_ready_export_and_deletes_an_expired_one(client: httpx.Client, services: Services, owner: Account) -> None:
    file = make_file(client, owner)
    request(client, owner)
    build(services, owner)
    archive_id = UUID(archive_of(services, owner)["id"])
    assert services.store.head(export_document_key(archive_id)) is None

    client.delete(f"/api/v1/files/{file['id']}", headers=owner.headers)
    with services.unit_of_work() as session:
        services.archive_sweep(session).run(budget_seconds=600)
    assert read(client, owner)["status"] == "ready"
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE archive SET expires_at = now() - interval '1 minute' WHERE id = :id"), {"id": archive_id})
    with services.unit_of_work() as session:
        services.archive_sweep(session).run(budget_seconds=600)
    assert services.store.head(archive_key(archive_id)) is None


def test_worker_continues_an_export_after_a_crash(
    client: httpx.Client, services: Services, owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_file(client, owner)
    request(client, owner)
    archive = archive_of(services, owner)

    class CrashError(Exception): ...

    def crash(*_: Any, **__: Any) -> bool:
        raise CrashError

    with monkeypatch.context() as patched:
        patched.setattr("lambda_app.repositories.archives.transitions.ArchiveTransitionRepository.set_entries", crash)
        with pytest.raises(CrashError):
            run_worker(services, archive)
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE archive SET lease_until = now() - interval '1 minute' WHERE id = :id"), {"id": archive["id"]})
    build(services, owner)

    assert download(read(client, owner)).testzip() is None


def test_owner_receives_a_mail_about_an_export(mail: Mailing, owner: Account) -> None:
    request(mail.client, owner)
    request(mail.client, owner)

    assert [(to, "export of your account" in body) for to, body in mail.sent()] == [(owner.email, True)]
