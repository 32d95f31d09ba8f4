"""Access tokens: JSON Web Tokens signed with HMAC-SHA-256; the only module that imports jose."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID, uuid4

from jose import jwk, jwt

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError

ALGORITHM = "HS256"
"""The one algorithm. A list of two is how a public key becomes an HMAC secret."""
ISSUER = "we-upload"
AUDIENCE = "we-upload-api"
ACCESS_TOKEN_TYPE = "access"  # noqa: S105 - a claim's value, not a secret
TOKEN_MAX_BYTES = 4096
"""Longer ones are refused unread: parsing is work done for a stranger."""
CLOCK_SKEW_SECONDS = 30
"""How far ahead of ours the issuing instance's clock may be."""

_REQUIRED_CLAIMS = ("aud", "exp", "iat", "iss", "jti", "sub")
# python-jose lets a missing claim pass unless told (measured with 3.5.0: no `exp` and no `aud` both passed).
_DECODE_OPTIONS: dict[str, Any] = {f"require_{claim}": True for claim in _REQUIRED_CLAIMS} | {"leeway": 0}


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed access token and its life in seconds."""

    value: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a verified access token says."""

    user_id: UUID
    token_id: UUID
    expires_at: datetime


class AccessTokens:
    """Issues and verifies access tokens with one key and one life."""

    def __init__(self, *, secret_key: str | Callable[[], str], lifetime: timedelta) -> None:
        self._secret_key = secret_key
        self._lifetime = lifetime

    @cached_property
    def _key(self) -> Any:
        """The key, asked for with the first token: before that a SnapStart snapshot may be taken, which must not hold it."""
        text = self._secret_key if isinstance(self._secret_key, str) else self._secret_key()
        # A Key object, not the string: python-jose would try to read a string as JSON or PEM first.
        return jwk.construct(text.encode(), ALGORITHM)

    def issue(self, user_id: UUID) -> AccessToken:
        """Return a fresh access token for the user."""
        issued_at = clock.now()
        claims = {
            "sub": str(user_id),
            "jti": str(uuid4()),
            "iat": int(issued_at.timestamp()),
            "exp": int((issued_at + self._lifetime).timestamp()),
            "iss": ISSUER,
            "aud": AUDIENCE,
            "typ": ACCESS_TOKEN_TYPE,
        }
        return AccessToken(value=jwt.encode(claims, self._key, algorithm=ALGORITHM), expires_in=int(self._lifetime.total_seconds()))

    def read(self, token: str) -> AccessClaims:
        """Verify the token and return its claims.

        Raises:
            NotAuthenticatedError: whatever is wrong with it; the caller is not told what.
        """
        if len(token) > TOKEN_MAX_BYTES:
            raise NotAuthenticatedError
        try:
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=_DECODE_OPTIONS)
            return self._checked(claims)
        except Exception as error:
            # Deliberately everything: python-jose raises RecursionError, UnicodeError and more on crafted input,
            # and every one of them means only that this token proves nothing.
            raise NotAuthenticatedError from error

    def _checked(self, claims: dict[str, Any]) -> AccessClaims:
        issued_at, expires_at = claims["iat"], claims["exp"]
        if type(issued_at) is not int or type(expires_at) is not int:
            raise ValueError("iat and exp must be whole numbers")
        if claims["typ"] != ACCESS_TOKEN_TYPE or claims["aud"] != AUDIENCE:
            raise ValueError("not an access token of ours")
        if issued_at > clock.now().timestamp() + CLOCK_SKEW_SECONDS or expires_at - issued_at > self._lifetime.total_seconds():
            raise ValueError("a life that we never give")
        # The library lets a token live through its last second; ours is dead at `exp` (RFC 7519, section 4.1.4).
        if clock.now().timestamp() >= expires_at:
            raise ValueError("expired")
        return AccessClaims(
            user_id=UUID(claims["sub"]),
            token_id=UUID(claims["jti"]),
            expires_at=datetime.fromtimestamp(expires_at, UTC),
        )
