"""Password hashing with Argon2id. The only module that imports passlib.

passlib comes from the libpass distribution. It is imported on first use, because most requests carry a token and no password.
"""

from functools import cached_property
from typing import TYPE_CHECKING
from unicodedata import normalize

if TYPE_CHECKING:
    from passlib.context import CryptContext

ARGON2_MEMORY_KIB = 19_456
"""19 MiB, the first Argon2id recommendation of the OWASP Password Storage Cheat Sheet."""
ARGON2_TIME_COST = 2
"""Passes over the memory."""
ARGON2_PARALLELISM = 1
"""Lanes. The API function has one vCPU."""

PASSWORD_MAX_LENGTH = 1024
"""In characters. Longer than any passphrase, and short enough for cheap hashing."""

# Hash of a discarded random value with the parameters above. A sign-in with an unknown e-mail address verifies against it, so that it
# takes as long as one with a known address. `CryptContext.dummy_verify()` would take twice as long on its first call.
UNKNOWN_USER_HASH = "$argon2id$v=19$m=19456,t=2,p=1$ViolhLA2Zmyt9X4PYQzh/A$9EU3xI+JIUJ/4A2HRUW9LLJxHhzT4GBvBgi8TFNcD0g"


class PasswordHasher:
    """Hashes passwords in Unicode normalisation form C, and verifies them as submitted and then in that form.

    Keyboards of macOS and Windows produce different code points for the same accented letter (RFC 8265, section 4.2.2). Hashes of before
    are of the password as it was submitted. Nothing is trimmed.
    """

    @cached_property
    def _context(self) -> "CryptContext":
        from passlib.context import CryptContext

        return CryptContext(
            schemes=["argon2"],
            argon2__type="ID",
            argon2__memory_cost=ARGON2_MEMORY_KIB,
            argon2__time_cost=ARGON2_TIME_COST,
            argon2__parallelism=ARGON2_PARALLELISM,
        )

    def hash(self, password: str) -> str:
        """Return the encoded Argon2id hash of `password` with a new salt (about 23 ms on one vCPU)."""
        return str(self._context.hash(normalize("NFC", password)))

    def verify(self, password: str, hashed_password: str | None) -> bool:
        """Whether `password` matches the hash.

        False when the hash is None (unknown user) or the password exceeds PASSWORD_MAX_LENGTH. Both cases take as long as a normal check.
        """
        can_match = hashed_password is not None and len(password) <= PASSWORD_MAX_LENGTH
        if not can_match:
            password, hashed_password = password[:PASSWORD_MAX_LENGTH], UNKNOWN_USER_HASH
        is_right = bool(self._context.verify(password, hashed_password))
        if not is_right and (composed := normalize("NFC", password)) != password:
            is_right = bool(self._context.verify(composed, hashed_password))
        return is_right and can_match

    def needs_rehash(self, hashed_password: str) -> bool:
        """Whether the hash was created with parameters other than the current ones."""
        return bool(self._context.needs_update(hashed_password))
