"""Opening share links: every change applies on the next request."""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import time_machine
from pydantic import SecretStr
from sqlalchemy import text

from lambda_app.application import create_app
from lambda_app.core import clock
from lambda_app.core.aws import AwsAccess, AwsCredentials
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.storage.s3 import S3ObjectStore
from tests.support.accounts import Account, make_file
from tests.support.gateway import GatewayTransport, unused_address
from tests.support.loopback import loopback_client
from tests.support.problems import assert_problem, assert_unauthenticated
from tests.support.shares import BROWSER, change_share, counts_of, expire_share, make_share, read_bytes, share_pass_header

Share = dict[str, Any]
ClientFrom = Callable[[str], httpx.Client]
BODY = b"the bytes that are shared"


@pytest.fixture(scope="module")
def owner(make_user: Callable[..., Account]) -> Account:
    """An owner of links. Tests that change the account or the file create their own."""
    return make_user()


@pytest.fixture(scope="module")
def file(client: httpx.Client, owner: Account) -> str:
    """A file of the owner."""
    return str(make_file(client, owner, BODY, filename="report.pdf", content_type="application/pdf")["id"])


def download(client: httpx.Client, share: Share, headers: dict[str, str] | None = None, *, number: int = 0) -> httpx.Response:
    return client.get(f"{share['url']}/files/{share['file_ids'][number]}", headers=headers)


def assert_closed(client: httpx.Client, share: Share, **headers: str) -> None:
    """Assert that every request to the link returns 404."""
    for response in (
        client.get(share["url"], headers=headers),
        download(client, share, headers),
        client.head(share["url"], headers=headers),
    ):
        assert_problem(response, 404, "link_not_found")
    assert_problem(client.post(share["url"], json={"password": "swordfish"}, headers=headers), 404, "link_not_found")


@contextlib.contextmanager
def in_days(days: float) -> Iterator[None]:
    with time_machine.travel(clock.now() + timedelta(days=days), tick=False):
        yield


def test_link_lists_its_files_and_serves_them(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, note="Hello", max_downloads=2)

    opened = client.get(share["url"])
    stored = read_bytes(download(client, share))

    assert opened.status_code == 200
    assert opened.json() == {
        "files": [
            {
                "id": file,
                "filename": "report.pdf",
                "content_type": "application/pdf",
                "size_bytes": len(BODY),
                "download_url": f"{share['url']}/files/{file}",
                "scan_status": "none",
                "is_withheld": False,
            }
        ],
        "sender_name": None,
        "title": None,
        "note": "Hello",
        "expires_at": None,
        "downloads_left": 2,
        "allows_download": True,
    }
    assert stored.content == BODY
    assert stored.headers["content-disposition"].startswith('attachment; filename="report.pdf"')
    other = {"User-Agent": "another visitor"}
    assert client.get(opened.json()["files"][0]["download_url"], headers=other).status_code == 302
    assert_closed(client, share, **{"User-Agent": "a third"})


def test_download_url_is_valid_for_a_minute_at_most(client: httpx.Client, owner: Account, file: str) -> None:
    response = download(client, make_share(client, owner, file))

    url = httpx.URL(response.headers["location"])
    assert int(url.params["X-Amz-Expires"]) <= 60
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"


def test_every_opening_and_download_is_counted_and_audited(
    client: httpx.Client, owner: Account, stranger: Account, admin: Account, file: str
) -> None:
    share = make_share(client, owner, file)
    for _ in range(3):
        client.get(share["url"])
    for number in range(2):
        download(client, share, stranger.headers | {"User-Agent": f"browser {number}"})

    assert counts_of(client, owner, share) == (3, 2)
    events = client.get("/api/v1/admin/audit", params={"subject": f"share:{share['id']}"}, headers=admin.headers).json()
    assert [event["action"] for event in events] == ["share.downloaded"] * 2 + ["share.opened"] * 3 + ["share.created"]
    assert [event["actor_id"] for event in events][:3] == [str(stranger.id), str(stranger.id), None]
    assert events[0]["details"] == {"file_id": file}
    assert events[0]["source_address"] == "203.0.113.7"


