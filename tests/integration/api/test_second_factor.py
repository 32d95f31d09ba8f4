"""The second factor over HTTP: set-up, sign-in, recovery codes, protected changes, reset, and attacks on all of them."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import time_machine
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.core.security.totp import STEP_SECONDS, matching_step, totp_code
from lambda_app.factory import Services
from lambda_app.repositories.accounts.second_factors import SecondFactorRepository
from tests.support.accounts import Account, make_file
from tests.support.mailing import Mailing
from tests.support.problems import assert_problem
from tests.support.second_factor import FACTOR, current_step, set_up
from tests.support.shares import BROWSER, make_share

TOKEN = "/api/v1/login/token"
SESSION = "/api/v1/session"
SESSION_HEADERS = {"X-We-Upload-Session": "1", "Sec-Fetch-Site": "same-origin"}


def sign_in(client: httpx.Client, account: Account, **fields: str) -> httpx.Response:
    return client.post(TOKEN, data={"username": account.email, "password": account.password, **fields})


def test_set_up_returns_a_secret_an_address_and_a_picture_of_it(client: httpx.Client, owner: Account) -> None:
    answer = client.post(FACTOR, json={"current_password": owner.password}, headers=owner.headers)

    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    body = answer.json()
    assert re.fullmatch("[A-Z2-7]{32}", body["secret"])
    address = urlsplit(body["uri"])
    assert (address.scheme, address.netloc, address.path) == ("otpauth", "totp", f"/We-Upload%3A{owner.email}")
    assert parse_qs(address.query)["secret"] == [body["secret"]]
    picture = ET.fromstring(body["qr_code"])  # noqa: S314 - the API's own answer
    assert {element.tag.rpartition("}")[2] for element in picture.iter()} == {"svg", "path"}


def test_factor_is_off_until_a_code_confirms_it(client: httpx.Client, owner: Account) -> None:
    client.post(FACTOR, json={"current_password": owner.password}, headers=owner.headers)

    assert sign_in(client, owner).status_code == 200
    assert client.get("/api/v1/users/me", headers=owner.headers).json()["has_second_factor"] is False


def test_sign_in_needs_a_code_then(client: httpx.Client, owner: Account) -> None:
    secret, _ = set_up(client, owner)

    assert_problem(sign_in(client, owner), 403, "second_factor_required")
    assert sign_in(client, owner, otp=totp_code(secret, current_step())).status_code == 200
    assert client.get("/api/v1/users/me", headers=owner.headers).json()["has_second_factor"] is True


def test_browser_session_needs_a_code_too(browser: httpx.Client, client: httpx.Client, owner: Account) -> None:
    secret, _ = set_up(client, owner)
    credentials = {"email": owner.email, "password": owner.password}

    assert_problem(browser.post(SESSION, json=credentials, headers=SESSION_HEADERS), 403, "second_factor_required")
    code = totp_code(secret, current_step())
    assert browser.post(SESSION, json=credentials | {"otp": code}, headers=SESSION_HEADERS).status_code == 200


def test_wrong_password_with_a_right_code_is_answered_like_any_wrong_password(client: httpx.Client, owner: Account) -> None:
    secret, _ = set_up(client, owner)

    for fields in ({}, {"otp": totp_code(secret, current_step())}):
        assert_problem(client.post(TOKEN, data={"username": owner.email, "password": "wrong password", **fields}), 401, "bad_credentials")


def test_code_is_accepted_once(client: httpx.Client, owner: Account) -> None:
    secret, _ = set_up(client, owner)
    code = totp_code(secret, current_step())

    assert sign_in(client, owner, otp=code).status_code == 200
    assert_problem(sign_in(client, owner, otp=code), 401, "bad_second_factor")
    assert_problem(sign_in(client, owner, otp=totp_code(secret, current_step(-1))), 401, "bad_second_factor")


def test_of_concurrent_uses_of_one_code_one_succeeds(client: httpx.Client, services: Services, owner: Account) -> None:
    _, codes = set_up(client, owner)
    step = current_step(1)

    def use_both(_number: int) -> tuple[bool, bool]:
        with services.unit_of_work() as session:
            factors = SecondFactorRepository(session)
            return factors.use_step(owner.id, step), factors.use_recovery_code(owner.id, hash_secret(codes[0].replace("-", "")))

    with ThreadPoolExecutor(4) as pool:
        used = list(pool.map(use_both, range(8)))

    assert [sum(is_used) for is_used in zip(*used, strict=True)] == [1, 1]


@pytest.mark.parametrize(("offset", "is_accepted"), [(-3, False), (-2, False), (1, True), (2, False)])
def test_only_codes_near_the_time_are_accepted(offset: int, is_accepted: bool) -> None:
    secret, now = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", clock.now()
    step = int(now.timestamp()) // STEP_SECONDS + offset

    assert (matching_step(secret, totp_code(secret, step), now) == step) is is_accepted


def test_codes_are_those_of_rfc_6238() -> None:
    # Appendix B, SHA-1; the last six of eight digits.
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

    assert [totp_code(secret, seconds // STEP_SECONDS) for seconds in (59, 1111111109, 20000000000)] == ["287082", "081804", "353130"]


def test_each_recovery_code_is_accepted_once(client: httpx.Client, owner: Account, admin: Account) -> None:
    _, codes = set_up(client, owner)

    assert len(set(codes)) == 10
    assert sign_in(client, owner, otp=codes[0].upper().replace("-", " ")).status_code == 200
    assert_problem(sign_in(client, owner, otp=codes[0]), 401, "bad_second_factor")
    assert sign_in(client, owner, otp=codes[1]).status_code == 200
    events = client.get("/api/v1/admin/audit", params={"subject": f"user:{owner.id}"}, headers=admin.headers).json()
    assert [event["action"] for event in events].count("second_factor.recovery_code_used") == 2


def test_recovery_codes_of_another_account_are_refused(client: httpx.Client, owner: Account, make_user: Callable[..., Account]) -> None:
    other = make_user()
    set_up(client, owner)
    _, codes = set_up(client, other)

    assert_problem(sign_in(client, owner, otp=codes[0]), 401, "bad_second_factor")
    assert sign_in(client, other, otp=codes[0]).status_code == 200


def test_new_recovery_codes_replace_the_old_ones(client: httpx.Client, owner: Account) -> None:
    _, codes = set_up(client, owner)
    proof = {"current_password": owner.password, "otp": codes[0]}

    renewed = client.post(f"{FACTOR}/recovery-codes", json=proof, headers=owner.headers).json()["recovery_codes"]

    assert_problem(sign_in(client, owner, otp=codes[1]), 401, "bad_second_factor")
    assert sign_in(client, owner, otp=renewed[0]).status_code == 200


@pytest.mark.slow
def test_codes_cannot_be_guessed_from_many_networks(
    client_from: Callable[[str], httpx.Client], client: httpx.Client, owner: Account
) -> None:
    set_up(client, owner)
    statuses = []
    for number in range(60):
        with client_from(f"198.51.{number}.7") as attacker:
            statuses.append(sign_in(attacker, owner, otp="000000").status_code)

    assert statuses[0] == 401
    assert 429 in statuses
    assert statuses[-1] == 429


def test_secret_is_encrypted_and_bound_to_the_account(client: httpx.Client, services: Services, make_user: Callable[..., Account]) -> None:
    owner, victim = make_user(), make_user()
    secret, _ = set_up(client, owner)
    other, _ = set_up(client, victim)
    with services.engine.begin() as connection:
        rows = connection.execute(text('SELECT id, totp_secret FROM "user" WHERE totp_secret IS NOT NULL')).all()
        stored = {row.id: row.totp_secret for row in rows}
        assert secret not in str(stored)
        assert other not in str(stored)
        # An attacker who can write to the database cannot give one account the secret of another.
        statement = text('UPDATE "user" SET totp_secret = :stored WHERE id = :id')
        connection.execute(statement, {"stored": stored[victim.id], "id": owner.id})

    assert_problem(sign_in(client, owner, otp=totp_code(other, current_step())), 401, "bad_second_factor")


@pytest.mark.parametrize("change", [{"email": "new-address@example.com"}, {"password": "another good password"}])
def test_changes_of_address_and_password_need_a_code(client: httpx.Client, owner: Account, change: dict[str, Any]) -> None:
    _, codes = set_up(client, owner)
    change = change | {"current_password": owner.password}

    assert_problem(client.patch("/api/v1/users/me", json=change, headers=owner.headers), 403, "second_factor_required")
    assert_problem(client.patch("/api/v1/users/me", json=change | {"otp": "1"}, headers=owner.headers), 401, "bad_second_factor")
    assert client.patch("/api/v1/users/me", json=change | {"otp": codes[0]}, headers=owner.headers).status_code == 200


def test_set_up_needs_the_password_and_no_factor_in_use(client: httpx.Client, owner: Account) -> None:
    for password in ("wrong password", ""):
        answer = client.post(FACTOR, json={"current_password": password}, headers=owner.headers)
        assert_problem(answer, 403, "current_password_required")
    set_up(client, owner)

    answer = client.post(FACTOR, json={"current_password": owner.password}, headers=owner.headers)
    assert_problem(answer, 409, "second_factor_on")
    assert_problem(client.post(f"{FACTOR}/confirm", json={"otp": "123456"}, headers=owner.headers), 409, "second_factor_on")


def test_turning_it_off_needs_password_and_code(client: httpx.Client, owner: Account) -> None:
    _, codes = set_up(client, owner)

    for proof, status, code in (
        ({"current_password": "wrong password", "otp": codes[0]}, 403, "current_password_required"),
        ({"current_password": owner.password, "otp": "000000"}, 401, "bad_second_factor"),
        ({"current_password": owner.password}, 422, "malformed_request"),
    ):
        assert_problem(client.post(f"{FACTOR}/disable", json=proof, headers=owner.headers), status, code)
    proof = {"current_password": owner.password, "otp": codes[1]}
    assert client.post(f"{FACTOR}/disable", json=proof, headers=owner.headers).status_code == 204

    assert sign_in(client, owner).status_code == 200


def test_superuser_resets_a_lost_factor_and_the_owner_hears_of_it(mail: Mailing, make_user: Callable[..., Account]) -> None:
    client = mail.client
    admin, owner = make_user(is_superuser=True), make_user()
    _, codes = set_up(client, owner)
    path = f"/api/v1/users/{owner.id}/second-factor/reset"

    assert_problem(client.post(path, json={"current_password": owner.password}, headers=owner.headers), 403, "permission_denied")
    assert_problem(client.post(path, json={"current_password": "wrong"}, headers=admin.headers), 403, "current_password_required")
    assert client.post(path, json={"current_password": admin.password}, headers=admin.headers).status_code == 204

    assert sign_in(client, owner).status_code == 200
    assert_problem(client.post(path, json={"current_password": admin.password}, headers=admin.headers), 409, "second_factor_off")
    assert [(to, "turned off two-factor" in body) for to, body in mail.sent()] == [(owner.email, True)]
    set_up(client, owner)
    assert_problem(sign_in(client, owner, otp=codes[0]), 401, "bad_second_factor")


def test_superuser_cannot_reset_the_own_factor_without_a_code(client: httpx.Client, make_user: Callable[..., Account]) -> None:
    admin = make_user(is_superuser=True)
    set_up(client, admin)
    path = f"/api/v1/users/{admin.id}/second-factor/reset"

    assert_problem(client.post(path, json={"current_password": admin.password}, headers=admin.headers), 409, "own_second_factor")


def test_link_for_users_asks_for_the_code(client: httpx.Client, owner: Account, make_user: Callable[..., Account]) -> None:
    recipient = make_user()
    secret, _ = set_up(client, recipient)
    share = make_share(client, owner, make_file(client, owner)["id"], audience="signed_in")
    credentials = {"email": recipient.email, "account_password": recipient.password}

    assert_problem(client.post(share["url"], json=credentials), 403, "second_factor_required")
    page = client.post(share["url"], data=credentials, headers=BROWSER)
    assert page.status_code == 403
    assert 'name="otp"' in page.text
    assert client.post(share["url"], json=credentials | {"otp": totp_code(secret, current_step())}).status_code == 200


def test_reset_password_does_not_turn_the_factor_off(client: httpx.Client, services: Services, owner: Account) -> None:
    _, codes = set_up(client, owner)
    with services.unit_of_work() as session:
        services.users(session).reset_password(owner.email, "another good password")

    refused = client.post(TOKEN, data={"username": owner.email, "password": "another good password"})
    accepted = client.post(TOKEN, data={"username": owner.email, "password": "another good password", "otp": codes[0]})

    assert_problem(refused, 403, "second_factor_required")
    assert accepted.status_code == 200


def test_code_of_five_minutes_ago_is_refused(client: httpx.Client, owner: Account) -> None:
    secret, _ = set_up(client, owner)
    code = totp_code(secret, current_step(1))

    with time_machine.travel(clock.now() + timedelta(minutes=5)):
        assert_problem(sign_in(client, owner, otp=code), 401, "bad_second_factor")
