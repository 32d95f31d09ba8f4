"""Share tokens: their claims, their expiry, and the rejection of forged ones."""

import base64
import json
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import time_machine

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.core.security.keys import KeyRing, SigningKey, SigningKeys
from lambda_app.core.security.share_tokens import ShareToken, ShareTokens
from lambda_app.core.security.tokens import AccessTokens

FULL = ShareToken(uuid4(), 3, uuid4(), 7)
ADDRESS = "address-of-the-link"


def document(ring: KeyRing) -> str:
    members = {"current": ring.current, "previous": ring.previous, "next": ring.next}
    return json.dumps({name: {"kid": key.kid, "key": key.secret} for name, key in members.items() if key is not None})


def share_tokens_with(ring: KeyRing) -> ShareTokens:
    return ShareTokens(SigningKeys(lambda: document(ring)))


RING = KeyRing(current=SigningKey.generate(), next=SigningKey.generate())
SHARE_TOKENS = share_tokens_with(RING)


@pytest.mark.parametrize(
    "token", [FULL, ShareToken(uuid4()), ShareToken(uuid4(), password_version=0), ShareToken(uuid4(), user_id=uuid4(), token_epoch=0)]
)
def test_share_token_contains_the_signed_claims(token: ShareToken) -> None:
    signed = SHARE_TOKENS.sign(token, address=ADDRESS)

    assert SHARE_TOKENS.read(signed.value, address=ADDRESS) == token
    assert len(signed.value) < 500


def test_share_token_expires_after_an_hour() -> None:
    with time_machine.travel(clock.now().replace(microsecond=0), tick=False) as traveller:
        signed = SHARE_TOKENS.sign(FULL, address=ADDRESS)
        assert signed.expires_at == clock.now() + timedelta(hours=1)
        traveller.shift(timedelta(minutes=59, seconds=59))
        assert SHARE_TOKENS.read(signed.value, address=ADDRESS) == FULL
        traveller.shift(timedelta(seconds=1))
        assert SHARE_TOKENS.read(signed.value, address=ADDRESS) is None


def test_share_token_with_a_changed_character_is_rejected() -> None:
    value = SHARE_TOKENS.sign(FULL, address=ADDRESS).value

    for place, character in enumerate(value):
        other = "A" if character != "A" else "B"
        assert SHARE_TOKENS.read(value[:place] + other + value[place + 1 :], address=ADDRESS) is None


def test_claims_with_the_signature_of_other_claims_are_rejected() -> None:
    payload, signature = SHARE_TOKENS.sign(FULL, address=ADDRESS).value.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    for change in (
        {"share_id": str(uuid4())},
        {"password_version": 4},
        {"exp": claims["exp"] + 1},
        {"user_id": None},
        {"kid": "other"},
        {"kid": 5},
    ):
        forged = base64.urlsafe_b64encode(json.dumps(claims | change, separators=(",", ":")).encode()).decode().rstrip("=")
        assert SHARE_TOKENS.read(f"{forged}.{signature}", address=ADDRESS) is None


def test_share_token_survives_key_rotation_but_not_key_removal() -> None:
    value = SHARE_TOKENS.sign(FULL, address=ADDRESS).value

    assert share_tokens_with(RING.rotated()).read(value, address=ADDRESS) == FULL
    assert share_tokens_with(RING.rotated().rotated()).read(value, address=ADDRESS) is None


def test_share_tokens_and_access_tokens_are_not_interchangeable() -> None:
    keys = SigningKeys(lambda: document(RING))
    tokens = AccessTokens(keys=keys, lifetime=timedelta(minutes=10))

    with pytest.raises(NotAuthenticatedError):
        tokens.read(SHARE_TOKENS.sign(FULL, address=ADDRESS).value)
    issued = tokens.issue(UUID(int=1), session_id=UUID(int=2), token_epoch=0).value
    header, payload, signature = issued.split(".")
    assert [SHARE_TOKENS.read(text, address=ADDRESS) for text in (issued, f"{payload}.{signature}", f"{header}.{signature}")] == [None] * 3


def test_share_token_is_rejected_for_another_link() -> None:
    value = SHARE_TOKENS.sign(FULL, address=ADDRESS).value

    assert [SHARE_TOKENS.read(value, address=address) for address in ("", "another", ADDRESS + "x", ADDRESS.upper(), "\ud800")] == [
        None
    ] * 5


def test_derived_link_token_is_stable_while_its_key_is_accepted() -> None:
    first = SHARE_TOKENS.derive_link_tokens("user", "route", "key", 1)[0]

    assert first == SHARE_TOKENS.derive_link_tokens("user", "route", "key", 1)[0]
    assert len(first) == 22
    other_parts = (("user", "route", "key", 2), ("userroute", "", "key", 1), ("user", "rout", "ekey", 1))
    others = {token for parts in other_parts for token in SHARE_TOKENS.derive_link_tokens(*parts)}
    assert first not in others
    assert len(others) == 6
    later = share_tokens_with(RING.rotated()).derive_link_tokens("user", "route", "key", 1)
    assert later[0] != first
    assert first in later
    assert first not in share_tokens_with(RING.rotated().rotated()).derive_link_tokens("user", "route", "key", 1)