def test_revocation_applies_on_the_next_request(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file)
    assert client.get(share["url"]).status_code == 200

    client.delete(f"/api/v1/shares/{share['id']}", headers=owner.headers)

    assert_closed(client, share)


def test_changed_expiry_applies_on_the_next_request(client: httpx.Client, services: Services, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, expires_at=(clock.now() + timedelta(days=30)).isoformat())
    assert client.get(share["url"]).status_code == 200

    expire_share(services, share)
    assert_closed(client, share)

    change_share(client, owner, share, expires_at=None)
    assert client.get(share["url"]).status_code == 200


def test_link_expires_exactly_at_its_expiry(client: httpx.Client, owner: Account, file: str) -> None:
    now = clock.now().replace(microsecond=0)
    share = make_share(client, owner, file, expires_at=(now + timedelta(days=7)).isoformat())

    with time_machine.travel(now + timedelta(days=7, seconds=-1), tick=False):
        assert client.get(share["url"]).status_code == 200
    with time_machine.travel(now + timedelta(days=7), tick=False):
        assert_closed(client, share)


def test_lower_download_limit_applies_on_the_next_request(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file)
    download(client, share)
    change_share(client, owner, share, max_downloads=1)

    assert_closed(client, share, **{"User-Agent": "another visitor"})


def test_password_is_required_and_its_share_pass_opens_the_link(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, password="swordfish")

    for response in (client.get(share["url"]), download(client, share), client.head(share["url"])):
        assert_problem(response, 403, "share_password_required")
    assert "report" not in client.get(share["url"]).text
    assert_problem(client.post(share["url"], json={"password": "swordfisch"}), 403, "wrong_share_password")
    share_pass = share_pass_header(client, share, "swordfish")

    assert client.get(share["url"], headers=share_pass).status_code == 200
    assert read_bytes(download(client, share, share_pass)).content == BODY
    assert counts_of(client, owner, share) == (1, 1)


def test_changed_password_invalidates_every_share_pass(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, password="swordfish")
    share_pass = share_pass_header(client, share, "swordfish")
    assert client.get(share["url"], headers=share_pass).status_code == 200

    change_share(client, owner, share, password="sturgeon")
    assert_problem(client.get(share["url"], headers=share_pass), 403, "share_password_required")
    assert_problem(download(client, share, share_pass), 403, "share_password_required")

    # The same password, set again, does not make the old share pass valid.
    change_share(client, owner, share, password="swordfish")
    assert_problem(client.get(share["url"], headers=share_pass), 403, "share_password_required")
    change_share(client, owner, share, password=None)
    assert client.get(share["url"]).status_code == 200


def test_share_pass_is_valid_for_an_hour_and_one_link(client: httpx.Client, owner: Account, file: str) -> None:
    share, other = (make_share(client, owner, file, password="swordfish") for _ in range(2))
    share_pass = share_pass_header(client, share, "swordfish")

    assert_problem(client.get(other["url"], headers=share_pass), 403, "share_password_required")
    with time_machine.travel(clock.now() + timedelta(minutes=59), tick=False):
        assert client.get(share["url"], headers=share_pass).status_code == 200
    with time_machine.travel(clock.now() + timedelta(minutes=61), tick=False):
        assert_problem(client.get(share["url"], headers=share_pass), 403, "share_password_required")


@pytest.mark.parametrize("text", ["", "x", "a.b", "a" * 5000, "e30." + "A" * 43, "bnVsbA." + "A" * 43, "é", "{}", "W10." + "A" * 43])
def test_malformed_share_pass_is_ignored(client: httpx.Client, owner: Account, file: str, text: str) -> None:
    share = make_share(client, owner, file, password="swordfish")

    response = client.get(share["url"], headers=[(b"X-Share-Pass", text.encode())])

    assert_problem(response, 403, "share_password_required")


