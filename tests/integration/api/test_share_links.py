"""Opening share links: each rule, at the request after it was made."""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
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
from tests.support.problems import assert_problem, assert_unauthenticated
from tests.support.shares import BROWSER, change_share, counts_of, make_share, proven, read_bytes

Share = dict[str, Any]
ClientFrom = Callable[[str], httpx.Client]
BODY = b"the bytes that are shared"


@pytest.fixture(scope="module")
def owner(make_user: Callable[..., Account]) -> Account:
    """Somebody who makes links; a test that changes the account or the file makes its own."""
    return make_user()


@pytest.fixture(scope="module")
def file(client: httpx.Client, owner: Account) -> str:
    """A file of the owner's."""
    return str(make_file(client, owner, BODY, filename="report.pdf", content_type="application/pdf")["id"])


def download(client: httpx.Client, share: Share, headers: dict[str, str] | None = None, *, number: int = 0) -> httpx.Response:
    return client.get(f"{share['url']}/files/{share['file_ids'][number]}", headers=headers)


def assert_closed(client: httpx.Client, share: Share, **headers: str) -> None:
    """Assert that nothing of the link is open."""
    for answer in (
        client.get(share["url"], headers=headers),
        download(client, share, headers),
        client.head(share["url"], headers=headers),
    ):
        assert_problem(answer, 404, "link_not_found")
    assert_problem(client.post(share["url"], json={"password": "swordfish"}, headers=headers), 404, "link_not_found")


@contextlib.contextmanager
def in_days(days: float) -> Iterator[None]:
    with time_machine.travel(clock.now() + timedelta(days=days), tick=False):
        yield


def test_link_shows_its_files_and_gives_their_bytes(client: httpx.Client, owner: Account, file: str) -> None:
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
            }
        ],
        "note": "Hello",
        "expires_at": None,
        "downloads_left": 2,
        "allows_download": True,
    }
    assert stored.content == BODY
    assert stored.headers["content-disposition"].startswith('attachment; filename="report.pdf"')
    assert client.get(opened.json()["files"][0]["download_url"]).status_code == 302
    assert_closed(client, share)


def test_bytes_are_there_for_a_minute_at_most(client: httpx.Client, owner: Account, file: str) -> None:
    answer = download(client, make_share(client, owner, file))

    url = httpx.URL(answer.headers["location"])
    assert int(url.params["X-Amz-Expires"]) <= 60
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_each_opening_and_download_is_counted_and_audited(
    client: httpx.Client, owner: Account, stranger: Account, admin: Account, file: str
) -> None:
    share = make_share(client, owner, file)
    for _ in range(3):
        client.get(share["url"])
    for _ in range(2):
        download(client, share, stranger.headers)

    assert counts_of(client, owner, share) == (3, 2)
    events = client.get("/api/v1/admin/audit", params={"subject": f"share:{share['id']}"}, headers=admin.headers).json()
    assert [event["action"] for event in events] == ["share.downloaded"] * 2 + ["share.opened"] * 3 + ["share.created"]
    assert [event["actor_id"] for event in events][:3] == [str(stranger.id), str(stranger.id), None]
    assert events[0]["details"] == {"file_id": file}
    assert events[0]["source_address"] == "203.0.113.7"


def test_revocation_acts_on_the_next_request(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file)
    assert client.get(share["url"]).status_code == 200

    client.delete(f"/api/v1/shares/{share['id']}", headers=owner.headers)

    assert_closed(client, share)


def test_shortened_expiry_acts_on_the_next_request_and_can_be_taken_back(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, expires_at=(clock.now() + timedelta(days=30)).isoformat())
    assert client.get(share["url"]).status_code == 200

    change_share(client, owner, share, expires_at=clock.now().isoformat())
    assert_closed(client, share)

    change_share(client, owner, share, expires_at=None)
    assert client.get(share["url"]).status_code == 200


def test_link_ends_at_its_expiry_to_the_second(client: httpx.Client, owner: Account, file: str) -> None:
    now = clock.now().replace(microsecond=0)
    share = make_share(client, owner, file, expires_at=(now + timedelta(days=7)).isoformat())

    with time_machine.travel(now + timedelta(days=7, seconds=-1), tick=False):
        assert client.get(share["url"]).status_code == 200
    with time_machine.travel(now + timedelta(days=7), tick=False):
        assert_closed(client, share)


