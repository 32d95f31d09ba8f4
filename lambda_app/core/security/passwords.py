"""Password hashing with Argon2id; the only module that imports passlib.

passlib is imported from the libpass distribution, and only when a password is at hand: most requests carry a token instead.
"""

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from passlib.context import CryptContext

ARGON2_MEMORY_KIB = 19_456
"""19 MiB, the OWASP password storage cheat sheet's first choice for Argon2id."""
ARGON2_TIME_COST = 2
"""ShareTokens over the memory."""
ARGON2_PARALLELISM = 1
"""Lanes; a Lambda of the usual size has one vCPU."""

PASSWORD_MAX_LENGTH = 1024
"""In characters; long enough for any passphrase, short enough that hashing stays cheap."""

# The hash of a random value that nobody kept, with the parameters above: a login for an unknown user verifies against
# it, so that it costs what a known user's does. `CryptContext.dummy_verify()` would pay twice at its first call.
UNKNOWN_USER_HASH = "$argon2id$v=19$m=19456,t=2,p=1$ViolhLA2Zmyt9X4PYQzh/A$9EU3xI+JIUJ/4A2HRUW9LLJxHhzT4GBvBgi8TFNcD0g"


class PasswordHasher:
    """Hashes and verifies passwords exactly as typed, without trimming or normalising."""

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
        """Return the encoded Argon2id hash of `password`, with a salt of its own (about 23 ms of one vCPU)."""
        return str(self._context.hash(password))

    def verify(self, password: str, hashed_password: str | None) -> bool:
        """Tell whether `password` belongs to the hash.

        False for None, an unknown user, and for a password longer than any we keep; both take as long as an ordinary one.
        """
        can_match = hashed_password is not None and len(password) <= PASSWORD_MAX_LENGTH
        if not can_match:
            password, hashed_password = password[:PASSWORD_MAX_LENGTH], UNKNOWN_USER_HASH
        return bool(self._context.verify(password, hashed_password)) and can_match

    def needs_rehash(self, hashed_password: str) -> bool:
        """Tell whether the hash was made with other parameters than today's."""
        return bool(self._context.needs_update(hashed_password))