def test_link_works_after_keys_and_credentials_are_rotated(
    client: httpx.Client, settings: Settings, services: Services, make_user: Callable[..., Account]
) -> None:
    owner = make_user()
    file = str(make_file(client, owner, BODY)["id"])
    expires_at = (clock.now() + timedelta(days=365)).isoformat()
    plain = make_share(client, owner, file, expires_at=expires_at)
    locked = make_share(client, owner, file, expires_at=expires_at, password="swordfish")
    share_pass = share_pass_header(client, locked, "swordfish")
    changed = client.put("/api/v1/users/me", json={"password": "another one", "current_password": owner.password}, headers=owner.headers)
    assert changed.status_code == 200
    rotated = settings.model_copy(update={"secret_key": SecretStr(secrets.token_urlsafe(48))})
    # As after a rotation: other signing keys, and other AWS credentials, which the object store of the tests does not accept.
    other = replace(Services.build(rotated), store=S3ObjectStore(rotated, AwsAccess(rotated, AwsCredentials("AKIAROTATED", "x" * 40))))
    with httpx.Client(transport=GatewayTransport(GatewayHandler(create_app(rotated, other))), base_url="https://api.test") as later:
        assert_problem(later.get(locked["url"], headers=share_pass), 403, "share_password_required")
        assert read_bytes(download(client, plain)).content == BODY
        with in_days(364):
            for share, header in ((plain, {}), (locked, share_pass_header(later, locked, "swordfish"))):
                assert later.get(share["url"], headers=header).status_code == 200
                assert "AKIAROTATED" in download(later, share, header).headers["location"]
        with in_days(366):
            assert_closed(later, plain)
    other.engine.dispose()


def test_guessing_blocks_one_address_at_one_link_only(client_from: ClientFrom, client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, password="swordfish")
    other = make_share(client, owner, file, password="swordfish")
    with (
        client_from(unused_address()) as attacker,
        client_from(unused_address()) as friend,
        time_machine.travel(clock.now(), tick=False) as traveller,
    ):
        guesses = [attacker.post(share["url"], json={"password": f"guess {number}"}) for number in range(7)]
        assert [response.status_code for response in guesses] == [403] * 6 + [429]
        assert_problem(guesses[-1], 429, "too_many_attempts", headers={"retry-after": "1"})
        # The right password is refused too, without being verified.
        assert_problem(attacker.post(share["url"], json={"password": "swordfish"}), 429, "too_many_attempts")

        assert friend.post(share["url"], json={"password": "swordfish"}).status_code == 200
        assert attacker.post(other["url"], json={"password": "swordfish"}).status_code == 200
        traveller.shift(timedelta(seconds=1))
        assert_problem(attacker.post(share["url"], json={"password": "guess"}), 403, "wrong_share_password")
        assert_problem(attacker.post(share["url"], json={"password": "guess"}), 429, headers={"retry-after": "2"})


def test_right_password_is_never_throttled(client_from: ClientFrom, client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, password="swordfish")
    with client_from(unused_address()) as office:
        assert [office.post(share["url"], json={"password": "swordfish"}).status_code for _ in range(8)] == [200] * 8


def test_wrong_password_is_audited(client: httpx.Client, owner: Account, admin: Account, file: str) -> None:
    share = make_share(client, owner, file, password="swordfish")
    client.post(share["url"], json={"password": "my own secret"})

    events = client.get("/api/v1/admin/audit", params={"subject": f"share:{share['id']}"}, headers=admin.headers)

    assert events.json()[0]["action"] == "share_password.failed"
    assert "my own secret" not in events.text


def test_link_for_signed_in_users_requires_credentials(client: httpx.Client, owner: Account, stranger: Account, file: str) -> None:
    share = make_share(client, owner, file, audience="signed_in")

    for response in (client.get(share["url"]), download(client, share), client.head(share["url"])):
        assert_unauthenticated(response)
    for account in (owner, stranger):
        assert client.get(share["url"], headers=account.headers).status_code == 200
        assert download(client, share, account.headers).status_code == 302


