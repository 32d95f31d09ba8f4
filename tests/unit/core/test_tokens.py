"""Access tokens: which tokens are rejected, compared with PyJWT under the same rules."""

from datetime import timedelta
from uuid import UUID, uuid4

import jwt as pyjwt
import pytest
import time_machine

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.core.security.keys import SigningKey, SigningKeys
from lambda_app.core.security.tokens import (
    ACCESS_TOKEN_TYPE,
    ALGORITHM,
    AUDIENCE,
    ISSUER,
    AccessToken,
    AccessTokens,
)
from tests.support.forgeries import Victim, forgeries

KEY = "k3y-" + "0123456789abcdef" * 3
LIFETIME = timedelta(minutes=10)


@pytest.fixture
def tokens() -> AccessTokens:
    return AccessTokens(keys=SigningKeys.fixed(KEY), lifetime=LIFETIME)


def issue(tokens: AccessTokens, user_id: UUID) -> AccessToken:
    return tokens.issue(user_id, session_id=uuid4(), token_epoch=0)


def test_issued_token_is_accepted_with_its_claims(tokens: AccessTokens) -> None:
    user_id = uuid4()

    token = issue(tokens, user_id)

    assert tokens.read(token.value).user_id == user_id
    assert token.expires_in == 600


def test_each_issued_token_is_unique(tokens: AccessTokens) -> None:
    user_id = uuid4()

    assert issue(tokens, user_id).value != issue(tokens, user_id).value


def test_token_is_rejected_from_its_expiry_on(tokens: AccessTokens) -> None:
    with time_machine.travel(clock.now(), tick=False) as traveller:
        token = issue(tokens, uuid4()).value
        traveller.shift(LIFETIME - timedelta(seconds=1))
        tokens.read(token)
        traveller.shift(timedelta(seconds=1))

        with pytest.raises(NotAuthenticatedError):
            tokens.read(token)


VICTIM = Victim(SigningKey.from_secret(KEY))
# These are rejected only by the database, which has the sessions.
BY_THE_DATABASE = {
    "session unknown",
    "user unknown",
    "epoch of the future",
    "session the user",
    "user the session",
    "nil session",
    "nil user",
}
FORGERIES = {name: token for name, token in forgeries(VICTIM).items() if name.removeprefix("state: ") not in BY_THE_DATABASE}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_token_is_rejected(tokens: AccessTokens, name: str) -> None:
    with pytest.raises(NotAuthenticatedError), time_machine.travel(VICTIM.now, tick=False):
        tokens.read(FORGERIES[name])


def test_valid_token_from_the_forgery_builder_is_accepted(tokens: AccessTokens) -> None:
    with time_machine.travel(VICTIM.now, tick=False):
        assert tokens.read(VICTIM.sign()).user_id == VICTIM.user_id


@pytest.mark.parametrize("rubbish", [" ", "\n", "=", "!", "\xa0", "\x00", "\ud800"])
@pytest.mark.parametrize("place", [0, 5, 40, -1])
def test_valid_token_with_inserted_characters_is_rejected(tokens: AccessTokens, rubbish: str, place: int) -> None:
    token = issue(tokens, uuid4()).value

    with pytest.raises(NotAuthenticatedError):
        tokens.read(token[:place] + rubbish + token[place:])


def test_pyjwt_accepts_the_same_valid_token(tokens: AccessTokens) -> None:
    token = issue(tokens, uuid4()).value

    read = pyjwt.decode(
        token,
        KEY,
        algorithms=[ALGORITHM],
        audience=AUDIENCE,
        issuer=ISSUER,
        options={"require": ["exp", "iat", "sub", "jti", "aud", "iss"]},
    )

    assert read["typ"] == ACCESS_TOKEN_TYPE
