"""The keys that sign access tokens: a document with a current, a previous and a next one, and where it comes from.

The next key is published one rotation before it signs, so that an instance with a cached document already knows it when
another one begins to use it; the previous one is still verification_keys until the tokens it signed are dead.
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

KEYS_CACHE_SECONDS = 300.0
"""How long a fetched document is verification_keys; a key that was removed is refused everywhere after that."""
FORCED_FETCH_SECONDS = 1.0
"""The least time between two fetches because of an unknown key: strangers can name as many as they like."""
KEY_MIN_BYTES = 32
"""HMAC-SHA-256 wants a key of at least its own output (RFC 7518, section 3.2)."""
KEY_ID_MAX_LENGTH = 64

logger = logging.getLogger(__name__)


class BadKeyDocumentError(ValueError):
    """The document is not one of ours; its content is not shown."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key and the `kid` by which tokens name it."""

    kid: str
    secret: str = field(repr=False)

    @classmethod
    def make(cls) -> Self:
        """Return a new random key."""
        return cls(kid=secrets.token_hex(8), secret=secrets.token_urlsafe(48))

    @classmethod
    def of(cls, secret: str) -> Self:
        """Return a bare secret as a key; its id is the same wherever the secret is."""
        return cls(kid=hashlib.sha256(b"we-upload kid:" + secret.encode()).hexdigest()[:16], secret=secret)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The current key, which signs, and its neighbours in time, which are verification_keys too."""

    current: SigningKey
    previous: SigningKey | None = None
    next: SigningKey | None = None

    def find(self, kid: str) -> SigningKey | None:
        """Return the key of this id."""
        return next((key for key in (self.current, self.previous, self.next) if key is not None and key.kid == kid), None)

    def rotated(self) -> "KeyRing":
        """Return the ring one rotation later. One without a next key, such as a bare secret, only gets that: no key signs unannounced."""
        if self.next is None:
            return replace(self, next=SigningKey.make())
        return KeyRing(current=self.next, previous=self.current, next=SigningKey.make())

    def follows(self, before: "KeyRing") -> bool:
        """Whether a rotation of `before` can have made this ring."""
        expected = before.rotated()
        return self.next is not None and replace(self, next=expected.next) == expected

    @classmethod
    def parse(cls, document: str) -> Self:
        """Read a JSON document `{"current": {"kid", "key"}, "previous"?, "next"?}`, or a bare secret as a single key.

        Raises BadKeyDocumentError.
        """
        if not document.lstrip().startswith("{"):
            return cls(current=SigningKey.of(document))
        try:
            members = json.loads(document)
            return cls(**{name: _parse_key(members.get(name)) for name in ("previous", "next")}, current=_require_key(members["current"]))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BadKeyDocumentError("The signing key document is malformed") from error

    def render(self) -> str:
        """Return the document."""
        keys = {"current": self.current, "previous": self.previous, "next": self.next}
        return json.dumps({name: {"kid": key.kid, "key": key.secret} for name, key in keys.items() if key is not None})


class SigningKeys:
    """The ring in use: fixed, or fetched again when it is old or a token names a key it does not have."""

    def __init__(self, fetch: Callable[[], str], *, cache_seconds: float = KEYS_CACHE_SECONDS, min_bytes: int = KEY_MIN_BYTES) -> None:
        self._fetch = fetch
        self._min_bytes = min_bytes
        self._cache_seconds = cache_seconds
        self._lock = threading.Lock()
        self._ring: KeyRing | None = None
        self._fetched_at = 0.0

    @classmethod
    def fixed(cls, document: str) -> Self:
        """Return keys that never change: those of an environment variable."""
        KeyRing.parse(document)
        # The settings have judged the key's strength, or forgiven it.
        return cls(lambda: document, cache_seconds=float("inf"), min_bytes=0)

    def current(self) -> SigningKey:
        """Return the key that signs. Raises UnavailableError."""
        return self._read(self._cache_seconds).current

    def find(self, kid: str) -> SigningKey | None:
        """Return the key of this id, asking for a newer document once if it is unknown. Raises UnavailableError."""
        found = self._read(self._cache_seconds).find(kid)
        if found is not None or self._cache_seconds == float("inf"):
            return found
        return self._read(FORCED_FETCH_SECONDS).find(kid)

    def verification_keys(self) -> tuple[SigningKey, ...]:
        """Return every key whose signatures hold, the current one first. Raises UnavailableError."""
        ring = self._read(self._cache_seconds)
        return tuple(key for key in (ring.current, ring.previous, ring.next) if key is not None)

    def clear_cache(self) -> None:
        """Forget what was fetched, before the process is frozen into a snapshot."""
        self._ring = None

    def _read(self, max_age_seconds: float) -> KeyRing:
        with self._lock:
            asked_at = monotonic()
            if self._ring is None or asked_at - self._fetched_at >= max_age_seconds:
                # A document is as old as the question: the answer may have been long on its way.
                self._ring = self._fetched()
                self._fetched_at = asked_at
            return self._ring

    def _fetched(self) -> KeyRing:
        # An old document is never kept in use when a newer one cannot be had: a key may have been removed because it leaked.
        try:
            ring = KeyRing.parse(self._fetch())
            _refuse_short(ring.current.secret, min_bytes=self._min_bytes)
        except AppError:
            self._ring = None
            raise
        except BadKeyDocumentError as error:
            self._ring = None
            logger.error("The signing keys cannot be read: %s", error)
            raise UnavailableError from error
        return ring


def _refuse_short(secret: str, *, min_bytes: int) -> None:
    if len(secret.encode()) < min_bytes:
        raise BadKeyDocumentError("A key is too short")


def _parse_key(member: Any) -> SigningKey | None:
    return None if member is None else _require_key(member)


def _require_key(member: Any) -> SigningKey:
    kid, secret = member["kid"], member["key"]
    if not (isinstance(kid, str) and 0 < len(kid) <= KEY_ID_MAX_LENGTH and kid.isascii() and kid.isprintable()):
        raise BadKeyDocumentError("A key's id must be short printable text")
    if not isinstance(secret, str):
        raise BadKeyDocumentError("A key must be text")
    _refuse_short(secret, min_bytes=KEY_MIN_BYTES)
    return SigningKey(kid=kid, secret=secret)