def test_link_for_named_users_returns_404_to_others(
    client: httpx.Client, owner: Account, stranger: Account, admin: Account, make_user: Callable[..., Account], file: str
) -> None:
    friend = make_user()
    share = make_share(client, owner, file, audience="named", recipients=[friend.email])

    assert_unauthenticated(client.get(share["url"]))
    assert client.get(share["url"], headers=friend.headers).status_code == 200
    assert client.get(share["url"], headers=owner.headers).status_code == 200
    for other in (stranger, admin):
        assert_closed(client, share, **other.headers)

    change_share(client, owner, share, recipients=[stranger.email])
    assert_closed(client, share, **friend.headers)
    assert client.get(share["url"], headers=stranger.headers).status_code == 200
    change_share(client, owner, share, audience="anyone")
    assert client.get(share["url"]).status_code == 200


def test_audience_is_checked_before_the_password(
    client: httpx.Client, owner: Account, stranger: Account, make_user: Callable[..., Account], file: str
) -> None:
    friend = make_user()
    share = make_share(client, owner, file, audience="named", recipients=[friend.email], password="swordfish")

    assert_unauthenticated(client.post(share["url"], json={"password": "swordfish"}))
    assert_problem(client.post(share["url"], json={"password": "swordfish"}, headers=stranger.headers), 404, "link_not_found")
    share_pass = share_pass_header(client, share, "swordfish", **friend.headers)

    assert_unauthenticated(client.get(share["url"], headers=share_pass))
    assert client.get(share["url"], headers=friend.headers | share_pass).status_code == 200


def test_api_key_needs_the_scope_to_read_files(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file)
    statuses = {}
    for scope in ("files:read", "files:write", "shares", "admin"):
        key = client.post("/api/v1/users/me/api-keys", json={"name": "n", "scopes": [scope]}, headers=owner.headers).json()["key"]
        statuses[scope] = client.get(share["url"], headers={"Authorization": f"Bearer {key}"}).status_code

    assert statuses == {"files:read": 200, "files:write": 403, "shares": 403, "admin": 200}


def test_links_of_a_disabled_owner_return_404_until_the_owner_is_enabled(
    client: httpx.Client, services: Services, owner: Account, file: str
) -> None:
    share = make_share(client, owner, file)
    for is_active, status in ((False, 404), (True, 200)):
        with services.engine.begin() as connection:
            connection.execute(text('UPDATE "user" SET is_active = :is_active WHERE id = :id'), {"is_active": is_active, "id": owner.id})
        assert client.get(share["url"]).status_code == status
        assert download(client, share).status_code == (302 if is_active else 404)


def test_link_of_a_superuser_serves_others_files_only_while_a_superuser(
    client: httpx.Client, services: Services, make_user: Callable[..., Account], file: str
) -> None:
    boss = make_user(is_superuser=True)
    mine = str(make_file(client, boss)["id"])
    share, both = make_share(client, boss, file), make_share(client, boss, file, mine)
    assert len(client.get(both["url"]).json()["files"]) == 2

    with services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET is_superuser = false WHERE id = :id'), {"id": boss.id})

    assert_closed(client, share)
    assert [shown["id"] for shown in client.get(both["url"]).json()["files"]] == [mine]
    assert_problem(client.get(f"{both['url']}/files/{file}"), 404, "link_not_found")


@pytest.mark.parametrize("status", ["pending", "trashed", "rejected", "expired", "deleting"])
def test_file_that_is_not_available_is_not_served(client: httpx.Client, services: Services, owner: Account, status: str) -> None:
    file = str(make_file(client, owner)["id"])
    other = str(make_file(client, owner)["id"])
    alone, both = make_share(client, owner, file), make_share(client, owner, other, file)
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE file SET status = :status WHERE id = :id"), {"status": status, "id": file})

    assert_closed(client, alone)
    assert [shown["id"] for shown in client.get(both["url"]).json()["files"]] == [other]
    assert_problem(download(client, both, number=1), 404, "link_not_found")
    assert download(client, both, number=0).status_code == 302


