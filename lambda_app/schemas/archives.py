"""Models of archives."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator

from lambda_app.models.archives import ArchiveStatus
from lambda_app.schemas.base import RequestModel, ResponseModel
from lambda_app.schemas.files.files import Filename
from lambda_app.schemas.text import Timestamp

ARCHIVE_MAX_FILES = 5000
"""Limited by the size of a request body."""
DEFAULT_FILENAME = "files.zip"


class ArchiveCreate(RequestModel):
    """The files of a new zip archive, in this order."""

    file_ids: Annotated[list[UUID], Field(min_length=1, max_length=ARCHIVE_MAX_FILES)]
    filename: Filename = Field(default=DEFAULT_FILENAME, description="File name of the zip.")

    @field_validator("file_ids")
    @classmethod
    def _once_each(cls, value: list[UUID]) -> list[UUID]:
        if len(set(value)) != len(value):
            raise ValueError("must not contain a file more than once")
        return value


class Archive(ResponseModel):
    """A zip archive. `done_bytes` of `size_bytes` is the progress of its build."""

    id: UUID
    filename: str
    status: ArchiveStatus
    file_count: int
    size_bytes: int
    done_bytes: int
    error_code: str | None
    """Why the archive failed: `files_changed` when a file is no longer available, `file_withheld` when a malware scan blocks a file,
    `given_up` after too many failed attempts."""
    created_at: Timestamp
    expires_at: Timestamp | None
    """When the archive is deleted; null until it is ready or has failed."""


class LinkedArchive(Archive):
    """A zip archive of a share link's files. Once it is ready, `download_url` redirects to its bytes and counts as one download."""

    download_url: str | None = None


class ArchiveState(Archive):
    """An archive, with its download URL while it is ready."""

    download_url: str | None = None
    """A presigned URL of the bytes. It is valid until `download_expires_at`; each response contains a new one."""
    download_expires_at: Timestamp | None = None
