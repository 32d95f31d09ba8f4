"""Assertions: what the function that talks to the providers tells the API about a person, by way of the browser.

An assertion is a JSON Web Token with a key of its own. It is valid for one minute and once, and only in the browser that started the
sign-in: the assertion has the hash of a secret in a cookie of that browser.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from jose import jwk, jwt

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError, UnavailableError
from lambda_app.core.identity.id_tokens import Identity
from lambda_app.core.security.keys import SigningKey, SigningKeys
from lambda_app.core.security.random_tokens import derive_secret, hash_secret

ALGORITHM = "HS256"
ISSUER = "we-upload-sign-in"
AUDIENCE = "we-upload-api"
TOKEN_TYPE = "assertion+jwt"  # noqa: S105 - a media type
"""The type in the header (RFC 8725, section 3.11), so that an assertion is never taken for another token."""
ASSERTION_LIFETIME = timedelta(minutes=1)
CODE_LIFETIME = timedelta(minutes=5)
"""How long an assertion can be used together with a one-time code, which people need time to type."""
ASSERTION_MAX_LENGTH = 2048
CLOCK_SKEW_SECONDS = 5

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_REQUIRED = ("aud", "iat", "iss", "jti", "sub")
# The age follows from `iat`: with a one-time code, an assertion is of use after its `exp`.
_OPTIONS: dict[str, Any] = {f"require_{claim}": True for claim in _REQUIRED} | {"leeway": 0, "verify_exp": False}


class Purpose(StrEnum):
    """What a sign-in at the provider was started for. An assertion is of use for this only."""

    SIGN_IN = "sign_in"
    LINK = "link"
    PROOF = "proof"
    """A signed-in person authenticates again, before a change of the account."""
    OPEN_LINK = "open_link"
    """A visitor opens a share link that is for users. It gives no session."""


class BadAssertionError(NotAuthenticatedError):
    """The assertion is forged, expired, used, for another purpose, or of another browser. The error does not tell which."""

    code = "bad_assertion"
    message = "This sign-in has expired or was used before; start it again"


@dataclass(frozen=True, slots=True)
class Assertion:
    """The content of a verified assertion."""

    id: UUID
    purpose: Purpose
    provider: str
    issuer: str
    """The issuer of the provider, to which `identity.subject` belongs."""
    identity: Identity
    issued_at: datetime

    @property
    def is_expired(self) -> bool:
        """Whether it is too old to be used without a one-time code."""
        return clock.now() >= self.issued_at + ASSERTION_LIFETIME


class Assertions:
    """Issues and verifies assertions."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def issue(self, identity: Identity, *, purpose: Purpose, provider: str, issuer: str, binding: str) -> str:
        """Return an assertion for the browser that has the secret `binding`. Raises UnavailableError when the keys cannot be fetched."""
        key, now = self._keys.current(), clock.now().replace(microsecond=0)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": int(now.timestamp()),
            "exp": int((now + ASSERTION_LIFETIME).timestamp()),
            "jti": str(uuid4()),
            "purpose": purpose.value,
            "provider": provider,
            "idp": issuer,
            "sub": identity.subject,
            "email": identity.email,
            "email_verified": identity.email_verified,
            "bind": hash_secret(binding),
        }
        return str(jwt.encode(claims, _jwk(key), algorithm=ALGORITHM, headers={"kid": key.kid, "typ": TOKEN_TYPE}))

    def read(self, token: str, *, binding: str | None, purpose: Purpose) -> Assertion:
        """Verify signature, purpose, browser and age, and return the content. The caller checks `is_expired` and that it is unused.

        Raises BadAssertionError, UnavailableError.
        """
        if binding is None or len(token) > ASSERTION_MAX_LENGTH or not _COMPACT.fullmatch(token):
            raise BadAssertionError
        try:
            claims = jwt.decode(token, self._find_key(token), algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=_OPTIONS)
            return _content(claims, binding=binding, purpose=purpose)
        except UnavailableError:
            raise
        except Exception as error:
            # As for access tokens: on crafted input python-jose raises errors of many kinds.
            raise BadAssertionError from error

    def _find_key(self, token: str) -> Any:
        header = jwt.get_unverified_header(token)
        kid = header["kid"]
        if header != {"alg": ALGORITHM, "typ": TOKEN_TYPE, "kid": kid} or not isinstance(kid, str):
            raise ValueError("unexpected header")
        key = self._keys.find(kid)
        if key is None:
            raise ValueError("unknown key")
        return _jwk(key)


def _content(claims: dict[str, Any], *, binding: str, purpose: Purpose) -> Assertion:
    issued_at, now = claims["iat"], clock.now().timestamp()
    if type(issued_at) is not int or issued_at > now + CLOCK_SKEW_SECONDS or now >= issued_at + CODE_LIFETIME.total_seconds():
        raise ValueError("issued in the future, or expired")
    if claims["purpose"] != purpose.value:
        raise ValueError("for another purpose")
    if not secrets.compare_digest(str(claims["bind"]), hash_secret(binding)):
        raise ValueError("of another browser")
    return Assertion(
        id=UUID(claims["jti"]),
        purpose=purpose,
        provider=str(claims["provider"]),
        issuer=str(claims["idp"]),
        identity=Identity(str(claims["sub"]), claims["email"], email_verified=claims["email_verified"] is True),
        issued_at=datetime.fromtimestamp(issued_at, UTC),
    )


def _jwk(key: SigningKey) -> Any:
    # Derived, so that the same secret also encrypts the cookie of the flow without one being a valid form of the other.
    return jwk.construct(derive_secret(key.secret, purpose="identity", name="assertion").encode(), ALGORITHM)