def test_fewer_downloads_act_on_the_next_request(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file)
    download(client, share)
    change_share(client, owner, share, max_downloads=1)

    assert_closed(client, share)


def test_password_is_asked_for_and_its_pass_opens(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, password="swordfish")

    for answer in (client.get(share["url"]), download(client, share), client.head(share["url"])):
        assert_problem(answer, 403, "share_password_required")
    assert "report" not in client.get(share["url"]).text
    assert_problem(client.post(share["url"], json={"password": "swordfisch"}), 403, "wrong_share_password")
    given = proven(client, share, "swordfish")

    assert client.get(share["url"], headers=given).status_code == 200
    assert read_bytes(download(client, share, given)).content == BODY
    assert counts_of(client, owner, share) == (1, 1)


def test_changed_password_ends_every_pass_on_the_next_request(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, password="swordfish")
    given = proven(client, share, "swordfish")
    assert client.get(share["url"], headers=given).status_code == 200

    change_share(client, owner, share, password="sturgeon")
    assert_problem(client.get(share["url"], headers=given), 403, "share_password_required")
    assert_problem(download(client, share, given), 403, "share_password_required")

    # Also when it becomes again what it was.
    change_share(client, owner, share, password="swordfish")
    assert_problem(client.get(share["url"], headers=given), 403, "share_password_required")
    change_share(client, owner, share, password=None)
    assert client.get(share["url"]).status_code == 200


def test_pass_is_good_for_an_hour_and_for_its_own_link(client: httpx.Client, owner: Account, file: str) -> None:
    share, other = (make_share(client, owner, file, password="swordfish") for _ in range(2))
    given = proven(client, share, "swordfish")

    assert_problem(client.get(other["url"], headers=given), 403, "share_password_required")
    with time_machine.travel(clock.now() + timedelta(minutes=59), tick=False):
        assert client.get(share["url"], headers=given).status_code == 200
    with time_machine.travel(clock.now() + timedelta(minutes=61), tick=False):
        assert_problem(client.get(share["url"], headers=given), 403, "share_password_required")


@pytest.mark.parametrize("text", ["", "x", "a.b", "a" * 5000, "e30." + "A" * 43, "bnVsbA." + "A" * 43, "é", "{}", "W10." + "A" * 43])
def test_pass_that_is_none_is_as_if_there_were_none(client: httpx.Client, owner: Account, file: str, text: str) -> None:
    share = make_share(client, owner, file, password="swordfish")

    answer = client.get(share["url"], headers=[(b"X-Share-Pass", text.encode())])

    assert_problem(answer, 403, "share_password_required")


def test_link_for_a_year_outlives_every_key_and_credential(
    client: httpx.Client, settings: Settings, services: Services, make_user: Callable[..., Account]
) -> None:
    owner = make_user()
    file = str(make_file(client, owner, BODY)["id"])
    expires_at = (clock.now() + timedelta(days=365)).isoformat()
    plain = make_share(client, owner, file, expires_at=expires_at)
    locked = make_share(client, owner, file, expires_at=expires_at, password="swordfish")
    given = proven(client, locked, "swordfish")
    changed = client.put("/api/v1/users/me", json={"password": "another one", "current_password": owner.password}, headers=owner.headers)
    assert changed.status_code == 200
    rotated = settings.model_copy(update={"secret_key": SecretStr(secrets.token_urlsafe(48))})
    # As after a rotation: other signing keys, and other credentials of AWS, which the store of this test does not know.
    other = replace(Services.build(rotated), store=S3ObjectStore(rotated, AwsAccess(rotated, AwsCredentials("AKIAROTATED", "x" * 40))))
    with httpx.Client(transport=GatewayTransport(GatewayHandler(create_app(rotated, other))), base_url="https://api.test") as later:
        assert_problem(later.get(locked["url"], headers=given), 403, "share_password_required")
        assert read_bytes(download(client, plain)).content == BODY
        with in_days(364):
            for share, header in ((plain, {}), (locked, proven(later, locked, "swordfish"))):
                assert later.get(share["url"], headers=header).status_code == 200
                assert "AKIAROTATED" in download(later, share, header).headers["location"]
        with in_days(366):
            assert_closed(later, plain)
    other.engine.dispose()


