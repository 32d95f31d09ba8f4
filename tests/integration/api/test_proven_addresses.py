"""An address names an account only after its owner has confirmed it: registration by another person gains nothing."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.models import GrantRole
from lambda_app.repositories.sharing.grants import FileGrantRepository
from lambda_app.schemas.accounts.users import UserUpdate
from tests.support.accounts import Account, make_account, make_file, sign_in
from tests.support.mailing import Mailing
from tests.support.other_ways import has_other_ways, open_other_ways
from tests.support.problems import assert_problem, assert_unauthenticated
from tests.support.shares import make_share

API = "/api/v1"
LOGIN, USERS, FILES = f"{API}/login", f"{API}/users", f"{API}/files"
SQUATTERS_PASSWORD, OWNERS_PASSWORD = "chosen by the squatter", "chosen by the owner"


def register(client: httpx.Client, email: str, password: str = SQUATTERS_PASSWORD) -> Account:
    response = client.post(f"{USERS}/", json={"email": email, "password": password})
    assert response.status_code == 201, response.text
    token = sign_in(client, email=email, password=password)
    return Account(UUID(response.json()["id"]), email, password, token)


def new_address() -> str:
    return f"victim-{uuid4()}@example.com"


def share_with(client: httpx.Client, owner: Account, file: dict[str, Any], **grantee: str) -> dict[str, Any]:
    response = client.put(f"{FILES}/{file['id']}/grants", json=grantee, headers=owner.headers)
    assert response.status_code == 200, response.text
    grant: dict[str, Any] = response.json()
    return grant


def can_read(client: httpx.Client, account: Account, file: dict[str, Any]) -> bool:
    status = client.get(f"{FILES}/{file['id']}", headers=account.headers).status_code
    assert status in (200, 403)
    listed = client.get(FILES, params={"shared": "with_me"}, headers=account.headers).json()
    assert (file["id"] in [row["id"] for row in listed]) == (status == 200)
    return status == 200


def mark_verified(client: httpx.Client, admin: Account, account: Account, *, is_verified: bool = True) -> dict[str, Any]:
    response = client.put(f"{USERS}/{account.id}", json={"email_verified": is_verified}, headers=admin.headers)
    assert response.status_code == 200, response.text
    user: dict[str, Any] = response.json()
    return user


def events_of(services: Services, subject: str) -> list[tuple[str, str]]:
    with services.engine.begin() as connection:
        query = text("SELECT action, details FROM audit_event WHERE subject = :subject ORDER BY seq")
        return [(row[0], row[1]) for row in connection.execute(query, {"subject": subject})]


# --- registration ----------------------------------------------------------------------------------------------------


def test_registered_account_signs_in_at_once_with_an_unconfirmed_address(client: httpx.Client) -> None:
    account = register(client, new_address())

    assert client.get(f"{USERS}/me", headers=account.headers).json()["email_verified"] is False


def test_registration_sends_a_confirmation_where_mail_is_possible(mail: Mailing) -> None:
    email = new_address()
    register(mail.client, email)

    assert [recipient for recipient, _ in mail.sent()] == [email]
    assert "/verify-email#token=" in mail.mails()[0]


# --- grants ----------------------------------------------------------------------------------------------------------


def test_squatter_does_not_get_what_is_shared_with_the_address(client: httpx.Client, owner: Account, admin: Account) -> None:
    squatter, file = register(client, new_address()), make_file(client, owner)
    path = f"{FILES}/{file['id']}"

    granted = share_with(client, owner, file, email=squatter.email, role="editor")

    assert granted["is_pending"] is True
    assert [row["is_pending"] for row in client.get(f"{path}/grants", headers=owner.headers).json()] == [True]
    assert not can_read(client, squatter, file)
    for response in (
        client.get(f"{FILES}/download/{file['id']}", headers=squatter.headers),
        client.put(path, json={"description": "x"}, headers=squatter.headers),
        client.get(f"{path}/grants", headers=squatter.headers),
        client.delete(f"{path}/grants/{squatter.id}", headers=squatter.headers),
    ):
        assert_problem(response, 403, "file_forbidden")
    archive = client.post(f"{API}/archives", json={"file_ids": [file["id"]]}, headers=squatter.headers)
    assert_problem(archive, 404, "files_not_found")
    assert mark_verified(client, admin, squatter)["email_verified"] is True
    assert can_read(client, squatter, file)
    assert client.put(path, json={"description": "x"}, headers=squatter.headers).status_code == 200
    assert [row["is_pending"] for row in client.get(f"{path}/grants", headers=owner.headers).json()] == [False]


def test_grant_by_id_has_effect_without_a_confirmed_address(client: httpx.Client, owner: Account) -> None:
    account, file = register(client, new_address()), make_file(client, owner)
    assert share_with(client, owner, file, email=account.email)["is_pending"] is True

    assert share_with(client, owner, file, user_id=str(account.id))["is_pending"] is False
    assert can_read(client, account, file)


def test_repeated_grant_keeps_its_effect_when_the_address_is_no_longer_confirmed(
    client: httpx.Client, owner: Account, admin: Account, make_user: Callable[..., Account]
) -> None:
    """Grants from before the migration have an effect, although many of their accounts have not confirmed their address."""
    friend, file = make_user(), make_file(client, owner)
    assert share_with(client, owner, file, email=friend.email)["is_pending"] is False
    mark_verified(client, admin, friend, is_verified=False)

    assert can_read(client, friend, file)
    assert share_with(client, owner, file, email=friend.email)["is_pending"] is False
    assert share_with(client, owner, make_file(client, owner), email=friend.email)["is_pending"] is True


def test_change_of_address_gains_nothing_until_the_new_address_is_confirmed(
    client: httpx.Client, owner: Account, admin: Account, make_user: Callable[..., Account]
) -> None:
    account, file, other = make_user(), make_file(client, owner), make_file(client, owner)
    claimed, proof = new_address(), {"current_password": account.password}
    assert client.put(f"{USERS}/me", json={"email": claimed} | proof, headers=account.headers).json()["email_verified"] is False
    assert share_with(client, owner, file, email=claimed)["is_pending"] is True
    assert not can_read(client, account, file)

    # The address that is confirmed later is another one.
    moved = new_address()
    assert client.put(f"{USERS}/me", json={"email": moved} | proof, headers=account.headers).status_code == 200
    assert share_with(client, owner, other, email=moved)["is_pending"] is True
    mark_verified(client, admin, account)

    assert not can_read(client, account, file)
    assert can_read(client, account, other)


def test_grant_concurrent_with_the_confirmation_is_never_left_pending(
    settings: Settings, client: httpx.Client, owner: Account, admin: Account
) -> None:
    pooled = Services.build(settings.model_copy(update={"database_pool_size": 10}))
    files = [make_file(client, owner) for _ in range(6)]
    for _ in range(5):
        account = register(client, new_address())

        def share(file: dict[str, Any], account: Account = account) -> None:
            with pooled.unit_of_work() as session:
                user = pooled.users(session).get_user(_superuser(pooled, session, admin), owner.id)
                grants = FileGrantRepository(session)
                assert grants.put(UUID(file["id"]), user, grantee_id=account.id, role=GrantRole.VIEWER, email=account.email)

        def confirm(account: Account = account) -> None:
            with pooled.unit_of_work() as session:
                superuser = _superuser(pooled, session, admin)
                pooled.users(session).update_user(superuser, account.id, UserUpdate(email_verified=True))

        with ThreadPoolExecutor(7) as pool:
            tasks = [pool.submit(share, file) for file in files[:3]]
            tasks.append(pool.submit(confirm))
            tasks += [pool.submit(share, file) for file in files[3:]]
            for task in tasks:
                task.result()
        assert all(can_read(client, account, file) for file in files)
    pooled.engine.dispose()


def _superuser(services: Services, session: Any, admin: Account) -> Any:
    from lambda_app.repositories.accounts.users import UserRepository

    return UserRepository(session).require(admin.id)


# --- links for named accounts ----------------------------------------------------------------------------------------


def test_named_link_is_closed_to_an_unconfirmed_address(client: httpx.Client, owner: Account, admin: Account) -> None:
    squatter, file = register(client, new_address()), make_file(client, owner)
    link = make_share(client, owner, file["id"], audience="named", recipients=[squatter.email])

    assert (link["recipients"], link["pending_recipients"]) == ([squatter.email], [squatter.email])
    assert_problem(client.get(link["url"], headers=squatter.headers), 404, "link_not_found")
    assert_problem(client.get(f"{link['url']}/files/{file['id']}", headers=squatter.headers), 404, "link_not_found")
    mark_verified(client, admin, squatter)
    assert client.get(link["url"], headers=squatter.headers).status_code == 200
    assert client.get(f"{API}/shares/{link['id']}", headers=owner.headers).json()["pending_recipients"] == []


def test_changed_recipients_follow_the_same_rule(
    client: httpx.Client, owner: Account, admin: Account, make_user: Callable[..., Account]
) -> None:
    squatter, friend, file = register(client, new_address()), make_user(), make_file(client, owner)
    link = make_share(client, owner, file["id"], audience="named", recipients=[friend.email])

    def change(*recipients: str) -> dict[str, Any]:
        response = client.patch(f"{API}/shares/{link['id']}", json={"recipients": list(recipients)}, headers=owner.headers)
        assert response.status_code == 200
        changed: dict[str, Any] = response.json()
        return changed

    changed = change(friend.email, squatter.email)
    assert (changed["recipients"], changed["pending_recipients"]) == (sorted([friend.email, squatter.email]), [squatter.email])
    assert client.get(link["url"], headers=friend.headers).status_code == 200
    assert_problem(client.get(link["url"], headers=squatter.headers), 404, "link_not_found")
    changed = change(str(squatter.id))
    assert (changed["recipients"], changed["pending_recipients"]) == ([str(squatter.id)], [])
    assert client.get(link["url"], headers=squatter.headers).status_code == 200
    assert_problem(client.get(link["url"], headers=friend.headers), 404, "link_not_found")


# --- superusers ------------------------------------------------------------------------------------------------------


def test_only_superusers_can_mark_an_address_as_confirmed(client: httpx.Client, services: Services, owner: Account, admin: Account) -> None:
    account = register(client, new_address())
    for path in (f"{USERS}/me", f"{USERS}/{account.id}"):
        response = client.put(path, json={"email_verified": True}, headers=account.headers)
        assert response.status_code in (403, 422)
    assert_problem(client.put(f"{USERS}/{account.id}", json={"email_verified": True}, headers=owner.headers), 403, "permission_denied")
    assert_problem(client.put(f"{USERS}/{account.id}", json={"email_verified": None}, headers=admin.headers), 422, "malformed_request")

    assert mark_verified(client, admin, account)["email_verified"] is True
    assert mark_verified(client, admin, account, is_verified=False)["email_verified"] is False

    marks = [event for event in events_of(services, f"user:{account.id}") if event[0].startswith("user.email")]
    assert marks == [
        ("user.email_verified", '{"email_verified": true, "fields": ["email_verified"]}'),
        ("user.email_unverified", '{"email_verified": false, "fields": ["email_verified"]}'),
    ]


# --- confirmation and reset ------------------------------------------------------------------------------------------


def request_confirmation(mail: Mailing, account: Account) -> str:
    assert mail.client.post(f"{LOGIN}/verification", json={"email": account.email}).status_code == 202
    return mail.token()


def confirm(mail: Mailing, token: str, account: Account | None = None, **fields: str) -> httpx.Response:
    headers = {} if account is None else account.headers
    return mail.client.post(f"{LOGIN}/verify-email", json={"token": token, **fields}, headers=headers)


def test_confirmation_with_the_accounts_own_session_keeps_the_account(mail: Mailing) -> None:
    account = register(mail.client, new_address())
    token = request_confirmation(mail, account)

    assert confirm(mail, token, account).status_code == 204

    assert mail.client.get(f"{USERS}/me", headers=account.headers).json()["email_verified"] is True
    assert_problem(confirm(mail, token, account), 410, "link_expired")


def test_confirmation_link_works_once_even_if_the_address_is_unconfirmed_again(mail: Mailing) -> None:
    account, superuser = register(mail.client, new_address()), make_account(mail.services, is_superuser=True)
    token = request_confirmation(mail, account)
    assert confirm(mail, token, account).status_code == 204
    mark_verified(mail.client, superuser, account, is_verified=False)

    assert_problem(confirm(mail, token, account), 410, "link_expired")


def test_confirmation_with_the_current_password_keeps_the_account(mail: Mailing) -> None:
    account = register(mail.client, new_address())
    file = make_file(mail.client, account, is_public=True)

    assert confirm(mail, request_confirmation(mail, account), password=account.password).status_code == 204

    assert mail.client.get(f"{USERS}/me", headers=account.headers).json()["email_verified"] is True
    assert mail.client.get(f"{FILES}/{file['id']}", headers=account.headers).json()["is_public"] is True


def test_confirmation_without_a_password_asks_for_one_and_keeps_the_link_valid(mail: Mailing) -> None:
    account, other = register(mail.client, new_address()), make_account(mail.services)
    token = request_confirmation(mail, account)

    assert_problem(confirm(mail, token), 403, "password_required")
    assert_problem(confirm(mail, token, other), 403, "password_required")
    assert_problem(confirm(mail, token, password="password"), 422, "weak_password")
    assert mail.client.get(f"{USERS}/me", headers=account.headers).json()["email_verified"] is False
    assert confirm(mail, token, password=OWNERS_PASSWORD).status_code == 204


def test_password_of_another_person_ends_with_the_confirmation(strict: Mailing) -> None:
    email = new_address()
    new = {"email": email, "password": SQUATTERS_PASSWORD}
    assert strict.client.post(f"{USERS}/", json=new).status_code == 201

    assert confirm(strict, strict.token(), password=OWNERS_PASSWORD).status_code == 204

    form = {"username": email, "password": SQUATTERS_PASSWORD}
    assert_problem(strict.client.post(f"{LOGIN}/token", data=form), 401, "bad_credentials")
    assert sign_in(strict.client, email=email, password=OWNERS_PASSWORD)


@pytest.mark.parametrize("way", ["confirmation", "reset"])
def test_nothing_that_the_squatter_made_stays_open(mail: Mailing, owner: Account, way: str) -> None:
    client, squatter = mail.client, register(mail.client, new_address())
    friend = make_account(mail.services)
    public, shared = make_file(client, squatter, is_public=True), make_file(client, squatter)
    share_with(client, squatter, shared, user_id=str(friend.id))
    link = make_share(client, squatter, shared["id"])
    request = client.post(f"{API}/file-requests", json={"title": "t"}, headers=squatter.headers).json()
    key = client.post(f"{API}/users/me/api-keys", json={"name": "n", "scopes": ["admin"]}, headers=squatter.headers).json()["key"]
    offered = open_other_ways(client, mail.services, squatter, friend)
    awaited = make_file(client, owner)
    assert share_with(client, owner, awaited, email=squatter.email)["is_pending"] is True

    if way == "confirmation":
        assert confirm(mail, request_confirmation(mail, squatter), password=OWNERS_PASSWORD).status_code == 204
    else:
        client.post(f"{LOGIN}/forgot-password", json={"email": squatter.email})
        reset = {"token": mail.token(), "password": OWNERS_PASSWORD}
        assert client.post(f"{LOGIN}/reset-password", json=reset).status_code == 204

    assert_unauthenticated(client.get(f"{USERS}/me", headers=squatter.headers))
    assert_unauthenticated(client.get(f"{USERS}/me", headers={"Authorization": f"Bearer {key}"}))
    assert_problem(client.get(link["url"]), 404, "link_not_found")
    assert_problem(client.get(f"/r/{request['token']}"), 404, "link_not_found")
    assert_problem(client.get(public["public_path"]), 404, "file_not_found")
    assert not can_read(client, friend, shared)
    assert_problem(client.post(f"{API}/transfers/{offered}/accept", headers=friend.headers), 409, "transfer_closed")
    assert not has_other_ways(mail.services, squatter)
    with mail.services.engine.begin() as connection:
        tokens = """
            SELECT encrypted_token FROM share WHERE id = :share
            UNION ALL SELECT encrypted_token FROM file_request WHERE id = :request"""
        stored = connection.execute(text(tokens), {"share": link["id"], "request": request["id"]}).scalars().all()
    assert stored == [None, None]
    true_owner = Account(squatter.id, squatter.email, OWNERS_PASSWORD, sign_in(client, email=squatter.email, password=OWNERS_PASSWORD))
    assert can_read(client, true_owner, awaited)
    [(_, details)] = [event for event in events_of(mail.services, f"user:{squatter.id}") if event[0] == "password.reset"]
    closed = dict.fromkeys(("file_requests", "grants", "invitations", "public_files", "shares", "transfers", "webhooks"), 1)
    assert json.loads(details)["closed"] == {"archives": 0, **closed}


def test_reset_of_a_confirmed_account_keeps_its_links(mail: Mailing) -> None:
    client, account = mail.client, make_account(mail.services)
    link = make_share(client, account, make_file(client, account)["id"])
    client.post(f"{LOGIN}/forgot-password", json={"email": account.email})

    reset = {"token": mail.token(), "password": OWNERS_PASSWORD}
    assert client.post(f"{LOGIN}/reset-password", json=reset).status_code == 204

    assert client.get(link["url"]).status_code == 200


# --- white space -----------------------------------------------------------------------------------------------------


def test_white_space_around_an_address_is_ignored(client: httpx.Client, owner: Account) -> None:
    email, file = new_address(), make_file(client, owner)
    account = register(client, f" {email}  ")
    assert client.get(f"{USERS}/me", headers=account.headers).json()["email"] == email

    for typed in (f"{email} ", f" {email}", f"{email}\n", f"\u00a0{email}"):
        assert sign_in(client, email=typed, password=account.password)
    for typed in (f"{email} ", f" {email}", f"\u00a0{email}"):
        assert share_with(client, owner, file, email=typed)["user_id"] == str(account.id)
    assert_problem(client.post(f"{USERS}/", json={"email": f"{email} ", "password": SQUATTERS_PASSWORD}), 409, "email_taken")
    link = make_share(client, owner, file["id"], audience="named", recipients=[f" {owner.email} ", f"{email} "])
    assert email in link["recipients"]
