"""The keys of objects. They contain only ids: file names are user data and can change."""

import re
from uuid import UUID

KEY_PREFIX = "uploads/"
"""Key prefix of files."""
ARCHIVE_PREFIX = "archives/"
"""Key prefix of archives."""
REQUEST_PREFIX = "archive-requests/"
"""Key prefix of the marker objects whose creation events start the archive worker."""
PREVIEW_PREFIX = "previews/"
"""Key prefix of the images that the preview worker makes."""
PREVIEW_REQUEST_PREFIX = "preview-requests/"
"""Key prefix of the marker objects whose creation events start the preview worker."""
PREVIEW_RESULT_PREFIX = "preview-results/"
"""Key prefix of the worker's results. Their creation events start the function that records them."""
WEBHOOK_WORK_PREFIX = "webhook-work/"
"""Key prefix of the batches of webhook messages whose creation events start the function that sends them."""
WEBHOOK_RESULT_PREFIX = "webhook-results/"
"""Key prefix of the results of these batches."""

BATCH_ID_LENGTH = len("00000000-0000-0000-")
"""Characters of a file's id that are those of the batch in which it was started."""

_ID = "([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_KEY = re.compile(KEY_PREFIX + _ID)
_ARCHIVE_KEY = re.compile(ARCHIVE_PREFIX + _ID + r"(?:\.json)?")
_REQUEST_KEY = re.compile(REQUEST_PREFIX + _ID)
_PREVIEW_KEY = re.compile(PREVIEW_PREFIX + _ID + "/(?:small|large)")
_PREVIEW_RESULT_KEY = re.compile(PREVIEW_RESULT_PREFIX + _ID)
_WEBHOOK_WORK_KEY = re.compile(WEBHOOK_WORK_PREFIX + _ID)
_WEBHOOK_RESULT_KEY = re.compile(WEBHOOK_RESULT_PREFIX + _ID)


def object_key(file_id: UUID) -> str:
    """Return the key of a file's object."""
    return f"{KEY_PREFIX}{file_id}"


def batch_prefix(file_id: UUID) -> str:
    """Return the start of the file's key that the files of its batch have in common, and no others."""
    return object_key(file_id)[: len(KEY_PREFIX) + BATCH_ID_LENGTH]


def file_id_of(key: str) -> UUID | None:
    """Return the id of the file with this key, None for the key of another kind of object."""
    match = _KEY.fullmatch(key)
    return UUID(match[1]) if match else None


def archive_key(archive_id: UUID) -> str:
    """Return the key of an archive's object."""
    return f"{ARCHIVE_PREFIX}{archive_id}"


def export_document_key(archive_id: UUID) -> str:
    """Return the key of the JSON document of an export, which is stored until its zip is ready."""
    return f"{ARCHIVE_PREFIX}{archive_id}.json"


def archive_id_of(key: str) -> UUID | None:
    """Return the id of the archive with this key, or with this key of its document, None for the key of another kind of object."""
    match = _ARCHIVE_KEY.fullmatch(key)
    return UUID(match[1]) if match else None


def archive_request_key(archive_id: UUID) -> str:
    """Return the key of the marker object that requests the build of an archive."""
    return f"{REQUEST_PREFIX}{archive_id}"


def requested_archive_of(key: str) -> UUID | None:
    """Return the id of the archive that the marker with this key requests, None for the key of another kind of object."""
    match = _REQUEST_KEY.fullmatch(key)
    return UUID(match[1]) if match else None


def preview_keys(file_id: UUID) -> tuple[str, str]:
    """Return the keys of the small and the large preview of a file."""
    return f"{PREVIEW_PREFIX}{file_id}/small", f"{PREVIEW_PREFIX}{file_id}/large"


def previewed_file_of(key: str) -> UUID | None:
    """Return the id of the file whose preview has this key, None for the key of another kind of object."""
    match = _PREVIEW_KEY.fullmatch(key)
    return UUID(match[1]) if match else None


def preview_request_key(file_id: UUID) -> str:
    """Return the key of the marker object that requests the preview of a file."""
    return f"{PREVIEW_REQUEST_PREFIX}{file_id}"


def preview_result_key(file_id: UUID) -> str:
    """Return the key of the object in which the worker reports the preview of a file."""
    return f"{PREVIEW_RESULT_PREFIX}{file_id}"


def preview_result_of(key: str) -> UUID | None:
    """Return the id of the file whose preview the object with this key reports, None for the key of another kind of object."""
    match = _PREVIEW_RESULT_KEY.fullmatch(key)
    return UUID(match[1]) if match else None


def webhook_work_key(batch_id: UUID) -> str:
    """Return the key of a batch of webhook messages."""
    return f"{WEBHOOK_WORK_PREFIX}{batch_id}"


def webhook_work_of(key: str) -> UUID | None:
    """Return the id of the batch with this key, None for the key of another kind of object."""
    match = _WEBHOOK_WORK_KEY.fullmatch(key)
    return UUID(match[1]) if match else None


def webhook_result_key(batch_id: UUID) -> str:
    """Return the key of the result of a batch."""
    return f"{WEBHOOK_RESULT_PREFIX}{batch_id}"


def webhook_result_of(key: str) -> UUID | None:
    """Return the id of the batch whose result has this key, None for the key of another kind of object."""
    match = _WEBHOOK_RESULT_KEY.fullmatch(key)
    return UUID(match[1]) if match else None
