"""Tokens of the links in notifications."""

import base64
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from lambda_app.core.security.keys import KeyRing, SigningKey, SigningKeys
from lambda_app.core.security.notification_tokens import NotificationTokens, Prolongation, Unsubscription

SECRET = "Zp4vYw8sTq1LrN6uXc3Kd9Hb5Gm2Ja7Ef0"
USER, SHARE = UUID(int=1), UUID(int=2)
TOKENS = NotificationTokens(SigningKeys.fixed(SECRET))
MAILBOX = TOKENS.mailbox_of("ada@example.com")
UNSUBSCRIPTION = Unsubscription(USER, MAILBOX, ("link_downloads", "new_sign_ins"))
PROLONGATION = Prolongation(USER, MAILBOX, SHARE, datetime(2026, 12, 1, 12, 0, 0, 123456, tzinfo=UTC))


def test_tokens_keep_their_claims() -> None:
    assert TOKENS.read_unsubscription(TOKENS.sign_unsubscription(UNSUBSCRIPTION)) == UNSUBSCRIPTION
    assert TOKENS.read_prolongation(TOKENS.sign_prolongation(PROLONGATION)) == PROLONGATION


def test_token_of_one_kind_is_not_valid_as_the_other() -> None:
    assert TOKENS.read_prolongation(TOKENS.sign_unsubscription(UNSUBSCRIPTION)) is None
    assert TOKENS.read_unsubscription(TOKENS.sign_prolongation(PROLONGATION)) is None


def test_token_of_another_key_is_not_valid() -> None:
    other = NotificationTokens(SigningKeys.fixed(SECRET[::-1]))

    assert TOKENS.read_unsubscription(other.sign_unsubscription(UNSUBSCRIPTION)) is None


def test_token_stays_valid_after_a_rotation_of_the_keys() -> None:
    ring = KeyRing(current=SigningKey.generate(), next=SigningKey.generate())
    token = NotificationTokens(SigningKeys.fixed(ring.render())).sign_unsubscription(UNSUBSCRIPTION)

    rotated = NotificationTokens(SigningKeys.fixed(ring.rotated().render()))

    assert rotated.read_unsubscription(token) == UNSUBSCRIPTION


def changed_claims(token: str, **claims: object) -> str:
    payload, _, signature = token.partition(".")
    content = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))) | claims
    return f"{base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip('=')}.{signature}"


@pytest.mark.parametrize(
    "change",
    [{"u": str(UUID(int=9))}, {"k": ["link_expiry"]}, {"kid": "unknown"}, {"kid": 5}, {"m": "x"}],
    ids=["user", "kinds", "key", "no key", "mailbox"],
)
def test_changed_claims_are_refused(change: dict[str, object]) -> None:
    assert TOKENS.read_unsubscription(changed_claims(TOKENS.sign_unsubscription(UNSUBSCRIPTION), **change)) is None


@pytest.mark.parametrize(
    "text", ["", ".", "x", "a." + "b" * 43, "é." + "b" * 43, "W10." + "b" * 43, "a" * 1025 + "." + "b" * 43], ids=range(7)
)
def test_malformed_tokens_are_refused(text: str) -> None:
    assert TOKENS.read_unsubscription(text) is None
    assert TOKENS.read_prolongation(text) is None
