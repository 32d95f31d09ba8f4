"""The keys that sign access tokens, and the key that derives refresh tokens: their document and its cache.

The next key is published one rotation before it signs. An instance with a cached document therefore knows the key when another instance
starts to sign with it. The previous key is accepted until the tokens that it signed have expired. A rotation of the signing keys does not
change the refresh key (docs/adr/0023-browser-sessions.md).
"""

import hashlib
import json
import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Self

from lambda_app.core.errors import AppError, UnavailableError
from lambda_app.core.security.random_tokens import derive_secret

KEYS_CACHE_SECONDS = 300.0
"""How long a fetched document is used. A removed key is rejected by all instances after that time."""
FORCED_FETCH_SECONDS = 1.0
"""Shortest time between two fetches because of an unknown key id, which unauthenticated callers can invent without limit."""
KEY_MIN_BYTES = 32
"""HMAC-SHA-256 requires a key at least as long as its output (RFC 7518, section 3.2)."""
KEY_ID_MAX_LENGTH = 64

logger = logging.getLogger(__name__)


class BadKeyDocumentError(ValueError):
    """The key document is malformed. The message never contains its content."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key, and the `kid` header of the tokens that it signs."""

    kid: str
    secret: str = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Return a new random key."""
        return cls(kid=secrets.token_hex(8), secret=secrets.token_urlsafe(48))

    @classmethod
    def from_secret(cls, secret: str) -> Self:
        """Return a key with this secret. The key id is derived from the secret, so all instances use the same one."""
        return cls(kid=hashlib.sha256(b"we-upload kid:" + secret.encode()).hexdigest()[:16], secret=secret)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The current key, which signs, the previous and next keys, which are also accepted, and the refresh key."""

    current: SigningKey
    previous: SigningKey | None = None
    next: SigningKey | None = None
    refresh: SigningKey | None = None
    """None in a document without one; `refresh_key` then derives it."""

    @property
    def refresh_key(self) -> SigningKey:
        """The key that derives the successors of refresh tokens. Without one in the document, it is derived from the current key.

        The first rotation writes the derived key into the document, so that rotations never change it.
        """
        return self.refresh or SigningKey.from_secret(derive_secret(self.current.secret, purpose="refresh key", name=""))

    def find(self, kid: str) -> SigningKey | None:
        """Return the key with this id."""
        return next((key for key in (self.current, self.previous, self.next) if key is not None and key.kid == kid), None)

    def rotated(self) -> "KeyRing":
        """Return the ring after one rotation.

        A ring without a next key, such as a bare secret, only gets a next key: a key must be published before it signs.
        """
        if self.next is None:
            return replace(self, next=SigningKey.generate(), refresh=self.refresh_key)
        return KeyRing(current=self.next, previous=self.current, next=SigningKey.generate(), refresh=self.refresh_key)

    def is_rotation_of(self, previous_ring: "KeyRing") -> bool:
        """Whether this ring can be the result of rotating `previous_ring`."""
        expected = previous_ring.rotated()
        return self.next is not None and replace(self, next=expected.next) == expected

    @classmethod
    def parse(cls, document: str) -> Self:
        """Read a JSON document `{"current": {"kid", "key"}, "previous"?, "next"?, "refresh"?}`, or a bare secret as a single key.

        Raises BadKeyDocumentError.
        """
        if not document.lstrip().startswith("{"):
            return cls(current=SigningKey.from_secret(document))
        try:
            members = json.loads(document)
            return cls(
                **{name: _parse_key(members.get(name)) for name in ("previous", "next", "refresh")},
                current=_require_key(members["current"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BadKeyDocumentError("The signing key document is malformed") from error

    def render(self) -> str:
        """Return the JSON document."""
        keys = {"current": self.current, "previous": self.previous, "next": self.next, "refresh": self.refresh}
        return json.dumps({name: {"kid": key.kid, "key": key.secret} for name, key in keys.items() if key is not None})


class SigningKeys:
    """The key ring in use: fixed, or fetched again when the cache expires or a token has an unknown key id."""

    def __init__(self, fetch: Callable[[], str], *, cache_seconds: float = KEYS_CACHE_SECONDS, min_bytes: int = KEY_MIN_BYTES) -> None:
        self._fetch = fetch
        self._min_bytes = min_bytes
        self._cache_seconds = cache_seconds
        self._lock = threading.Lock()
        self._ring: KeyRing | None = None
        self._fetched_at = 0.0

    @classmethod
    def fixed(cls, document: str) -> Self:
        """Return keys that never change, for a key from an environment variable."""
        KeyRing.parse(document)
        # Settings has validated the strength of the key, or accepted a weak one in local mode.
        return cls(lambda: document, cache_seconds=float("inf"), min_bytes=0)

    @property
    def is_fixed(self) -> bool:
        """Whether the keys never change, so that reading them never fetches them."""
        return self._cache_seconds == float("inf")

    def current(self) -> SigningKey:
        """Return the key that signs. Raises UnavailableError when the keys cannot be fetched."""
        return self._read(self._cache_seconds).current

    def refresh_key(self) -> SigningKey:
        """Return the key that derives the successors of refresh tokens. Raises UnavailableError when the keys cannot be fetched."""
        return self._read(self._cache_seconds).refresh_key

    def find_refresh_key(self, kid: str) -> SigningKey | None:
        """Return the refresh key if it has this id; fetches a newer document if it has not. Raises UnavailableError."""
        key = self.refresh_key()
        if key.kid != kid and not self.is_fixed:
            key = self._read(FORCED_FETCH_SECONDS).refresh_key
        return key if key.kid == kid else None

    def find(self, kid: str) -> SigningKey | None:
        """Return the key with this id; fetches a newer document if it is unknown. Raises UnavailableError."""
        found = self._read(self._cache_seconds).find(kid)
        if found is not None or self.is_fixed:
            return found
        return self._read(FORCED_FETCH_SECONDS).find(kid)

    def verification_keys(self) -> tuple[SigningKey, ...]:
        """Return all keys whose signatures are accepted, the current one first. Raises UnavailableError."""
        ring = self._read(self._cache_seconds)
        return tuple(key for key in (ring.current, ring.previous, ring.next) if key is not None)

    def clear_cache(self) -> None:
        """Drop the fetched keys, so that a SnapStart snapshot does not contain them."""
        self._ring = None

    def _read(self, max_age_seconds: float) -> KeyRing:
        with self._lock:
            requested_at = monotonic()
            if self._ring is None or requested_at - self._fetched_at >= max_age_seconds:
                # The age counts from the request, not from the response: the response may have been slow.
                self._ring = self._fetch_ring()
                self._fetched_at = requested_at
            return self._ring

    def _fetch_ring(self) -> KeyRing:
        # When the fetch fails, the expired document is not used any longer: a key may have been removed because it leaked.
        try:
            ring = KeyRing.parse(self._fetch())
            _require_length(ring.current.secret, min_bytes=self._min_bytes)
        except AppError:
            self._ring = None
            raise
        except BadKeyDocumentError as error:
            self._ring = None
            logger.error("The signing keys cannot be read: %s", error)
            raise UnavailableError from error
        return ring


def _require_length(secret: str, *, min_bytes: int) -> None:
    if len(secret.encode()) < min_bytes:
        raise BadKeyDocumentError("A key is too short")


def _parse_key(member: Any) -> SigningKey | None:
    return None if member is None else _require_key(member)


def _require_key(member: Any) -> SigningKey:
    kid, secret = member["kid"], member["key"]
    if not (isinstance(kid, str) and 0 < len(kid) <= KEY_ID_MAX_LENGTH and kid.isascii() and kid.isprintable()):
        raise BadKeyDocumentError(f"A key id must be printable ASCII of at most {KEY_ID_MAX_LENGTH} characters")
    if not isinstance(secret, str):
        raise BadKeyDocumentError("A key must be a string")
    _require_length(secret, min_bytes=KEY_MIN_BYTES)
    return SigningKey(kid=kid, secret=secret)
