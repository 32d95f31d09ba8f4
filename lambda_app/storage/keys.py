"""The keys of objects: ids only, because names are the users' and change."""

import re
from uuid import UUID

_PREFIX = "uploads/"
_KEY = re.compile(r"uploads/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


def object_key(file_id: UUID) -> str:
    """Return the key of a file's object."""
    return f"{_PREFIX}{file_id}"


def file_id_of(key: str) -> UUID | None:
    """Return the id of the file that an object belongs to, None for an object that is not a file's."""
    match = _KEY.fullmatch(key)
    return UUID(match[1]) if match else None
