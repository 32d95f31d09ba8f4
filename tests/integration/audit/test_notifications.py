"""Notifications by mail: which events reach whom, in one mail an hour, and nothing is lost or sent twice."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from infra.local.object_store import ObjectStoreServer
from lambda_app.application import create_app
from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.core.mail import FileMailer, Mail, MailDesign
from lambda_app.core.places import Places
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.handlers.seal import run_dispatch, run_notifications
from lambda_app.models import NotificationKind
from lambda_app.repositories.accounts.mail_allowances import MailAllowanceRepository
from lambda_app.repositories.notifications.collection import CollectionRepository, NewNotification
from lambda_app.repositories.notifications.digests import DigestRepository
from lambda_app.repositories.notifications.settings import NotificationSettingRepository
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.services.notifications import collector
from lambda_app.services.notifications.digests import ATTEMPTS_MAX, LEASE
from tests.support.accounts import Account, make_account, make_file, put_object
from tests.support.audit_log import OwnLog
from tests.support.gateway import GatewayTransport
from tests.support.locks import wait_until_waiting
from tests.support.places import SWEDEN, VIENNA, write_places
from tests.support.shares import make_share

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36"
COLLECTED, HOUR = timedelta(minutes=6), timedelta(minutes=61)


@dataclass
class BrokenMailer:
    """A mail service that raises an error for each mail."""

    error: type[BaseException] = UnavailableError
    attempts: int = 0

    def send(self, _mail: Mail) -> None:
        self.attempts += 1
        raise self.error


@dataclass
class Stage:
    """An API with a log of its own, whose mail goes to a list, and whose time a test can move."""

    log: OwnLog
    services: Services
    api: httpx.Client
    mails: list[Mail]
    now: datetime
    monkeypatch: pytest.MonkeyPatch

    def send(self, mail: Mail) -> None:
        """Take a mail, as the mailer does."""
        self.mails.append(mail)

    def wait(self, time: timedelta) -> None:
        """Move the time forward."""
        self.now += time
        self.monkeypatch.setattr(clock, "now", lambda: self.now)

    def run(self) -> dict[str, Any]:
        """Run the collector and the sender once."""
        return run_notifications(self.services, budget_seconds=30)

    def make_owner(self, **settings: Any) -> Account:
        account = make_account(self.services)
        self.api.patch("/api/v1/users/me/notifications", json=settings, headers=account.headers).raise_for_status()
        return account

    def publish(self, owner: Account, kind: str, subject: str, *rows: dict[str, Any]) -> None:
        """Write published events, as the dispatcher does."""
        given = json.dumps([{"n": number, "data": row} for number, row in enumerate(rows)])
        with self.services.engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO published_event (owner_id, type, at, subject, data) SELECT :owner, :kind, :at, :subject, r.data "
                    "FROM jsonb_to_recordset(CAST(:given AS jsonb)) AS r (n int, data jsonb) ORDER BY r.n"
                ),
                {"owner": owner.id, "kind": kind, "at": self.now, "subject": subject, "given": given},
            )

    def download(self, owner: Account, share: dict[str, Any], *names: str) -> None:
        rows = [{"share_id": share["id"], "file_id": f"{name}-id", "filename": name} for name in names]
        self.publish(owner, "share.downloaded", f"share:{share['id']}", *rows)

    def sign_in(self, owner: Account, address: str, agent: str) -> None:
        data = {"session_id": str(uuid4()), "source_address": address, "user_agent": agent}
        self.publish(owner, "account.signed_in", f"user:{owner.id}", data)

    def execute(self, statement: str, **values: Any) -> None:
        with self.services.engine.begin() as connection:
            connection.execute(text(statement), values)

    def scalars(self, query: str, **values: Any) -> list[Any]:
        with self.services.engine.connect() as connection:
            return list(connection.execute(text(query), values).scalars())


@pytest.fixture(scope="module")
def log(settings: Settings, make_migrated_database: Callable[[], str], s3_server: ObjectStoreServer) -> Iterator[OwnLog]:
    """One log for all tests of this module, which look only at the mails of their own accounts."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
        environment.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
        changes = {"mail_folder": "/nowhere", "public_url": "https://files.test"}
        own = OwnLog(settings.model_copy(update=changes), make_migrated_database())
        yield own
        own.close()


