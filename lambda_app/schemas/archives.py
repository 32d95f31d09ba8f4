"""Shapes of archives."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator

from lambda_app.models.archives import ArchiveStatus
from lambda_app.schemas.base import RequestModel, ResponseModel
from lambda_app.schemas.files.files import Filename

ARCHIVE_MAX_FILES = 5000
"""As many ids as fit into a request's body."""
DEFAULT_FILENAME = "files.zip"


class ArchiveCreate(RequestModel):
    """The files to put into one zip, in this order."""

    file_ids: Annotated[list[UUID], Field(min_length=1, max_length=ARCHIVE_MAX_FILES)]
    filename: Filename = Field(default=DEFAULT_FILENAME, description="What the zip is saved as.")

    @field_validator("file_ids")
    @classmethod
    def _once_each(cls, value: list[UUID]) -> list[UUID]:
        if len(set(value)) != len(value):
            raise ValueError("must name each file once")
        return value


class Archive(ResponseModel):
    """A zip that is being built or is ready. `done_bytes` of `size_bytes` says how far it has come."""

    id: UUID
    filename: str
    status: ArchiveStatus
    file_count: int
    size_bytes: int
    done_bytes: int
    error_code: str | None
    """Why it failed: `files_changed` when a file in it cannot be had any more, `file_withheld` when a malware scan did not find one clean,
    `given_up` when it could not be built."""
    created_at: datetime
    expires_at: datetime | None
    """When it is deleted, once it is ready or has failed."""


class LinkedArchive(Archive):
    """A zip of what a share link opens; `download_url` redirects to its bytes once it is ready, and counts as one download."""

    download_url: str | None = None


class ArchiveState(Archive):
    """An archive, and where to download it while it is ready."""

    download_url: str | None = None
    """A presigned address of the bytes; it lives until `download_expires_at`, and the next answer has a new one."""
    download_expires_at: datetime | None = None