def test_files_outside_the_link_are_not_found(client: httpx.Client, owner: Account, file: str) -> None:
    other = make_file(client, owner)["id"]
    share = make_share(client, owner, file)

    for wrong in (other, uuid4(), "x", "0", f"{file}0", "%00", "é"):
        assert_problem(client.get(f"{share['url']}/files/{wrong}"), 404, "link_not_found")


def test_listing_only_link_serves_no_files(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, allows_download=False)

    opened = client.get(share["url"]).json()

    assert opened["files"][0]["download_url"] is None
    assert opened["allows_download"] is False
    assert_problem(download(client, share), 403, "share_listing_only")
    assert_problem(client.head(f"{share['url']}/files/{file}"), 403, "share_listing_only")
    assert counts_of(client, owner, share) == (1, 0)


def test_head_is_not_counted_and_serves_no_bytes(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, max_downloads=1)

    listing = client.head(share["url"])
    response = client.head(f"{share['url']}/files/{file}")

    assert (listing.status_code, response.status_code) == (200, 302)
    with loopback_client() as s3:
        assert s3.head(response.headers["location"]).headers["content-length"] == str(len(BODY))
        stolen = s3.get(response.headers["location"])
    assert stolen.status_code == 403
    assert BODY not in stolen.content
    assert counts_of(client, owner, share) == (0, 0)


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"},
        {"User-Agent": "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"},
        {"User-Agent": "WhatsApp/2.23.20.0"},
        {"User-Agent": "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)"},
        {"User-Agent": "Mozilla/5.0 (Windows NT 10.0) SkypeUriPreview Preview/0.5"},
        {"User-Agent": "TelegramBot (like TwitterBot)"},
        {**BROWSER, "Sec-Purpose": "prefetch;prerender"},
        {**BROWSER, "Purpose": "prefetch"},
        {**BROWSER, "X-Moz": "prefetch"},
    ],
)
def test_automated_requests_are_not_counted_and_get_no_files(
    client: httpx.Client, owner: Account, file: str, headers: dict[str, str]
) -> None:
    share = make_share(client, owner, file, max_downloads=1)

    assert client.get(share["url"], headers=headers).status_code == 200
    refused = [client.get(f"{url}/files/{file}", headers=headers) for url in (share["url"], f"/s/{'x' * 22}")]

    assert [response.status_code for response in refused] == [403, 403]
    assert all("location" not in response.headers for response in refused)
    assert counts_of(client, owner, share) == (0, 0)


def test_resumed_download_is_audited_and_not_counted(
    client_from: ClientFrom, client: httpx.Client, owner: Account, admin: Account, file: str
) -> None:
    other = make_file(client, owner)["id"]
    share = make_share(client, owner, file, other, max_downloads=1)
    rest = {"Range": f"bytes=5-{len(BODY)}", "User-Agent": "curl/8"}
    with client_from(unused_address()) as home, client_from(unused_address()) as elsewhere:
        assert download(home, share, {"User-Agent": "curl/8"}).status_code == 302
        assert counts_of(client, owner, share) == (0, 1)

        # The link is exhausted. After the minute for which the first URL is valid, only the rest of the first download is served.
        with time_machine.travel(clock.now() + timedelta(seconds=61)):
            assert download(home, share, rest).status_code == 302
            for wrong in (
                rest | {"Range": "bytes=0-"},
                rest | {"Range": "bytes=-5"},
                rest | {"User-Agent": "wget/1"},
                {"User-Agent": "curl/8"},
            ):
                assert_problem(download(home, share, wrong), 404, "link_not_found")
        assert_problem(download(home, share, rest, number=1), 404, "link_not_found")
        assert_problem(download(elsewhere, share, rest), 404, "link_not_found")
        with in_days(2 / 24):
            assert_problem(download(home, share, rest), 404, "link_not_found")
        assert counts_of(client, owner, share) == (0, 1)
        events = client.get("/api/v1/admin/audit", params={"subject": f"share:{share['id']}"}, headers=admin.headers).json()
        assert [event["action"] for event in events] == ["share.download_resumed", "share.downloaded", "share.created"]
        assert [event["details"] for event in events[:2]] == [{"file_id": file}] * 2
        assert events[0]["source_address"] == events[1]["source_address"] != events[2]["source_address"]

        client.delete(f"/api/v1/shares/{share['id']}", headers=owner.headers)
        assert_problem(download(home, share, rest), 404, "link_not_found")


