"""Tokens of the links in notifications: they turn notifications off, or prolong a share link or a file request.

They work without a sign-in, so each names its user, its purpose and its only effect. They are signed with a key that is derived for this
purpose from the link keys: a mail is opened long after the signing keys have rotated (docs/adr/0039-notifications.md).
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from lambda_app.core.security.keys import SigningKeys

T = TypeVar("T")

NOTIFICATION_TOKEN_MAX_LENGTH = 1024
"""In characters. Issued tokens have about 300."""
MAILBOX_LENGTH = 22
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Unsubscription:
    """The kinds of notifications that the token turns off for a user."""

    user_id: UUID
    mailbox: str
    """A hash of the address to which the mail was sent. The token ends when the account gets another address."""
    kinds: tuple[str, ...]


class Prolonged(StrEnum):
    """What a token prolongs. The value is the name of its id in the token."""

    LINK = "s"
    FILE_REQUEST = "r"


@dataclass(frozen=True, slots=True)
class Prolongation:
    """The share link or file request that the token prolongs once: only while it expires at `expires_at`."""

    user_id: UUID
    mailbox: str
    id: UUID
    expires_at: datetime
    kind: Prolonged = Prolonged.LINK


class NotificationTokens:
    """Signs and verifies the tokens. The purpose is part of the signed text, so one kind of token is never valid as another."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def sign_unsubscription(self, token: Unsubscription) -> str:
        """Return the signed token. Raises UnavailableError when the keys cannot be fetched."""
        return self._sign("unsubscribe", {"u": str(token.user_id), "m": token.mailbox, "k": list(token.kinds)})

    def sign_prolongation(self, token: Prolongation) -> str:
        """Return the signed token. Raises UnavailableError when the keys cannot be fetched."""
        expires_at = token.expires_at.astimezone(UTC).isoformat()
        return self._sign("prolong", {"u": str(token.user_id), "m": token.mailbox, token.kind.value: str(token.id), "e": expires_at})

    def read_unsubscription(self, text: str) -> Unsubscription | None:
        """Verify the token; None when it is malformed, forged, or for another purpose. Raises UnavailableError."""
        return self._read("unsubscribe", text, lambda claims: Unsubscription(UUID(claims["u"]), claims["m"], tuple(claims["k"])))

    def read_prolongation(self, text: str) -> Prolongation | None:
        """Verify the token; None when it is malformed, forged, or for another purpose. Raises UnavailableError."""
        return self._read("prolong", text, _prolongation)

    @staticmethod
    def mailbox_of(email: str) -> str:
        """Return the hash of an address for the claims of a token."""
        return _encode(hashlib.sha256(b"we-upload mailbox:" + email.encode()).digest())[:MAILBOX_LENGTH]

    def _sign(self, purpose: str, claims: dict[str, Any]) -> str:
        key = self._keys.current()
        payload = _encode(json.dumps({**claims, "kid": key.kid}, separators=(",", ":")).encode())
        return f"{payload}.{_signature(key.secret, purpose, payload)}"

    def _read(self, purpose: str, text: str, parse: Callable[[dict[str, Any]], T]) -> T | None:
        match = _COMPACT.fullmatch(text) if len(text) <= NOTIFICATION_TOKEN_MAX_LENGTH else None
        if match is None:
            return None
        payload, signature = match.groups()
        try:
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            kid = claims["kid"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        # The key id is not verified yet. It only selects one of our own keys.
        key = self._keys.find(kid) if isinstance(kid, str) else None
        if key is None or not hmac.compare_digest(_signature(key.secret, purpose, payload), signature):
            return None
        return parse(claims)


def _prolongation(claims: dict[str, Any]) -> Prolongation:
    kind = Prolonged.FILE_REQUEST if Prolonged.FILE_REQUEST in claims else Prolonged.LINK
    return Prolongation(UUID(claims["u"]), claims["m"], UUID(claims[kind]), datetime.fromisoformat(claims["e"]), kind)


def _signature(secret: str, purpose: str, payload: str) -> str:
    derived = hmac.digest(secret.encode(), b"we-upload notification link", hashlib.sha256)
    return _encode(hmac.digest(derived, f"{purpose}.{payload}".encode(), hashlib.sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
