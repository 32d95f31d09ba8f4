"""Shapes of files."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints, computed_field, field_validator

from lambda_app.models.files.files import FileStatus
from lambda_app.schemas.base import RequestModel, ResponseModel, refuse_null
from lambda_app.schemas.text import NOT_BLANK, ONE_LINE, SEVERAL_LINES

FILENAME_MAX_LENGTH = 255
CONTENT_TYPE_MAX_LENGTH = 100
DESCRIPTION_MAX_LENGTH = 2000
SIZE_MAX_BYTES = 50 * 1024**4
"""The largest object S3 stores: 50 TB."""

# A media type with optional parameters (RFC 9110, section 8.3.1), in printable ASCII: it is signed and sent as a header.
_MEDIA_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
CONTENT_TYPE_PATTERN = rf'^{_MEDIA_WORD}/{_MEDIA_WORD}(?:; ?{_MEDIA_WORD}=(?:{_MEDIA_WORD}|"[ !#-\[\]-~]*"))*$'
SHA256_PATTERN = "^[0-9a-fA-F]{64}$"

Filename = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=FILENAME_MAX_LENGTH), ONE_LINE, NOT_BLANK]
Description = Annotated[str, StringConstraints(strict=True, max_length=DESCRIPTION_MAX_LENGTH), SEVERAL_LINES]


class DeclaredFile(RequestModel):
    """The file that somebody is about to upload; S3 will admit exactly this and nothing else."""

    filename: Filename
    content_type: str = Field(strict=True, max_length=CONTENT_TYPE_MAX_LENGTH, pattern=CONTENT_TYPE_PATTERN, examples=["image/png"])
    size_bytes: int = Field(strict=True, ge=0, le=SIZE_MAX_BYTES, description="Exact length of the body, in bytes.")
    sha256: str | None = Field(
        default=None, strict=True, pattern=SHA256_PATTERN, description="SHA-256 in hex, as sha256sum prints it; S3 refuses other bytes."
    )
    description: Description | None = None

    @field_validator("sha256")
    @classmethod
    def _lower(cls, value: str | None) -> str | None:
        return value.lower() if value else value


class FileCreate(DeclaredFile):
    """The file that the caller is about to upload, and who may read it."""

    is_public: bool = Field(default=False, strict=True, description="Whether anyone who knows the id may read it.")


class FileUpdate(RequestModel):
    """What may change of a file after its upload has started; an absent field stays as it is."""

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
    """What the bytes look like, when that contradicts `content_type`."""
    purge_at: datetime | None
    """When a file in the trash is deleted for good."""
    file_request_id: UUID | None
    """The file request by which a guest sent it."""
    created_at: datetime
    updated_at: datetime

    @computed_field(description="Where anyone can download it while it is public, behind the API's own address.")  # type: ignore[prop-decorator]  # pydantic's way
    @property
    def public_path(self) -> str | None:
        """Return the public link, None while there is none. A path: which host leads to us, only the caller knows."""
        return f"/p/{self.id}" if self.is_public and self.status is FileStatus.AVAILABLE else None


class FileUploadResponse(ResponseModel):
    """A presigned request that admits one object; send `headers` exactly, before `expires_at`, then call complete."""

    upload_url: str
    file_id: UUID
    method: str
    headers: dict[str, str]
    expires_at: datetime


class FileDownloadResponse(ResponseModel):
    """A presigned address of the bytes; `content_type` is the type that S3 will answer with."""

    download_url: str
    filename: str
    content_type: str
    expires_at: datetime
