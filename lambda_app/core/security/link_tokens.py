"""Encryption of the tokens of share links and file requests, so that their owners can see the addresses again.

Requests find a link by the hash of its token, never by this ciphertext. The keys are separate from those that sign, because a link
outlives every signing key (docs/adr/0013-share-links.md).
"""

import base64
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING
from uuid import UUID

from lambda_app.core.security.keys import KEY_ID_MAX_LENGTH, SigningKey, SigningKeys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
ENCRYPTED_TOKEN_MAX_LENGTH = 255
"""In characters: a key id of at most 64, and 95 for a token of 43."""


class LinkTokenCipher:
    """Encrypts tokens with the current key of `keys` and decrypts them with every key of the ring (AES-256-GCM).

    It also decrypts with the keys of `fallback`: the signing keys, which encrypted the tokens before the deployment had a link key.

    The ciphertext is bound to the row: moved to another link, it cannot be decrypted. With 96-bit random nonces, one key may encrypt
    2^32 tokens (NIST SP 800-38D, section 8.3).
    """

    def __init__(self, keys: SigningKeys, *, fallback: SigningKeys | None = None) -> None:
        self._keys = keys
        self._fallback = fallback

    def encrypt(self, token: str, *, row_id: UUID) -> str:
        """Return the encrypted token with the id of its key. Raises UnavailableError when the keys cannot be fetched."""
        key = self._keys.current()
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + _aead(key).encrypt(nonce, token.encode(), row_id.bytes)
        return f"{key.kid}.{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}"

    def decrypt(self, encrypted: str | None, *, row_id: UUID) -> str | None:
        """Return the token; None if there is none, its key was removed, or it was encrypted for another row.

        Raises UnavailableError when the keys cannot be fetched.
        """
        from cryptography.exceptions import InvalidTag

        kid, _, text = (encrypted or "").rpartition(".")
        key = self._find(kid) if 0 < len(kid) <= KEY_ID_MAX_LENGTH else None
        if key is None:
            return None
        try:
            sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return _aead(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], row_id.bytes).decode()
        except (InvalidTag, ValueError):
            return None

    def _find(self, kid: str) -> SigningKey | None:
        return self._keys.find(kid) or (self._fallback.find(kid) if self._fallback else None)

    def is_current(self, encrypted: str) -> bool:
        """Whether the current key encrypted it. Raises UnavailableError when the keys cannot be fetched."""
        return encrypted.rpartition(".")[0] == self._keys.current().kid


def _aead(key: SigningKey) -> "AESGCM":
    # Imported with the first link, because most requests do not need it.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(hmac.digest(key.secret.encode(), b"we-upload link token", hashlib.sha256))
