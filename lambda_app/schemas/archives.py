"""Models of archives."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator

from lambda_app.models.archives import ArchiveStatus
from lambda_app.schemas.base import RequestModel, ResponseModel, examples
from lambda_app.schemas.files.files import Filename
from lambda_app.schemas.text import Timestamp

ARCHIVE_MAX_FILES = 5000
"""Limited by the size of a request body."""
DEFAULT_FILENAME = "files.zip"


class ArchiveCreate(RequestModel):
    """The files of a new zip archive, in this order."""

    model_config = examples(
        {"file_ids": ["0b8f7d3e-6a52-4c0d-9a5e-2f6f4b1c7a10", "5d1f0a4c-93be-4f6e-8c1d-7e2a9b3c4d5e"]},
        {"file_ids": ["0b8f7d3e-6a52-4c0d-9a5e-2f6f4b1c7a10"], "filename": "report.zip"},
    )

    file_ids: Annotated[list[UUID], Field(min_length=1, max_length=ARCHIVE_MAX_FILES)] = Field(
        description="The files, in their order in the zip."
    )
    filename: Filename = Field(default=DEFAULT_FILENAME, description="File name of the zip.")

    @field_validator("file_ids")
    @classmethod
    def _once_each(cls, value: list[UUID]) -> list[UUID]:
        if len(set(value)) != len(value):
            raise ValueError("must not contain a file more than once")
        return value


class Archive(ResponseModel):
    """A zip archive. `done_bytes` of `size_bytes` is the progress of its build."""

    id: UUID = Field(description="Id of the archive.")
    filename: str = Field(description="File name of the zip.")
    status: ArchiveStatus = Field(description="Whether the zip is being built, is ready, or has failed.")
    file_count: int = Field(description="Number of files in the zip.")
    size_bytes: int = Field(description="Size of the zip.")
    done_bytes: int = Field(description="How much of the zip is built.")
    error_code: str | None = Field(
        description="Why the archive failed: `files_changed` when a file is no longer available, `file_withheld` when a malware scan "
        "blocks a file, `given_up` after too many failed attempts."
    )
    created_at: Timestamp = Field(description="When it was created.")
    expires_at: Timestamp | None = Field(description="When the archive is deleted; null until it is ready or has failed.")


class AccountExport(ResponseModel):
    """The export of an account: a zip with `export.json` and all files."""

    status: ArchiveStatus = Field(description="Whether the export is being built, is ready, or has failed.")
    file_count: int = Field(description="Number of files in the zip, with `export.json`; 0 until that is known.")
    size_bytes: int = Field(description="Size of the zip.")
    done_bytes: int = Field(description="How much of the zip is built.")
    error_code: str | None = Field(description="Why the export failed, as in an archive. It can be requested again after an hour.")
    created_at: Timestamp = Field(description="When it was requested.")
    expires_at: Timestamp | None = Field(description="When the export is deleted; null until it is ready or has failed.")
    download_url: str | None = Field(
        default=None, description="A presigned URL of the zip; null until it is ready. Each response contains a new one."
    )
    download_expires_at: Timestamp | None = Field(default=None, description="Until when `download_url` is valid.")


class ExportState(ResponseModel):
    """The export of the caller's account, if there is one."""

    export: AccountExport | None = Field(description="The newest export; null if none was requested, or it has expired.")


class LinkedArchive(Archive):
    """A zip archive of a share link's files. Once it is ready, `download_url` redirects to its bytes and counts as one download."""

    download_url: str | None = Field(
        default=None,
        description="Path from which the zip is downloaded, relative to the host; null until it is ready. It counts as one download.",
    )


class ArchiveState(Archive):
    """An archive, with its download URL while it is ready."""

    download_url: str | None = Field(
        default=None, description="A presigned URL of the zip; null until it is ready. Each response contains a new one."
    )
    download_expires_at: Timestamp | None = Field(default=None, description="Until when `download_url` is valid.")