def test_guessing_is_stopped_without_stopping_another_address(
    client_from: ClientFrom, client: httpx.Client, owner: Account, file: str
) -> None:
    share = make_share(client, owner, file, password="swordfish")
    other = make_share(client, owner, file, password="swordfish")
    with (
        client_from(unused_address()) as attacker,
        client_from(unused_address()) as friend,
        time_machine.travel(clock.now(), tick=False) as traveller,
    ):
        guesses = [attacker.post(share["url"], json={"password": f"guess {number}"}) for number in range(7)]
        assert [answer.status_code for answer in guesses] == [403] * 6 + [429]
        assert_problem(guesses[-1], 429, "too_many_attempts", headers={"retry-after": "1"})
        # The right one is of no use now, and not even looked at.
        assert_problem(attacker.post(share["url"], json={"password": "swordfish"}), 429, "too_many_attempts")

        assert friend.post(share["url"], json={"password": "swordfish"}).status_code == 200
        assert attacker.post(other["url"], json={"password": "swordfish"}).status_code == 200
        traveller.shift(timedelta(seconds=1))
        assert_problem(attacker.post(share["url"], json={"password": "guess"}), 403, "wrong_share_password")
        assert_problem(attacker.post(share["url"], json={"password": "guess"}), 429, headers={"retry-after": "2"})


def test_right_password_is_never_counted(client_from: ClientFrom, client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, password="swordfish")
    with client_from(unused_address()) as office:
        assert [office.post(share["url"], json={"password": "swordfish"}).status_code for _ in range(8)] == [200] * 8


def test_wrong_password_is_audited(client: httpx.Client, owner: Account, admin: Account, file: str) -> None:
    share = make_share(client, owner, file, password="swordfish")
    client.post(share["url"], json={"password": "my own secret"})

    events = client.get("/api/v1/admin/audit", params={"subject": f"share:{share['id']}"}, headers=admin.headers)

    assert events.json()[0]["action"] == "share_password.failed"
    assert "my own secret" not in events.text


def test_link_for_signed_in_users_asks_who_comes(client: httpx.Client, owner: Account, stranger: Account, file: str) -> None:
    share = make_share(client, owner, file, audience="signed_in")

    for answer in (client.get(share["url"]), download(client, share), client.head(share["url"])):
        assert_unauthenticated(answer)
    for account in (owner, stranger):
        assert client.get(share["url"], headers=account.headers).status_code == 200
        assert download(client, share, account.headers).status_code == 302


