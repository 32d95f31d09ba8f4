"""The pages behind the links in notifications: they work without a sign-in, only for what the token names, and never by GET."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.core.security.notification_tokens import NotificationTokens, Prolongation, Prolonged, Unsubscription
from lambda_app.factory import Services
from tests.support.accounts import Account, make_account, make_file
from tests.support.shares import change_share, make_share

SETTINGS = "/api/v1/users/me/notifications"
ALL_OFF = {"link_downloads": False, "request_uploads": False, "link_expiry": False, "new_sign_ins": False}
ONE_CLICK: dict[str, Any] = {"content": "List-Unsubscribe=One-Click", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}


@pytest.fixture
def owner(client: httpx.Client, services: Services) -> Account:
    account = make_account(services)
    client.patch(SETTINGS, json=dict.fromkeys(ALL_OFF, True), headers=account.headers).raise_for_status()
    return account


@pytest.fixture
def tokens(services: Services) -> NotificationTokens:
    return NotificationTokens(services.link_keys)


def unsubscription(tokens: NotificationTokens, owner: Account, *kinds: str, email: str | None = None) -> str:
    mailbox = tokens.mailbox_of(email or owner.email)
    return f"/unsubscribe/{tokens.sign_unsubscription(Unsubscription(owner.id, mailbox, kinds))}"


def prolongation(
    tokens: NotificationTokens, owner: Account, prolonged: dict[str, Any], *, email: str | None = None, kind: Prolonged = Prolonged.LINK
) -> str:
    expires_at = datetime.fromisoformat(prolonged["expires_at"])
    token = Prolongation(owner.id, tokens.mailbox_of(email or owner.email), UUID(prolonged["id"]), expires_at, kind)
    return f"/prolong/{tokens.sign_prolongation(token)}"


def settings_of(client: httpx.Client, owner: Account) -> dict[str, bool]:
    found: dict[str, bool] = client.get(SETTINGS, headers=owner.headers).raise_for_status().json()
    return found


def audited(services: Services, action: str, subject: str) -> Sequence[Any]:
    with services.engine.connect() as connection:
        query = text("SELECT actor_id, details FROM audit_event WHERE action = :action AND subject = :subject")
        return connection.execute(query, {"action": action, "subject": subject}).all()


def test_get_shows_a_button_and_changes_nothing(client: httpx.Client, owner: Account, tokens: NotificationTokens) -> None:
    path = unsubscription(tokens, owner, "link_downloads", "new_sign_ins")

    pages = [client.get(path, headers=each) for each in ({}, {"Sec-Purpose": "prefetch"}, {"User-Agent": "GoogleImageProxy"})]
    client.head(path)

    (page,) = {(page.status_code, page.text) for page in pages}
    assert page[0] == 200
    assert '<form method="post">' in page[1]
    assert "Downloads of your share links" in page[1]
    assert "expire within a day" not in page[1]
    assert settings_of(client, owner) == dict.fromkeys(ALL_OFF, True)


def test_one_click_turns_the_named_kinds_off_without_a_session(
    client: httpx.Client, services: Services, owner: Account, tokens: NotificationTokens
) -> None:
    link = make_share(client, owner, make_file(client, owner)["id"])
    response = client.post(unsubscription(tokens, owner, "link_downloads", "link_expiry"), **ONE_CLICK)
    again = client.post(unsubscription(tokens, owner, "link_downloads", "link_expiry"), **ONE_CLICK)

    assert (response.status_code, again.status_code) == (200, 200)
    assert "set-cookie" not in response.headers
    assert settings_of(client, owner) == {"link_downloads": False, "request_uploads": True, "link_expiry": False, "new_sign_ins": True}
    assert client.get(f"/api/v1/shares/{link['id']}", headers=owner.headers).json()["notify_on_download"] is False
    events = audited(services, "notifications.unsubscribed", f"user:{owner.id}")
    assert [(event.actor_id, event.details) for event in events] == [
        (owner.id, '{"by": "mail", "kinds": ["link_downloads", "link_expiry"]}')
    ] * 2


def test_unsubscribing_changes_only_links_and_requests_of_the_user(
    client: httpx.Client, services: Services, owner: Account, tokens: NotificationTokens
) -> None:
    stranger = make_account(services)
    requests = {}
    for account in (owner, stranger):
        body = {"title": "Photos", "notify_on_upload": True}
        requests[account] = client.post("/api/v1/file-requests", json=body, headers=account.headers).json()["id"]

    client.post(unsubscription(tokens, owner, "request_uploads"), **ONE_CLICK).raise_for_status()

    found = {
        account: client.get(f"/api/v1/file-requests/{request_id}", headers=account.headers).json()["notify_on_upload"]
        for account, request_id in requests.items()
    }
    assert found == {owner: False, stranger: True}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refused_links_show_the_same_page(
    client: httpx.Client, services: Services, owner: Account, tokens: NotificationTokens, method: str
) -> None:
    share = make_share(client, owner, make_file(client, owner)["id"], expires_at=(clock.now() + timedelta(days=1)).isoformat())
    valid = unsubscription(tokens, owner, "link_downloads")
    unknown = Unsubscription(UUID(int=7), tokens.mailbox_of(owner.email), ("link_downloads",))
    refused = {
        "another address": unsubscription(tokens, owner, "link_downloads", email="old@example.com"),
        "unknown account": f"/unsubscribe/{tokens.sign_unsubscription(unknown)}",
        "other purpose": prolongation(tokens, owner, share).replace("/prolong/", "/unsubscribe/"),
        "other purpose, prolonging": valid.replace("/unsubscribe/", "/prolong/"),
        "changed": valid[:-3] + "AAA",
        "none": "/unsubscribe/x",
    }

    pages = {name: client.request(method, path) for name, path in refused.items()}

    assert {page.status_code for page in pages.values()} == {410}
    assert len({page.text for page in pages.values()}) == 1
    assert settings_of(client, owner) == dict.fromkeys(ALL_OFF, True)
    assert client.get(f"/api/v1/shares/{share['id']}", headers=owner.headers).json()["expires_at"] == share["expires_at"]


def test_pages_run_no_script_and_cannot_be_framed(client: httpx.Client, owner: Account, tokens: NotificationTokens) -> None:
    headers = client.get(unsubscription(tokens, owner, "link_expiry")).headers

    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "same-origin")
    assert headers["x-robots-tag"] == "noindex, nofollow"


def test_link_is_prolonged_once_by_post(client: httpx.Client, services: Services, owner: Account, tokens: NotificationTokens) -> None:
    expires_at = (clock.now() + timedelta(hours=20)).replace(microsecond=5)
    share = make_share(client, owner, make_file(client, owner)["id"], expires_at=expires_at.isoformat())
    path = prolongation(tokens, owner, share)

    shown = client.get(path)
    unchanged = client.get(f"/api/v1/shares/{share['id']}", headers=owner.headers).json()["expires_at"]
    responses = [client.post(path).status_code for _ in range(2)]

    assert shown.status_code == 200
    assert unchanged == share["expires_at"]
    assert responses == [200, 410]
    now = client.get(f"/api/v1/shares/{share['id']}", headers=owner.headers).json()["expires_at"]
    assert datetime.fromisoformat(now) == expires_at.astimezone(UTC) + timedelta(days=7)
    events = audited(services, "share.updated", f"share:{share['id']}")
    assert [(event.actor_id, event.details) for event in events] == [(owner.id, '{"by": "mail", "fields": ["expires_at"]}')]


@pytest.mark.parametrize("obstacle", ["revoked", "changed", "expired", "disabled owner", "other owner", "other address"])
def test_link_is_not_prolonged(client: httpx.Client, services: Services, owner: Account, tokens: NotificationTokens, obstacle: str) -> None:
    share = make_share(client, owner, make_file(client, owner)["id"], expires_at=(clock.now() + timedelta(days=1)).isoformat())
    path = prolongation(tokens, owner, share)
    statements = {
        "expired": "UPDATE share SET expires_at = now() - interval '1 second' WHERE id = :id",
        "disabled owner": 'UPDATE "user" SET is_active = false WHERE id = :owner',
    }
    if obstacle == "revoked":
        client.delete(f"/api/v1/shares/{share['id']}", headers=owner.headers).raise_for_status()
    elif obstacle == "changed":
        change_share(client, owner, share, expires_at=(clock.now() + timedelta(days=2)).isoformat())
    elif obstacle == "other owner":
        path = prolongation(tokens, make_account(services), share, email=owner.email)
    elif obstacle == "other address":
        path = prolongation(tokens, owner, share, email="old@example.com")
    else:
        with services.engine.begin() as connection:
            connection.execute(text(statements[obstacle]), {"id": share["id"], "owner": owner.id})
        if obstacle == "expired":
            expired = (clock.now() - timedelta(seconds=1)).isoformat()
            path = prolongation(tokens, owner, {**share, "expires_at": expired})

    assert (client.get(path).status_code, client.post(path).status_code) == (410, 410)


def test_file_request_is_prolonged_once_by_post(
    client: httpx.Client, services: Services, owner: Account, tokens: NotificationTokens
) -> None:
    expires_at = (clock.now() + timedelta(hours=20)).isoformat()
    request = client.post("/api/v1/file-requests", json={"title": "Photos", "expires_at": expires_at}, headers=owner.headers).json()
    path = prolongation(tokens, owner, request, kind=Prolonged.FILE_REQUEST)
    # The id of a file request does not name a link.
    other = prolongation(tokens, owner, request)

    shown = client.get(path)
    responses = [client.post(each).status_code for each in (other, path, path)]

    assert "Keep the file request open?" in shown.text
    assert responses == [410, 200, 410]
    now = client.get(f"/api/v1/file-requests/{request['id']}", headers=owner.headers).json()["expires_at"]
    assert datetime.fromisoformat(now) == datetime.fromisoformat(request["expires_at"]) + timedelta(days=7)
    events = audited(services, "file_request.updated", f"file_request:{request['id']}")
    assert [(event.actor_id, event.details) for event in events] == [(owner.id, '{"by": "mail", "fields": ["expires_at"]}')]


def test_pages_have_the_default_language_if_account_and_browser_name_none(
    client: httpx.Client, app: FastAPI, services: Services, owner: Account, tokens: NotificationTokens
) -> None:
    turn_off = unsubscription(tokens, owner, "link_expiry")
    before = client.get(turn_off, headers={"Accept-Language": "fr"})
    settings = services.settings.model_copy(update={"default_language": "de"})
    app.state.services = replace(services, settings=settings)
    try:
        after, by_browser = (client.get(turn_off, headers={"Accept-Language": language}) for language in ("fr", "en"))
    finally:
        app.state.services = services

    assert [page.headers["content-language"] for page in (before, after, by_browser)] == ["en", "de", "en"]


def test_pages_have_the_language_of_the_account_or_else_of_the_browser(
    client: httpx.Client, services: Services, owner: Account, tokens: NotificationTokens
) -> None:
    expires_at = datetime.fromisoformat("2040-07-01T12:00:00+00:00")
    share = make_share(client, owner, make_file(client, owner)["id"], expires_at=expires_at.isoformat())
    german = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.8"}
    turn_off, prolong = unsubscription(tokens, owner, "link_expiry"), prolongation(tokens, owner, share)

    by_browser, refused = client.get(turn_off, headers=german), client.get("/prolong/x", headers=german)
    client.patch("/api/v1/users/me", json={"locale": "de", "time_zone": "Europe/Vienna"}, headers=owner.headers).raise_for_status()
    by_profile = client.get(prolong, headers={"Accept-Language": "en"})
    prolonged = client.post(prolong)
    turned_off = client.post(turn_off, **ONE_CLICK)
    client.patch("/api/v1/users/me", json={"locale": "en"}, headers=owner.headers).raise_for_status()
    english = client.get(turn_off, headers=german)

    pages = {
        by_browser: "Diese Mails abstellen?",
        refused: "Dieser Link funktioniert nicht mehr",
        by_profile: "Ihr Link läuft am 1.7.2040, 14:00 Uhr (Europe/Vienna) ab.",
        prolonged: "Er läuft jetzt am 8.7.2040, 14:00 Uhr (Europe/Vienna) ab.",
        turned_off: "Links und Dateianfragen, die innerhalb eines Tages ablaufen",
    }
    for page, text_ in pages.items():
        assert (text_ in page.text, '<html lang="de">' in page.text, page.headers["content-language"]) == (True, True, "de")
    assert ("Turn these mails off?" in english.text, '<html lang="en">' in english.text) == (True, True)
