"""Forged access tokens over HTTP: each returns 401, and PyJWT with the same rules refuses each too."""

import json
from typing import Any
from uuid import UUID

import httpx
import jwt as pyjwt
import pytest

from lambda_app.core.security.keys import SigningKey
from lambda_app.factory import Services
from tests.support.accounts import Account, sign_in
from tests.support.forgeries import Victim, forgeries, reference_accepts
from tests.support.problems import assert_problem

ME = "/api/v1/users/me"


@pytest.fixture(scope="module")
def victim(client: httpx.Client, services: Services, make_user: Any) -> Victim:
    account: Account = make_user()
    claims = pyjwt.decode(account.token, options={"verify_signature": False})
    return Victim(services.keys.current(), user_id=account.id, session_id=UUID(claims["sid"]), epoch=claims["epoch"])


def get_me(client: httpx.Client, token: str) -> httpx.Response:
    # As bytes, because httpx refuses some values that an attacker's client can send.
    return client.get(ME, headers={b"Authorization": b"Bearer " + token.encode("utf-8", "surrogatepass").replace(b"\n", b" ")})


def test_valid_token_of_the_same_generator_is_accepted_by_both(client: httpx.Client, victim: Victim) -> None:
    token = victim.sign()

    assert get_me(client, token).json()["id"] == str(victim.user_id)
    assert reference_accepts(victim, token)


def test_every_forgery_returns_401(client: httpx.Client, victim: Victim) -> None:
    tokens_by_name = forgeries(victim)
    # Newlines cannot arrive in a header; the gateway refuses them.
    responses = {name: get_me(client, token).status_code for name, token in tokens_by_name.items()}

    assert len(tokens_by_name) >= 300
    assert {name: status for name, status in responses.items() if status != 401} == {}


def test_pyjwt_refuses_every_forgery(victim: Victim) -> None:
    tokens_by_name = forgeries(victim)

    assert [name for name, token in tokens_by_name.items() if reference_accepts(victim, token)] == []


def test_refresh_token_is_not_accepted_as_access_token(client: httpx.Client, owner: Account) -> None:
    form = {"username": owner.email, "password": owner.password}
    tokens = client.post("/api/v1/login/token", data=form).json()

    assert get_me(client, tokens["refresh_token"]).status_code == 401


def test_token_of_revoked_session_old_epoch_or_other_users_session_returns_401(
    client: httpx.Client, services: Services, owner: Account, stranger: Account
) -> None:
    def victim_of(token: str, account: Account) -> Victim:
        claims = pyjwt.decode(token, options={"verify_signature": False})
        return Victim(services.keys.current(), user_id=account.id, session_id=UUID(claims["sid"]), epoch=claims["epoch"])

    own, other = victim_of(owner.token, owner), victim_of(stranger.token, stranger)
    assert get_me(client, Victim(own.key, user_id=owner.id, session_id=other.session_id, epoch=0).sign()).status_code == 401
    second = sign_in(client, email=owner.email, password=owner.password)
    client.post("/api/v1/login/logout", headers={"Authorization": f"Bearer {second}"})
    assert get_me(client, victim_of(second, owner).sign()).status_code == 401
    assert get_me(client, own.sign()).status_code == 200
    client.post("/api/v1/login/logout-everywhere", headers=owner.headers)
    assert get_me(client, own.sign()).status_code == 401
    assert get_me(client, Victim(own.key, user_id=owner.id, session_id=own.session_id, epoch=1).sign()).status_code == 401


def test_token_outside_the_authorization_header_is_ignored(client: httpx.Client, owner: Account) -> None:
    for response in (
        client.get(ME, headers={"Cookie": f"access_token={owner.token}; Authorization=Bearer {owner.token}"}),
        client.request("GET", ME, content=json.dumps({"access_token": owner.token}), headers={"Content-Type": "application/json"}),
        client.get(ME, headers=[("Authorization", owner.headers["Authorization"]), ("Authorization", "Bearer x")]),
    ):
        assert response.status_code == 401
    assert_problem(client.get(ME, params={"access_token": owner.token}), 422, "unknown_parameter")


def test_forged_token_is_refused_before_any_database_access(client: httpx.Client, victim: Victim) -> None:
    assert get_me(client, victim.sign(key=SigningKey.generate().secret.encode())).json()["detail"] == "Could not validate credentials"
