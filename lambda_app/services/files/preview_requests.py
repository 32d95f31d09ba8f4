"""Which files have previews, the requests to the worker that makes them, and their deletion with the file."""

import logging
from collections.abc import Sequence
from uuid import UUID

from lambda_app.core.errors import UnavailableError
from lambda_app.models import File
from lambda_app.storage.content import declared_or_known_type
from lambda_app.storage.keys import preview_keys, preview_request_key
from lambda_app.storage.object_store import ObjectStore

PREVIEWED_TYPES = frozenset(
    [
        "application/pdf",
        "image/avif",
        "image/gif",
        "image/heic",
        "image/heif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "video/3gpp",
        "video/mp4",
        "video/quicktime",
        "video/webm",
        "video/x-matroska",
    ]
)
"""Declared types for which the worker is started. It recognises the format by itself."""
IMAGE_MAX_BYTES = 64 * 1024**2
"""Largest image that the worker reads. It reads parts of larger videos and documents."""

logger = logging.getLogger(__name__)


def is_previewable(file: File) -> bool:
    """Whether the worker can make a preview of the file, by its declared type. Bytes that contradict their type have none."""
    content_type = declared_or_known_type(file.content_type, file.filename).partition(";")[0].strip().lower()
    is_small_enough = not content_type.startswith("image/") or file.size_bytes <= IMAGE_MAX_BYTES
    return content_type in PREVIEWED_TYPES and file.detected_content_type is None and file.size_bytes > 0 and is_small_enough


def request_preview(store: ObjectStore, file_id: UUID) -> None:
    """Start the worker. Without an answer of S3, the sweep repeats the request."""
    try:
        store.put_marker(preview_request_key(file_id))
    except UnavailableError as error:
        logger.warning("A preview could not be requested; the sweep repeats it: %s", error.__cause__ or error)


def delete_previews(store: ObjectStore, file_ids: Sequence[UUID]) -> None:
    """Delete the images of files that are being deleted. What S3 refuses is deleted by the sweep. Raises UnavailableError."""
    keys = [key for file_id in file_ids for key in preview_keys(file_id)]
    if keys:
        store.delete_many(keys)
