"""Requests that may be sent twice: a key that the caller chooses stands for the one resource that its request makes."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from lambda_app.core import clock
from lambda_app.core.errors import AppError, ConflictError, MalformedRequestError
from lambda_app.db.errors import ConnectionLostError
from lambda_app.models import IdempotencyKey
from lambda_app.repositories.files.idempotency import IdempotencyRepository

KEY_LIFETIME = timedelta(hours=24)
"""How long a key stands for its resource."""
LOCK_SECONDS = 60
"""How long a request may be under way before another with the same key may try; longer than any request can last."""


class RequestUnderWayError(ConflictError):
    """A request with this key has not ended yet."""

    code = "idempotency_key_in_flight"
    message = "A request with this Idempotency-Key is still under way; try again in a moment"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class KeyUsedOtherwiseError(MalformedRequestError):
    """The key stands for a request with another body."""

    code = "idempotency_key_reused"
    message = "This Idempotency-Key was used for a request with another body"


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request that carries a key: who sent it, to which route, and a fingerprint of its body."""

    user_id: UUID
    route: str
    key: str
    fingerprint: str
    other_fingerprints: tuple[str, ...] = ()
    """What the fingerprint of the same body may have been before, where it depends on a signing key."""

    @classmethod
    def of(cls, *, user_id: UUID, route: str, key: str, body: str, other_bodies: Sequence[str] = ()) -> "KeyedRequest":
        """Take the fingerprint of a body, in the one spelling that our own model gives it."""
        fingerprint, *others = (hashlib.sha256(spelling.encode()).hexdigest() for spelling in (body, *other_bodies))
        return cls(user_id, route, key, fingerprint, tuple(others))

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Every one by which the same request may be known."""
        return (self.fingerprint, *self.other_fingerprints)


class IdempotencyService:
    """Decides whether a request with a key is the first, a repetition, or a mistake."""

    def __init__(self, keys: IdempotencyRepository) -> None:
        self._keys = keys

    def claim(self, request: KeyedRequest, resource_id: UUID) -> UUID | None:
        """Take the key for the resource about to be made; return the id of the one that was made already, if it was.

        Raises RequestUnderWayError, KeyUsedOtherwiseError.
        """
        now = clock.now()
        key = IdempotencyKey(
            user_id=request.user_id,
            route=request.route,
            key=request.key,
            fingerprint=request.fingerprint,
            resource_id=resource_id,
            is_done=False,
            created_at=now,
            locked_until=now + timedelta(seconds=LOCK_SECONDS),
        )
        try:
            if self._keys.claim(key, same=request.fingerprints, forgotten_before=now - KEY_LIFETIME):
                return None
        except DBAPIError as error:
            self._release_if_lost(request, resource_id, error)
            raise
        taken = self._keys.get(user_id=request.user_id, route=request.route, key=request.key)
        if taken is None:
            # The first request failed in this very moment and gave its key up.
            raise RequestUnderWayError
        if taken.fingerprint not in request.fingerprints:
            raise KeyUsedOtherwiseError
        if not taken.is_done:
            raise RequestUnderWayError
        return taken.resource_id

    @contextmanager
    def held(self, request: KeyedRequest | None, resource_id: UUID) -> Iterator[None]:
        """Give the key up if the block is refused, so that the caller can try again at once; after a crash its lock runs out."""
        try:
            yield
        except AppError:
            if request is not None:
                self._keys.release(user_id=request.user_id, resource_id=resource_id)
            raise
        except DBAPIError as error:
            if request is not None:
                self._release_if_lost(request, resource_id, error)
            raise

    def _release_if_lost(self, request: KeyedRequest, resource_id: UUID, error: DBAPIError) -> None:
        # Whether the lost statement was carried out nobody knows. If it made the resource, the key is done and stays; if it
        # still will, it then finds the key gone and makes nothing. A database that is merely silent is not waited for twice.
        if isinstance(error.orig, ConnectionLostError) and not isinstance(error.orig.__cause__, TimeoutError):
            self._keys.release_anew(user_id=request.user_id, resource_id=resource_id)