def test_link_for_named_users_is_not_there_for_others(
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


def test_audience_is_looked_at_before_the_password(
    client: httpx.Client, owner: Account, stranger: Account, make_user: Callable[..., Account], file: str
) -> None:
    friend = make_user()
    share = make_share(client, owner, file, audience="named", recipients=[friend.email], password="swordfish")

    assert_unauthenticated(client.post(share["url"], json={"password": "swordfish"}))
    assert_problem(client.post(share["url"], json={"password": "swordfish"}, headers=stranger.headers), 404, "link_not_found")
    given = proven(client, share, "swordfish", **friend.headers)

    assert_unauthenticated(client.get(share["url"], headers=given))
    assert client.get(share["url"], headers=friend.headers | given).status_code == 200


def test_key_needs_the_scope_to_read_files(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file)
    keys = {}
    for scope in ("files:read", "files:write", "shares", "admin"):
        made = client.post("/api/v1/users/me/api-keys", json={"name": "n", "scopes": [scope]}, headers=owner.headers).json()
        keys[scope] = client.get(share["url"], headers={"Authorization": f"Bearer {made['key']}"}).status_code

    assert keys == {"files:read": 200, "files:write": 403, "shares": 403, "admin": 200}


def test_links_of_a_disabled_owner_are_closed_until_the_owner_is_back(
    client: httpx.Client, services: Services, owner: Account, file: str
) -> None:
    share = make_share(client, owner, file)
    for is_active, status in ((False, 404), (True, 200)):
        with services.engine.begin() as connection:
            connection.execute(text('UPDATE "user" SET is_active = :is_active WHERE id = :id'), {"is_active": is_active, "id": owner.id})
        assert client.get(share["url"]).status_code == status
        assert download(client, share).status_code == (302 if is_active else 404)


def test_link_of_a_superuser_opens_others_files_only_while_they_are_one(
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
def test_file_that_is_not_available_is_never_reached(client: httpx.Client, services: Services, owner: Account, status: str) -> None:
    file = str(make_file(client, owner)["id"])
    other = str(make_file(client, owner)["id"])
    alone, both = make_share(client, owner, file), make_share(client, owner, other, file)
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE file SET status = :status WHERE id = :id"), {"status": status, "id": file})

    assert_closed(client, alone)
    assert [shown["id"] for shown in client.get(both["url"]).json()["files"]] == [other]
    assert_problem(download(client, both, number=1), 404, "link_not_found")
    assert download(client, both, number=0).status_code == 302


def test_files_of_other_links_are_not_reached(client: httpx.Client, owner: Account, file: str) -> None:
    other = make_file(client, owner)["id"]
    share = make_share(client, owner, file)

    for wrong in (other, uuid4(), "x", "0", f"{file}0", "%00", "é"):
        assert_problem(client.get(f"{share['url']}/files/{wrong}"), 404, "link_not_found")


def test_listing_alone_gives_nothing_out(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, allows_download=False)

    opened = client.get(share["url"]).json()

    assert opened["files"][0]["download_url"] is None
    assert opened["allows_download"] is False
    assert_problem(download(client, share), 403, "share_listing_only")
    assert_problem(client.head(f"{share['url']}/files/{file}"), 403, "share_listing_only")
    assert counts_of(client, owner, share) == (1, 0)


def test_head_counts_nothing_and_gives_no_bytes(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, max_downloads=1)

    looked = client.head(share["url"])
    answer = client.head(f"{share['url']}/files/{file}")

    assert (looked.status_code, answer.status_code) == (200, 302)
    with httpx.Client(trust_env=False) as s3:
        assert s3.head(answer.headers["location"]).headers["content-length"] == str(len(BODY))
        stolen = s3.get(answer.headers["location"])
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
def test_robots_and_prefetching_count_nothing_and_get_no_bytes(
    client: httpx.Client, owner: Account, file: str, headers: dict[str, str]
) -> None:
    share = make_share(client, owner, file, max_downloads=1)

    assert client.get(share["url"], headers=headers).status_code == 200
    refused = [client.get(f"{url}/files/{file}", headers=headers) for url in (share["url"], f"/s/{'x' * 22}")]

    assert [answer.status_code for answer in refused] == [403, 403]
    assert all("location" not in answer.headers for answer in refused)
    assert counts_of(client, owner, share) == (0, 0)


def test_rest_of_a_download_is_audited_and_not_counted_again(
    client_from: ClientFrom, client: httpx.Client, owner: Account, admin: Account, file: str
) -> None:
    other = make_file(client, owner)["id"]
    share = make_share(client, owner, file, other, max_downloads=1)
    rest = {"Range": f"bytes=5-{len(BODY)}", "User-Agent": "curl/8"}
    with client_from(unused_address()) as home, client_from(unused_address()) as elsewhere:
        assert download(home, share, {"User-Agent": "curl/8"}).status_code == 302
        assert counts_of(client, owner, share) == (0, 1)

        # The link is exhausted now: what is left is the rest of that one download.
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


def test_pass_of_another_link_names_nobody(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    """A pass says who somebody is at its own link. At another they are whoever they show themselves to be there: here nobody."""
    files = [str(make_file(client, owner, BODY)["id"]) for _ in range(2)]
    share, other = (make_share(client, owner, *files, audience="signed_in") for _ in range(2))
    form = {"email": stranger.email, "account_password": stranger.password}
    given = {"X-Share-Pass": client.post(share["url"], json=form).json()["share_pass"]}
    change_share(client, owner, other, audience="anyone")

    def use(link: Share) -> list[Any]:
        assert client.get(link["url"], headers=given).status_code == 200
        for headers in (given, given | {"Range": "bytes=3-"}):
            assert download(client, link, headers).status_code == 302
        archive = client.post(f"{link['url']}/archives", headers=given)
        assert archive.status_code == 202
        change_share(client, owner, link, password="swordfish")
        assert_problem(client.post(link["url"], json={"password": "guess"}, headers=given), 403, "wrong_share_password")
        subjects = (f"share:{link['id']}", f"archive:{archive.json()['id']}")
        pages = [client.get("/api/v1/admin/audit", params={"subject": subject}, headers=admin.headers).json() for subject in subjects]
        events = [event for page in pages for event in page if event["action"] not in ("share.created", "share.updated", "share.signed_in")]
        assert sorted(event["action"] for event in events) == [
            "archive.requested", "share.download_resumed", "share.downloaded", "share.opened", "share_password.failed",
        ]  # fmt: skip
        return [(event["actor_id"], event["credential"]) for event in events]

    assert use(other) == [(None, None)] * 5
    assert use(share) == [(str(stranger.id), f"share_pass:{share['id']}")] * 5


def test_range_without_a_download_before_it_counts(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file)

    assert [download(client, share, {"Range": "bytes=5-"}).status_code for _ in range(3)] == [302] * 3

    assert counts_of(client, owner, share) == (0, 1)


def test_rest_belongs_to_the_account_that_was_granted_the_beginning(
    client: httpx.Client, owner: Account, make_user: Callable[..., Account], file: str
) -> None:
    first, second = make_user(), make_user()
    names = [str(first.id), str(second.id)]
    share = make_share(client, owner, file, max_downloads=1, audience="named", recipients=names)
    assert download(client, share, first.headers).status_code == 302

    assert_problem(download(client, share, second.headers | {"Range": "bytes=1-"}), 404, "link_not_found")
    assert download(client, share, first.headers | {"Range": "bytes=1-"}).status_code == 302


def test_what_is_kept_of_visitors_says_nothing_and_goes(client: httpx.Client, services: Services, owner: Account, file: str) -> None:
    share = make_share(client, owner, file)
    download(client, share, {"User-Agent": "curl/8"})
    query = text("SELECT visitor FROM share_download WHERE share_id = :id")

    with services.engine.connect() as connection:
        kept = connection.execute(query, {"id": share["id"]}).scalar_one()
    with in_days(1), services.unit_of_work() as session:
        services.maintenance(session).purge()

    assert "203.0.113.7" not in kept
    assert len(kept) == 64
    with services.engine.connect() as connection:
        assert connection.execute(query, {"id": share["id"]}).all() == []


def test_active_content_never_runs_in_our_origin(client: httpx.Client, owner: Account) -> None:
    bodies = {"text/html": b"<script>alert(1)</script>", "image/svg+xml": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"}
    files = [make_file(client, owner, body, filename="x.html", content_type=type_)["id"] for type_, body in bodies.items()]
    share = make_share(client, owner, *files)

    for number in range(2):
        answer = download(client, share, BROWSER, number=number)
        stored = read_bytes(answer)
        assert httpx.URL(answer.headers["location"]).host != httpx.URL("https://api.test").host
        assert answer.content == b""
        assert stored.headers["content-type"] == "application/octet-stream"
        assert stored.headers["content-disposition"].startswith("attachment")


def test_page_in_another_origin_may_not_send_our_form(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file, password="swordfish")

    for site in ("cross-site", "same-site"):
        answer = client.post(share["url"], data={"password": "swordfish"}, headers={"Sec-Fetch-Site": site})
        assert_problem(answer, 403, "cross_site_form")
        assert "set-cookie" not in answer.headers
        # What a script of another page may send without asking us first.
        headers = {"Sec-Fetch-Site": site, "Content-Type": "text/plain;charset=UTF-8"}
        assert_problem(client.post(share["url"], content=b'{"password": "x"}', headers=headers), 403, "cross_site_form")


BAD_PROOFS = [
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


@pytest.mark.parametrize("body", BAD_PROOFS)
@pytest.mark.parametrize("is_live", [True, False])
def test_bad_proof_is_refused_whatever_the_link(client: httpx.Client, owner: Account, file: str, body: bytes, is_live: bool) -> None:
    url = make_share(client, owner, file, password="swordfish")["url"] if is_live else "/s/none"

    assert_problem(client.post(url, content=body, headers={"Content-Type": "application/json"}), 422, "malformed_request")


def test_account_is_refused_where_the_link_asks_for_none(client: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(client, owner, file)

    answer = client.post(share["url"], json={"email": owner.email, "account_password": owner.password})

    assert_problem(answer, 422, "no_account_needed")
