"""The one way in: whether a request came through our own CloudFront distribution, which proves it by a secret header."""

import hmac
from collections.abc import Callable, Sequence

from lambda_app.core.errors import PermissionDeniedError

PROOF_HEADER = b"x-origin-verify"
"""CloudFront writes it over whatever the caller sent by this name."""
ADDRESS_HEADER = b"x-viewer-address"
"""The caller's address, which our function at CloudFront writes over whatever came; only to be verification_keys beside a proof."""


class DirectAccessError(PermissionDeniedError):
    """The request came to the API itself, past the firewall."""

    code = "side_door"
    message = "This address is not for callers; use the public one"


class OriginVerifier:
    """The keys by which the distribution is known, the newest first; each is fetched when it is needed, once.

    There are two while one is replaced by the next: edges of CloudFront learn of a change over minutes. A key never changes
    in place, so none is ever fetched again.
    """

    def __init__(self, fetch_keys: Sequence[Callable[[], str]]) -> None:
        self._fetch_keys = tuple(fetch_keys)
        self._keys: tuple[bytes, ...] = ()

    def require(self, proof: bytes | None) -> None:
        """Raise DirectAccessError unless `proof` is one of the keys; UnavailableError when they cannot be had."""
        if not proof:
            raise DirectAccessError
        for position in range(len(self._fetch_keys)):
            if hmac.compare_digest(self._key(position), proof):
                return
        raise DirectAccessError

    def clear_cache(self) -> None:
        """Forget what was fetched, before the process is frozen into a snapshot."""
        self._keys = ()

    def _key(self, position: int) -> bytes:
        keys = self._keys
        if position >= len(keys):
            self._keys = keys = (*keys, self._fetch_keys[position]().encode())
        return keys[position]
