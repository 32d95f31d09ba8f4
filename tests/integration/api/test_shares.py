"""Creating, changing, listing and revoking share links."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import ANY
from uuid import UUID, uuid4

import httpx
import pytest
import time_machine
from sqlalchemy import insert, text

from lambda_app.application import create_app
from lambda_app.core import clock
from lambda_app.core.errors import AppError, GoneError
from lambda_app.core.security.keys import KeyRing, SigningKey, SigningKeys
from lambda_app.core.settings import Settings
from lambda_app.db.engine import create_database_engine
from lambda_app.db.session import create_session_factory
from lambda_app.factory import Services
from lambda_app.models import User
from lambda_app.repositories.accounts.sign_in_attempts import FREE_ATTEMPTS_PER_ADDRESS, AttemptKeys
from lambda_app.repositories.files.idempotency import IdempotencyRepository
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.schemas.sharing.shares import RECIPIENTS_PER_SHARE, ShareOptions
from lambda_app.services.files.idempotency import LOCK_SECONDS, IdempotencyKeyReusedError, IdempotencyService
from lambda_app.services.sharing import shares as share_service
from tests.support.accounts import Account, make_file
from tests.support.gateway import GatewayTransport, payload_v1
from tests.support.locks import hold_until_blocked
from tests.support.problems import assert_problem, assert_unauthenticated
from tests.support.shares import change_share, expire_share, make_share, share_pass_header

SHARES = "/api/v1/shares"
MakeUser = Callable[..., Account]


def later(**delta: float) -> str:
    return (clock.now() + timedelta(**delta)).isoformat()


def test_share_has_every_option_and_is_returned_to_its_owner_with_its_url(client: httpx.Client, owner: Account, stranger: Account) -> None:
    first, second = make_file(client, owner)["id"], make_file(client, owner)["id"]
    expires_at = later(days=365)

    created = make_share(
        client, owner, second, first,
        password="swordfish", expires_at=expires_at, max_downloads=3, audience="named", recipients=[stranger.email.upper()],
        note="The files you requested.\nNothing else.",
    )  # fmt: skip

    assert re.fullmatch(r"/s/[A-Za-z0-9_-]{22}", created["url"])
    assert created["file_ids"] == [second, first]
    assert created["has_password"] is True
    assert created["recipients"] == [stranger.email]
    assert created["max_downloads"] == 3
    assert (created["download_count"], created["open_count"], created["last_opened_at"], created["revoked_at"]) == (0, 0, None, None)
    assert created["note"] == "The files you requested.\nNothing else."
    assert "swordfish" not in str(created)
    read = client.get(f"{SHARES}/{created['id']}", headers=owner.headers)
    assert read.json() == created
    assert read.headers["cache-control"] == "no-store"
    assert change_share(client, owner, created, note=created["note"]) == created | {"updated_at": ANY}
    for path in (SHARES, f"/api/v1/files/{first}/shares"):
        assert [share["url"] for share in client.get(path, headers=owner.headers).json()] == [created["url"]]


def test_only_the_owner_of_a_link_sees_its_address(client: httpx.Client, owner: Account, admin: Account) -> None:
    file = make_file(client, owner)["id"]
    own, of_admin = make_share(client, owner, file), make_share(client, admin, file)

    seen_by_admin = client.get(f"{SHARES}/{own['id']}", headers=admin.headers)
    changed_by_admin = change_share(client, admin, own, note="changed")
    urls = {
        reader: {share["id"]: share["url"] for share in client.get(f"/api/v1/files/{file}/shares", headers=account.headers).json()}
        for reader, account in (("owner", owner), ("admin", admin))
    }

    assert (seen_by_admin.json()["url"], changed_by_admin["url"]) == (None, None)
    assert urls == {"owner": {own["id"]: own["url"], of_admin["id"]: None}, "admin": {own["id"]: None, of_admin["id"]: of_admin["url"]}}


def test_address_of_a_revoked_link_is_forgotten(client: httpx.Client, services: Services, owner: Account) -> None:
    share = make_share(client, owner, make_file(client, owner)["id"])

    client.delete(f"{SHARES}/{share['id']}", headers=owner.headers)

    assert client.get(f"{SHARES}/{share['id']}", headers=owner.headers).json()["url"] is None
    with services.engine.connect() as connection:
        assert connection.execute(text("SELECT encrypted_token FROM share WHERE id = :id"), {"id": share["id"]}).scalar_one() is None


def test_link_of_an_older_version_has_no_url_until_it_gets_a_new_address(client: httpx.Client, services: Services, owner: Account) -> None:
    old = make_share(client, owner, make_file(client, owner)["id"])
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE share SET encrypted_token = NULL WHERE id = :id"), {"id": old["id"]})
    assert client.get(f"{SHARES}/{old['id']}", headers=owner.headers).json()["url"] is None

    new = client.post(f"{SHARES}/{old['id']}/rotate", headers=owner.headers).json()

    assert client.get(new["url"]).status_code == 200
    assert client.get(f"{SHARES}/{old['id']}", headers=owner.headers).json()["url"] == new["url"]


def test_new_address_replaces_the_old_one_and_keeps_the_rules(client: httpx.Client, owner: Account, admin: Account) -> None:
    rules = {"password": "swordfish", "max_downloads": 3, "note": "n", "expires_at": later(days=1)}
    old = make_share(client, owner, make_file(client, owner)["id"], **rules)
    share_pass = share_pass_header(client, old, "swordfish")
    assert client.get(f"{old['url']}/files/{old['file_ids'][0]}", headers=share_pass).status_code == 302

    response = client.post(f"{SHARES}/{old['id']}/rotate", headers=owner.headers)

    new = response.json()
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert re.fullmatch(r"/s/[A-Za-z0-9_-]{22}", new["url"])
    assert new == old | {"url": new["url"], "download_count": 1, "updated_at": ANY}
    assert new["url"] != old["url"]
    assert_problem(client.get(old["url"], headers=share_pass), 404, "link_not_found")
    assert_problem(client.get(new["url"], headers=share_pass), 403, "share_password_required")
    assert client.get(new["url"], headers=share_pass_header(client, new, "swordfish")).status_code == 200
    events = client.get("/api/v1/admin/audit", params={"subject": f"share:{old['id']}", "limit": 2}, headers=admin.headers).json()
    assert "share.address_replaced" in [event["action"] for event in events]
    assert new["url"].removeprefix("/s/") not in str(events)


def test_address_is_replaced_only_for_the_owners_open_links_without_a_slug(
    client: httpx.Client, owner: Account, stranger: Account, admin: Account
) -> None:
    file = make_file(client, owner)["id"]
    link, revoked, named = (make_share(client, owner, file, **options) for options in ({}, {}, {"slug": f"slug-{uuid4().hex[:8]}"}))
    client.delete(f"{SHARES}/{revoked['id']}", headers=owner.headers)

    for other in (stranger, admin):
        assert_problem(client.post(f"{SHARES}/{link['id']}/rotate", headers=other.headers), 404, "share_not_found")
    assert_problem(client.post(f"{SHARES}/{revoked['id']}/rotate", headers=owner.headers), 409, "share_revoked")
    assert_problem(client.post(f"{SHARES}/{named['id']}/rotate", headers=owner.headers), 409, "share_has_slug")
    assert client.get(link["url"]).status_code == client.get(named["url"]).status_code == 200


def test_encrypted_token_of_another_link_is_not_shown(client: httpx.Client, services: Services, owner: Account) -> None:
    file = make_file(client, owner)["id"]
    first, second = make_share(client, owner, file), make_share(client, owner, file)

    with services.engine.begin() as connection:
        copied = "UPDATE share SET encrypted_token = (SELECT encrypted_token FROM share WHERE id = :first) WHERE id = :second"
        connection.execute(text(copied), {"first": first["id"], "second": second["id"]})

    assert client.get(f"{SHARES}/{second['id']}", headers=owner.headers).json()["url"] is None


def test_token_is_stored_encrypted_and_the_password_as_a_hash(client: httpx.Client, services: Services, owner: Account) -> None:
    created = make_share(client, owner, make_file(client, owner)["id"], password="swordfish")
    token = created["url"].removeprefix("/s/")

    with services.engine.connect() as connection:
        row = str(connection.execute(text("SELECT * FROM share WHERE id = :id"), {"id": created["id"]}).one())
        log = str(
            connection.execute(text("SELECT * FROM audit_event WHERE subject = :subject"), {"subject": f"share:{created['id']}"}).all()
        )

    assert token not in row + log
    assert "swordfish" not in row + log
    assert "$argon2id$" in row
    assert "share.created" in log


def test_share_of_one_file_can_be_created_below_the_file(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner)["id"]

    response = client.post(f"/api/v1/files/{file}/shares", json={}, headers=owner.headers)

    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    assert response.json()["file_ids"] == [file]
    assert client.get(response.json()["url"]).status_code == 200


def test_url_is_public_if_configured_and_else_includes_the_stage(
    settings: Settings, services: Services, client: httpx.Client, owner: Account
) -> None:
    file = make_file(client, owner)["id"]
    with_public_url = settings.model_copy(update={"api_url": "https://files.test"})
    known = create_app(with_public_url, Services.build(with_public_url))
    with httpx.Client(transport=GatewayTransport(GatewayHandler(known)), base_url="https://api.test") as public:
        assert make_share(public, owner, file)["url"].startswith("https://files.test/s/")
    known.state.services.engine.dispose()
    staged = GatewayTransport(GatewayHandler(create_app(settings, services)), payload_v1)
    with httpx.Client(transport=staged, base_url="https://api.test", headers={"Host": "evil.test"}) as rest_api:
        url = make_share(rest_api, owner, file)["url"]
        assert url.startswith("/dev/s/")
        opened = rest_api.get(url.removeprefix("/dev"))
        assert opened.json()["files"][0]["download_url"] == f"{url}/files/{file}"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"slug": "Abc"}, "malformed_request"),
        ({"slug": "ab"}, "malformed_request"),
        ({"slug": "a" * 65}, "malformed_request"),
        ({"slug": "a" * 22}, "malformed_request"),
        ({"slug": "-abc"}, "malformed_request"),
        ({"slug": "a--b"}, "malformed_request"),
        ({"slug": "admin"}, "malformed_request"),
        ({"slug": "bücher"}, "malformed_request"),
        ({"slug": "abc\n"}, "malformed_request"),
        ({"password": "abc"}, "malformed_request"),
        ({"password": "\ud800abcd"}, "malformed_request"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expired_already"),
        ({"expires_at": "2040-01-01T00:00:00"}, "malformed_request"),
        ({"expires_at": 2208988800}, "malformed_request"),
        ({"expires_at": "2208988800"}, "malformed_request"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, "malformed_request"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "malformed_request"),
        ({"max_downloads": 0}, "malformed_request"),
        ({"max_downloads": 2**31}, "malformed_request"),
        ({"max_downloads": "5"}, "malformed_request"),
        ({"max_downloads": True}, "malformed_request"),
        ({"audience": "everyone"}, "malformed_request"),
        ({"audience": "named"}, "malformed_request"),
        ({"recipients": ["a@example.com"]}, "malformed_request"),
        ({"audience": "named", "recipients": ["no address"]}, "malformed_request"),
        ({"audience": "named", "recipients": ["a@example.com"] * 101}, "malformed_request"),
        ({"allows_download": 1}, "malformed_request"),
        ({"note": "\x00"}, "malformed_request"),
        ({"note": "x" * 1001}, "malformed_request"),
        ({"token": "mine"}, "malformed_request"),
        ({"file_ids": []}, "malformed_request"),
        ({"file_ids": [str(uuid4()) for _ in range(101)]}, "malformed_request"),
        ({"file_ids": ["x"]}, "malformed_request"),
    ],
)
def test_bad_options_are_refused(client: httpx.Client, owner: Account, options: dict[str, Any], code: str) -> None:
    body = json.dumps({"file_ids": [str(uuid4())], **options})

    response = client.post(SHARES, content=body, headers=owner.headers | {"Content-Type": "application/json"})

    assert_problem(response, 422, code)


def revoke(client: httpx.Client, account: Account, share: dict[str, Any]) -> None:
    assert client.delete(f"{SHARES}/{share['id']}", headers=account.headers).status_code == 204


def test_slug_of_a_revoked_link_is_kept_for_its_owner_for_thirty_days(
    client: httpx.Client, services: Services, owner: Account, stranger: Account
) -> None:
    slug, revoked_at = f"holiday-{uuid4().hex[:8]}", clock.now()
    mine, other = make_file(client, owner)["id"], make_file(client, stranger)["id"]
    created = make_share(client, owner, mine, slug=slug)
    assert created["url"] == client.get(f"{SHARES}/{created['id']}", headers=owner.headers).json()["url"] == f"/s/{slug}"
    revoke(client, owner, created)

    def take(days: int) -> httpx.Response:
        with services.engine.begin() as connection:
            parameters = {"at": revoked_at - timedelta(days=days), "id": created["id"]}
            connection.execute(text("UPDATE share SET revoked_at = :at WHERE id = :id"), parameters)
        once = {"Idempotency-Key": str(uuid4())}
        return client.post(SHARES, json={"file_ids": [other], "slug": slug}, headers=stranger.headers | once)

    assert_problem(take(days=0), 409, "slug_taken")
    assert_problem(take(days=29), 409, "slug_taken")
    assert client.get(f"/s/{slug}").status_code == 404
    taken = take(days=31)

    assert taken.status_code == 201
    assert [file["id"] for file in client.get(f"/s/{slug}").json()["files"]] == [other]
    revoked = client.get(f"{SHARES}/{created['id']}", headers=owner.headers).json()
    assert (revoked["url"], revoked["revoked_at"] is None) == (None, False)
    assert_problem(client.post(SHARES, json={"file_ids": [mine], "slug": slug}, headers=owner.headers), 409, "slug_taken")


def test_owner_can_take_the_slug_of_an_own_revoked_link_at_once(client: httpx.Client, owner: Account) -> None:
    slug = f"holiday-{uuid4().hex[:8]}"
    first, second = make_file(client, owner)["id"], make_file(client, owner)["id"]
    created = make_share(client, owner, first, slug=slug)
    body = {"file_ids": [second], "slug": slug}
    assert_problem(client.post(SHARES, json=body, headers=owner.headers), 409, "slug_taken")
    revoke(client, owner, created)

    assert client.post(SHARES, json=body, headers=owner.headers).status_code == 201
    assert [file["id"] for file in client.get(f"/s/{slug}").json()["files"]] == [second]


def test_refused_link_leaves_the_slug_of_an_own_revoked_link_kept(
    client: httpx.Client, owner: Account, stranger: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug, file = f"holiday-{uuid4().hex[:8]}", make_file(client, owner)["id"]
    revoke(client, owner, make_share(client, owner, file, slug=slug))
    make_share(client, owner, file)
    with monkeypatch.context() as patch:
        patch.setattr("lambda_app.services.sharing.shares.SHARES_PER_USER", 1)
        refused = client.post(SHARES, json={"file_ids": [file], "slug": slug}, headers=owner.headers)
        assert_problem(refused, 409, "too_many_shares")

    body = {"file_ids": [make_file(client, stranger)["id"]], "slug": slug}
    assert_problem(client.post(SHARES, json=body, headers=stranger.headers), 409, "slug_taken")


@pytest.mark.parametrize("change", ["is_active = false", "token_epoch = token_epoch + 1"])
def test_slug_of_a_live_link_stays_taken(
    client: httpx.Client, services: Services, make_user: Callable[..., Account], stranger: Account, change: str
) -> None:
    """Also if the link has expired, or its owner is disabled: both can change."""
    owner, slug = make_user(), f"holiday-{uuid4().hex[:8]}"
    make_share(client, owner, make_file(client, owner)["id"], slug=slug)
    with services.engine.begin() as connection:
        connection.execute(text(f'UPDATE "user" SET {change} WHERE id = :id'), {"id": owner.id})  # noqa: S608 - a constant of the test
        connection.execute(text("UPDATE share SET expires_at = now() - interval '1 year' WHERE slug = :slug"), {"slug": slug})

    body = {"file_ids": [make_file(client, stranger)["id"]], "slug": slug}
    assert_problem(client.post(SHARES, json=body, headers=stranger.headers), 409, "slug_taken")


def test_account_holds_a_limited_number_of_slugs_with_those_of_revoked_links(
    client: httpx.Client, services: Services, owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_app.services.sharing.shares.SLUGS_PER_USER", 3)
    file, shares = make_file(client, owner)["id"], []
    for _ in range(3):
        shares.append(make_share(client, owner, file, slug=f"squatted-{uuid4().hex[:8]}"))
        revoke(client, owner, shares[-1])
    another = {"file_ids": [file], "slug": f"squatted-{uuid4().hex[:8]}"}

    assert_problem(client.post(SHARES, json=another, headers=owner.headers), 409, "too_many_slugs")
    make_share(client, owner, file)
    # A slug that is taken again counts once.
    make_share(client, owner, file, slug=shares[0]["url"].removeprefix("/s/"))
    with services.engine.begin() as connection:
        old = text("UPDATE share SET revoked_at = revoked_at - interval '31 days' WHERE id = :id")
        connection.execute(old, {"id": shares[1]["id"]})

    assert client.post(SHARES, json=another, headers=owner.headers).status_code == 201


def test_share_is_refused_if_any_file_cannot_be_shared(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    mine, theirs = make_file(client, owner)["id"], make_file(client, stranger, is_public=True)["id"]
    pending = make_file(client, owner, status="pending")["id"]
    missing = str(uuid4())

    def share(*file_ids: str) -> httpx.Response:
        return client.post(SHARES, json={"file_ids": file_ids}, headers=owner.headers)

    assert_problem(share(mine, theirs), 403, "file_forbidden", file_id=theirs)
    assert_problem(share(mine, missing), 404, "file_not_found", file_id=missing)
    assert_problem(share(mine, pending), 409, "file_not_available", file_id=pending, file_status="pending")
    assert client.get(SHARES, headers=owner.headers).json() == []
    assert make_share(client, owner, mine, mine)["file_ids"] == [mine]
    assert make_share(client, admin, mine, theirs)["owner_id"] == str(admin.id)


def test_unknown_recipients_are_listed_in_the_error(client: httpx.Client, owner: Account, stranger: Account) -> None:
    file, unknown_id = make_file(client, owner)["id"], str(uuid4())
    body = {"file_ids": [file], "audience": "named", "recipients": [stranger.email, "Unknown@Example.com", unknown_id]}

    assert_problem(
        client.post(SHARES, json=body, headers=owner.headers), 404, "recipient_not_found", unknown=["unknown@example.com", unknown_id]
    )

    # A recipient named by both address and id counts once. A recipient named by id is returned as the id, not as the address.
    twice = make_share(client, owner, file, audience="named", recipients=[stranger.email, str(stranger.id)])
    assert len(twice["recipients"]) == 1
    assert make_share(client, owner, file, audience="named", recipients=[str(stranger.id)])["recipients"] == [str(stranger.id)]


def share_with(client: httpx.Client, account: Account, file: str, *recipients: str) -> httpx.Response:
    body = {"file_ids": [file], "audience": "named", "recipients": recipients}
    return client.post(SHARES, json=body, headers=account.headers)


def unknown_emails(count: int) -> list[str]:
    return [f"guess-{uuid4()}@example.com" for _ in range(count)]


def failed_lookups(services: Services, account: Account) -> int:
    with services.engine.connect() as connection:
        query = text("SELECT coalesce(sum(failures), 0) FROM sign_in_attempt WHERE key = :key")
        return int(connection.execute(query, {"key": AttemptKeys.of(account="", network=f"user:{account.id}").address}).scalar_one())


def counters(services: Services) -> set[str]:
    with services.engine.connect() as connection:
        return set(connection.execute(text("SELECT key FROM sign_in_attempt")).scalars())


def test_recipients_are_looked_up_only_after_the_files_are_authorised(
    client: httpx.Client, services: Services, owner: Account, stranger: Account
) -> None:
    mine, theirs = make_file(client, owner)["id"], make_file(client, stranger)["id"]
    pending = make_file(client, owner, status="pending")["id"]
    foreign, revoked = make_share(client, stranger, theirs), make_share(client, owner, mine)
    client.delete(f"{SHARES}/{revoked['id']}", headers=owner.headers)
    names = [stranger.email, *unknown_emails(1)]
    change = {"audience": "named", "recipients": names}

    refusals = (theirs, 403, "file_forbidden"), (str(uuid4()), 404, "file_not_found"), (pending, 409, "file_not_available")
    for file, status, code in refusals:
        assert_problem(share_with(client, owner, file, *names), status, code)
        assert_problem(share_with(client, owner, file, stranger.email), status, code)
    for link, status, code in ((foreign, 404, "share_not_found"), (revoked, 409, "share_revoked")):
        refused = client.patch(f"{SHARES}/{link['id']}", json=change, headers=owner.headers)
        assert_problem(refused, status, code)
    assert failed_lookups(services, owner) == 0
    assert_problem(share_with(client, owner, mine, *names), 404, "recipient_not_found", unknown=names[1:])
    assert failed_lookups(services, owner) == 1


def test_recipient_lookups_of_shares_and_grants_share_one_limit(client: httpx.Client, owner: Account, stranger: Account) -> None:
    file = make_file(client, owner)["id"]
    link = make_share(client, owner, file)
    for _ in range(FREE_ATTEMPTS_PER_ADDRESS // 25):
        unknown = unknown_emails(25)
        assert_problem(share_with(client, owner, file, stranger.email, *unknown), 404, "recipient_not_found", unknown=unknown)
    last = share_with(client, owner, file, *unknown_emails(1))

    refused = share_with(client, owner, file, *unknown_emails(1))

    assert_problem(last, 404, "recipient_not_found")
    assert_problem(refused, 429, "too_many_attempts")
    assert int(refused.headers["retry-after"]) >= 1
    # Known addresses are refused too, because the difference would reveal them. Changes and grants use the same counter.
    assert_problem(share_with(client, owner, file, stranger.email), 429, "too_many_attempts")
    change = {"audience": "named", "recipients": [stranger.email]}
    assert_problem(client.patch(f"{SHARES}/{link['id']}", json=change, headers=owner.headers), 429, "too_many_attempts")
    grants = f"/api/v1/files/{file}/grants"
    assert_problem(client.put(grants, json={"email": stranger.email}, headers=owner.headers), 429, "too_many_attempts")
    # An id reveals no address, and other users are not throttled.
    assert share_with(client, owner, file, str(stranger.id)).status_code == 201
    assert share_with(client, stranger, make_file(client, stranger)["id"], owner.email).status_code == 201


def test_blocked_lookups_create_no_counters(client: httpx.Client, services: Services, owner: Account, stranger: Account) -> None:
    file = make_file(client, owner)["id"]
    for count in (25, 25, 1):
        assert_problem(share_with(client, owner, file, *unknown_emails(count)), 404, "recipient_not_found")
    with services.engine.begin() as connection:
        # Otherwise the block could end before the requests below on a slow machine.
        longer = "UPDATE sign_in_attempt SET blocked_until = blocked_until + interval '1 hour' WHERE key = :key"
        connection.execute(text(longer), {"key": AttemptKeys.of(account="", network=f"user:{owner.id}").address})
    before = counters(services)

    for _ in range(3):
        assert_problem(share_with(client, owner, file, stranger.email, *unknown_emails(RECIPIENTS_PER_SHARE - 1)), 429, "too_many_attempts")

    assert counters(services) == before


def test_too_many_unknown_recipients_in_one_request_are_not_listed(client: httpx.Client, owner: Account, stranger: Account) -> None:
    refused = share_with(client, owner, make_file(client, owner)["id"], stranger.email, *unknown_emails(FREE_ATTEMPTS_PER_ADDRESS + 1))

    assert_problem(refused, 429, "too_many_attempts")
    assert "@" not in refused.text


def test_maximum_of_known_recipients_is_never_throttled(client: httpx.Client, services: Services, owner: Account) -> None:
    people = [{"id": uuid4(), "email": f"{uuid4()}@example.com", "hashed_password": "x"} for _ in range(RECIPIENTS_PER_SHARE)]
    with services.engine.begin() as connection:
        connection.execute(insert(User), people)
    file = make_file(client, owner)["id"]

    for _ in range(2):
        assert share_with(client, owner, file, *(str(person["email"]) for person in people)).status_code == 201
    assert failed_lookups(services, owner) == 0


def test_disabled_recipient_is_reported_as_unknown(client: httpx.Client, services: Services, owner: Account, make_user: MakeUser) -> None:
    gone = make_user()
    with services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET is_active = false WHERE id = :id'), {"id": gone.id})
    file = make_file(client, owner)["id"]

    for name in (gone.email, str(gone.id)):
        assert_problem(share_with(client, owner, file, name), 404, "recipient_not_found", unknown=[name])


def test_concurrent_lookups_reveal_no_more_than_sequential_ones(
    client: httpx.Client, settings: Settings, services: Services, owner: Account, stranger: Account
) -> None:
    """All requests arrive before the first response. Even so, known and unknown recipients together get no further responses."""
    many = 100
    file = UUID(make_file(client, owner)["id"])
    engine = create_database_engine(settings.model_copy(update={"database_pool_size": many + 2, "database_timeout_seconds": 60.0}))
    crowd = replace(services, engine=engine, session_factory=create_session_factory(engine))

    def create(name: str) -> str:
        options = ShareOptions.model_validate({"audience": "named", "recipients": [name]})
        try:
            with crowd.unit_of_work() as session:
                user = session.get_one(User, owner.id)
                crowd.shares(session).create(user, [file], options, route="POST /shares")
        except AppError as error:
            return error.code
        return "created"

    assert share_with(client, owner, str(file), *unknown_emails(1)).status_code == 404
    counter = AttemptKeys.of(account="", network=f"user:{owner.id}").address
    names = [*unknown_emails(80), *[stranger.email] * 20]
    with time_machine.travel(clock.now(), tick=False), ThreadPoolExecutor(many) as threads:
        with hold_until_blocked(engine, "SELECT 1 FROM sign_in_attempt WHERE key = :key FOR UPDATE", {"key": counter}, count=many):
            responses = [threads.submit(create, name) for name in random.sample(names, many)]
        outcomes = Counter(response.result() for response in responses)
    engine.dispose()

    print(outcomes)
    # The first attempt beyond the free ones is still processed; the next are throttled.
    assert outcomes["recipient_not_found"] == FREE_ATTEMPTS_PER_ADDRESS
    assert outcomes["recipient_not_found"] + outcomes["too_many_attempts"] + outcomes["created"] == many
    assert failed_lookups(services, owner) == FREE_ATTEMPTS_PER_ADDRESS + 1


def test_too_many_shares_are_refused(client: httpx.Client, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share_service, "SHARES_PER_USER", 2)
    file = make_file(client, owner)["id"]
    first = make_share(client, owner, file)
    make_share(client, owner, file)

    refused = client.post(SHARES, json={"file_ids": [file]}, headers=owner.headers)

    assert_problem(refused, 409, "too_many_shares")
    client.delete(f"{SHARES}/{first['id']}", headers=owner.headers)
    make_share(client, owner, file)


def test_repeated_request_with_a_key_returns_the_same_share(client: httpx.Client, owner: Account) -> None:
    file, key = make_file(client, owner)["id"], {"Idempotency-Key": str(uuid4())}
    body = {"file_ids": [file], "password": "swordfish"}

    responses = [client.post(SHARES, json=body, headers=owner.headers | key) for _ in range(3)]

    assert [response.status_code for response in responses] == [201, 201, 201]
    assert responses[0].json() == responses[1].json() == responses[2].json()
    assert len(client.get(SHARES, headers=owner.headers).json()) == 1
    for other in ({**body, "password": "swordfisch"}, {**body, "max_downloads": 1}):
        assert_problem(client.post(SHARES, json=other, headers=owner.headers | key), 422, "idempotency_key_reused")
    client.delete(f"{SHARES}/{responses[0].json()['id']}", headers=owner.headers)
    assert_problem(client.post(SHARES, json=body, headers=owner.headers | key), 410, "idempotent_share_gone")


class RotatingServices:
    """Services whose signing keys can be rotated, with requests of one user."""

    def __init__(self, services: Services, owner: Account, file: str) -> None:
        self.ring = KeyRing(current=SigningKey.generate(), next=SigningKey.generate())
        self.services = replace(services, keys=SigningKeys(self.document, cache_seconds=0))
        self._owner, self._file = owner, UUID(file)

    def document(self) -> str:
        """Return the current keys."""
        return self.ring.render()

    def create(self, key: str, password: str | None) -> str:
        """Create a link with an idempotency key and return its token."""
        with self.services.unit_of_work() as session:
            user, shares = session.get_one(User, self._owner.id), self.services.shares(session)
            link = shares.create(user, [self._file], ShareOptions(password=password), route="POST /shares", idempotency_key=key)
            return link.address or ""

    def start(self, key: str, password: str) -> None:
        """Claim the idempotency key but do not create the link, as after a crash."""
        with self.services.unit_of_work() as session:
            user, shares = session.get_one(User, self._owner.id), self.services.shares(session)
            keyed = shares._keyed_request(user, "POST /shares", key, ShareOptions(password=password))
            assert IdempotencyService(IdempotencyRepository(session)).claim(keyed, uuid4()) is None

    def rotate(self) -> None:
        """Make the next key the current one."""
        self.ring = self.ring.rotated()


def test_repeated_request_is_recognised_while_its_signing_key_is_valid(client: httpx.Client, services: Services, owner: Account) -> None:
    rotating = RotatingServices(services, owner, make_file(client, owner)["id"])
    first, open_to_all = rotating.create("a", "swordfish"), rotating.create("b", None)

    rotating.rotate()
    assert (rotating.create("a", "swordfish"), rotating.create("b", None)) == (first, open_to_all)
    with pytest.raises(IdempotencyKeyReusedError):
        rotating.create("a", "swordfisch")
    assert rotating.create("c", "swordfish") not in (first, open_to_all)

    rotating.rotate()
    # The keys that encrypt tokens are not rotated with the signing keys.
    assert rotating.create("b", None) == open_to_all
    rotating.services = replace(rotating.services, link_keys=rotating.services.keys)
    with pytest.raises(GoneError):
        rotating.create("b", None)
    # The signature that identifies the password cannot be verified without its key.
    with pytest.raises(IdempotencyKeyReusedError):
        rotating.create("a", "swordfish")


def test_request_that_crashed_before_a_rotation_can_be_repeated(client: httpx.Client, services: Services, owner: Account) -> None:
    rotating = RotatingServices(services, owner, make_file(client, owner)["id"])
    with time_machine.travel(clock.now(), tick=False) as traveller:
        rotating.start("k", "swordfish")
        traveller.shift(timedelta(seconds=LOCK_SECONDS + 1))
        rotating.rotate()

        with pytest.raises(IdempotencyKeyReusedError):
            rotating.create("k", "swordfisch")
        assert len(rotating.create("k", "swordfish")) == 22


def test_same_key_gives_different_tokens_to_other_users_and_files(client: httpx.Client, owner: Account, stranger: Account) -> None:
    key = {"Idempotency-Key": "the-same"}
    tokens = set()
    for account in (owner, stranger):
        for file in (make_file(client, account)["id"], make_file(client, account)["id"]):
            response = client.post(f"/api/v1/files/{file}/shares", json={}, headers=account.headers | key)
            tokens.add(response.json()["url"])

    assert len(tokens) == 4


def test_failed_request_releases_its_idempotency_key(client: httpx.Client, owner: Account) -> None:
    pending, key = make_file(client, owner, status="pending")["id"], {"Idempotency-Key": str(uuid4())}

    for _ in range(2):
        assert_problem(client.post(SHARES, json={"file_ids": [pending]}, headers=owner.headers | key), 409, "file_not_available")


def test_absent_fields_are_unchanged_and_null_removes_a_limit(client: httpx.Client, owner: Account, stranger: Account) -> None:
    options = {"password": "swordfish", "expires_at": later(days=1), "max_downloads": 3, "note": "n"}
    created = make_share(client, owner, make_file(client, owner)["id"], **options)

    noted = change_share(client, owner, created, note="new")
    cleared = change_share(client, owner, created, password=None, expires_at=None, max_downloads=None, note=None)
    with_recipients = change_share(client, owner, created, audience="named", recipients=[stranger.email, owner.email])
    fewer = change_share(client, owner, created, recipients=[owner.email])

    unchanged = created | {"note": "new", "updated_at": noted["updated_at"]}
    assert noted == unchanged
    assert noted["updated_at"] > created["updated_at"]
    assert (cleared["has_password"], cleared["expires_at"], cleared["max_downloads"], cleared["note"]) == (False, None, None, None)
    assert with_recipients["recipients"] == sorted([stranger.email, owner.email])
    assert fewer["recipients"] == [owner.email]
    assert client.get(f"{SHARES}/{created['id']}", headers=owner.headers).json() == fewer
    assert change_share(client, owner, created) == fewer


@pytest.mark.parametrize("field", ["audience", "recipients", "allows_download"])
def test_required_field_of_a_share_cannot_be_null(client: httpx.Client, owner: Account, field: str) -> None:
    created = make_share(client, owner, make_file(client, owner)["id"])

    assert_problem(client.patch(f"{SHARES}/{created['id']}", json={field: None}, headers=owner.headers), 422)


def test_changed_expiry_must_be_in_the_future(client: httpx.Client, owner: Account) -> None:
    share = make_share(client, owner, make_file(client, owner)["id"], expires_at=later(days=1))

    refused = client.patch(f"{SHARES}/{share['id']}", json={"expires_at": later(seconds=-1)}, headers=owner.headers)

    assert_problem(refused, 422, "expired_already")
    assert client.get(f"{SHARES}/{share['id']}", headers=owner.headers).json()["expires_at"] == share["expires_at"]
    for malformed in (2208988800, "2208988800", "2040-01-01"):
        response = client.patch(f"{SHARES}/{share['id']}", json={"expires_at": malformed}, headers=owner.headers)
        assert_problem(response, 422, "malformed_request")


def test_expiry_is_returned_in_utc(client: httpx.Client, owner: Account) -> None:
    share = make_share(client, owner, make_file(client, owner)["id"], expires_at="2040-02-01T01:00:00+13:00")
    changed = change_share(client, owner, share, expires_at="2040-02-01T01:30:00+13:00")

    assert share["expires_at"] == "2040-01-31T12:00:00.000000Z"
    assert changed["expires_at"] == "2040-01-31T12:30:00.000000Z"
    assert client.get(f"{SHARES}/{share['id']}", headers=owner.headers).json()["expires_at"] == "2040-01-31T12:30:00.000000Z"


@pytest.mark.parametrize("field", ["slug", "file_ids", "owner_id", "download_count", "revoked_at"])
def test_immutable_field_of_a_share_cannot_be_changed(client: httpx.Client, owner: Account, field: str) -> None:
    created = make_share(client, owner, make_file(client, owner)["id"])

    assert_problem(client.patch(f"{SHARES}/{created['id']}", json={field: "x"}, headers=owner.headers), 422)


def test_revoked_share_stays_revoked(client: httpx.Client, owner: Account) -> None:
    created = make_share(client, owner, make_file(client, owner)["id"])
    path = f"{SHARES}/{created['id']}"

    assert [client.delete(path, headers=owner.headers).status_code for _ in range(2)] == [204, 204]

    revoked_at = client.get(path, headers=owner.headers).json()["revoked_at"]
    assert revoked_at is not None
    assert_problem(client.patch(path, json={"note": "x"}, headers=owner.headers), 409, "share_revoked")
    assert_problem(client.get(created["url"]), 404, "link_not_found")
    assert client.get(path, headers=owner.headers).json()["revoked_at"] == revoked_at


def test_shares_of_others_return_404(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    created = make_share(client, owner, make_file(client, owner)["id"])
    path = f"{SHARES}/{created['id']}"

    for response in (
        client.get(path, headers=stranger.headers),
        client.patch(path, json={"note": "x"}, headers=stranger.headers),
        client.patch(path, json={}, headers=stranger.headers),
        client.delete(path, headers=stranger.headers),
    ):
        assert_problem(response, 404, "share_not_found")
    assert_unauthenticated(client.get(path))
    assert created["id"] not in client.get(SHARES, headers=stranger.headers).text
    assert change_share(client, admin, created, note="by the superuser")["note"] == "by the superuser"


def test_every_share_of_a_file_is_listed_and_revoked(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    file, other = make_file(client, owner)["id"], make_file(client, owner)["id"]
    alone, both, apart = (make_share(client, owner, *files) for files in ([file], [other, file], [other]))
    admins = make_share(client, admin, file)
    path = f"/api/v1/files/{file}/shares"

    assert [share["id"] for share in client.get(path, headers=owner.headers).json()] == [admins["id"], both["id"], alone["id"]]
    for method in ("GET", "DELETE"):
        assert_problem(client.request(method, path, headers=stranger.headers), 403, "file_forbidden")
        assert_problem(client.request(method, f"/api/v1/files/{uuid4()}/shares", headers=owner.headers), 404, "file_not_found")
    assert [client.delete(path, headers=owner.headers).status_code for _ in range(2)] == [204, 204]

    assert [client.get(share["url"]).status_code for share in (alone, both, admins, apart)] == [404, 404, 404, 200]


def test_lists_are_paged_by_cursor(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner)["id"]
    created = [make_share(client, owner, file)["id"] for _ in range(5)]

    for path in (SHARES, f"/api/v1/files/{file}/shares"):
        listed: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = client.get(path, params={"limit": 2, **({"cursor": cursor} if cursor else {})}, headers=owner.headers)
            listed += [share["id"] for share in page.json()]
            cursor = page.headers.get("x-next-cursor")
        assert listed == created[::-1]
        by_name = client.get("/api/v1/files", params={"limit": 1, "sort": "name"}, headers=owner.headers)
        make_file(client, owner)
        other_cursor = client.get("/api/v1/files", params={"limit": 1, "sort": "name"}, headers=owner.headers).headers["x-next-cursor"]
        assert by_name.status_code == 200
        assert_problem(client.get(path, params={"cursor": other_cursor}, headers=owner.headers), 422, "bad_cursor")


def test_changes_of_a_share_are_audited(client: httpx.Client, owner: Account, admin: Account) -> None:
    created = make_share(client, owner, make_file(client, owner)["id"])
    change_share(client, owner, created, password="swordfish", note="n")
    client.get(created["url"])
    client.delete(f"{SHARES}/{created['id']}", headers=owner.headers)

    events = client.get("/api/v1/admin/audit", params={"subject": f"share:{created['id']}"}, headers=admin.headers).json()

    assert [event["action"] for event in events] == ["share.revoked", "share.updated", "share.created"]
    assert events[1]["details"] == {"fields": ["note", "password"]}
    assert all(event["actor_id"] == str(owner.id) for event in events)


def test_deleted_file_is_removed_from_its_shares(client: httpx.Client, owner: Account, make_user: Callable[..., Account]) -> None:
    file, other = make_file(client, owner)["id"], make_file(client, owner)["id"]
    created = make_share(client, owner, file, other)

    client.delete(f"/api/v1/files/{file}", headers=owner.headers)

    assert client.get(f"{SHARES}/{created['id']}", headers=owner.headers).json()["file_ids"] == [other]


def test_links_are_listed_by_state(client: httpx.Client, services: Services, owner: Account, stranger: Account) -> None:
    file = make_file(client, owner)["id"]
    active, lasting, expired, revoked, revoked_and_expired = (
        make_share(client, owner, file, expires_at=None if number == 1 else later(days=1)) for number in range(5)
    )
    for share in (expired, revoked_and_expired):
        expire_share(services, share)
    for share in (revoked, revoked_and_expired):
        revoke(client, owner, share)

    def listed(**params: Any) -> list[str]:
        return [share["id"] for share in client.get(SHARES, params=params, headers=owner.headers).json()]

    assert listed(state="active") == [lasting["id"], active["id"]]
    assert listed(state="expired") == [expired["id"]]
    assert listed(state="revoked") == [revoked_and_expired["id"], revoked["id"]]
    assert len(listed()) == 5
    first = client.get(SHARES, params={"state": "active", "limit": 1}, headers=owner.headers)
    assert "state=active" in first.headers["link"]
    assert listed(state="active", limit=1, cursor=first.headers["x-next-cursor"]) == [active["id"]]
    others = client.get(SHARES, params={"state": "active"}, headers=stranger.headers).json()
    assert active["id"] not in [share["id"] for share in others]
    assert_problem(client.get(SHARES, params={"state": "gone"}, headers=owner.headers), 422, "malformed_request")
