"""Access tokens: JSON Web Tokens signed with HMAC-SHA-256 (docs/adr/0009-access-token-signing.md)."""

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
"""The only accepted algorithm. Accepting a second one would allow algorithm confusion: a public key used as the HMAC secret."""
ISSUER = "we-upload"
AUDIENCE = "we-upload-api"
ACCESS_TOKEN_TYPE = "access"  # noqa: S105 - a claim's value, not a secret
ENROLMENT_CLAIM = "enrol"
"""Claim of a token whose user has to set up a second factor. Absent in all other tokens."""
TOKEN_MAX_BYTES = 4096
"""Longer tokens are rejected without parsing, which would be work for an unauthenticated caller."""
EPOCH_MAX = 2**31 - 1
"""Largest value of the database column."""
CLOCK_SKEW_SECONDS = 30
"""How far the clock of the issuing instance may be ahead of ours."""

# Python's base64 decoder ignores characters outside its alphabet, so a valid token with such characters inserted would remain valid.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_REQUIRED_CLAIMS = ("aud", "exp", "iat", "iss", "jti", "sub")
# By default python-jose accepts a token without a claim such as `exp` or `aud` (tested with 3.5.0).
_DECODE_OPTIONS: dict[str, Any] = {f"require_{claim}": True for claim in _REQUIRED_CLAIMS} | {"leeway": 0}


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed access token, its lifetime in seconds, and the time of its expiry (aware UTC)."""

    value: str
    expires_in: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """The claims of a verified access token."""

    user_id: UUID
    session_id: UUID
    token_epoch: int
    token_id: UUID
    expires_at: datetime
    must_enrol: bool
    """Whether the user has to set up a second factor first: the token is good for nothing else."""


class AccessTokens:
    """Issues and verifies access tokens with a fixed lifetime. Each token names its key in the `kid` header."""

    def __init__(self, *, keys: SigningKeys, lifetime: timedelta) -> None:
        self._keys = keys
        self._lifetime = lifetime

    def issue(self, user_id: UUID, *, session_id: UUID, token_epoch: int, must_enrol: bool = False) -> AccessToken:
        """Return a new access token for the user's session. Raises UnavailableError when the keys cannot be fetched.

        `must_enrol` limits the token to setting up a second factor.
        """
        key = self._keys.current()
        issued_at = clock.now()
        expires_at = (issued_at + self._lifetime).replace(microsecond=0)
        claims = {
            "sub": str(user_id),
            "sid": str(session_id),
            "epoch": token_epoch,
            "jti": str(uuid4()),
            "iat": int(issued_at.timestamp()),
            "exp": int(expires_at.timestamp()),
            "iss": ISSUER,
            "aud": AUDIENCE,
            "typ": ACCESS_TOKEN_TYPE,
        }
        if must_enrol:
            claims[ENROLMENT_CLAIM] = True
        value = jwt.encode(claims, _jwk(key), algorithm=ALGORITHM, headers={"kid": key.kid})
        return AccessToken(value=value, expires_in=int(self._lifetime.total_seconds()), expires_at=expires_at)

    def read(self, token: str) -> AccessClaims:
        """Verify the token and return its claims.

        Raises:
            NotAuthenticatedError: The token is invalid. The caller does not learn the reason.
            UnavailableError: The keys cannot be fetched.
        """
        if len(token) > TOKEN_MAX_BYTES or not _COMPACT.fullmatch(token):
            raise NotAuthenticatedError
        try:
            key = self._find_key(token)
            claims = jwt.decode(token, key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=_DECODE_OPTIONS)
            return self._validate_claims(claims)
        except UnavailableError:
            raise
        except Exception as error:
            # All exceptions: on crafted input python-jose raises RecursionError, UnicodeError and others, and each of them means that
            # the token is invalid.
            raise NotAuthenticatedError from error

    def _find_key(self, token: str) -> Any:
        # The header is not verified yet. It only selects one of our own keys.
        header = jwt.get_unverified_header(token)
        kid = header["kid"]
        # Accept only the header that `issue` writes: no embedded key, key URL or critical extension (RFC 7515, section 4.1).
        if header != {"alg": ALGORITHM, "typ": "JWT", "kid": kid} or not isinstance(kid, str):
            raise ValueError("unexpected header")
        key = self._keys.find(kid)
        if key is None:
            raise ValueError("unknown key")
        return _jwk(key)

    def _validate_claims(self, claims: dict[str, Any]) -> AccessClaims:
        issued_at, expires_at = claims["iat"], claims["exp"]
        if type(issued_at) is not int or type(expires_at) is not int:
            raise ValueError("iat and exp must be integers")
        if claims["typ"] != ACCESS_TOKEN_TYPE or claims["aud"] != AUDIENCE:
            raise ValueError("wrong token type or audience")
        if issued_at > clock.now().timestamp() + CLOCK_SKEW_SECONDS or expires_at - issued_at > self._lifetime.total_seconds():
            raise ValueError("issued in the future, or with too long a lifetime")
        if type(claims["epoch"]) is not int or not 0 <= claims["epoch"] <= EPOCH_MAX:
            raise ValueError("epoch must be an integer that fits the database column")
        if claims.get(ENROLMENT_CLAIM, True) is not True:
            raise ValueError("the claim of an enrolment is true or absent")
        # python-jose accepts a token during the second of `exp`; RFC 7519, section 4.1.4, requires rejection from `exp` on.
        if clock.now().timestamp() >= expires_at:
            raise ValueError("expired")
        return AccessClaims(
            user_id=UUID(claims["sub"]),
            session_id=UUID(claims["sid"]),
            token_epoch=claims["epoch"],
            token_id=UUID(claims["jti"]),
            expires_at=datetime.fromtimestamp(expires_at, UTC),
            must_enrol=ENROLMENT_CLAIM in claims,
        )


@lru_cache(maxsize=8)
def _jwk(key: SigningKey) -> Any:
    # A Key object, because python-jose would first try to parse a string as JSON or PEM.
    return jwk.construct(key.secret.encode(), ALGORITHM)
