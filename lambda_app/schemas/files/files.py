"""Models of files."""

import re
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, computed_field, field_validator

from lambda_app.models.files.files import FileStatus
from lambda_app.schemas.base import RequestModel, ResponseModel, refuse_null
from lambda_app.schemas.media_types import normalize_media_type
from lambda_app.schemas.text import NOT_BLANK, ONE_LINE, SEVERAL_LINES, Timestamp

FILENAME_MAX_LENGTH = 255
CONTENT_TYPE_MAX_LENGTH = 100
DESCRIPTION_MAX_LENGTH = 2000
SIZE_MAX_BYTES = 50 * 1024**4
"""The largest object that S3 can store: 50 TiB."""

SHA256_PATTERN = "^[0-9a-fA-F]{64}$"


def _refuse_other_digests(value: str) -> str:
    if not re.fullmatch(SHA256_PATTERN, value):
        raise ValueError("must be a SHA-256 in hex: 64 characters 0-9 and a-f")
    return value.lower()


Filename = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=FILENAME_MAX_LENGTH), ONE_LINE, NOT_BLANK]
ContentType = Annotated[
    str,
    StringConstraints(strict=True, max_length=CONTENT_TYPE_MAX_LENGTH),
    AfterValidator(normalize_media_type),
    Field(description="Media type; an empty text stands for application/octet-stream.", examples=["image/png"]),
]
Sha256 = Annotated[
    str, StringConstraints(strict=True), AfterValidator(_refuse_other_digests), Field(json_schema_extra={"pattern": SHA256_PATTERN})
]
Description = Annotated[str, StringConstraints(strict=True, max_length=DESCRIPTION_MAX_LENGTH), SEVERAL_LINES]


class DeclaredFile(RequestModel):
    """The declaration of a file to upload. S3 accepts only a body that matches it."""

    filename: Filename
    content_type: ContentType
    size_bytes: int = Field(strict=True, ge=0, le=SIZE_MAX_BYTES, description="Exact length of the file, in bytes.")
    sha256: Sha256 | None = Field(default=None, description="SHA-256 of the file in hex. S3 refuses a body with another one.")
    description: Description | None = None


class FileCreate(DeclaredFile):
    """The declaration of a file to upload, and its visibility."""

    is_public: bool = Field(default=False, strict=True, description="Whether anyone who knows the id can read the file.")


class FileUpdate(RequestModel):
    """Changes of a file. Omitted fields are not changed."""

    filename: Filename | None = None
    description: Description | None = None
    is_public: bool | None = Field(default=None, strict=True)

    _cannot_be_cleared = field_validator("filename", "is_public", mode="before")(refuse_null)


class File(ResponseModel):
    """A file. Its bytes can be downloaded while `status` is `available`."""

    id: UUID
    filename: str
    content_type: str
    size_bytes: int
    sha256: str | None
    description: str | None
    is_public: bool
    s3_key: str
    owner_id: UUID
    status: FileStatus
    detected_content_type: str | None
    """The content type detected from the bytes, if it contradicts `content_type`."""
    upload_expires_at: Timestamp | None
    """When a pending upload is given up if it is not completed; null for files in other states."""
    part_size_bytes: int | None
    """Length of every part of a multipart upload except the last; null for a file that was sent in one request."""
    purge_at: Timestamp | None
    """When a file in the trash is permanently deleted."""
    file_request_id: UUID | None
    """The file request through which a guest uploaded the file."""
    created_at: Timestamp
    updated_at: Timestamp

    @field_validator("upload_expires_at")
    @classmethod
    def _while_pending(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        return value if info.data.get("status") is FileStatus.PENDING else None

    @computed_field(description="Whether the file is sent in parts. `GET /files/{file_id}/parts` lists those that have arrived.")  # type: ignore[prop-decorator]  # pydantic documents this order
    @property
    def is_multipart(self) -> bool:
        """Whether the file is sent in parts."""
        return self.part_size_bytes is not None

    @computed_field(description="Path of the public link, relative to the URL of the API; null if the file is not public or not available.")  # type: ignore[prop-decorator]  # pydantic documents this order
    @property
    def public_path(self) -> str | None:
        """Return the path of the public link, or None. Not a full URL: the model does not know the host of the API."""
        return f"/p/{self.id}" if self.is_public and self.status is FileStatus.AVAILABLE else None


class FileUploadResponse(ResponseModel):
    """A presigned upload request. Send it with exactly these `headers` before `expires_at`, then complete the upload."""

    upload_url: str
    file_id: UUID
    method: str
    headers: dict[str, str]
    expires_at: Timestamp


class FileDownloadResponse(ResponseModel):
    """A presigned download URL. `content_type` is the content type of S3's response."""

    download_url: str
    filename: str
    content_type: str
    expires_at: Timestamp
