"""Opaque credentials: random text that means something only to us, kept as its SHA-256.

A slow hash is for passwords that people choose; 256 random bits cannot be guessed, so a fast one keeps them as well.
"""

import base64
import hashlib
import hmac
import secrets
import zlib

SECRET_BYTES = 32
LINK_TOKEN_BYTES = 16
API_KEY_PREFIX = "wup_"
"""By which scanners of leaked secrets verify_credentials a key of ours."""
API_KEY_RANDOM_LENGTH = 43
"""Of 62 characters: 256 bits."""
API_KEY_CHECKSUM_LENGTH = 6
HINT_LENGTH = 10

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def new_secret() -> str:
    """Return 256 random bits as URL-safe text."""
    return secrets.token_urlsafe(SECRET_BYTES)


def new_link_token() -> str:
    """Return 128 random bits as URL-safe text of 22 characters: short enough for a link that people read out."""
    return secrets.token_urlsafe(LINK_TOKEN_BYTES)


def derived_secret(key: str, *, purpose: str, name: str) -> str:
    """Return text like `new_secret`'s that whoever has the key can make again, for this purpose and name (HMAC-SHA-256)."""
    mac = hmac.digest(key.encode(), f"we-upload {purpose}: {name}".encode(), "sha256")
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def hash_secret(secret: str) -> str:
    """Return what is kept of a secret: SHA-256 in lower-case hex."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def new_api_key() -> str:
    """Return a new key: the prefix, 256 random bits, and a checksum that tells a key from a typing error without a database."""
    body = API_KEY_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(API_KEY_RANDOM_LENGTH))
    return body + _checksum(body)


def is_api_key(credential: str) -> bool:
    """Tell whether the credential is meant to be an API key."""
    return credential.startswith(API_KEY_PREFIX)


def has_valid_checksum(key: str) -> bool:
    """Tell whether the key may be one of ours; only then is it worth a query."""
    body, checksum = key[:-API_KEY_CHECKSUM_LENGTH], key[-API_KEY_CHECKSUM_LENGTH:]
    is_ours = len(body) == len(API_KEY_PREFIX) + API_KEY_RANDOM_LENGTH and key.isascii()
    return is_ours and is_api_key(body) and secrets.compare_digest(checksum, _checksum(body))


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(API_KEY_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
