"""Share tokens: signed proof that a visitor entered the password of a share link, or signed in to open it.

They are signed with a key that is derived from the signing key for this purpose only, so an access token is never valid as a share
token. The link itself is not signed, because it outlives every key (docs/adr/0013-share-links.md).
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

SHARE_TOKEN_LIFETIME = timedelta(hours=1)
SHARE_TOKEN_MAX_LENGTH = 1024
"""In characters. Issued tokens have about 400."""

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class ShareToken:
    """The claims of a share token: the version of the password that was entered, and the signed-in user with its `token_epoch`.

    None: the visitor has not entered the password, or has not signed in.
    """

    share_id: UUID
    password_version: int | None = None
    user_id: UUID | None = None
    token_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class SignedShareToken:
    """An encoded share token and its expiry (aware UTC)."""

    value: str
    expires_at: datetime


class ShareTokens:
    """Signs and verifies share tokens, and derives link tokens for idempotent requests.

    The signature covers the address (token or slug) of the link, so a share token is valid for one link only.
    """

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def sign(self, token: ShareToken, *, address: str) -> SignedShareToken:
        """Return the signed token for the link at `address`. Raises UnavailableError when the keys cannot be fetched."""
        key = self._keys.current()
        expires_at = clock.now().replace(microsecond=0) + SHARE_TOKEN_LIFETIME
        claims = {**asdict(token), "kid": key.kid, "exp": int(expires_at.timestamp())}
        payload = _encode(json.dumps(claims, default=str, separators=(",", ":")).encode())
        return SignedShareToken(f"{payload}.{_signature(key.secret, payload, address)}", expires_at)

    def read(self, text: str, *, address: str) -> ShareToken | None:
        """Verify the share token and return its claims; None when it is malformed, expired, forged, or for another link.

        Raises UnavailableError when the keys cannot be fetched.
        """
        match = _COMPACT.fullmatch(text) if len(text) <= SHARE_TOKEN_MAX_LENGTH else None
        if match is None:
            return None
        payload, signature = match.groups()
        try:
            claims = json.loads(_decode(payload))
            kid = claims["kid"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        # The key id is not verified yet. It only selects one of our own keys.
        key = self._keys.find(kid) if isinstance(kid, str) else None
        if key is None or not hmac.compare_digest(_signature(key.secret, payload, address), signature):
            return None
        return None if clock.now().timestamp() >= claims["exp"] else _parse_claims(claims)

    def derive_link_tokens(self, *parts: object) -> list[str]:
        """Return the link token that is derived from `parts` with the current key, followed by those derived with the other keys.

        The response to a repeated request must contain the link, but the database stores only the hash of its token. The original token
        is one of these as long as the key that derived it is still accepted.
        """
        text = json.dumps([str(part) for part in parts])
        return [_encode(_mac(key.secret, "share token", text)[:LINK_TOKEN_BYTES]) for key in self._keys.verification_keys()]


def _parse_claims(claims: dict[str, Any]) -> ShareToken:
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