@pytest.mark.parametrize("probe", [{"Range": "bytes=0-0"}, {"Range": "bytes=0-"}, {}], ids=["first byte", "from the start", "whole"])
def test_repeated_download_within_the_minute_counts_once(
    client_from: ClientFrom, client: httpx.Client, owner: Account, admin: Account, file: str, probe: dict[str, str]
) -> None:
    other = make_file(client, owner)["id"]
    share, agent = make_share(client, owner, file, other, max_downloads=1), {"User-Agent": "curl/8"}
    with client_from(unused_address()) as home, client_from(unused_address()) as elsewhere:
        assert download(home, share, probe | agent).status_code == 302

        for again in ({}, {"Range": "bytes=0-"}, {"Range": "bytes=0-0"}, {"Range": "bytes=-5"}, {"Range": "bytes=2-3,5-"}):
            assert read_bytes(download(home, share, again | agent)).content == BODY
        assert counts_of(client, owner, share) == (0, 1)
        assert_problem(download(home, share, {"User-Agent": "wget/1"}), 404, "link_not_found")
        assert_problem(download(home, share, agent, number=1), 404, "link_not_found")
        assert_problem(download(elsewhere, share, agent), 404, "link_not_found")
        events = client.get("/api/v1/admin/audit", params={"subject": f"share:{share['id']}"}, headers=admin.headers).json()
        assert [event["action"] for event in events] == ["share.download_resumed"] * 5 + ["share.downloaded", "share.created"]

        with time_machine.travel(clock.now() + timedelta(seconds=61)):
            assert_problem(download(home, share, probe | agent), 404, "link_not_found")
            change_share(client, owner, share, max_downloads=2)
            assert download(home, share, probe | agent).status_code == 302
        assert counts_of(client, owner, share) == (0, 2)


@pytest.mark.parametrize(("address", "status"), [("7::2", 302), ("8::1", 404), ("107::1", 404)], ids=["64", "56", "48"])
def test_visitor_is_identified_by_the_narrowest_network(
    client_from: ClientFrom, client: httpx.Client, owner: Account, file: str, address: str, status: int
) -> None:
    share = make_share(client, owner, file, max_downloads=1)
    with client_from("2001:db8:1:7::1") as home, client_from(f"2001:db8:1:{address}") as other:
        assert download(home, share).status_code == 302

        assert download(other, share).status_code == status
        assert download(other, share, {"Range": "bytes=1-"}).status_code == status
    assert counts_of(client, owner, share) == (0, 1)


def test_repeated_download_obeys_every_other_rule(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file)
    assert download(client, share).status_code == 302

    change_share(client, owner, share, password="swordfish")

    assert_problem(download(client, share), 403, "share_password_required")
    change_share(client, owner, share, password=None, allows_download=False)
    assert_problem(download(client, share), 403, "share_listing_only")
    client.delete(f"/api/v1/shares/{share['id']}", headers=owner.headers)
    assert_problem(download(client, share), 404, "link_not_found")


