"""Mails with the address of a share link: what they say, who may send them, and how many."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
import time_machine
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.repositories.accounts.mail_allowances import MAIL_WINDOW
from lambda_app.services.sharing.link_mail import LINK_MAILS_BY_ACCOUNT
from tests.support.accounts import Account, make_account, make_file, sign_in
from tests.support.mailing import Mailing
from tests.support.problems import assert_problem
from tests.support.shares import change_share, expire_share, make_share

SHARES = "/api/v1/shares"


@pytest.fixture
def sender(mail: Mailing) -> Account:
    return make_account(mail.services)


def link_of(mail: Mailing, sender: Account, **options: Any) -> dict[str, Any]:
    return make_share(mail.client, sender, make_file(mail.client, sender)["id"], **options)


def send(mail: Mailing, sender: Account, share: dict[str, Any], *addresses: str, **fields: Any) -> httpx.Response:
    return mail.client.post(f"{SHARES}/{share['id']}/mail", json={"addresses": addresses, **fields}, headers=sender.headers)


def test_recipients_get_the_address_and_never_the_password(mail: Mailing, sender: Account) -> None:
    share = link_of(mail, sender, password="swordfish", title="Plans", expires_at="2099-01-31T12:00:00Z")

    response = send(mail, sender, share, "Grace@example.com", "alan@example.com", "grace@example.com", message="As promised.")

    assert (response.status_code, list(response.json())) == (202, ["detail"])
    assert sorted(to for to, _ in mail.sent()) == ["alan@example.com", "grace@example.com"]
    body = mail.mails()[0]
    token = share["url"].rpartition("/")[2]
    assert f"\nhttps://files.test/s/{token}\n" in body
    for part in (sender.email, "with We-Upload", "> Plans", "> As promised.", "31 January 2099, 12:00 UTC"):
        assert part in body
    assert "protected with a password" in body
    assert "swordfish" not in body


def test_hostile_message_and_title_stay_quoted(mail: Mailing, sender: Account) -> None:
    message = "hi\r\n\r\nSubject: x\n\u2028https://evil.test\N{RIGHT-TO-LEFT OVERRIDE}<script>alert(1)</script>"
    share = link_of(mail, sender, title="Your account was closed \u2028 Sign in at https://evil.test")

    assert send(mail, sender, share, "grace@example.com", message=message).status_code == 202

    body = mail.mails()[0]
    suspicious = [line for line in body.splitlines() if "evil" in line or "Subject" in line or "script" in line]
    assert len(suspicious) == 3
    assert all(line.startswith("> ") for line in suspicious)
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in body


@pytest.mark.parametrize(
    "fields",
    [
        {"addresses": []},
        {"addresses": ["x@example.com"] * 21},
        {"addresses": ["no address"]},
        {"addresses": ["a@example.com\r\nBcc: b@example.com"]},
        {"addresses": ["a@example.com"], "message": "x" * 1001},
        {"addresses": ["a@example.com"], "message": "\x00"},
    ],
    ids=["none", "many", "bad", "header", "long", "nul"],
)
def test_bad_mail_is_refused(mail: Mailing, sender: Account, fields: dict[str, Any]) -> None:
    share = link_of(mail, sender)

    assert_problem(mail.client.post(f"{SHARES}/{share['id']}/mail", json=fields, headers=sender.headers), 422, "malformed_request")
    assert mail.sent() == []


def test_only_the_owner_mails_an_open_link(mail: Mailing, sender: Account) -> None:
    share = link_of(mail, sender)
    others = [make_account(mail.services), make_account(mail.services, is_superuser=True)]
    for other in others:
        assert_problem(send(mail, other, share, "grace@example.com"), 404, "share_not_found")
    with mail.services.engine.begin() as connection:
        connection.execute(text("UPDATE share SET encrypted_token = NULL WHERE id = :id"), {"id": share["id"]})
    assert_problem(send(mail, sender, share, "grace@example.com"), 409, "share_address_unknown")
    expire_share(mail.services, share)
    assert_problem(send(mail, sender, share, "grace@example.com"), 409, "share_expired")
    mail.client.delete(f"{SHARES}/{share['id']}", headers=sender.headers)
    assert_problem(send(mail, sender, share, "grace@example.com"), 409, "share_revoked")

    assert mail.sent() == []


def test_sender_must_have_confirmed_the_address(mail: Mailing) -> None:
    sender = make_account(mail.services, is_verified=False)

    assert_problem(send(mail, sender, link_of(mail, sender), "grace@example.com"), 403, "sender_not_verified")


def test_sender_reaches_a_limit_for_all_links_together(mail: Mailing, sender: Account) -> None:
    first, second = link_of(mail, sender), link_of(mail, sender)
    with time_machine.travel(clock.now(), tick=False) as traveller:
        for number in range(LINK_MAILS_BY_ACCOUNT // 20):
            assert send(mail, sender, first, *(f"r{number}-{n}@example.com" for n in range(20))).status_code == 202

        refused = send(mail, sender, second, "grace@example.com")

        assert_problem(refused, 429, "too_many_mails", headers={"retry-after": str(int(MAIL_WINDOW.total_seconds()))})
        assert len(mail.sent()) == LINK_MAILS_BY_ACCOUNT
        traveller.shift(MAIL_WINDOW)
        fresh = replace(sender, token=sign_in(mail.client, email=sender.email, password=sender.password))
        assert send(mail, fresh, second, "grace@example.com").status_code == 202


def test_senders_together_cannot_flood_an_inbox_and_do_not_learn_it(mail: Mailing, sender: Account) -> None:
    other = make_account(mail.services)
    links = {account.email: link_of(mail, account) for account in (sender, other)}
    fresh = send(mail, sender, links[sender.email], "new@example.com").json()

    responses = [send(mail, account, links[account.email], "grace@example.com") for account in (sender, other) for _ in range(4)]

    assert [response.json() for response in responses] == [fresh] * 8
    assert [to for to, _ in mail.sent()].count("grace@example.com") == 5
    for account, link in ((account, links[account.email]) for account in (sender, other)):
        assert audited_recipients(mail, link) == ([1] * 5 if account is sender else [1] * 4)


def audited_recipients(mail: Mailing, share: dict[str, Any]) -> list[int]:
    """Return the number of recipients in each audit event of the link, and check that the events have nothing else."""
    with mail.services.engine.connect() as connection:
        query = text("SELECT details FROM audit_event WHERE subject = :subject AND action = 'share.mailed' ORDER BY seq")
        found = [json.loads(details) for details in connection.execute(query, {"subject": f"share:{share['id']}"}).scalars()]
    assert all(details.keys() == {"recipient_count"} for details in found)
    return [details["recipient_count"] for details in found]


def test_mail_is_audited_without_the_addresses(mail: Mailing, sender: Account) -> None:
    share = link_of(mail, sender)
    change_share(mail.client, sender, share, note="n")

    send(mail, sender, share, "grace@example.com", "alan@example.com", message="secret words")

    assert audited_recipients(mail, share) == [2]
