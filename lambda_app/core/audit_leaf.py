"""The leaf of an audit event: the hash of the separately salted hashes of its fields.

A receipt opens some fields and proves the others by their hashes only. The trigger `audit_event_fill` computes the same in SQL.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lambda_app.core.merkle import leaf_hash

FIELDS = ("seq", "at", "action", "actor_id", "credential", "subject", "details", "source_address", "request_id")
"""The fields, in the order of their hashes in the leaf."""
ERASABLE = ("actor_id", "credential", "subject", "details", "source_address", "request_id")
"""Fields that can hold personal data."""
SALT_BYTES = 16
NO_SALT = bytes(SALT_BYTES)
"""In place of the salt of an erased field."""


def field_text(value: Any) -> str | None:
    """Return the canonical text of a value: times in UTC with six digits, everything else as PostgreSQL writes it."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return str(value)


def field_hash(salt: bytes, name: str, text: str | None) -> bytes:
    """Return the SHA-256 of the salt and `name=text`, or of the salt and the name alone for a field without a value."""
    return hashlib.sha256(salt + (name if text is None else f"{name}={text}").encode()).digest()


def salt_of(salts: bytes, name: str) -> bytes:
    """Return the salt of one field."""
    start = FIELDS.index(name) * SALT_BYTES
    return salts[start : start + SALT_BYTES]


def event_leaf(values: Mapping[str, Any], salts: bytes, erased: Mapping[str, str]) -> bytes:
    """Return the leaf of an event. `erased` has the hashes of erased fields in hex."""
    hashes = [
        bytes.fromhex(erased[name])
        if name in erased
        else field_hash(salts[number * SALT_BYTES : (number + 1) * SALT_BYTES], name, field_text(values[name]))
        for number, name in enumerate(FIELDS)
    ]
    return leaf_hash(b"".join(hashes))
