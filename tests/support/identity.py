"""Keys and tokens of an identity provider for tests, made with other libraries than the application's."""

import base64
import hashlib
from typing import Any

import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from lambda_app.core import clock

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
CLIENT_ID = "we-upload-test"


def rsa_jwk(key: rsa.RSAPrivateKey = RSA_KEY, kid: str | None = "r1", **members: Any) -> dict[str, Any]:
    """Return the public JWK of an RSA key."""
    return _jwk(RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), kid, members)


def ec_jwk(key: ec.EllipticCurvePrivateKey = EC_KEY, kid: str | None = "e1", **members: Any) -> dict[str, Any]:
    """Return the public JWK of an EC key."""
    return _jwk(ECAlgorithm.to_jwk(key.public_key(), as_dict=True), kid, members)


def claims_for(issuer: str, *, nonce: str, **changes: Any) -> dict[str, Any]:
    """Return the claims of an ID token; a change to None takes a claim away."""
    now = int(clock.now().timestamp())
    claims = {
        "iss": issuer,
        "aud": CLIENT_ID,
        "sub": "person-1",
        "iat": now,
        "exp": now + 300,
        "nonce": nonce,
        "email": "ada@example.com",
        "email_verified": True,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def signed(claims: dict[str, Any], *, algorithm: str = "RS256", key: Any = None, kid: str | None = "", **headers: Any) -> str:
    """Return an ID token with these claims. `kid` is by default that of the key of the algorithm."""
    default_key, default_kid = (EC_KEY, "e1") if algorithm == "ES256" else (RSA_KEY, "r1")
    kid = default_kid if kid == "" else kid
    headers = {**headers, **({} if kid is None else {"kid": kid})}
    return pyjwt.encode(claims, default_key if key is None else key, algorithm=algorithm, headers=headers)


def at_hash(access_token: str) -> str:
    """Return the `at_hash` claim of an access token."""
    return base64.urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()[:16]).decode().rstrip("=")


def _jwk(public: Any, kid: str | None, members: dict[str, Any]) -> dict[str, Any]:
    return {**public, **({} if kid is None else {"kid": kid}), **members}
