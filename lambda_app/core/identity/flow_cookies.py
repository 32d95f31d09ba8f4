"""The encrypted cookie of a browser whose user is at the provider. Only this service can read or make it."""

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lambda_app.core import clock
from lambda_app.core.identity.assertions import Purpose
from lambda_app.core.security.keys import KEY_ID_MAX_LENGTH, SigningKey, SigningKeys
from lambda_app.core.security.random_tokens import new_secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FLOW_LIFETIME = timedelta(minutes=10)
"""Time for the person to sign in at the provider."""
COOKIE_MAX_LENGTH = 2048
NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Flow:
    """One started sign-in."""

    provider: str
    purpose: Purpose
    started_at: int
    """Seconds since 1970."""
    link: str = ""
    """The last segment of the share link that it was started for; empty for other purposes."""
    state: str = field(default_factory=new_secret, repr=False)
    nonce: str = field(default_factory=new_secret, repr=False)
    verifier: str = field(default_factory=new_secret, repr=False)
    """The PKCE code verifier (RFC 7636): 43 characters."""
    binding: str = field(default_factory=new_secret, repr=False)
    """The secret of the browser, to which the assertion is bound."""

    @classmethod
    def start(cls, provider: str, purpose: Purpose, *, link: str = "") -> "Flow":
        """Return a new flow with random secrets."""
        return cls(provider, purpose, int(clock.now().timestamp()), link)

    @property
    def started(self) -> datetime:
        """When it was started (aware UTC)."""
        return datetime.fromtimestamp(self.started_at, UTC)

    @property
    def challenge(self) -> str:
        """The PKCE code challenge, method S256."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")


class FlowCookies:
    """Encrypts and decrypts flows (AES-256-GCM)."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def seal(self, flow: Flow) -> str:
        """Return the value of the cookie. Raises UnavailableError when the keys cannot be fetched."""
        key, nonce = self._keys.current(), secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + _aead(key).encrypt(nonce, json.dumps(asdict(flow)).encode(), key.kid.encode())
        return f"{key.kid}.{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}"

    def open(self, value: str | None) -> Flow | None:
        """Return the flow; None if there is none, it was not made by this service, or it is too old. Raises UnavailableError."""
        from cryptography.exceptions import InvalidTag

        if value is None or len(value) > COOKIE_MAX_LENGTH or not value.isascii():
            return None
        kid, _, text = value.rpartition(".")
        key = self._keys.find(kid) if 0 < len(kid) <= KEY_ID_MAX_LENGTH else None
        if key is None:
            return None
        try:
            sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            members = json.loads(_aead(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], kid.encode()))
            flow = Flow(**{**members, "purpose": Purpose(members["purpose"])})
        except (InvalidTag, ValueError, TypeError, KeyError):
            return None
        return flow if clock.now() < flow.started + FLOW_LIFETIME else None


def _aead(key: SigningKey) -> "AESGCM":
    # Imported with the first flow, because most processes never need it.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(hmac.digest(key.secret.encode(), b"we-upload identity flow", hashlib.sha256))
