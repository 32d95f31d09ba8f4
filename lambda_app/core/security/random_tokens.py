"""Random opaque tokens: refresh tokens, mail tokens, link tokens and API keys. The database stores only their SHA-256.

They need no slow hash: unlike a password that a person chose, 128 or more random bits cannot be guessed.
"""

import base64
import hashlib
import hmac
import secrets
import zlib

SECRET_BYTES = 32
LINK_TOKEN_BYTES = 16
API_KEY_PREFIX = "wup_"
"""Secret scanners recognise our keys by this prefix."""
API_KEY_RANDOM_LENGTH = 43
"""Random characters out of 62: 256 bits."""
API_KEY_CHECKSUM_LENGTH = 6
HINT_LENGTH = 10
"""First characters of a key, which are stored and shown so that users can tell their keys apart."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def new_secret() -> str:
    """Return 256 random bits as URL-safe text."""
    return secrets.token_urlsafe(SECRET_BYTES)


def new_link_token() -> str:
    """Return 128 random bits as URL-safe text of 22 characters, short enough to read a link aloud."""
    return secrets.token_urlsafe(LINK_TOKEN_BYTES)


def derive_secret(key: str, *, purpose: str, name: str) -> str:
    """Return a token in the format of `new_secret` that is derived from the key, purpose and name (HMAC-SHA-256)."""
    mac = hmac.digest(key.encode(), f"we-upload {purpose}: {name}".encode(), "sha256")
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def hash_secret(secret: str) -> str:
    """Return the SHA-256 of a token in lower-case hex, as the database stores it."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def new_api_key() -> str:
    """Return a new API key: prefix, 256 random bits, and a checksum that detects typing errors without a database query."""
    body = API_KEY_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(API_KEY_RANDOM_LENGTH))
    return body + _checksum(body)


def is_api_key(credential: str) -> bool:
    """Whether the credential has the prefix of an API key."""
    return credential.startswith(API_KEY_PREFIX)


def has_valid_checksum(key: str) -> bool:
    """Whether the API key has the right format and checksum. Other keys are rejected without a database query."""
    body, checksum = key[:-API_KEY_CHECKSUM_LENGTH], key[-API_KEY_CHECKSUM_LENGTH:]
    has_format = len(body) == len(API_KEY_PREFIX) + API_KEY_RANDOM_LENGTH and key.isascii()
    return has_format and is_api_key(body) and secrets.compare_digest(checksum, _checksum(body))


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(API_KEY_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
