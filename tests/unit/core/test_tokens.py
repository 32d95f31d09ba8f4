"""Access tokens: what is refused, and that PyJWT, told the same rules, refuses it too."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import jwt as pyjwt
import pytest
import time_machine

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.core.security.tokens import (
    ACCESS_TOKEN_TYPE,
    ALGORITHM,
    AUDIENCE,
    ISSUER,
    TOKEN_MAX_BYTES,
    AccessTokens,
)

KEY = "k3y-" + "0123456789abcdef" * 3
LIFETIME = timedelta(minutes=10)


@pytest.fixture
def tokens() -> AccessTokens:
    return AccessTokens(secret_key=KEY, lifetime=LIFETIME)


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good token with changes; a change to `...` removes the claim."""
    now = int(clock.now().timestamp())
    good = {
        "sub": str(uuid4()),
        "jti": str(uuid4()),
        "iat": now,
        "exp": now + 600,
        "iss": ISSUER,
        "aud": AUDIENCE,
        "typ": ACCESS_TOKEN_TYPE,
    }
    return {name: value for name, value in (good | changes).items() if value is not ...}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def raw(header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes, *, key: str = KEY) -> str:
    """Sign by hand what no library would."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signing_input = ".".join(b64(part) for part in parts)
    return f"{signing_input}.{b64(hmac.new(key.encode(), signing_input.encode(), hashlib.sha256).digest())}"


def signed(**changes: Any) -> str:
    return pyjwt.encode(claims(**changes), KEY, algorithm=ALGORITHM)


def test_issued_token_reads_back(tokens: AccessTokens) -> None:
    user_id = uuid4()

    token = tokens.issue(user_id)

    assert tokens.read(token.value).user_id == user_id
    assert token.expires_in == 600


def test_two_tokens_of_one_user_differ(tokens: AccessTokens) -> None:
    user_id = uuid4()

    assert tokens.issue(user_id).value != tokens.issue(user_id).value


def test_token_is_dead_at_its_expiry_and_alive_a_second_before(tokens: AccessTokens) -> None:
    with time_machine.travel(clock.now(), tick=False) as traveller:
        token = tokens.issue(uuid4()).value
        traveller.shift(LIFETIME - timedelta(seconds=1))
        tokens.read(token)
        traveller.shift(timedelta(seconds=1))

        with pytest.raises(NotAuthenticatedError):
            tokens.read(token)


def signed_by_hand(**changes: Any) -> str:
    return raw({"alg": ALGORITHM, "typ": "JWT"}, claims(**changes))


CLAIM_NAMES = ("aud", "exp", "iat", "iss", "jti", "sub", "typ")
NESTED = b'{"alg":"HS256","x":' + b"[" * 1300
FORGERIES: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "not a token": lambda: "abc",
    "two parts": lambda: "e30.e30",
    "four parts": lambda: signed() + ".x",
    "truncated": lambda: signed()[:-1],
    "signature of nothing": lambda: signed().rsplit(".", 1)[0] + ".",
    "other key": lambda: pyjwt.encode(claims(), KEY + "x", algorithm=ALGORITHM),
    "empty key": lambda: raw({"alg": ALGORITHM, "typ": "JWT"}, claims(), key=""),
    "alg none": lambda: raw({"alg": "none", "typ": "JWT"}, claims()).rsplit(".", 1)[0] + ".",
    "alg None in capitals": lambda: raw({"alg": "NONE"}, claims()),
    "alg HS512": lambda: pyjwt.encode(claims(), KEY * 2, algorithm="HS512"),
    "alg HS384": lambda: pyjwt.encode(claims(), KEY, algorithm="HS384"),
    "alg a list": lambda: raw({"alg": ["HS256"]}, claims()),
    "no alg": lambda: raw({"typ": "JWT"}, claims()),
    "header a list": lambda: raw(b"[]", claims()),
    "brackets in the header": lambda: raw(NESTED, claims()),
    "brackets in the payload": lambda: raw({"alg": ALGORITHM}, b"[" * 1300),
    "payload a list": lambda: raw({"alg": ALGORITHM}, b"[1]"),
    "payload a string": lambda: raw({"alg": ALGORITHM}, b'"x"'),
    "payload not JSON": lambda: raw({"alg": ALGORITHM}, b"\xff\xfe"),
    "exp by a second": lambda: signed(exp=int(clock.now().timestamp()) - 1),
    "exp now": lambda: signed(exp=int(clock.now().timestamp())),
    "exp a string": lambda: signed(exp="soon"),
    "exp a numeric string": lambda: raw({"alg": ALGORITHM}, claims(exp=str(int(clock.now().timestamp()) + 60))),
    "exp true": lambda: raw({"alg": ALGORITHM}, claims(exp=True)),
    "exp a fraction": lambda: raw({"alg": ALGORITHM}, claims(exp=clock.now().timestamp() + 60.5)),
    "exp infinite": lambda: raw({"alg": ALGORITHM}, claims(exp=float("inf"))),
    "exp not a number": lambda: raw({"alg": ALGORITHM}, claims(exp=float("nan"))),
    "exp too far": lambda: signed(exp=int(clock.now().timestamp()) + 6000),
    "iat in the future": lambda: signed(iat=int(clock.now().timestamp()) + 300),
    "nbf in the future": lambda: signed(nbf=int(clock.now().timestamp()) + 300),
    "aud another": lambda: signed(aud="other"),
    "aud a list": lambda: signed(aud=[AUDIENCE]),
    "iss another": lambda: signed(iss="other"),
    "typ refresh": lambda: signed(typ="refresh"),
    "sub not an id": lambda: signed(sub="1 OR 1=1"),
    "sub a number": lambda: raw({"alg": ALGORITHM}, claims(sub=1)),
    "jti not an id": lambda: signed(jti="x"),
    "too long": lambda: signed(pad="x" * TOKEN_MAX_BYTES),
    "lone surrogate": lambda: signed() + "\ud800",
    "NUL": lambda: signed() + "\x00",
    "not ASCII": lambda: signed().replace("e", "é", 1),
    **{f"no {name}": partial(signed, **{name: ...}) for name in CLAIM_NAMES},
    **{f"{name} null": partial(signed_by_hand, **{name: None}) for name in CLAIM_NAMES},
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgery_is_refused(tokens: AccessTokens, name: str) -> None:
    with pytest.raises(NotAuthenticatedError):
        tokens.read(FORGERIES[name]())


def test_twin_accepts_what_we_accept(tokens: AccessTokens) -> None:
    token = tokens.issue(uuid4()).value

    read = pyjwt.decode(
        token,
        KEY,
        algorithms=[ALGORITHM],
        audience=AUDIENCE,
        issuer=ISSUER,
        options={"require": ["exp", "iat", "sub", "jti", "aud", "iss"]},
    )

    assert read["typ"] == ACCESS_TOKEN_TYPE


# PyJWT has no rule for these: our own checks behind the library carry them.
OURS_ALONE = {"exp too far", "typ refresh", "no typ", "typ null", "sub not an id", "jti not an id", "too long", "aud a list"}
OURS_ALONE |= {"exp a numeric string", "exp true", "exp a fraction", "exp infinite"}


@pytest.mark.parametrize("name", sorted(FORGERIES.keys() - OURS_ALONE))
def test_twin_refuses_what_we_refuse(name: str) -> None:
    token = FORGERIES[name]()
    required = ["exp", "iat", "sub", "jti", "aud", "iss"]

    with pytest.raises((pyjwt.PyJWTError, ValueError, RecursionError)):
        pyjwt.decode(token, KEY, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options={"require": required})