def test_share_pass_of_another_link_is_ignored(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    """A share pass identifies the visitor at its own link only. At another link the visitor is anonymous."""
    files = [str(make_file(client, owner, BODY)["id"]) for _ in range(2)]
    share, other = (make_share(client, owner, *files, audience="signed_in") for _ in range(2))
    form = {"email": stranger.email, "account_password": stranger.password}
    share_pass = {"X-Share-Pass": client.post(share["url"], json=form).json()["share_pass"]}
    change_share(client, owner, other, audience="anyone")

    def use(link: Share) -> list[Any]:
        assert client.get(link["url"], headers=share_pass).status_code == 200
        for headers in (share_pass, share_pass | {"Range": "bytes=3-"}):
            assert download(client, link, headers).status_code == 302
        archive = client.post(f"{link['url']}/archives", headers=share_pass)
        assert archive.status_code == 202
        change_share(client, owner, link, password="swordfish")
        assert_problem(client.post(link["url"], json={"password": "guess"}, headers=share_pass), 403, "wrong_share_password")
        subjects = (f"share:{link['id']}", f"archive:{archive.json()['id']}")
        pages = [client.get("/api/v1/admin/audit", params={"subject": subject}, headers=admin.headers).json() for subject in subjects]
        events = [event for page in pages for event in page if event["action"] not in ("share.created", "share.updated", "share.signed_in")]
        assert sorted(event["action"] for event in events) == [
            "archive.requested", "share.download_resumed", "share.downloaded", "share.opened", "share_password.failed",
        ]  # fmt: skip
        return [(event["actor_id"], event["credential"]) for event in events]

    assert use(other) == [(None, None)] * 5
    assert use(share) == [(str(stranger.id), f"share_pass:{share['id']}")] * 5


def test_range_request_without_an_earlier_download_counts(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file)

    assert [download(client, share, {"Range": "bytes=5-"}).status_code for _ in range(3)] == [302] * 3

    assert counts_of(client, owner, share) == (0, 1)


def test_only_the_account_that_downloaded_can_resume(
    client: httpx.Client, owner: Account, make_user: Callable[..., Account], file: str
) -> None:
    first, second = make_user(), make_user()
    names = [str(first.id), str(second.id)]
    share = make_share(client, owner, file, max_downloads=1, audience="named", recipients=names)
    assert download(client, share, first.headers).status_code == 302

    assert_problem(download(client, share, second.headers | {"Range": "bytes=1-"}), 404, "link_not_found")
    assert download(client, share, first.headers | {"Range": "bytes=1-"}).status_code == 302


def test_visitor_is_stored_as_a_hash_and_purged(client: httpx.Client, services: Services, owner: Account, file: str) -> None:
    share = make_share(client, owner, file)
    download(client, share, {"User-Agent": "curl/8"})
    query = text("SELECT visitor FROM share_download WHERE share_id = :id")

    with services.engine.connect() as connection:
        stored = connection.execute(query, {"id": share["id"]}).scalar_one()
    with in_days(1), services.unit_of_work() as session:
        services.maintenance(session).purge()

    assert "203.0.113.7" not in stored
    assert len(stored) == 64
    with services.engine.connect() as connection:
        assert connection.execute(query, {"id": share["id"]}).all() == []


def test_active_content_is_served_from_another_origin_as_attachment(client: httpx.Client, owner: Account) -> None:
    bodies = {"text/html": b"<script>alert(1)</script>", "image/svg+xml": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"}
    files = [make_file(client, owner, body, filename="x.html", content_type=type_)["id"] for type_, body in bodies.items()]
    share = make_share(client, owner, *files)

    for number in range(2):
        response = download(client, share, BROWSER, number=number)
        stored = read_bytes(response)
        assert httpx.URL(response.headers["location"]).host != httpx.URL("https://api.test").host
        assert response.content == b""
        assert stored.headers["content-type"] == "application/octet-stream"
        assert stored.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("application/json", True),
        ("application/json, text/plain;q=0.9", True),
        ("application/json, */*;q=0.1", True),
        ("text/html;q=0.5, application/json", True),
        # Axios sends this by default, also when it shall follow the redirect.
        ("application/json, text/plain, */*", False),
        ("application/json;q=0", False),
        ("text/html, application/json;q=0.9", False),
        ("*/*", False),
        ("", False),
        (BROWSER["Accept"], False),
    ],
)
def test_download_url_is_returned_as_json_on_request(client: httpx.Client, owner: Account, file: str, accept: str, is_json: bool) -> None:
    share = make_share(client, owner, file, password="swordfish")
    headers = share_pass_header(client, share, "swordfish") | {"Accept": accept}

    response = download(client, share, headers)

    assert counts_of(client, owner, share) == (0, 1)
    assert response.headers["vary"] == "Accept"
    assert response.headers["cache-control"] == "no-store"
    if not is_json:
        assert (response.status_code, response.content) == (302, b"")
        return
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json().keys() == {"download_url", "expires_at"}
    seconds_left = datetime.fromisoformat(response.json()["expires_at"]) - clock.now()
    assert timedelta(seconds=50) < seconds_left <= timedelta(seconds=60)
    with loopback_client() as s3:
        assert s3.get(response.json()["download_url"]).content == BODY
    head = client.head(f"{share['url']}/files/{file}", headers=headers)
    assert (head.status_code, head.content) == (302, b"")


