"""Invitations by mail: who may send them, what accepting them does, and what they reveal about an address."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select, text

from lambda_app.core import clock
from lambda_app.core.errors import AppError
from lambda_app.core.settings import Settings
from lambda_app.models import AuditEvent, User
from lambda_app.repositories.accounts.mail_allowances import MAILS_BY_ACCOUNT, MAILS_FOR_ADDRESS_BY_REQUESTER
from lambda_app.repositories.events.dispatch import SealedEvent
from lambda_app.schemas.accounts.invitations import FileInvitationCreate
from lambda_app.services.accounts.invitations import TooManyInvitationsError
from lambda_app.services.accounts.recovery import MailTokenSpentError
from lambda_app.services.events.mapping import events_of
from tests.support.accounts import Account, make_file, sign_in
from tests.support.mailing import Mailing, mailing
from tests.support.problems import assert_problem

INVITATIONS = "/api/v1/invitations"
PASSWORD = "a sentence is a good password"


@pytest.fixture
def closed(settings: Settings, tmp_path: Path) -> Iterator[Mailing]:
    """An API where registration is closed and users may invite."""
    with mailing(settings, tmp_path, open_registration=False, invitations_by_users=True) as made:
        yield made


def address() -> str:
    return f"{uuid4()}@example.com"


def invite(mail: Mailing, inviter: Account, email: str, file: dict[str, Any] | None = None, **fields: str) -> httpx.Response:
    path = INVITATIONS if file is None else f"/api/v1/files/{file['id']}/invitations"
    return mail.client.post(path, json={"email": email, **fields}, headers=inviter.headers)


def accept(mail: Mailing, token: str, *, by: Account | None = None, **fields: str) -> httpx.Response:
    headers = {} if by is None else by.headers
    return mail.client.post(f"{INVITATIONS}/accept", json={"token": token, **fields}, headers=headers)


def grants_of(mail: Mailing, owner: Account, file: dict[str, Any]) -> list[tuple[str, str, bool]]:
    listed = mail.client.get(f"/api/v1/files/{file['id']}/grants", headers=owner.headers).json()
    return [(grant["email"], grant["role"], grant["is_pending"]) for grant in listed]


def test_reader_of_the_mail_creates_an_account_where_registration_is_closed(closed: Mailing, admin: Account) -> None:
    email = address()

    sent = invite(closed, admin, email.upper())

    assert sent.status_code == 201
    assert (sent.json()["email"], sent.json()["file_id"], sent.json()["role"]) == (email, None, None)
    assert closed.sent()[0][0] == email
    assert_problem(accept(closed, closed.token()), 403, "password_required")
    assert_problem(accept(closed, closed.token(), password="password"), 422, "weak_password")
    created = accept(closed, closed.token(), password=PASSWORD)
    assert created.status_code == 200
    assert (created.json()["email"], created.json()["email_verified"], created.json()["is_superuser"]) == (email, True, False)
    assert sign_in(closed.client, email=email, password=PASSWORD)
    assert_problem(accept(closed, closed.token(), password="another good password"), 410, "link_expired")


def test_only_superusers_invite_to_create_an_account(closed: Mailing, owner: Account) -> None:
    assert_problem(invite(closed, owner, address()), 403, "permission_denied")
    assert closed.sent() == []


def test_superuser_learns_that_an_address_has_an_account(closed: Mailing, admin: Account, owner: Account) -> None:
    assert_problem(invite(closed, admin, owner.email), 409, "email_taken")


def test_file_is_shared_when_the_new_account_accepts(closed: Mailing, owner: Account) -> None:
    file, email = make_file(closed.client, owner), address()

    sent = invite(closed, owner, email, file, role="editor")

    assert sent.status_code == 201, sent.text
    recipient, body = closed.sent()[0]
    assert (recipient, owner.email in body, file["filename"] in body) == (email, True, False)
    assert grants_of(closed, owner, file) == []
    assert accept(closed, closed.token(), password=PASSWORD).status_code == 200
    assert grants_of(closed, owner, file) == [(email, "editor", False)]
    token = sign_in(closed.client, email=email, password=PASSWORD)
    shared = closed.client.get(f"/api/v1/files/{file['id']}", headers={"Authorization": f"Bearer {token}"})
    assert shared.status_code == 200
    assert closed.client.get(INVITATIONS, headers=owner.headers).json() == []


def test_invitation_does_not_tell_whether_the_address_has_an_account(
    closed: Mailing, owner: Account, make_user: Callable[..., Account]
) -> None:
    file, known = make_file(closed.client, owner), make_user()

    answers = [invite(closed, owner, email, file).json() for email in (address(), known.email)]

    hidden = {"id", "email", "created_at", "sent_at", "expires_at"}
    assert {key: value for key, value in answers[0].items() if key not in hidden} == {
        key: value for key, value in answers[1].items() if key not in hidden
    }
    assert len(closed.sent()) == 2
    assert len({body.partition("#")[0] for _, body in closed.sent()}) == 1
    assert grants_of(closed, owner, file) == []
    listed = closed.client.get(INVITATIONS, params={"file_id": file["id"]}, headers=owner.headers).json()
    assert [entry["email"] for entry in listed] == [known.email, answers[0]["email"]]


def test_owner_of_the_account_accepts_when_signed_in(closed: Mailing, owner: Account, make_user: Callable[..., Account]) -> None:
    file, known, other = make_file(closed.client, owner), make_user(is_verified=False), make_user()
    invite(closed, owner, known.email, file)

    assert_problem(accept(closed, closed.token()), 403, "sign_in_required")
    assert_problem(accept(closed, closed.token(), password="a stolen mail must not be enough"), 403, "sign_in_required")
    assert_problem(accept(closed, closed.token(), by=other), 403, "sign_in_required")
    accepted = accept(closed, closed.token(), by=known)

    assert accepted.status_code == 200
    assert accepted.json()["email_verified"] is True
    assert grants_of(closed, owner, file) == [(known.email, "viewer", False)]
    assert sign_in(closed.client, email=known.email, password=known.password)


def test_acceptance_gives_effect_to_all_invitations_of_the_address(
    closed: Mailing, owner: Account, make_user: Callable[..., Account]
) -> None:
    second_owner, email = make_user(), address()
    first, second = make_file(closed.client, owner), make_file(closed.client, second_owner)
    invite(closed, owner, email, first)
    invite(closed, second_owner, email, second)

    assert accept(closed, closed.token(0), password=PASSWORD).status_code == 200

    assert grants_of(closed, owner, first) == [(email, "viewer", False)]
    assert grants_of(closed, second_owner, second) == [(email, "viewer", False)]


def test_repeated_invitation_replaces_the_link_and_the_role(closed: Mailing, owner: Account) -> None:
    file, email = make_file(closed.client, owner), address()

    first = invite(closed, owner, email, file).json()
    second = invite(closed, owner, email, file, role="editor").json()
    third = closed.client.post(f"{INVITATIONS}/{first['id']}/resend", headers=owner.headers)

    assert (second["id"], third.status_code, third.json()["role"]) == (first["id"], 200, "editor")
    assert len(closed.sent()) == 3
    for number in (0, 1):
        assert_problem(accept(closed, closed.token(number), password=PASSWORD), 410, "link_expired")
    assert accept(closed, closed.token(), password=PASSWORD).status_code == 200


def test_mails_to_one_address_and_by_one_user_are_bounded(closed: Mailing, owner: Account) -> None:
    file, email = make_file(closed.client, owner), address()

    to_one = [invite(closed, owner, email, file).status_code for _ in range(MAILS_FOR_ADDRESS_BY_REQUESTER + 1)]
    to_others = [invite(closed, owner, address(), file) for _ in range(2)]

    assert to_one == [201] * MAILS_FOR_ADDRESS_BY_REQUESTER + [429]
    # A refused request counts too.
    assert to_others[0].status_code == 201
    assert_problem(to_others[1], 429, "too_many_invitation_mails")
    assert int(to_others[1].headers["Retry-After"]) > 0
    assert len(closed.sent()) == MAILS_BY_ACCOUNT - 1


def test_pending_invitations_of_one_user_are_bounded(closed: Mailing, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambda_app.services.accounts.invitations.PENDING_PER_USER", 2)
    file_id = UUID(make_file(closed.client, owner)["id"])

    def send(_: int) -> bool:
        with closed.services.unit_of_work() as session:
            inviter = closed.services.users(session).get_user(User(id=uuid4(), is_superuser=True), owner.id)
            try:
                closed.services.invitations(session).invite_to_file(inviter, file_id, FileInvitationCreate(email=address()))
            except TooManyInvitationsError:
                return False
        return True

    with ThreadPoolExecutor(3) as pool:
        sent = list(pool.map(send, range(3)))

    assert sorted(sent) == [False, True, True]


@pytest.mark.parametrize("change", ["withdrawn", "expired", "inviter disabled", "file deleted", "inviter not the owner any more"])
def test_invitation_that_is_not_in_force_creates_no_account(
    closed: Mailing, owner: Account, make_user: Callable[..., Account], change: str
) -> None:
    file, email = make_file(closed.client, owner), address()
    invitation = invite(closed, owner, email, file).json()
    changes = {
        "expired": "UPDATE invitation SET expires_at = now() WHERE id = :invitation",
        "inviter disabled": 'UPDATE "user" SET is_active = false WHERE id = :inviter',
        "inviter not the owner any more": "UPDATE file SET owner_id = :other WHERE id = :file",
    }
    if change == "withdrawn":
        assert closed.client.delete(f"{INVITATIONS}/{invitation['id']}", headers=owner.headers).status_code == 204
    elif change == "file deleted":
        assert closed.client.delete(f"/api/v1/files/{file['id']}", params={"permanent": True}, headers=owner.headers).status_code == 204
    else:
        ids = {"invitation": invitation["id"], "inviter": owner.id, "file": file["id"], "other": make_user().id}
        with closed.services.engine.begin() as connection:
            connection.execute(text(changes[change]), {name: value for name, value in ids.items() if f":{name}" in changes[change]})

    assert_problem(accept(closed, closed.token(), password=PASSWORD), 410, "link_expired")


def test_invitation_of_a_former_superuser_is_not_in_force(closed: Mailing, make_user: Callable[..., Account]) -> None:
    former = make_user(is_superuser=True)
    invite(closed, former, address())
    with closed.services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET is_superuser = false WHERE id = :id'), {"id": former.id})

    assert_problem(accept(closed, closed.token(), password=PASSWORD), 410, "link_expired")


def test_users_invite_only_where_the_server_allows_it(mail: Mailing, owner: Account) -> None:
    file = make_file(mail.client, owner)

    assert_problem(invite(mail, owner, address(), file), 403, "invitations_closed")
    assert mail.sent() == []


def test_superuser_invites_to_a_file_where_users_may_not(mail: Mailing, admin: Account) -> None:
    file, email = make_file(mail.client, admin), address()

    assert invite(mail, admin, email, file).status_code == 201
    assert accept(mail, mail.token(), password=PASSWORD).status_code == 200

    assert grants_of(mail, admin, file) == [(email, "viewer", False)]


def test_invitation_of_a_user_to_a_file_ends_with_the_setting(closed: Mailing, owner: Account) -> None:
    invite(closed, owner, address(), make_file(closed.client, owner))
    token = closed.token()
    with closed.services.unit_of_work() as session:
        settings = closed.services.settings.model_copy(update={"invitations_by_users": False})
        with pytest.raises(MailTokenSpentError):
            replace(closed.services, settings=settings).invitations(session).accept(token, caller=None, password=PASSWORD)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ('UPDATE "user" SET email_verified_at = NULL WHERE id = :inviter', 403, "email_not_verified"),
        ("UPDATE file SET owner_id = :other WHERE id = :file", 403, "file_forbidden"),
        ('UPDATE "user" SET is_active = false WHERE id = :inviter', 403, "invitations_closed"),
    ],
)
def test_mail_is_not_sent_again_for_what_the_inviter_could_not_send_now(
    closed: Mailing, owner: Account, admin: Account, make_user: Callable[..., Account], change: str, status: int, code: str
) -> None:
    file = make_file(closed.client, owner)
    invitation = invite(closed, owner, address(), file).json()
    ids = {"inviter": owner.id, "file": file["id"], "other": make_user().id}
    with closed.services.engine.begin() as connection:
        connection.execute(text(change), {name: value for name, value in ids.items() if f":{name}" in change})

    assert_problem(closed.client.post(f"{INVITATIONS}/{invitation['id']}/resend", headers=admin.headers), status, code)
    assert len(closed.sent()) == 1


def test_mails_name_no_password_where_passwords_are_closed(settings: Settings, tmp_path: Path, owner: Account, admin: Account) -> None:
    with mailing(settings, tmp_path, password_sign_in=False, invitations_by_users=True) as made:
        invite(made, admin, address())
        invite(made, owner, address(), make_file(made.client, owner))

        assert ["password" in body for body in made.mails()] == [False, False]
        assert_problem(accept(made, made.token()), 403, "password_sign_in_closed")


def test_accepted_invitation_is_an_event_of_owner_and_recipient(closed: Mailing, owner: Account) -> None:
    file = make_file(closed.client, owner)
    invite(closed, owner, address(), file, role="editor")
    account = accept(closed, closed.token(), password=PASSWORD).json()

    with closed.services.unit_of_work() as session:
        query = select(AuditEvent.details).where(AuditEvent.subject == f"file:{file['id']}", AuditEvent.action == "file.shared")
        (details,) = session.execute(query).scalars()

    assert json.loads(details or "") == {
        "user_id": account["id"],
        "role": "editor",
        "owner_id": str(owner.id),
        "is_pending": False,
        "by": "invitation",
    }
    shared = SealedEvent(1, 1, 1, clock.now(), "file.shared", None, f"file:{file['id']}", details, None)
    assert [event.owner_id for event in events_of(shared, {})] == [owner.id, UUID(account["id"])]


def test_only_the_owner_with_a_confirmed_address_invites_to_a_file(
    closed: Mailing, owner: Account, make_user: Callable[..., Account], stranger: Account
) -> None:
    file, unconfirmed = make_file(closed.client, owner), make_user(is_verified=False)

    assert_problem(invite(closed, stranger, address(), file), 403, "file_forbidden")
    assert_problem(invite(closed, unconfirmed, address(), make_file(closed.client, unconfirmed)), 403, "email_not_verified")
    assert_problem(invite(closed, owner, owner.email, file), 409, "own_file")
    assert closed.sent() == []


def test_two_requests_with_one_token_create_one_account(closed: Mailing, admin: Account) -> None:
    invite(closed, admin, address())
    token = closed.token()

    def take(number: int) -> str:
        with closed.services.unit_of_work() as session:
            try:
                closed.services.invitations(session).accept(token, caller=None, password=f"{PASSWORD} {number}")
            except AppError as error:
                return error.code
        return "accepted"

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(take, range(2)))

    assert results.count("accepted") == 1
    assert set(results) <= {"accepted", "email_taken", "link_expired", "sign_in_required"}


def test_invitations_of_all_inviters_are_for_superusers_and_paged(closed: Mailing, admin: Account, owner: Account) -> None:
    file = make_file(closed.client, owner)
    created = [invite(closed, owner, address(), file).json()["id"] for _ in range(2)]

    first = closed.client.get(INVITATIONS, params={"limit": 1}, headers=owner.headers)
    rest = closed.client.get(INVITATIONS, params={"limit": 1, "cursor": first.headers["X-Next-Cursor"]}, headers=owner.headers)
    of_all = closed.client.get(INVITATIONS, params={"all": True}, headers=admin.headers)

    assert [first.json()[0]["id"], rest.json()[0]["id"]] == created[::-1]
    assert set(created) <= {entry["id"] for entry in of_all.json()}
    assert set(created).isdisjoint(entry["id"] for entry in closed.client.get(INVITATIONS, headers=admin.headers).json())
    assert_problem(closed.client.get(INVITATIONS, params={"all": True}, headers=owner.headers), 403, "permission_denied")
    assert closed.client.delete(f"{INVITATIONS}/{created[0]}", headers=admin.headers).status_code == 204


def test_invitations_are_audited_without_the_address(closed: Mailing, admin: Account) -> None:
    email = address()
    invitation = invite(closed, admin, email).json()["id"]
    account = accept(closed, closed.token(), password=PASSWORD).json()

    events = closed.client.get("/api/v1/admin/audit", params={"subject": f"invitation:{invitation}"}, headers=admin.headers).json()
    assert [event["action"] for event in events] == ["invitation.accepted", "invitation.sent"]
    assert email not in str(events)
    assert account["email"] == email


def test_without_mail_nothing_is_invited(client: httpx.Client, admin: Account, owner: Account) -> None:
    file = make_file(client, owner)

    assert_problem(client.post(INVITATIONS, json={"email": address()}, headers=admin.headers), 503, "mail_not_configured")
    answer = client.post(f"/api/v1/files/{file['id']}/invitations", json={"email": address()}, headers=admin.headers)
    assert_problem(answer, 503, "mail_not_configured")
