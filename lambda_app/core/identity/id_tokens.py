"""Verification of ID tokens (OpenID Connect Core 1.0, section 3.1.3.7).

The algorithm follows from the key of the provider, never from the header of the token, so a public key cannot be used as an HMAC secret.
"""

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jose import jwk, jws

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.core.identity.providers import IdentityProvider

ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
"""The accepted algorithms, by the type of the key."""
RSA_MIN_BITS = 2048
RSA_MAX_BITS = 8192
"""The time of a verification grows with the square of the size."""
RSA_EXPONENT_MAX_LENGTH = 8
KEYS_MAX_COUNT = 50
TOKEN_MAX_BYTES = 16 * 1024
SUBJECT_MAX_LENGTH = 255
"""Section 2 of the specification."""
EMAIL_MAX_LENGTH = 254
"""Longer addresses cannot receive mail (RFC 5321, erratum 1690)."""
CLOCK_SKEW_SECONDS = 60
ID_TOKEN_MAX_AGE_SECONDS = 600
"""A token is used right after it was issued. An older one was kept back or replayed."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


class BadIdTokenError(NotAuthenticatedError):
    """The ID token is not valid for this sign-in. The cause names the rule, for the log; the person does not learn it."""

    code = "bad_id_token"
    message = "The sign-in provider sent a token that cannot be accepted; start the sign-in again"


@dataclass(frozen=True, slots=True)
class JwkSet:
    """The usable signature keys of a provider: key id (None: the key has none), algorithm and key."""

    keys: tuple[tuple[str | None, str, Any], ...]

    def has(self, kid: str | None) -> bool:
        """Whether there is a key with this id. A token without a key id needs no particular one."""
        return kid is None or any(found == kid for found, _, _ in self.keys)

    def find(self, kid: str | None) -> tuple[str, Any]:
        """Return algorithm and key. Without an id the set must have exactly one key. Raises BadIdTokenError."""
        found = [(algorithm, key) for own, algorithm, key in self.keys if kid is None or own == kid]
        if len(found) != 1:
            raise BadIdTokenError from ValueError("no key or several keys match the token")
        return found[0]


@dataclass(frozen=True, slots=True)
class ExpectedToken:
    """What the ID token of one sign-in must contain. `access_token` is the one that came with it."""

    nonce: str
    access_token: str | None
    authenticated_after: datetime | None = None
    """If set, the person must have authenticated at the provider after this time (`auth_time`)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The person, as the provider describes them."""

    subject: str
    email: str | None
    email_verified: bool


def read_key_set(document: dict[str, Any]) -> JwkSet:
    """Return the usable signature keys of a JWK set (RFC 7517). Keys of other types, uses and sizes are left out."""
    members = document.get("keys")
    if not isinstance(members, list):
        return JwkSet(())
    keys = []
    for member in members[:KEYS_MAX_COUNT]:
        algorithm = _algorithm_of(member)
        if algorithm is None:
            continue
        kid = member.get("kid")
        public = {name: member[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in member}
        try:
            key = jwk.construct(public, algorithm)
        except Exception:  # noqa: BLE001, S112 - python-jose raises errors of many kinds for a malformed key, which is then left out
            continue
        keys.append((kid if isinstance(kid, str) else None, algorithm, key))
    return JwkSet(tuple(keys))


def key_id_of(token: str) -> str | None:
    """Return the key id in the header, which is not verified yet. It only selects a key of the provider. Raises BadIdTokenError."""
    if len(token) > TOKEN_MAX_BYTES or not _COMPACT.fullmatch(token):
        raise BadIdTokenError from ValueError("malformed token")
    try:
        header = json.loads(_decoded(token.partition(".")[0]))
        kid = header.get("kid")
    except (ValueError, AttributeError, RecursionError) as error:
        raise BadIdTokenError from error
    if "crit" in header:
        # RFC 7515, section 4.1.11: an extension that must be understood, and is not.
        raise BadIdTokenError from ValueError("critical extension")
    return kid if isinstance(kid, str) else None


def verify_id_token(token: str, keys: JwkSet, provider: IdentityProvider, expected: ExpectedToken) -> Identity:
    """Verify signature and claims, and return the identity. Raises BadIdTokenError."""
    algorithm, key = keys.find(key_id_of(token))
    try:
        claims = json.loads(jws.verify(token, key, algorithms=[algorithm]))
        _validate_recipient(claims, provider)
        _validate_time(claims)
        _validate_sign_in(claims, expected)
        return _identity(claims, provider)
    except Exception as error:
        # All exceptions: on crafted input python-jose raises errors of many kinds, and each of them means that the token is invalid.
        raise BadIdTokenError from error


def _algorithm_of(member: Any) -> str | None:
    if not isinstance(member, dict):
        return None
    algorithm = ALGORITHMS.get(str(member.get("kty")))
    if algorithm is None or member.get("alg", algorithm) != algorithm or member.get("use", "sig") != "sig":
        return None
    if algorithm == "ES256":
        return algorithm if member.get("crv") == "P-256" else None
    modulus, exponent = member.get("n"), member.get("e")
    if not isinstance(modulus, str) or not isinstance(exponent, str) or len(exponent) > RSA_EXPONENT_MAX_LENGTH:
        return None
    # Compared before the key is built, which would be work for a huge number.
    if len(modulus) * 6 > RSA_MAX_BITS + 32 or not _BASE64URL.fullmatch(modulus):
        return None
    bits = int.from_bytes(_decoded(modulus)).bit_length()
    return algorithm if RSA_MIN_BITS <= bits <= RSA_MAX_BITS else None


def _validate_recipient(claims: Any, provider: IdentityProvider) -> None:
    audience = claims["aud"]
    if claims["iss"] != provider.issuer:
        raise ValueError("wrong issuer")
    # Other audiences could have received the token too, and replay it here.
    if audience not in (provider.client_id, [provider.client_id]):
        raise ValueError("wrong audience")
    if claims.get("azp", provider.client_id) != provider.client_id:
        raise ValueError("issued to another client")


def _validate_time(claims: Any) -> None:
    now, issued_at, expires_at = clock.now().timestamp(), claims["iat"], claims["exp"]
    if type(issued_at) not in (int, float) or type(expires_at) not in (int, float):
        raise ValueError("iat and exp must be numbers")
    if now >= expires_at + CLOCK_SKEW_SECONDS:
        raise ValueError("expired")
    if not now - ID_TOKEN_MAX_AGE_SECONDS <= issued_at <= now + CLOCK_SKEW_SECONDS:
        raise ValueError("issued in the future or too long ago")


def _validate_sign_in(claims: Any, expected: ExpectedToken) -> None:
    nonce = claims["nonce"]
    if not isinstance(nonce, str) or not secrets.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise ValueError("wrong nonce")
    if "at_hash" in claims and (expected.access_token is None or claims["at_hash"] != _access_token_hash(expected.access_token)):
        raise ValueError("at_hash does not belong to the access token")
    if expected.authenticated_after is not None:
        authenticated_at = claims["auth_time"]
        if type(authenticated_at) not in (int, float) or authenticated_at < expected.authenticated_after.timestamp() - CLOCK_SKEW_SECONDS:
            raise ValueError("the person did not authenticate again")


def _identity(claims: dict[str, Any], provider: IdentityProvider) -> Identity:
    subject, email = claims["sub"], claims.get("email")
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_MAX_LENGTH or not (subject.isascii() and subject.isprintable()):
        raise ValueError("sub must be printable ASCII of at most 255 characters")
    # Providers write the claim as a boolean, a text or a number; anything else is not a confirmation.
    verified = claims.get(provider.email_verified_claim)
    is_verified = verified is True or (type(verified) is int and verified == 1) or verified in ("true", "1")
    # Neither a NUL nor a lone surrogate can be stored.
    if not isinstance(email, str) or len(email) > EMAIL_MAX_LENGTH or not email.isprintable():
        return Identity(subject, None, email_verified=False)
    return Identity(subject, email, email_verified=is_verified)


def _access_token_hash(access_token: str) -> str:
    # Section 3.1.3.6: the left half of the digest. RS256 and ES256 both use SHA-256.
    digest = hashlib.sha256(access_token.encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