def test_slug_is_found_in_any_case(client: httpx.Client, owner: Account, file: str) -> None:
    slug = f"summer-{uuid4().hex[:6]}-x"
    share = make_share(client, owner, file, slug=slug, password="swordfish", max_downloads=2)
    mixed = f"/s/{slug.title()}"
    assert mixed != share["url"]

    page = client.get(mixed, headers=BROWSER)
    unlocked = client.post(mixed, data={"password": "swordfish"}, headers=BROWSER)
    share_pass = {"X-Share-Pass": client.post(mixed.upper().replace("/S/", "/s/"), json={"password": "swordfish"}).json()["share_pass"]}
    client.cookies.clear()
    opened = [client.get(url, headers=share_pass) for url in (mixed, share["url"])]
    downloaded = client.get(f"{mixed}/files/{file}", headers=share_pass)

    assert f'action="{share["url"]}"' in page.text
    assert unlocked.headers["location"] == share["url"]
    assert f"Path={share['url']};" in unlocked.headers["set-cookie"]
    assert [response.status_code for response in opened] == [200, 200]
    assert opened[0].json()["files"][0]["download_url"] == f"{share['url']}/files/{file}"
    assert downloaded.status_code == 302
    # The same visitor in another case: a repeat.
    assert download(client, share, share_pass).status_code == 302
    assert counts_of(client, owner, share) == (2, 1)
    assert_problem(client.get(share["url"].replace("summer", "\u017fummer")), 404, "link_not_found")


def test_token_is_found_in_its_own_case_only(client: httpx.Client, owner: Account, file: str) -> None:
    token = make_share(client, owner, file)["url"].removeprefix("/s/")

    assert client.get(f"/s/{token}").status_code == 200
    assert_problem(client.get(f"/s/{token.swapcase()}"), 404, "link_not_found")


def test_form_from_another_origin_is_refused(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, password="swordfish")

    for site in ("cross-site", "same-site"):
        response = client.post(share["url"], data={"password": "swordfish"}, headers={"Sec-Fetch-Site": site})
        assert_problem(response, 403, "cross_site_form")
        assert "set-cookie" not in response.headers
        # A script of another origin can send this content type without a preflight request.
        headers = {"Sec-Fetch-Site": site, "Content-Type": "text/plain;charset=UTF-8"}
        assert_problem(client.post(share["url"], content=b'{"password": "x"}', headers=headers), 403, "cross_site_form")


MALFORMED_CREDENTIALS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"{}",
    b'{"password": 1}',
    b'{"password": "\\ud800"}',
    b'{"password": "x", "email": "a@b.c", "account_password": "x"}',
    b'{"email": "a@b.c"}',
    b'{"password": "x", "email": "a@b.c"}',
    b"[" * 100_000,
    b'{"password": "' + b"x" * 2000 + b'"}',
    b"\xff",
]


@pytest.mark.parametrize("body", MALFORMED_CREDENTIALS)
@pytest.mark.parametrize("is_live", [True, False])
def test_malformed_credentials_are_refused_for_existing_and_missing_links(
    client: httpx.Client, owner: Account, file: str, body: bytes, is_live: bool
) -> None:
    url = make_share(client, owner, file, password="swordfish")["url"] if is_live else "/s/none"

    assert_problem(client.post(url, content=body, headers={"Content-Type": "application/json"}), 422, "malformed_request")


def test_account_credentials_are_refused_if_the_link_needs_none(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file)

    response = client.post(share["url"], json={"email": owner.email, "account_password": owner.password})

    assert_problem(response, 422, "no_account_needed")
