"""Assertions and the cookie of the flow: binding, age, purpose, key, and forgeries."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import jwt as pyjwt
import pytest
import time_machine

from lambda_app.core import clock
from lambda_app.core.identity.assertions import Assertions, BadAssertionError, Purpose
from lambda_app.core.identity.flow_cookies import Flow, FlowCookies
from lambda_app.core.identity.id_tokens import Identity
from lambda_app.core.security.keys import SigningKeys
from lambda_app.core.security.random_tokens import derive_secret
from lambda_app.core.security.tokens import AccessTokens

KEY = "k" * 20 + "0123456789abcdef"
KEYS = SigningKeys.fixed(KEY)
ADA = Identity("person-1", "ada@example.com", email_verified=True)


def issue(assertions: Assertions | None = None, *, purpose: Purpose = Purpose.SIGN_IN) -> str:
    return (assertions or Assertions(KEYS)).issue(ADA, purpose=purpose, provider="example", issuer="https://a.example", binding="secret")


def read(token: str, *, binding: str | None = "secret", purpose: Purpose = Purpose.SIGN_IN) -> object:
    return Assertions(KEYS).read(token, binding=binding, purpose=purpose)


def test_assertion_returns_the_identity_to_the_same_browser() -> None:
    assertion = Assertions(KEYS).read(issue(), binding="secret", purpose=Purpose.SIGN_IN)

    assert (assertion.identity, assertion.provider, assertion.issuer) == (ADA, "example", "https://a.example")
    assert not assertion.is_expired


@pytest.mark.parametrize("binding", ["another secret", "", None])
def test_assertion_is_refused_in_another_browser(binding: str | None) -> None:
    with pytest.raises(BadAssertionError):
        read(issue(), binding=binding)


def test_assertion_serves_one_purpose_only() -> None:
    for made, used in ((Purpose.SIGN_IN, Purpose.LINK), (Purpose.LINK, Purpose.SIGN_IN), (Purpose.SIGN_IN, Purpose.PROOF)):
        with pytest.raises(BadAssertionError):
            read(issue(purpose=made), purpose=used)


def test_assertion_expires_after_a_minute_and_with_a_code_after_five() -> None:
    token = issue()
    with time_machine.travel(clock.now() + timedelta(seconds=61), tick=False):
        assert Assertions(KEYS).read(token, binding="secret", purpose=Purpose.SIGN_IN).is_expired
    with time_machine.travel(clock.now() + timedelta(seconds=301), tick=False), pytest.raises(BadAssertionError):
        read(token)
    with time_machine.travel(clock.now() - timedelta(minutes=1), tick=False), pytest.raises(BadAssertionError):
        read(token)


def test_forged_assertions_are_refused() -> None:
    token = issue()
    claims = pyjwt.decode(token, options={"verify_signature": False})
    header = pyjwt.get_unverified_header(token)
    own = derive_secret(KEY, purpose="identity", name="assertion")
    forgeries = [
        issue(Assertions(SigningKeys.fixed("another key, which is not ours, 0123456789"))),
        pyjwt.encode(claims, "", algorithm="none", headers={**header, "alg": "none"}),
        # The secret itself, from which the key is derived, and the right key with another type or another audience.
        pyjwt.encode(claims, KEY, algorithm="HS256", headers=header),
        pyjwt.encode(claims, own, algorithm="HS256", headers={**header, "typ": "JWT"}),
        pyjwt.encode({**claims, "aud": "another"}, own, algorithm="HS256", headers=header),
        pyjwt.encode({**claims, "iat": str(claims["iat"])}, own, algorithm="HS256", headers=header),
        pyjwt.encode({name: value for name, value in claims.items() if name != "jti"}, own, algorithm="HS256", headers=header),
        AccessTokens(keys=KEYS, lifetime=timedelta(minutes=5)).issue(claims_id(), session_id=claims_id(), token_epoch=0).value,
        token[:-2],
        f"{token}.x",
        "x" * 5000,
    ]

    assert pyjwt.encode(claims, own, algorithm="HS256", headers=header)
    for forgery in forgeries:
        with pytest.raises(BadAssertionError):
            read(forgery)


def claims_id() -> UUID:
    return Assertions(KEYS).read(issue(), binding="secret", purpose=Purpose.SIGN_IN).id


def test_flow_cookie_keeps_the_flow_and_hides_its_secrets() -> None:
    flow, cookies = Flow.start("example", Purpose.SIGN_IN), FlowCookies(KEYS)
    value = cookies.seal(flow)

    assert cookies.open(value) == flow
    assert not any(secret in value for secret in (flow.state, flow.nonce, flow.verifier, flow.binding))
    assert len({flow.state, flow.nonce, flow.verifier, flow.binding}) == 4


def test_flow_cookie_that_was_changed_is_expired_or_of_another_key_is_refused() -> None:
    cookies = FlowCookies(KEYS)
    value = cookies.seal(Flow.start("example", Purpose.SIGN_IN))
    changed = value[:-8] + ("A" if value[-8] != "A" else "B") + value[-7:]

    for bad in (
        None,
        "",
        "x",
        ".",
        "é",
        "x" * 5000,
        changed,
        value[:-4],
        f"other{value}",
        FlowCookies(SigningKeys.fixed("z" * 40)).seal(Flow.start("example", Purpose.SIGN_IN)),
    ):
        assert cookies.open(bad) is None
    with time_machine.travel(clock.now() + timedelta(minutes=10, seconds=1), tick=False):
        assert cookies.open(value) is None


def test_challenge_is_the_digest_of_the_verifier() -> None:
    # The example of RFC 7636, appendix B.
    flow = replace(Flow.start("example", Purpose.SIGN_IN), verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")

    assert flow.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
