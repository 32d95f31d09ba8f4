"""What is signed about share links: passes, which prove that somebody got past a link's password or signed in for it.

Signed with a key that is derived from the signing key for this alone, so that neither an access token nor anything else of ours can
be taken for a pass. A link itself is not signed: it outlives every key (docs/adr/0013-share-links.md).
"""

import base64
import hashlib
import hmac
import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.security.keys import SigningKeys
from lambda_app.core.security.random_tokens import LINK_TOKEN_BYTES, hash_secret

PASS_LIFETIME = timedelta(hours=1)
PASS_MAX_LENGTH = 1024
"""Ours have about 400 characters."""

_PASS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class ShareToken:
    """What was proven of one link: its password in this version, and who somebody is, by the user's `token_epoch`. None is not proven."""

    share_id: UUID
    password_version: int | None = None
    user_id: UUID | None = None
    token_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class SignedShareToken:
    """A pass as text, and when it ends."""

    value: str
    expires_at: datetime


class ShareTokens:
    """Signs and verifies passes, and makes the tokens of links that an idempotency key asks for again.

    A pass is signed together with the address of its link: at every other link it is none.
    """

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def sign(self, proven: ShareToken, *, address: str) -> SignedShareToken:
        """Return the pass for the link at `address`. Raises UnavailableError when the keys cannot be had."""
        key = self._keys.current()
        expires_at = clock.now().replace(microsecond=0) + PASS_LIFETIME
        claims = {**asdict(proven), "kid": key.kid, "exp": int(expires_at.timestamp())}
        payload = _encode(json.dumps(claims, default=str, separators=(",", ":")).encode())
        return SignedShareToken(f"{payload}.{_signature(key.secret, payload, address)}", expires_at)

    def read(self, text: str, *, address: str) -> ShareToken | None:
        """Return what the pass proves of the link at `address`; None for whatever is no pass of ours for it that still holds.

        Raises UnavailableError.
        """
        match = _PASS.fullmatch(text) if len(text) <= PASS_MAX_LENGTH else None
        if match is None:
            return None
        payload, signature = match.groups()
        try:
            claims = json.loads(_decode(payload))
            kid = claims["kid"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        # The key's name is not verified yet: it chooses among our own keys and decides nothing else.
        key = self._keys.find(kid) if isinstance(kid, str) else None
        if key is None or not hmac.compare_digest(_signature(key.secret, payload, address), signature):
            return None
        return None if clock.now().timestamp() >= claims["exp"] else _pass(claims)

    def tokens_for(self, *parts: object) -> list[str]:
        """Return the token of a link that a request with an idempotency key makes, and behind it what it would be by the other keys.

        The answer to a repeated request must name the link, and nothing that leads to it is kept: the token that was given is one of
        these as long as the key that made it is verification_keys.
        """
        text = json.dumps([str(part) for part in parts])
        return [_encode(_mac(key.secret, "share token", text)[:LINK_TOKEN_BYTES]) for key in self._keys.verification_keys()]


def _pass(claims: dict[str, Any]) -> ShareToken:
    user_id = claims["user_id"]
    return ShareToken(
        share_id=UUID(claims["share_id"]),
        password_version=claims["password_version"],
        user_id=None if user_id is None else UUID(user_id),
        token_epoch=claims["token_epoch"],
    )


def _signature(secret: str, payload: str, address: str) -> str:
    return _encode(_mac(secret, "share pass", f"{payload}.{hash_secret(address)}"))


def _mac(secret: str, purpose: str, text: str) -> bytes:
    derived = hmac.digest(secret.encode(), b"we-upload " + purpose.encode(), hashlib.sha256)
    return hmac.digest(derived, text.encode(), hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
