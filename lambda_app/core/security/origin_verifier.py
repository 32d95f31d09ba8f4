"""Verifies by a secret header that a request came through our CloudFront distribution and not directly to the API."""

import hmac
from collections.abc import Callable, Sequence

from lambda_app.core.errors import PermissionDeniedError

ORIGIN_VERIFY_HEADER = b"x-origin-verify"
"""Set by CloudFront, which replaces a value sent by the caller."""
VIEWER_ADDRESS_HEADER = b"x-viewer-address"
"""Address of the caller, set by our CloudFront function, which replaces a value sent by the caller.

It may be trusted only when the request also carries a valid ORIGIN_VERIFY_HEADER.
"""


class DirectAccessError(PermissionDeniedError):
    """The request came directly to the API and bypassed CloudFront and its firewall."""

    code = "side_door"
    message = "Direct access to this address is not allowed; use the public address of the service"


class OriginVerifier:
    """Checks the secret that the distribution adds to each request. `fetch_keys` returns the accepted secrets, newest first.

    During a rotation two secrets are accepted, because CloudFront edges receive a change over minutes. A secret never changes in place,
    so each one is fetched once, when it is first needed.
    """

    def __init__(self, fetch_keys: Sequence[Callable[[], str]]) -> None:
        self._fetch_keys = tuple(fetch_keys)
        self._keys: tuple[bytes, ...] = ()

    def require(self, secret: bytes | None) -> None:
        """Raise DirectAccessError unless `secret` is an accepted one; UnavailableError when the secrets cannot be fetched."""
        if not secret:
            raise DirectAccessError
        for position in range(len(self._fetch_keys)):
            if hmac.compare_digest(self._key(position), secret):
                return
        raise DirectAccessError

    def clear_cache(self) -> None:
        """Drop the fetched secrets, so that a SnapStart snapshot does not contain them."""
        self._keys = ()

    def _key(self, position: int) -> bytes:
        keys = self._keys
        if position >= len(keys):
            self._keys = keys = (*keys, self._fetch_keys[position]().encode())
        return keys[position]
