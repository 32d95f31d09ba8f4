"""Forged access tokens over HTTP: every one is 401, none is a 5xx, and PyJWT told the same rules accepts none either."""

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

ME = "/api/v1/users/me"


@pytest.fixture(scope="module")
def victim(client: httpx.Client, services: Services, make_user: Any) -> Victim:
    account: Account = make_user()
    claims = pyjwt.decode(account.token, options={"verify_signature": False})
    return Victim(services.keys.current(), user_id=account.id, session_id=UUID(claims["sid"]), epoch=claims["epoch"])


def ask(client: httpx.Client, token: str) -> httpx.Response:
    # As bytes: httpx would refuse what an attacker's client sends.
    return client.get(ME, headers={b"Authorization": b"Bearer " + token.encode("utf-8", "surrogatepass").replace(b"\n", b" ")})


def test_valid_token_of_the_same_generator_is_accepted_by_both(client: httpx.Client, victim: Victim) -> None:
    token = victim.sign()

    assert ask(client, token).json()["id"] == str(victim.user_id)
    assert reference_accepts(victim, token)


def test_every_forgery_returns_401(client: httpx.Client, victim: Victim) -> None:
    made = forgeries(victim)
    # Newlines cannot arrive in a header; the gateway refuses them.
    answers = {name: ask(client, token).status_code for name, token in made.items()}

    assert len(made) >= 300
    assert {name: status for name, status in answers.items() if status != 401} == {}


def test_pyjwt_refuses_every_forgery(victim: Victim) -> None:
    made = forgeries(victim)

    assert [name for name, token in made.items() if reference_accepts(victim, token)] == []


def test_refresh_token_is_not_accepted_as_access_token(client: httpx.Client, owner: Account) -> None:
    form = {"username": owner.email, "password": owner.password}
    tokens = client.post("/api/v1/login/token", data=form).json()

    assert ask(client, tokens["refresh_token"]).status_code == 401


def test_token_of_revoked_session_old_epoch_or_other_users_session_returns_401(
    client: httpx.Client, services: Services, owner: Account, stranger: Account
) -> None:
    def victim_of(token: str, account: Account) -> Victim:
        claims = pyjwt.decode(token, options={"verify_signature": False})
        return Victim(services.keys.current(), user_id=account.id, session_id=UUID(claims["sid"]), epoch=claims["epoch"])

    mine, theirs = victim_of(owner.token, owner), victim_of(stranger.token, stranger)
    assert ask(client, Victim(mine.key, user_id=owner.id, session_id=theirs.session_id, epoch=0).sign()).status_code == 401
    second = sign_in(client, email=owner.email, password=owner.password)
    client.post("/api/v1/login/logout", headers={"Authorization": f"Bearer {second}"})
    assert ask(client, victim_of(second, owner).sign()).status_code == 401
    assert ask(client, mine.sign()).status_code == 200
    client.post("/api/v1/login/logout-everywhere", headers=owner.headers)
    assert ask(client, mine.sign()).status_code == 401
    assert ask(client, Victim(mine.key, user_id=owner.id, session_id=mine.session_id, epoch=1).sign()).status_code == 401


def test_token_outside_the_authorization_header_is_ignored(client: httpx.Client, owner: Account) -> None:
    for answer in (
        client.get(ME, params={"access_token": owner.token}),
        client.get(ME, headers={"Cookie": f"access_token={owner.token}; Authorization=Bearer {owner.token}"}),
        client.request("GET", ME, content=json.dumps({"access_token": owner.token}), headers={"Content-Type": "application/json"}),
        client.get(ME, headers=[("Authorization", owner.headers["Authorization"]), ("Authorization", "Bearer x")]),
    ):
        assert answer.status_code == 401


def test_forged_token_is_refused_before_any_database_access(client: httpx.Client, victim: Victim) -> None:
    assert ask(client, victim.sign(key=SigningKey.generate().secret.encode())).json()["detail"] == "Could not validate credentials"
