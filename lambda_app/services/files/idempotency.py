"""Idempotency keys: a repeated request with the same key returns the resource that the first request created."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import AppError, ConflictError, MalformedRequestError
from lambda_app.db.errors import CANNOT_CONNECT_NOW, ConnectionLostError, StatementFailedError, sqlstate_of
from lambda_app.models import IdempotencyKey
from lambda_app.repositories.files.idempotency import IdempotencyRepository

KEY_LIFETIME = timedelta(hours=24)
"""How long a key refers to its resource."""
LOCK_SECONDS = 60
"""How long a key is locked by the request that claimed it, unless released earlier; longer than any request can take."""


class RequestInProgressError(ConflictError):
    """Another request with this key is in progress."""

    code = "idempotency_key_in_flight"
    message = "A request with this Idempotency-Key is in progress; try again in a moment"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class IdempotencyKeyReusedError(MalformedRequestError):
    """The key was used for a request with another body."""

    code = "idempotency_key_reused"
    message = "This Idempotency-Key was used for a request with another body; use a new key"


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request with an idempotency key: its user, its route, and a fingerprint of its body."""

    user_id: UUID
    route: str
    key: str
    fingerprint: str
    other_fingerprints: tuple[str, ...] = ()
    """Earlier fingerprints of the same body, where the fingerprint depends on a signing key that was rotated."""

    @classmethod
    def of(cls, *, user_id: UUID, route: str, key: str, body: str, other_bodies: Sequence[str] = ()) -> "KeyedRequest":
        """Build from bodies in canonical form, as the request model serialises them."""
        fingerprint, *others = map(fingerprint_of, (body, *other_bodies))
        return cls(user_id, route, key, fingerprint, tuple(others))

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """All fingerprints that identify the same request."""
        return (self.fingerprint, *self.other_fingerprints)


def fingerprint_of(body: str) -> str:
    """Return the fingerprint of a body in canonical form."""
    return hashlib.sha256(body.encode()).hexdigest()


class IdempotencyService:
    """Claims and releases idempotency keys."""

    def __init__(self, keys: IdempotencyRepository) -> None:
        self._keys = keys

    def claim(self, request: KeyedRequest, resource_id: UUID) -> UUID | None:
        """Claim the key for the resource about to be created. Return the id of the resource that an earlier request created, else None.

        Raises RequestInProgressError, IdempotencyKeyReusedError.
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
            if self._keys.claim(key, fingerprints=request.fingerprints, expired_before=now - KEY_LIFETIME):
                return None
        except StatementFailedError as error:
            self._release_if_lost(request, resource_id, error)
            raise
        existing_id = self.get_done(request)
        if existing_id is None:
            # The first request failed between the two statements and released the key.
            raise RequestInProgressError
        return existing_id

    def get_done(self, request: KeyedRequest) -> UUID | None:
        """Return the id of the resource that an earlier request with this key created; None if the key is free.

        Raises RequestInProgressError, IdempotencyKeyReusedError.
        """
        taken = self._keys.get(user_id=request.user_id, route=request.route, key=request.key)
        if taken is None or taken.created_at < clock.now() - KEY_LIFETIME:
            return None
        if taken.fingerprint not in request.fingerprints:
            raise IdempotencyKeyReusedError
        if not taken.is_done:
            raise RequestInProgressError
        return taken.resource_id

    @contextmanager
    def release_on_error(self, request: KeyedRequest | None, resource_id: UUID) -> Iterator[None]:
        """Release the key if the block raises, so that the caller can retry immediately. After a crash, the lock expires."""
        try:
            yield
        except AppError:
            if request is not None:
                self._keys.release(user_id=request.user_id, resource_id=resource_id)
            raise
        except StatementFailedError as error:
            if request is not None:
                self._release_if_lost(request, resource_id, error)
            raise

    def _release_if_lost(self, request: KeyedRequest, resource_id: UUID, error: StatementFailedError) -> None:
        # It is unknown whether the lost statement took effect. If it created the resource, the key is marked done and is not
        # released. If it is still running, it will find the key released and create nothing. After a timeout there is no second
        # attempt: the request would wait for the database twice.
        # The same holds for a database that starts.
        lost = error.orig
        if not isinstance(lost, ConnectionLostError) or sqlstate_of(error) == CANNOT_CONNECT_NOW:
            return
        if not isinstance(lost.__cause__, TimeoutError):
            self._keys.release_after_reconnect(user_id=request.user_id, resource_id=resource_id)
