"""Published events: what users learn from the audit log, who learns it, and that each event is published once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import func, select, text, update

from infra.local.object_store import ObjectStoreServer
from lambda_app.core import clock
from lambda_app.core.settings import Settings
from lambda_app.handlers.seal import run_dispatch
from lambda_app.models import PublishedEvent
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.events.dispatch import EventDispatchRepository
from lambda_app.repositories.files.transitions import FileTransitionRepository
from lambda_app.services.events import dispatch
from lambda_app.services.maintenance import EVENT_RETENTION
from tests.support.accounts import Account, make_account, make_file, put_object, start_upload
from tests.support.audit_log import OwnLog, own_log
from tests.support.problems import assert_problem
from tests.support.shares import make_share

EVENTS = "/api/v1/events"


@pytest.fixture(scope="module")
def log(settings: Settings, make_migrated_database: Callable[[], str], s3_server: ObjectStoreServer) -> Iterator[OwnLog]:
    """One log for all tests of this module, which look only at the events of their own accounts. The trash is on."""
    with own_log(settings, make_migrated_database(), s3_server, trash_retention_days=30) as own:
        yield own


@pytest.fixture(scope="module")
def api(log: OwnLog) -> Iterator[httpx.Client]:
    """A client of the API with this log."""
    with log.client() as client:
        yield client


@pytest.fixture
def make_owner(api: httpx.Client, log: OwnLog) -> Callable[[], Account]:
    return lambda: make_account(log.services)


@pytest.fixture
def owner(make_owner: Callable[[], Account]) -> Account:
    return make_owner()


def page_of(api: httpx.Client, account: Account, **parameters: Any) -> dict[str, Any]:
    answer = api.get(EVENTS, params=parameters, headers=account.headers)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def events_of(api: httpx.Client, account: Account, *types: str) -> list[tuple[str, dict[str, Any]]]:
    found = page_of(api, account)["events"]
    return [(event["type"], event["data"]) for event in found if not types or event["type"] in types]


def types_of(api: httpx.Client, account: Account) -> list[str]:
    return [kind for kind, _ in events_of(api, account)]


def test_owner_follows_the_life_of_a_file_even_after_its_row_is_gone(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    file = make_file(api, owner, b"hello", filename="plan.txt")
    path = f"/api/v1/files/{file['id']}"
    api.delete(path, headers=owner.headers)
    api.post(f"{path}/restore", headers=owner.headers)
    api.delete(path, params={"permanent": "true"}, headers=owner.headers)

    log.publish()

    shown = {"file_id": file["id"], "filename": "plan.txt", "size_bytes": 5}
    types = ("file.available", "file.trashed", "file.restored", "file.deleted")
    assert events_of(api, owner, *types) == [(kind, shown) for kind in types]


def test_batches_of_files_publish_one_event_for_each_file(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    files = [make_file(api, owner, filename=f"{number}.txt") for number in range(2)]
    ids = {"file_ids": [file["id"] for file in files]}
    for action in ("delete", "restore", "purge"):
        assert api.post(f"/api/v1/files/{action}", json=ids, headers=owner.headers).status_code == 200

    log.publish()

    for kind in ("file.trashed", "file.restored", "file.deleted"):
        assert {data["filename"] for _, data in events_of(api, owner, kind)} == {"0.txt", "1.txt"}, kind


def test_rejected_file_is_published_to_its_owner(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    upload = start_upload(api, owner, b"12345")
    with log.services.unit_of_work() as session:
        transitions = FileTransitionRepository(session, deletion_allowance_bytes=1)
        assert transitions.reject(UUID(upload["file_id"])) is not None

    log.publish()

    assert [data["file_id"] for _, data in events_of(api, owner, "file.rejected")] == [upload["file_id"]]


def test_owner_of_a_link_learns_of_downloads_but_not_who_made_them(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    file = make_file(api, owner, filename="plan.txt")
    share = make_share(api, owner, file["id"])
    api.get(share["url"])
    assert api.get(f"{share['url']}/files/{file['id']}").status_code in {200, 302, 303, 307}
    api.delete(f"/api/v1/shares/{share['id']}", headers=owner.headers)

    log.publish()

    link = {"share_id": share["id"]}
    downloaded = {**link, "file_id": file["id"], "filename": "plan.txt", "size_bytes": 5}
    assert [event for event in events_of(api, owner) if event[0].startswith("share.")] == [
        ("share.created", link),
        ("share.opened", link),
        ("share.downloaded", downloaded),
        ("share.revoked", link),
    ]


def test_guest_upload_is_published_as_file_and_as_received(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    request = api.post("/api/v1/file-requests", json={"title": "Reports"}, headers=owner.headers).json()
    declared = {"filename": "guest.txt", "content_type": "text/plain", "size_bytes": 5}
    upload = api.post(f"/r/{request['token']}/files", json=declared).json()
    assert put_object(upload, b"hello").status_code == 200
    completed = api.post(f"/r/{request['token']}/files/{upload['file_id']}/complete", json={"guest_token": upload["guest_token"]})
    assert completed.status_code == 200, completed.text

    log.publish()

    data = {"file_id": upload["file_id"], "filename": "guest.txt", "size_bytes": 5, "file_request_id": request["id"]}
    assert events_of(api, owner, "file.available", "file_request.received", "file_request.created") == [
        ("file_request.created", {"file_request_id": request["id"], "title": "Reports"}),
        ("file.available", data),
        ("file_request.received", {**data, "title": "Reports"}),
    ]


def test_grant_is_published_to_owner_and_recipient(api: httpx.Client, log: OwnLog, make_owner: Callable[[], Account]) -> None:
    owner, recipient = make_owner(), make_owner()
    file = make_file(api, owner, filename="plan.txt")
    grants = f"/api/v1/files/{file['id']}/grants"
    api.put(grants, json={"user_id": str(recipient.id)}, headers=owner.headers)
    api.delete(f"{grants}/{recipient.id}", headers=owner.headers)

    log.publish()

    data = {"file_id": file["id"], "filename": "plan.txt", "size_bytes": 5, "role": "viewer"}
    as_owner = {**data, "user_id": str(recipient.id), "is_recipient": False}
    kinds = ("grant.added", "grant.removed")
    assert events_of(api, owner, *kinds) == [(kind, as_owner) for kind in kinds]
    # The name may have changed after the removal.
    after_removal = {"file_id": file["id"], "role": "viewer", "is_recipient": True}
    assert events_of(api, recipient, *kinds) == [("grant.added", {**data, "is_recipient": True}), ("grant.removed", after_removal)]


def test_grant_to_an_unconfirmed_address_is_not_published_to_the_account(
    api: httpx.Client, log: OwnLog, make_owner: Callable[[], Account]
) -> None:
    owner, stranger = make_owner(), make_account(log.services, is_verified=False)
    file = make_file(api, owner)
    grants = f"/api/v1/files/{file['id']}/grants"
    assert api.put(grants, json={"email": stranger.email}, headers=owner.headers).status_code == 200
    assert api.delete(f"{grants}/{stranger.id}", headers=owner.headers).status_code == 204

    log.publish()

    assert [kind for kind in types_of(api, owner) if kind.startswith("grant.")] == ["grant.added", "grant.removed"]
    assert types_of(api, stranger) == ["account.signed_in"]


def test_account_learns_of_sign_ins_and_changes_of_its_credentials(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    api.post("/api/v1/users/me/api-keys", json={"name": "n", "scopes": ["shares"]}, headers=owner.headers)
    changed = {"current_password": owner.password, "password": "another good password", "email": f"new-{uuid4()}@example.com"}
    assert api.patch("/api/v1/users/me", json=changed, headers=owner.headers).status_code == 200
    form = {"username": changed["email"], "password": changed["password"]}
    token = api.post("/api/v1/login/token", data=form).json()["access_token"]

    log.publish()

    again = Account(owner.id, changed["email"], changed["password"], token)
    signed_in, key, *changes, _ = page_of(api, again)["events"]
    assert signed_in["type"] == "account.signed_in"
    assert signed_in["subject"] == f"user:{owner.id}"
    assert set(signed_in["data"]) == {"session_id", "source_address", "user_agent"}
    assert key["type"] == "account.api_key_created"
    assert {event["type"] for event in changes} == {"account.password_changed", "account.email_changed"}


def test_archive_is_published_when_it_is_ready(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    file = make_file(api, owner)
    archive = api.post("/api/v1/archives", json={"file_ids": [file["id"]], "filename": "all.zip"}, headers=owner.headers).json()
    with log.services.unit_of_work() as session:
        log.services.archive_builds(session).build(archive["id"], budget_seconds=20)

    log.publish()

    [(_, data)] = events_of(api, owner, "archive.ready")
    assert data == {"archive_id": archive["id"], "filename": "all.zip", "file_count": 1, "size_bytes": archive["size_bytes"]}


def test_archive_that_fails_is_published_with_its_reason(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    file = make_file(api, owner)
    archive = api.post("/api/v1/archives", json={"file_ids": [file["id"]]}, headers=owner.headers).json()
    api.delete(f"/api/v1/files/{file['id']}", params={"permanent": "true"}, headers=owner.headers)
    with log.services.unit_of_work() as session:
        log.services.archive_builds(session).build(archive["id"], budget_seconds=20)

    log.publish()

    [(_, data)] = events_of(api, owner, "archive.failed")
    assert data["error_code"] == api.get(f"/api/v1/archives/{archive['id']}", headers=owner.headers).json()["error_code"]


def test_unsealed_event_is_not_published(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    log.publish()
    make_file(api, owner)

    run_dispatch(log.services, budget_seconds=30)

    assert types_of(api, owner) == ["account.signed_in"]


def test_dispatcher_that_is_killed_before_its_commit_publishes_everything_once(
    api: httpx.Client, log: OwnLog, owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_file(api, owner)
    log.seal()

    def fail(*_arguments: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(EventDispatchRepository, "move_cursor", fail)
        with pytest.raises(ConnectionError):
            run_dispatch(log.services, budget_seconds=30)
    run_dispatch(log.services, budget_seconds=30)
    run_dispatch(log.services, budget_seconds=30)

    assert types_of(api, owner) == ["account.signed_in", "file.available"]


def test_concurrent_dispatchers_publish_each_event_once(
    api: httpx.Client, log: OwnLog, owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "BATCH_EVENTS", 2)
    with log.services.unit_of_work() as session:
        for number in range(20):
            AuditRepository(session).add("share.opened", subject=f"user:{number}")
            AuditRepository(session).add("password.changed", subject=f"user:{owner.id}")
    log.seal()
    start = threading.Barrier(3)

    def run() -> None:
        start.wait(10)
        for _ in range(20):
            run_dispatch(log.services, budget_seconds=30)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(run) for _ in range(3)]:
            done.result()

    page = page_of(api, owner, type="account.password_changed")["events"]
    assert len(page) == 20
    assert [event["id"] for event in page] == sorted(event["id"] for event in page)


def test_dispatcher_continues_in_a_new_era(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    log.publish()
    with log.services.unit_of_work() as session:
        log.services.audit_eras(session).start(reason="test")
    make_file(api, owner)

    log.publish()

    assert types_of(api, owner) == ["account.signed_in", "file.available"]


def test_erased_event_publishes_nothing_and_stops_nothing(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    file = make_file(api, owner, filename="erased.txt")
    make_file(api, owner, filename="kept.txt")
    log.seal()
    with log.services.unit_of_work() as session:
        audit = log.services.audit_log(session)
        event = audit.find_event(f"file:{file['id']}", "file.available")
        assert event is not None
        audit.erase(event, ["details", "subject"])

    log.publish()

    assert [data["filename"] for _, data in events_of(api, owner, "file.available")] == ["kept.txt"]


def test_cursor_pages_through_events_and_then_waits_for_new_ones(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    for number in range(3):
        make_file(api, owner, filename=f"{number}.txt")
    log.publish()

    first = page_of(api, owner, limit=2)
    second = page_of(api, owner, limit=100, after=first["next"])
    empty = page_of(api, owner, after=second["next"])
    make_file(api, owner, filename="new.txt")
    log.publish()
    third = page_of(api, owner, after=empty["next"])

    assert [len(page["events"]) for page in (first, second, empty, third)] == [2, 2, 0, 1]
    assert empty["next"] == second["next"]
    assert third["events"][0]["data"]["filename"] == "new.txt"
    assert page_of(api, owner, after="latest") == {"events": [], "next": third["next"]}


def test_filter_by_type_returns_only_that_type(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    make_file(api, owner)
    log.publish()

    assert [event["type"] for event in page_of(api, owner, type="file.available")["events"]] == ["file.available"]


@pytest.mark.parametrize("parameters", [{"after": "x"}, {"after": "-1"}, {"after": "9" * 19}, {"type": "unknown"}, {"limit": "101"}])
def test_bad_parameters_of_the_feed_return_422(api: httpx.Client, owner: Account, parameters: dict[str, str]) -> None:
    assert_problem(api.get(EVENTS, params=parameters, headers=owner.headers), 422, "malformed_request")


def test_user_sees_no_events_of_other_users(api: httpx.Client, log: OwnLog, make_owner: Callable[[], Account]) -> None:
    owner, other = make_owner(), make_owner()
    make_file(api, owner)
    log.publish()

    assert types_of(api, other) == ["account.signed_in"]


def test_key_sees_the_events_of_its_own_account(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    made = api.post("/api/v1/users/me/api-keys", json={"name": "n", "scopes": ["events:read"]}, headers=owner.headers).json()
    log.publish()
    key = Account(owner.id, owner.email, owner.password, made["key"])

    assert page_of(api, key) == page_of(api, owner)


def test_sweep_deletes_events_after_their_retention(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    make_file(api, owner)
    log.publish()
    expired = (PublishedEvent.owner_id == owner.id) & (PublishedEvent.type == "account.signed_in")
    with log.services.engine.begin() as connection:
        connection.execute(update(PublishedEvent).where(expired).values(at=clock.now() - EVENT_RETENTION - timedelta(minutes=1)))

    with log.services.unit_of_work() as session:
        removed = log.services.maintenance(session).purge()

    assert removed["events"] >= 1
    assert types_of(api, owner) == ["file.available"]


def test_events_of_a_deleted_account_are_deleted_and_later_ones_dropped(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    log.publish()
    with log.services.engine.begin() as connection:
        connection.execute(text('DELETE FROM "user" WHERE id = :id'), {"id": owner.id})
    with log.services.unit_of_work() as session:
        AuditRepository(session).add("password.changed", subject=f"user:{owner.id}")

    log.publish()

    with log.services.engine.begin() as connection:
        assert connection.execute(select(func.count()).where(PublishedEvent.owner_id == owner.id)).scalar_one() == 0
