"""Access tokens: JSON Web Tokens signed with HMAC-SHA-256; the only module that imports jose (docs/adr/0009-access-token-signing.md)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

from jose import jwk, jwt

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError, UnavailableError
from lambda_app.core.security.keys import SigningKey, SigningKeys

ALGORITHM = "HS256"
"""The one algorithm. A list of two is how a public key becomes an HMAC secret."""
ISSUER = "we-upload"
AUDIENCE = "we-upload-api"
ACCESS_TOKEN_TYPE = "access"  # noqa: S105 - a claim's value, not a secret
TOKEN_MAX_BYTES = 4096
"""Longer ones are refused unread: parsing is work done for a stranger."""
EPOCH_MAX = 2**31 - 1
CLOCK_SKEW_SECONDS = 30
"""How far ahead of ours the issuing instance's clock may be."""

# Python's base64 skips what is not in its alphabet: without this, a good token with rubbish in it would still be good.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
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
    session_id: UUID
    token_epoch: int
    token_id: UUID
    expires_at: datetime


class AccessTokens:
    """Issues and verifies access tokens of one life; each names the key that signed it."""

    def __init__(self, *, keys: SigningKeys, lifetime: timedelta) -> None:
        self._keys = keys
        self._lifetime = lifetime

    def issue(self, user_id: UUID, *, session_id: UUID, token_epoch: int) -> AccessToken:
        """Return a fresh access token for the user's session. Raises UnavailableError when the keys cannot be had."""
        key = self._keys.current()
        issued_at = clock.now()
        claims = {
            "sub": str(user_id),
            "sid": str(session_id),
            "epoch": token_epoch,
            "jti": str(uuid4()),
            "iat": int(issued_at.timestamp()),
            "exp": int((issued_at + self._lifetime).timestamp()),
            "iss": ISSUER,
            "aud": AUDIENCE,
            "typ": ACCESS_TOKEN_TYPE,
        }
        value = jwt.encode(claims, _constructed(key), algorithm=ALGORITHM, headers={"kid": key.kid})
        return AccessToken(value=value, expires_in=int(self._lifetime.total_seconds()))

    def read(self, token: str) -> AccessClaims:
        """Verify the token and return its claims.

        Raises:
            NotAuthenticatedError: whatever is wrong with it; the caller is not told what.
            UnavailableError: the keys cannot be had.
        """
        if len(token) > TOKEN_MAX_BYTES or not _COMPACT.fullmatch(token):
            raise NotAuthenticatedError
        try:
            key = self._key_of(token)
            claims = jwt.decode(token, key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=_DECODE_OPTIONS)
            return self._checked(claims)
        except UnavailableError:
            raise
        except Exception as error:
            # Deliberately everything: python-jose raises RecursionError, UnicodeError and more on crafted input,
            # and every one of them means only that this token proves nothing.
            raise NotAuthenticatedError from error

    def _key_of(self, token: str) -> Any:
        # The header is not verified yet: it chooses among our own keys and decides nothing else.
        header = jwt.get_unverified_header(token)
        kid = header["kid"]
        # Exactly what we write: no key, address of a key, or critical extension (RFC 7515, section 4.1) that nobody asked for.
        if header != {"alg": ALGORITHM, "typ": "JWT", "kid": kid} or not isinstance(kid, str):
            raise ValueError("not a header of ours")
        key = self._keys.find(kid)
        if key is None:
            raise ValueError("unknown key")
        return _constructed(key)

    def _checked(self, claims: dict[str, Any]) -> AccessClaims:
        issued_at, expires_at = claims["iat"], claims["exp"]
        if type(issued_at) is not int or type(expires_at) is not int:
            raise ValueError("iat and exp must be whole numbers")
        if claims["typ"] != ACCESS_TOKEN_TYPE or claims["aud"] != AUDIENCE:
            raise ValueError("not an access token of ours")
        if issued_at > clock.now().timestamp() + CLOCK_SKEW_SECONDS or expires_at - issued_at > self._lifetime.total_seconds():
            raise ValueError("a life that we never give")
        if type(claims["epoch"]) is not int or not 0 <= claims["epoch"] <= EPOCH_MAX:
            raise ValueError("epoch must be a whole number that the database can hold")
        # The library lets a token live through its last second; ours is dead at `exp` (RFC 7519, section 4.1.4).
        if clock.now().timestamp() >= expires_at:
            raise ValueError("expired")
        return AccessClaims(
            user_id=UUID(claims["sub"]),
            session_id=UUID(claims["sid"]),
            token_epoch=claims["epoch"],
            token_id=UUID(claims["jti"]),
            expires_at=datetime.fromtimestamp(expires_at, UTC),
        )


@lru_cache(maxsize=8)
def _constructed(key: SigningKey) -> Any:
    # A Key object, not the string: python-jose would try to read a string as JSON or PEM first.
    return jwk.construct(key.secret.encode(), ALGORITHM)