@pytest.fixture
def stage(log: OwnLog, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """The API; events of earlier tests have been read, and their mails dropped."""
    log.run(
        "UPDATE notification_cursor SET event_id = (SELECT coalesce(max(id), 0) FROM published_event), "
        "expiry_until = now() + interval '24 hours', expiry_share_id = NULL",
        "DELETE FROM notification",
        "DELETE FROM notification_digest",
        "DELETE FROM notification_setting",
        "DELETE FROM mail_allowance",
    )
    handler = GatewayHandler(create_app(log.services.settings, log.services))
    with httpx.Client(transport=GatewayTransport(handler), base_url="https://api.test") as client:
        made = Stage(log, log.services, client, [], clock.now(), monkeypatch)
        made.services = replace(log.services, mailer=made)
        yield made


@pytest.fixture
def owner(stage: Stage) -> Account:
    return stage.make_owner(link_downloads=True, request_uploads=True, link_expiry=True)


@pytest.fixture
def share(stage: Stage, owner: Account) -> dict[str, Any]:
    return make_share(stage.api, owner, make_file(stage.api, owner, filename="plan.pdf")["id"])


def part(mail: Mail, kind: str, folder: Path) -> str:
    """Return a part of the mail as it is sent."""
    FileMailer(folder, MailDesign()).send(mail)
    (path,) = folder.glob("*.eml")
    message = message_from_bytes(path.read_bytes(), policy=default)
    assert isinstance(message, EmailMessage)
    found = message.get_body((kind,))
    assert found is not None
    return str(found.get_content())


def test_guest_upload_and_download_reach_the_owner_through_the_sealed_log(stage: Stage, owner: Account, share: dict[str, Any]) -> None:
    silent = make_share(stage.api, owner, share["file_ids"][0], notify_on_download=False)
    request = stage.api.post("/api/v1/file-requests", json={"title": "Invoices"}, headers=owner.headers).json()
    declared = {"filename": "march.txt", "content_type": "text/plain", "size_bytes": 5}
    upload = stage.api.post(f"/r/{request['token']}/files", json=declared).json()
    put_object(upload, b"hello").raise_for_status()
    completion = {"guest_token": upload["guest_token"]}
    stage.api.post(f"/r/{request['token']}/files/{upload['file_id']}/complete", json=completion).raise_for_status()
    for link in (share, silent):
        assert stage.api.get(f"{link['url']}/files/{share['file_ids'][0]}").status_code == 302
    stage.log.seal()
    run_dispatch(stage.services, budget_seconds=30)

    counts = stage.run()
    stage.wait(COLLECTED)
    stage.run()

    assert counts["mails_sent"] == 0
    (mail,) = stage.mails
    assert (mail.to, mail.subject) == (owner.email, "News about your account, links and file requests")
    assert mail.text.startswith("1 file received through your file request “Invoices”:\n- march.txt (5 B)\n\n1 download through")
    assert "1 download through your share link to “plan.pdf”:\n- plan.pdf\n" in mail.text
    assert mail.text.count("through your share link") == 1


def test_flood_of_downloads_gives_one_mail(stage: Stage, owner: Account, share: dict[str, Any]) -> None:
    for _ in range(2):
        stage.download(owner, share, *(f"file {number % 60}.txt" for number in range(5_000)))
    stage.run()
    stage.wait(COLLECTED)

    reports = [stage.run() for _ in range(3)]

    assert [report["mails_sent"] for report in reports] == [1, 0, 0]
    (mail,) = stage.mails
    assert mail.subject == "10,000 downloads through your share links"
    assert mail.text.count("\n- ") == 21
    assert "- file 0.txt (168 times)" in mail.text
    assert re.search(r"- and 6,\d{3} others", mail.text)


def test_next_mail_waits_for_an_hour(stage: Stage, owner: Account, share: dict[str, Any]) -> None:
    stage.download(owner, share, "a.txt")
    stage.run()
    stage.wait(COLLECTED)
    stage.run()
    stage.download(owner, share, "b.txt")
    stage.run()
    stage.wait(timedelta(minutes=55))
    stage.run()
    early = len(stage.mails)
    stage.wait(timedelta(minutes=6))
    stage.run()

    assert early == 1
    assert ["- a.txt" in mail.text for mail in stage.mails] == [True, False]
    assert ["- b.txt" in mail.text for mail in stage.mails] == [False, True]


def test_failed_mail_is_sent_again_with_the_same_content(stage: Stage, owner: Account, share: dict[str, Any]) -> None:
    stage.download(owner, share, "a.txt")
    stage.run()
    stage.wait(COLLECTED)
    working, stage.services = stage.services, replace(stage.services, mailer=BrokenMailer())
    failed = stage.run()
    stage.download(owner, share, "later.txt")
    at_once = stage.run()
    stage.services = working
    stage.wait(timedelta(minutes=6))
    stage.run()
    stage.wait(HOUR)
    stage.run()

    assert (failed["mails_failed"], at_once["mails_failed"]) == (1, 0)
    assert [("- a.txt" in mail.text, "- later.txt" in mail.text) for mail in stage.mails] == [(True, False), (False, True)]


class Killed(BaseException):
    """Ends the process."""


@pytest.mark.parametrize("error", [UnavailableError, Killed])
def test_mail_is_dropped_after_the_last_attempt(stage: Stage, owner: Account, share: dict[str, Any], error: type[BaseException]) -> None:
    broken = BrokenMailer(error)
    stage.services = replace(stage.services, mailer=broken)
    stage.download(owner, share, "a.txt")
    stage.run()
    stage.wait(COLLECTED)
    for _ in range(ATTEMPTS_MAX + 2):
        with suppress(Killed):
            stage.run()
        stage.wait(timedelta(hours=7))

    assert broken.attempts == ATTEMPTS_MAX
    assert stage.scalars("SELECT due_at FROM notification_digest WHERE user_id = :id", id=owner.id) == [None]


def test_sender_that_dies_leaves_the_mail_to_another_one(stage: Stage, owner: Account, share: dict[str, Any]) -> None:
    stage.download(owner, share, "a.txt")
    stage.run()
    stage.wait(COLLECTED)
    working, stage.services = stage.services, replace(stage.services, mailer=BrokenMailer(Killed))
    with pytest.raises(Killed):
        stage.run()
    stage.services = working
    claimed = stage.run()["mails_sent"]
    stage.wait(LEASE + timedelta(seconds=1))

    assert (claimed, stage.run()["mails_sent"]) == (0, 1)
    assert "- a.txt" in stage.mails[0].text


def test_two_senders_never_send_the_same_mail(stage: Stage) -> None:
    owners = [stage.make_owner(link_downloads=True) for _ in range(4)]
    for each in owners:
        stage.download(each, make_share(stage.api, each, make_file(stage.api, each)["id"]), "a.txt")
    stage.run()
    stage.wait(COLLECTED)
    start = threading.Barrier(3)

    def send() -> None:
        start.wait()
        stage.run()

    with ThreadPoolExecutor(3) as pool:
        for running in [pool.submit(send) for _ in range(3)]:
            running.result()

    assert sorted(mail.to for mail in stage.mails) == sorted(each.email for each in owners)


@pytest.mark.parametrize(
    "change",
    ['UPDATE "user" SET email_verified_at = NULL WHERE id = :id', 'UPDATE "user" SET is_active = false WHERE id = :id'],
    ids=["unconfirmed address", "disabled account"],
)
def test_unproven_and_disabled_accounts_get_no_mail(stage: Stage, owner: Account, share: dict[str, Any], change: str) -> None:
    stage.download(owner, share, "a.txt")
    stage.run()
    stage.wait(COLLECTED)
    stage.execute(change, id=owner.id)

    stage.run()

    assert stage.mails == []
    assert stage.scalars("SELECT due_at FROM notification_digest WHERE user_id = :id", id=owner.id) == [None]


def test_hostile_names_stay_names(stage: Stage, owner: Account, tmp_path: Path) -> None:
    title = "Photos\u202e</bdi><script>alert(1)</script>"
    request = stage.api.post("/api/v1/file-requests", json={"title": title.replace("\u202e", "")}, headers=owner.headers).json()
    stage.execute("UPDATE file_request SET title = :title WHERE id = :id", title=title, id=request["id"])
    hostile = "x\n\nhttps://evil.test/\r\nBcc: victim@example.org\u2028\u202e<img src=x onerror=alert(1)>" + "y" * 500
    rows = {"file_request_id": request["id"], "file_id": "f", "filename": hostile, "size_bytes": 1_500_000}
    stage.publish(owner, "file_request.received", f"file_request:{request['id']}", rows)
    stage.run()
    stage.wait(COLLECTED)
    stage.run()

    (mail,) = stage.mails
    html = part(mail, "html", tmp_path)
    (line,) = [line for line in mail.text.splitlines() if line.startswith("- ")]
    assert line.startswith("- x https://evil.test/ Bcc: victim@example.org <img src=x onerror=alert(1)>y")
    assert line.endswith("… (1.5 MB)")
    assert len(line) < 100
    assert "\u202e" not in mail.text + html
    assert 'href="https://evil.test' not in html
    assert "<img" not in html
    assert "<script" not in html


def test_mail_is_in_the_language_and_time_zone_of_the_account(stage: Stage, owner: Account) -> None:
    profile = {"locale": "de-AT", "time_zone": "Europe/Vienna"}
    stage.api.patch("/api/v1/users/me", json=profile, headers=owner.headers).raise_for_status()
    expires_at = datetime.fromisoformat("2030-07-01T12:00:00+00:00")
    share = make_share(stage.api, owner, make_file(stage.api, owner, filename="plan.pdf")["id"], expires_at=expires_at.isoformat())
    stage.wait(expires_at - timedelta(hours=25) - stage.now)
    stage.run()
    stage.wait(timedelta(hours=1, minutes=1))
    stage.run()
    stage.wait(COLLECTED)
    stage.run()

    (mail,) = stage.mails
    assert mail.language == "de"
    assert mail.subject == "Ein Link läuft innerhalb eines Tages ab"
    assert "Ihr Link zu „plan.pdf“ läuft am 1.7.2030, 14:00 Uhr (Europe/Vienna) ab." in mail.text
    (path,) = re.findall(r"https://files\.test(/prolong/\S+)", mail.text)
    assert stage.api.post(path).status_code == 200
    (now,) = stage.scalars("SELECT expires_at FROM share WHERE id = :id", id=share["id"])
    assert now == expires_at + timedelta(days=7)


def test_link_that_expires_is_announced_once_and_only_if_wanted(stage: Stage, owner: Account) -> None:
    stranger = stage.make_owner()
    times = {"soon": 12, "tomorrow": 24.5, "later": 80, "unwanted": 24.5, "revoked": 24.5}
    shares = {}
    for name, hours in times.items():
        account = stranger if name == "unwanted" else owner
        file_id = make_file(stage.api, account, filename=f"{name}.pdf")["id"]
        shares[name] = make_share(stage.api, account, file_id, expires_at=(stage.now + timedelta(hours=hours)).isoformat())
    stage.api.delete(f"/api/v1/shares/{shares['revoked']['id']}", headers=owner.headers).raise_for_status()

    stage.run()
    for _ in range(3):
        stage.wait(timedelta(minutes=65))
        stage.run()

    assert [re.findall(r"“(\w+)\.pdf”", mail.text) for mail in stage.mails] == [["tomorrow"]]


def test_file_request_that_expires_is_announced_with_a_link_that_prolongs_it(stage: Stage, owner: Account) -> None:
    requests = {}
    for title, fields in {"tomorrow": {}, "full": {"max_files": 1}, "revoked": {}}.items():
        body = {"title": title, "expires_at": (stage.now + timedelta(hours=24.5)).isoformat(), **fields}
        requests[title] = stage.api.post("/api/v1/file-requests", json=body, headers=owner.headers).json()
    stage.execute("UPDATE file_request SET file_count = 1 WHERE id = :id", id=requests["full"]["id"])
    stage.api.delete(f"/api/v1/file-requests/{requests['revoked']['id']}", headers=owner.headers).raise_for_status()

    stage.run()
    for _ in range(3):
        stage.wait(timedelta(minutes=65))
        stage.run()

    (mail,) = stage.mails
    assert mail.subject == "A file request expires within a day"
    assert re.findall(r"Your file request “(\w+)” expires on", mail.text) == ["tomorrow"]
    (path,) = re.findall(r"https://files\.test(/prolong/\S+)", mail.text)
    assert stage.api.post(path).status_code == 200
    (now,) = stage.scalars("SELECT expires_at FROM file_request WHERE id = :id", id=requests["tomorrow"]["id"])
    assert now == datetime.fromisoformat(requests["tomorrow"]["expires_at"]) + timedelta(days=7)


def test_links_that_expire_at_the_same_time_are_announced_in_pages(stage: Stage, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    file_id = make_file(stage.api, owner)["id"]
    expires_at = stage.now + timedelta(hours=24.5)
    for number in range(5):
        make_share(stage.api, owner, file_id, expires_at=(expires_at + timedelta(seconds=number // 4)).isoformat())
    monkeypatch.setattr(collector, "PAGE_LINKS", 2)
    stage.wait(HOUR)
    waiting = "SELECT count FROM notification WHERE user_id = :id"

    # One transaction.
    run_notifications(stage.services, budget_seconds=0)
    after_one_page = stage.scalars(waiting, id=owner.id)
    for _ in range(2):
        stage.run()

    assert after_one_page == [1] * 2
    assert stage.scalars(waiting, id=owner.id) == [1] * 5


def test_sign_in_from_a_new_network_or_browser_is_announced(stage: Stage) -> None:
    owner = stage.make_owner()
    stage.sign_in(owner, "203.0.113.5", FIREFOX)
    for address, agent in [("203.0.113.77", FIREFOX.replace("130", "131")), ("198.51.100.1", FIREFOX), ("203.0.113.5", CHROME)]:
        stage.wait(HOUR)
        stage.sign_in(owner, address, agent)
        stage.run()

    assert [re.findall(r"^- .*: (.+)$", mail.text, re.MULTILINE) for mail in stage.mails] == [
        ["Firefox, 198.51.100.1"],
        ["Chrome, 203.0.113.5"],
    ]
    assert all("change your password at once" in mail.text for mail in stage.mails)


def test_mail_about_a_sign_in_names_its_place_in_the_language_of_the_mail(stage: Stage, tmp_path: Path) -> None:
    places = Places(write_places(tmp_path / "places.mmdb"))
    stage.services = replace(stage.services, places=places)
    for locale in ("de-AT", "fr"):
        owner = stage.make_owner()
        stage.api.patch("/api/v1/users/me", json={"locale": locale}, headers=owner.headers).raise_for_status()
        for address in ("203.0.113.5", VIENNA, SWEDEN):
            stage.sign_in(owner, address, FIREFOX)
    stage.run()
    places.close()

    # The order of sign-ins at one time is not defined.
    assert {mail.language: set(re.findall(r"^- .*: (.+)$", mail.text, re.MULTILINE)) for mail in stage.mails} == {
        "de": {f"Firefox, {VIENNA} (Wien, Österreich, geschätzt)", f"Firefox, {SWEDEN} (Schweden, geschätzt)"},
        # There is no mail in French.
        "en": {f"Firefox, {VIENNA} (Vienna, Austria, estimated)", f"Firefox, {SWEDEN} (Sweden, estimated)"},
    }


def test_sign_in_through_the_api_is_announced_with_its_address_and_browser(stage: Stage) -> None:
    owner = stage.make_owner()
    form = {"username": owner.email, "password": owner.password}
    stage.api.post("/api/v1/login/token", data=form, headers={"User-Agent": FIREFOX}).raise_for_status()
    stage.log.seal()
    run_dispatch(stage.services, budget_seconds=30)

    stage.run()

    (mail,) = [mail for mail in stage.mails if mail.to == owner.email]
    assert mail.subject == "A new sign-in to your account"
    (data,) = stage.scalars(
        "SELECT data FROM published_event WHERE owner_id = :id AND data ->> 'user_agent' = :agent", id=owner.id, agent=FIREFOX
    )
    assert f": Firefox, {data['source_address']}\n" in mail.text
    assert "https://files.test/settings#password" in mail.text


def test_place_is_new_again_after_90_days(stage: Stage) -> None:
    owner = stage.make_owner()
    stage.sign_in(owner, "2001:db8:1:1::1", FIREFOX)
    stage.wait(timedelta(days=60))
    stage.sign_in(owner, "2001:db8:1:ffff::2", FIREFOX)
    stage.sign_in(owner, "2001:db8:2::1", FIREFOX)
    stage.run()
    stage.wait(timedelta(days=91))
    stage.sign_in(owner, "2001:db8:3::1", FIREFOX)
    stage.run()
    stage.sign_in(owner, "2001:db8:1:1::1", FIREFOX)
    stage.run()
    stage.wait(HOUR)
    stage.run()

    # After 91 days nothing is left to compare with. The sign-in after that is new again.
    assert [re.findall(r", (2001\S+)$", mail.text, re.MULTILINE) for mail in stage.mails] == [["2001:db8:2::1"], ["2001:db8:1:1::1"]]


def test_sign_in_mail_can_be_turned_off(stage: Stage) -> None:
    owner = stage.make_owner(new_sign_ins=False)
    stage.sign_in(owner, "203.0.113.5", FIREFOX)
    stage.sign_in(owner, "198.51.100.1", CHROME)

    stage.run()

    assert stage.mails == []


def test_unsubscribe_link_of_a_mail_ends_its_kinds_only(stage: Stage, owner: Account, share: dict[str, Any]) -> None:
    stage.download(owner, share, "a.txt")
    stage.run()
    stage.wait(COLLECTED)
    stage.run()
    (mail,) = stage.mails
    assert mail.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    path = urlsplit(mail.headers["List-Unsubscribe"].strip("<>")).path
    stage.download(owner, share, "b.txt")
    stage.run()

    stage.api.post(path, content="List-Unsubscribe=One-Click").raise_for_status()
    stage.download(owner, share, "c.txt")
    for _ in range(3):
        stage.run()
        stage.wait(HOUR)

    assert len(stage.mails) == 1
    (settings,) = stage.scalars("SELECT to_jsonb(s) - 'user_id' FROM notification_setting s WHERE user_id = :id", id=owner.id)
    assert settings == {"link_downloads": False, "request_uploads": True, "link_expiry": True, "new_sign_ins": True}


def test_retry_after_an_unsubscription_leaves_its_kinds_out(stage: Stage, owner: Account, share: dict[str, Any]) -> None:
    stage.download(owner, share, "a.txt")
    stage.sign_in(owner, "203.0.113.5", FIREFOX)
    stage.run()
    stage.wait(COLLECTED)
    working, stage.services = stage.services, replace(stage.services, mailer=BrokenMailer())
    stage.sign_in(owner, "198.51.100.1", CHROME)
    stage.run()
    stage.services = working
    with stage.services.unit_of_work() as session:
        NotificationSettingRepository(session).turn_off(UUID(str(owner.id)), [NotificationKind.LINK_DOWNLOADS])
    stage.wait(HOUR)
    stage.run()

    (mail,) = stage.mails
    assert "Chrome" in mail.text
    assert "download" not in mail.text


def test_mail_of_which_nothing_is_wanted_any_more_is_not_sent(stage: Stage, owner: Account, share: dict[str, Any]) -> None:
    stage.download(owner, share, "a.txt")
    stage.run()
    stage.wait(COLLECTED)
    working, stage.services = stage.services, replace(stage.services, mailer=BrokenMailer())
    stage.run()
    stage.services = working
    with stage.services.unit_of_work() as session:
        NotificationSettingRepository(session).turn_off(UUID(str(owner.id)), [NotificationKind.LINK_DOWNLOADS])
    stage.wait(HOUR)

    assert (stage.run()["mails_sent"], stage.mails) == (0, [])
    assert stage.scalars("SELECT due_at FROM notification_digest WHERE user_id = :id", id=owner.id) == [None]


def test_refusal_by_the_limit_of_mails_is_no_attempt(
    stage: Stage, owner: Account, share: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.download(owner, share, "a.txt")
    stage.run()
    with monkeypatch.context() as patched:
        patched.setattr(MailAllowanceRepository, "consume", lambda *_arguments, **_named: False)
        for _ in range(ATTEMPTS_MAX + 1):
            stage.now += HOUR
            patched.setattr(clock, "now", lambda: stage.now)
            stage.run()
    stage.wait(HOUR)

    assert stage.run()["mails_sent"] == 1
    assert "- a.txt" in stage.mails[0].text


def test_notification_that_arrives_while_a_mail_is_completed_gets_a_mail(stage: Stage, owner: Account, share: dict[str, Any]) -> None:
    stage.download(owner, share, "a.txt")
    stage.run()
    user_id = UUID(str(owner.id))

    def complete() -> None:
        with stage.services.unit_of_work() as session:
            DigestRepository(session).complete(user_id, now=stage.now, pause=HOUR, was_sent=True)

    stage.execute("DELETE FROM notification")
    new = NewNotification(user_id, NotificationKind.LINK_DOWNLOADS, f"share:{share['id']}", stage.now, stage.now)
    with ThreadPoolExecutor(1) as pool, stage.services.unit_of_work() as session:
        collection = CollectionRepository(session)
        with collection.collecting():
            collection.schedule({user_id}, at=stage.now, pause=HOUR)
            collection.add([new])
            completing = pool.submit(complete)
            wait_until_waiting(stage.services, count=1)
        completing.result()

    assert stage.scalars("SELECT due_at FROM notification_digest WHERE user_id = :id", id=user_id) == [stage.now + HOUR]


def test_one_mailbox_with_many_accounts_gets_few_mails(stage: Stage) -> None:
    name = f"inbox{uuid4().hex[:8]}"
    for number in range(8):
        account = stage.make_owner(link_downloads=True)
        stage.execute('UPDATE "user" SET email = :email WHERE id = :id', email=f"{name}+{number}@example.com", id=account.id)
        stage.download(account, make_share(stage.api, account, make_file(stage.api, account)["id"]), "a.txt")
    stage.run()
    stage.wait(COLLECTED)

    assert stage.run()["mails_sent"] == 5


def test_events_from_before_mail_was_set_up_are_not_announced(stage: Stage, owner: Account, share: dict[str, Any]) -> None:
    stage.download(owner, share, "a.txt")
    settings = stage.services.settings
    configured, stage.services = stage.services, replace(stage.services, settings=settings.model_copy(update={"mail_folder": None}))
    stage.run()
    stage.services = configured
    stage.run()
    stage.wait(HOUR)
    stage.run()

    assert stage.mails == []


def test_most_urgent_notifications_come_first(stage: Stage, owner: Account) -> None:
    file_id = make_file(stage.api, owner)["id"]
    for _ in range(51):
        stage.download(owner, make_share(stage.api, owner, file_id), "a.txt")
    stage.sign_in(owner, "203.0.113.5", FIREFOX)
    stage.sign_in(owner, "198.51.100.1", CHROME)
    stage.run()

    (mail,) = stage.mails
    assert mail.subject == "News about your account, links and file requests"
    assert mail.text.startswith("A sign-in to your account")
    assert mail.text.count("1 download through your share link") == 49
    assert "There is more than this mail can show." in mail.text


def test_deletion_of_an_account_deletes_what_waits(stage: Stage, owner: Account, share: dict[str, Any]) -> None:
    stage.download(owner, share, "a.txt")
    stage.sign_in(owner, "203.0.113.5", FIREFOX)
    stage.run()
    before = stage.scalars("SELECT count(*) FROM notification WHERE user_id = :id", id=owner.id)

    stage.execute("DELETE FROM file WHERE owner_id = :id", id=owner.id)
    stage.execute('DELETE FROM "user" WHERE id = :id', id=owner.id)

    tables = ("notification", "notification_digest", "notification_setting", "sign_in_place")
    left = [stage.scalars(f"SELECT count(*) FROM {table} WHERE user_id = :id", id=UUID(str(owner.id))) for table in tables]  # noqa: S608
    assert before == [1]
    assert left == [[0]] * 4
