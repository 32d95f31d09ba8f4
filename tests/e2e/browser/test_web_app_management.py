"""Addresses of links and file requests, changes of many files, and the administration of accounts, in the web app in a real browser."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text as sql
from we_upload.receipts import verify_receipt

from infra.local.object_store import ObjectStoreServer
from infra.local.workers import running_workers
from lambda_app.core import clock
from lambda_app.core.security.notification_tokens import NotificationTokens, Unsubscription
from lambda_app.core.security.random_tokens import hash_secret, new_secret
from lambda_app.models import Invitation
from tests.e2e.browser.conftest import Site
from tests.e2e.browser.steps import Results, Steps, choose_action, console_messages, delay_receipt, failures, keeps_policy, sign_in
from tests.support import preview_samples as samples
from tests.support.accounts import Account, make_account, make_file
from tests.support.places import VIENNA
from tests.support.second_factor import set_up
from tests.support.shares import make_share

TITLE = "Photos of the feast"
INVITED, INVITED_PASSWORD = "invited-in-a-browser@example.com", "a sentence is a good password"
RECIPIENT = "grace@example.com"
HOOK = "http://127.0.0.1:9/hook"
MANY = 12
"""Files of the account that changes many."""


@pytest.fixture(scope="module")
def owner(site: Site, client: httpx.Client) -> Account:
    """The owner of the links and the file request."""
    return make_account(site.services)


@pytest.fixture(scope="module")
def link(client: httpx.Client, owner: Account) -> dict[str, Any]:
    """A link whose address the server knows."""
    share = make_share(client, owner, file_id := make_file(client, owner, filename="plan.pdf")["id"])
    assert client.get(f"{share['url']}/files/{file_id}").status_code == 302
    return share


@pytest.fixture(scope="module")
def old_link(site: Site, client: httpx.Client, owner: Account) -> dict[str, Any]:
    """A link of a version that kept only the digest of the address."""
    share = make_share(client, owner, make_file(client, owner, filename="old.pdf")["id"])
    with site.services.engine.begin() as connection:
        connection.execute(sql("UPDATE share SET encrypted_token = NULL WHERE id = :id"), {"id": share["id"]})
    return share


@pytest.fixture(scope="module")
def request_url(client: httpx.Client, owner: Account) -> str:
    """The first address of a file request."""
    response = client.post("/api/v1/file-requests", json={"title": TITLE}, headers=owner.headers)
    return str(response.raise_for_status().json()["url"])


@pytest.fixture(scope="module")
def operator(site: Site, client: httpx.Client) -> Account:
    """A superuser."""
    return make_account(site.services, is_superuser=True)


@pytest.fixture(scope="module")
def member(site: Site, client: httpx.Client) -> Account:
    """An account with a file and an unconfirmed address."""
    account = make_account(site.services, is_verified=False)
    make_file(client, account, filename="notes of the member.txt")
    with site.services.engine.begin() as connection:
        connection.execute(
            sql("UPDATE user_session SET source_address = :address WHERE user_id = :id"), {"address": VIENNA, "id": account.id}
        )
    return account


@pytest.fixture(scope="module")
def careful(site: Site, client: httpx.Client) -> tuple[Account, list[str]]:
    """An account with a second factor, and its recovery codes."""
    account = make_account(site.services)
    return account, set_up(client, account)[1]


@pytest.fixture(scope="module")
def collector(site: Site, client: httpx.Client) -> tuple[Account, list[str]]:
    """An account with several files, and their ids."""
    account = make_account(site.services)
    return account, [make_file(client, account, filename=f"page {number:02}.txt")["id"] for number in range(MANY)]


@pytest.fixture(scope="module")
def photographer(site: Site, client: httpx.Client) -> Account:
    """An account with files that have previews: the newest is a photo that browsers cannot show themselves."""
    account = make_account(site.services)
    make_file(client, account, samples.document(pages=3), filename="plan of the feast.pdf", content_type="application/pdf")
    make_file(client, account, samples.picture("HEIF", size=(2000, 1500)), filename="feast.heic", content_type="image/heic")
    return account


@pytest.fixture(scope="module")
def program(client: httpx.Client) -> dict[str, Any]:
    """A program that waits for approval."""
    started = client.post("/api/v1/login/device", json={"client": "backup script"}).raise_for_status().json()
    return dict(started)


@pytest.fixture(scope="module")
def invitation(site: Site, operator: Account) -> str:
    """The token of an invitation to create an account."""
    token, now = new_secret(), clock.now()
    times = {"created_at": now, "sent_at": now, "expires_at": now + timedelta(days=1)}
    with site.services.unit_of_work() as session:
        session.add(Invitation(id=uuid4(), inviter_id=operator.id, email=INVITED, token_hash=hash_secret(token), **times))
    return token


@pytest.fixture(scope="module")
def unprotected(site: Site) -> Account:
    """An account that must set up a second factor."""
    account = make_account(site.services)
    with site.services.engine.begin() as connection:
        connection.execute(sql('UPDATE "user" SET requires_second_factor = true WHERE id = :id'), {"id": account.id})
    return account


@pytest.fixture(scope="module")
def results(
    site: Site,
    link: dict[str, Any],
    old_link: dict[str, Any],
    request_url: str,
    owner: Account,
    operator: Account,
    member: Account,
    careful: tuple[Account, list[str]],
    collector: tuple[Account, list[str]],
    photographer: Account,
    s3_server: ObjectStoreServer,
    program: dict[str, Any],
    invitation: str,
    unprotected: Account,
    visit: Callable[[dict[str, Any]], Results],
    sealing: Callable[[], AbstractContextManager[None]],
) -> Results:
    """The results of all jobs, run in one browser."""
    assert all((link["url"], old_link["url"], request_url))
    as_owner: Steps = [*sign_in(owner.email, owner.password), {"see": "Files", "role": "heading"}]
    as_operator: Steps = [*sign_in(operator.email, operator.password), {"see": "Files", "role": "heading"}]
    find_member: Steps = [
        {"open": f"{site.url}/admin?tab=people"},
        {"fill": "Search addresses", "value": member.email},
        {"see": member.email},
    ]
    confirm: Steps = [{"click": "New address", "within": "dialog"}]
    tokens = NotificationTokens(site.services.link_keys)
    kinds = Unsubscription(member.id, tokens.mailbox_of(member.email), ("request_uploads",))
    unsubscribing = f"{site.url}/unsubscribe/{tokens.sign_unsubscription(kinds)}"
    jobs: dict[str, Any] = {
        "previews": [
            *(*sign_in(photographer.email, photographer.password), {"see": "Files", "role": "heading"}),
            *({"picture": ".files tr:nth-child(1) .tile img"}, {"picture": ".files tr:nth-child(2) .tile img"}, {"axe": True}),
            *({"click": "feast.heic"}, {"picture": ".stage img.pic"}, {"see": "2,000 × 1,500 pixels"}, {"picture": ".film button img"}),
            *({"key": "ArrowRight"}, {"see": "Pages"}, {"picture": ".stage img.pic"}, {"axe": True}),
        ],
        "known address": [
            *(
                *as_owner,
                {"click": "plan.pdf"},
                delay_receipt("/receipt$", "GET"),
                {"click": "Receipt"},
                {"see": "in about a minute"},
            ),
            *({"see": "in the log"}, {"axe": True}, {"download": "Download receipt", "role": "button", "isText": True}),
            *({"open": f"{site.url}/links"}, {"click": "plan.pdf"}, {"see": "You can copy it again under Links."}),
            *({"click": "Mail", "role": "switch"}, {"see": "When people download"}, {"click": "Save changes"}, {"see": "Changes saved"}),
            *({"click": "Receipts of downloads"}, {"see": "Download receipt: plan.pdf", "role": "button"}, {"axe": True}),
            *({"download": "Download receipt: plan.pdf", "role": "button", "isText": True}, {"key": "Escape"}),
            {"visitor": "Link", "steps": [{"see": "plan.pdf"}]},
            *({"fill": "Title", "value": "Plans of March"}, {"click": "Save changes"}, {"see": "Changes saved"}),
            *({"click": "Add files"}, {"click": "old.pdf", "role": "checkbox"}, {"axe": True}, {"click": "Add 1 file"}),
            *({"click": "Remove plan.pdf from the link"}, {"gone": "plan.pdf"}, {"axe": True}, {"resize": 320}),
            *({"click": "Send by mail"}, {"fill": "E-mail addresses, up to 20", "value": RECIPIENT}, {"axe": True}),
            *({"click": "Send"}, {"see": "Mail sent to 1 address"}),
            {"visitor": "Link", "steps": [{"see": "Plans of March"}, {"see": "old.pdf"}]},
        ],
        "lost address": [
            *(*as_owner, {"open": f"{site.url}/links"}, {"see": "The server cannot show some of these addresses."}),
            *(*choose_action("old.pdf", "New address"), {"see": "The old address stops working at once."}, {"axe": True}, *confirm),
            *({"see": "You can copy it again under Links."}, {"visitor": "Link", "steps": [{"see": "old.pdf"}]}),
        ],
        "request": [
            *(*as_owner, {"open": f"{site.url}/requests"}, *choose_action(TITLE, "New address"), *confirm),
            *({"see": "Send this link"}, {"axe": True}, {"visitor": "Link", "steps": [{"see": TITLE}]}),
        ],
        "role": [
            *(*as_operator, *find_member, *choose_action(member.email, "Make superuser")),
            *({"fill": "Your password", "value": "wrong password"}, {"click": "Make superuser", "within": "dialog"}),
            *({"see": "Enter the current password."}, {"axe": True}),
            *(
                {"fill": "Your password", "value": operator.password},
                {"click": "Make superuser", "within": "dialog"},
                {"see": "Changes saved"},
            ),
        ],
        "files of one account": [
            *(*as_operator, *find_member, *choose_action(member.email, "Sessions and links"), {"see": "Unknown program"}),
            {"see": "Vienna, Austria"},
            *({"see": "None"}, {"axe": True}, {"key": "Escape"}, *choose_action(member.email, "Show in audit log")),
            *({"see": "file.available"}, {"see": "notes of the member.txt"}, {"axe": True}, *find_member),
            *(*choose_action(member.email, "Show files"), {"see": "notes of the member.txt"}),
            *({"see": member.email}, {"axe": True}, {"resize": 320}),
        ],
        "unconfirmed": [
            *(*sign_in(member.email, member.password), {"see": "Files", "role": "heading"}, {"open": f"{site.url}/settings"}),
            *(
                {"see": "Until you confirm the address"},
                {"see": "File arrived and verified"},
                {"see": "Vienna, Austria"},
                {"idle": True},
                {"axe": True},
            ),
            *({"click": "Request export"}, {"fill": "Current password", "value": member.password, "within": "dialog"}),
            *({"click": "Request export", "within": "dialog"}, {"see": "The export is being built."}, {"resize": 320}, {"resize": 1280}),
            *(
                {"see": "Mails are sent once you have confirmed your address."},
                {"click": "A link or file request expires within a day", "role": "switch"},
            ),
            *({"see": "Changes saved"}, {"open": unsubscribing}, {"see": "Files received through your file requests"}, {"axe": True}),
            *({"resize": 320}, {"press": "Turn off"}, {"see": "These mails are off"}, {"axe": True}),
        ],
        "invitation": [
            *({"open": f"{site.url}/invitation#token={invitation}"}, {"see": "Choose a password for your new account."}, {"axe": True}),
            *({"fill": "New password", "value": INVITED_PASSWORD}, {"click": "Accept"}, {"see": "The invitation is accepted."}),
            *({"click": "To the sign-in", "role": "link"}, *sign_in(INVITED, INVITED_PASSWORD), {"see": "Files", "role": "heading"}),
        ],
        "required factor": [
            *(*sign_in(unprotected.email, unprotected.password), {"see": "Set up a second factor", "role": "heading"}, {"axe": True}),
            *({"open": f"{site.url}/settings"}, {"see": "Set up a second factor", "role": "heading"}, {"click": "Sign out"}),
            {"see": "Sign in"},
        ],
    }
    account, (code, other, *_) = careful
    jobs["second factor"] = [
        *(*sign_in(account.email, account.password), {"see": "Enter the code of your authenticator app"}, {"axe": True}),
        *({"fill": "Password", "value": account.password}, {"fill": "Code", "value": code}, {"click": "Sign in"}),
        *({"see": "Files", "role": "heading"}, {"open": f"{site.url}/settings"}, {"see": "Turn off second factor", "role": "button"}),
        *({"click": "Delete account"}, {"see": "Delete your account?"}, {"axe": True}),
        *(
            {"fill": "Current password", "value": account.password, "within": "dialog"},
            {"fill": "Code", "value": other, "within": "dialog"},
        ),
        *({"click": "Delete account", "within": "dialog"}, {"see": "Your account is closed and will be deleted on"}),
    ]
    jobs["turns the factor on"] = [
        *(*as_owner, {"open": f"{site.url}/settings"}, {"click": "Turn on second factor"}),
        *({"fill": "Current password", "value": owner.password, "within": "dialog"}, {"click": "Next"}, {"see": "Scan the code"}),
        *({"axe": True}, {"fill": "Code", "value": "000000", "within": "dialog"}, {"click": "Turn on", "within": "dialog"}),
        *({"see": "This code is wrong or was used already."}, {"key": "Escape"}),
        # No server listens at the address.
        *({"click": "Add webhook"}, {"see": "Receives POST requests"}, {"click": "Only these events", "role": "radio"}, {"axe": True}),
        *({"fill": "Address", "value": "https://10.0.0.1/", "within": "dialog"}, {"click": "Add", "within": "dialog"}),
        *({"see": "Choose at least one event."}, {"click": "share.downloaded", "role": "checkbox"}, {"click": "Add", "within": "dialog"}),
        *({"see": "The address must be a public https address"}, {"fill": "Address", "value": HOOK, "within": "dialog"}),
        *({"click": "Add", "within": "dialog"}, {"see": "Copy the secret now."}, {"axe": True}),
        *(*choose_action(HOOK, "Send a test"), {"see": "The test is on its way."}, *choose_action(HOOK, "Deliveries")),
        *({"see": "webhook.test"}, {"see": "Waiting"}, {"axe": True}, {"resize": 320}, {"resize": 1280}, {"key": "Escape"}),
        *(*choose_action(HOOK, "New secret"), {"click": "New secret", "within": "dialog"}, *choose_action(HOOK, "Turn off")),
        *({"see": "The webhook is off"}, *choose_action(HOOK, "Delete"), {"click": "Delete", "within": "dialog"}),
        *({"see": "The webhook is deleted"}, {"see": "No webhooks."}),
    ]
    account, (first, *_) = collector
    gone = {"call": f"{site.url}/api/v1/files/{first}?permanent=true", "method": "DELETE", "headers": account.headers}
    jobs["many files"] = [
        *(*sign_in(account.email, account.password), {"see": "page 00.txt"}),
        *({"key": "Control+a"}, {"see": f"{MANY} selected"}, {"click": "Make public"}, {"axe": True}, {"resize": 320}, {"resize": 1280}),
        *({"see": f"Anyone with the address can download the {MANY} files"}, {"click": "Make private"}),
        *({"see": f"{MANY} files are private again"}, gone, {"click": "To trash"}),
        *({"see": "“page 00.txt”: This file does not exist any more."}, {"reload": True}, {"see": "Drop your first files here"}),
        *({"open": f"{site.url}/trash"}, {"see": "page 01.txt"}, {"key": "Control+a"}, {"click": "Restore"}),
        *({"see": f"{MANY - 1} files restored"}, {"open": f"{site.url}/files"}, {"see": "page 01.txt"}, {"key": "Control+a"}),
        *(
            {"click": "To trash"},
            {"see": f"{MANY - 1} files moved to the trash"},
            {"idle": True},
            {"open": f"{site.url}/trash"},
            {"click": "Empty trash"},
        ),
        *({"click": "Empty trash", "within": "dialog"}, {"see": "The trash is empty"}),
    ]
    jobs["program"] = [
        *({"open": program["verification_uri_complete"]}, *sign_in(owner.email, owner.password), {"see": "Connect a program"}),
        *({"axe": True}, {"click": "Continue", "within": "dialog"}, {"see": "Sign in “backup script” to your account?"}, {"axe": True}),
        *({"click": "Approve", "within": "dialog"}, {"see": "The program is signed in"}),
    ]
    # The last job changes what the others see.
    role = jobs.pop("role")
    with sealing(), running_workers(site.services, s3_server.events, s3_server.previews):
        return visit(keeps_policy({name: {"url": f"{site.url}/", "steps": steps} for name, steps in {**jobs, "role": role}.items()}))


def test_every_job_completed(results: Results) -> None:
    assert failures(results) == {}


def test_files_of_a_link_change_and_its_address_is_mailed(
    results: Results, site: Site, client: httpx.Client, owner: Account, link: dict[str, Any]
) -> None:
    assert "failed" not in results["known address"]
    changed = client.get(f"/api/v1/shares/{link['id']}", headers=owner.headers).json()
    (mail,) = [path.read_text() for path in site.mail_folder.glob("*.eml") if f"To: {RECIPIENT}" in path.read_text()]

    assert (changed["title"], changed["first_filenames"]) == ("Plans of March", ["old.pdf"])
    assert link["url"] in mail


def test_new_address_replaces_the_old_one(results: Results, client: httpx.Client, link: dict[str, Any], old_link: dict[str, Any]) -> None:
    assert results["lost address"]["path"] == "/links"
    assert client.get(link["url"]).status_code == 200
    assert client.get(old_link["url"]).status_code == 404


def test_switches_choose_the_mails_of_an_account_and_of_a_link(
    results: Results, site: Site, client: httpx.Client, owner: Account, link: dict[str, Any], member: Account
) -> None:
    # The member became a superuser, which ended all sessions.
    with site.services.engine.connect() as connection:
        query = sql("SELECT to_jsonb(s) - 'user_id' FROM notification_setting s WHERE user_id = :id")
        settings = connection.execute(query, {"id": member.id}).scalar_one()

    assert results["unconfirmed"]["path"].startswith("/unsubscribe/")
    assert results["unconfirmed"]["widths"][-1] <= 320
    assert settings == {"link_downloads": False, "request_uploads": False, "link_expiry": True, "new_sign_ins": True}
    assert client.get(f"/api/v1/shares/{link['id']}", headers=owner.headers).json()["notify_on_download"] is True


def test_owner_saves_receipts_that_verify(results: Results, client: httpx.Client, link: dict[str, Any]) -> None:
    of_file, of_download = results["known address"]["downloads"]
    keys = client.get("/.well-known/we-upload/log-key").text

    (arrival,) = verify_receipt(of_file["text"].encode(), keys)
    download, file = verify_receipt(of_download["text"].encode(), keys)

    assert of_file["name"] == of_download["name"] == "plan.pdf.receipt.json"
    assert (arrival.action, arrival.details["filename"]) == ("file.available", "plan.pdf")
    assert (download.action, download.subject) == ("share.downloaded", f"share:{link['id']}")
    assert file.details == arrival.details


def test_new_address_of_a_request_replaces_the_old_one(results: Results, client: httpx.Client, request_url: str) -> None:
    assert results["request"]["path"] == "/requests"
    assert client.get(request_url).status_code == 404


def test_role_changes_only_with_the_password_of_the_superuser(
    results: Results, client: httpx.Client, operator: Account, member: Account
) -> None:
    assert results["role"]["statuses"].count(403) == 1
    account = client.get(f"/api/v1/users/{member.id}", headers=operator.headers).json()
    assert account["is_superuser"]


def test_account_is_closed_with_password_and_code(results: Results, client: httpx.Client, careful: tuple[Account, list[str]]) -> None:
    account, _ = careful
    assert results["second factor"]["path"] == "/sign-in"
    assert client.get("/api/v1/users/me", headers=account.headers).status_code in (401, 403)


def test_approved_program_is_signed_in(results: Results, client: httpx.Client, owner: Account, program: dict[str, Any]) -> None:
    assert results["program"]["path"] == "/settings"
    tokens = client.post("/api/v1/login/device/token", json={"device_code": program["device_code"]}).raise_for_status().json()
    me = client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {tokens['access_token']}"}).json()
    assert me["id"] == str(owner.id)


def test_invited_person_has_an_account_with_a_confirmed_address(results: Results, client: httpx.Client, operator: Account) -> None:
    assert results["invitation"]["path"] == "/files"
    found = client.get("/api/v1/users/", params={"search": INVITED}, headers=operator.headers).raise_for_status().json()
    assert [(account["email"], account["email_verified"]) for account in found] == [(INVITED, True)]


def test_many_files_are_changed_by_one_request(results: Results, client: httpx.Client, collector: tuple[Account, list[str]]) -> None:
    account, _ = collector
    paths = [urlsplit(url).path for url in results["many files"]["requests"]]
    changes = ("visibility", "delete", "restore", "trash")
    sent = [path.rsplit("/", 1)[-1] for path in paths if path.startswith("/api/v1/files/") and path.endswith(changes)]

    assert sent == ["visibility", "visibility", "delete", "restore", "delete", "trash"]
    # Without a status, the list leaves out the trash.
    for status in (None, "trashed"):
        files = client.get("/api/v1/files", headers=account.headers, params={"status": status} if status else {}).raise_for_status()
        assert files.json() == []


def test_buttons_for_many_files_fit_a_narrow_screen(results: Results) -> None:
    assert min(results["many files"]["widths"]) <= 320


def test_pages_have_no_accessibility_violations(results: Results) -> None:
    reports = [report for result in results.values() for report in result["axe"]]

    assert len(reports) == 27
    assert [report["violations"] for report in reports if report["violations"]] == []


def test_list_of_all_files_fits_a_narrow_screen(results: Results) -> None:
    assert max(results["files of one account"]["widths"]) <= 320


def test_browser_reports_neither_errors_nor_violations_of_the_policy(results: Results) -> None:
    messages = console_messages(results)

    # The browser itself reports the refusals.
    for name in ("role", "second factor", "turns the factor on", "invitation", "required factor", "unconfirmed", "known address"):
        refusals = ("401", "403", "404", "409", "422")
        assert [message for message in messages.pop(name, []) if not any(status in message for status in refusals)] == []
    assert messages == {}
