"""The keys of objects: ids only, because names are the users' and change."""

import re
from uuid import UUID

KEY_PREFIX = "uploads/"
"""What the keys of all files begin with."""
ARCHIVE_PREFIX = "archives/"
"""What the keys of all archives begin with."""
REQUEST_PREFIX = "archive-requests/"
"""What the keys of the empty objects begin with whose coming wakes the archive worker."""

_ID = "([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_KEY = re.compile(KEY_PREFIX + _ID)
_ARCHIVE_KEY = re.compile(ARCHIVE_PREFIX + _ID)
_REQUEST_KEY = re.compile(REQUEST_PREFIX + _ID)


def object_key(file_id: UUID) -> str:
    """Return the key of a file's object."""
    return f"{KEY_PREFIX}{file_id}"


def file_id_of(key: str) -> UUID | None:
    """Return the id of the file that an object belongs to, None for an object that is not a file's."""
    match = _KEY.fullmatch(key)
    return UUID(match[1]) if match else None


def archive_key(archive_id: UUID) -> str:
    """Return the key of an archive's object."""
    return f"{ARCHIVE_PREFIX}{archive_id}"


def archive_id_of(key: str) -> UUID | None:
    """Return the id of the archive that an object is, None for any other object."""
    match = _ARCHIVE_KEY.fullmatch(key)
    return UUID(match[1]) if match else None


def archive_request_key(archive_id: UUID) -> str:
    """Return the key of the object that asks for an archive to be built."""
    return f"{REQUEST_PREFIX}{archive_id}"


def requested_archive_of(key: str) -> UUID | None:
    """Return the id of the archive that an object asks for, None for an object that asks for nothing."""
    match = _REQUEST_KEY.fullmatch(key)
    return UUID(match[1]) if match else None
