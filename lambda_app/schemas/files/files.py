"""Models of files."""

import re
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, computed_field, field_validator

from lambda_app.models.files.files import FileStatus, ScanStatus
from lambda_app.schemas.base import RequestModel, ResponseModel, examples, refuse_null
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

    model_config = examples(
        {"filename": "report.pdf", "content_type": "application/pdf", "size_bytes": 183204},
        {
            "filename": "photo.png",
            "content_type": "image/png",
            "size_bytes": 48213,
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "description": "The team in Oslo",
        },
    )

    filename: Filename = Field(description="Name of the file.")
    content_type: ContentType
    size_bytes: int = Field(strict=True, ge=0, le=SIZE_MAX_BYTES, description="Exact length of the file, in bytes.")
    sha256: Sha256 | None = Field(default=None, description="SHA-256 of the file in hex. S3 refuses a body with another one.")
    description: Description | None = Field(default=None, description="A text about the file.")


class FileCreate(DeclaredFile):
    """The declaration of a file to upload, and its visibility."""

    model_config = examples(
        {"filename": "report.pdf", "content_type": "application/pdf", "size_bytes": 183204},
        {
            "filename": "photo.png",
            "content_type": "image/png",
            "size_bytes": 48213,
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "description": "The team in Oslo",
            "is_public": False,
        },
    )

    is_public: bool = Field(default=False, strict=True, description="Whether anyone who knows the id can read the file.")


class FileUpdate(RequestModel):
    """Changes of a file. Omitted fields are not changed."""

    model_config = examples({"filename": "report-2026.pdf"}, {"description": None, "is_public": False})

    filename: Filename | None = Field(default=None, description="The new name.")
    description: Description | None = Field(default=None, description="The new description; null removes it.")
    is_public: bool | None = Field(default=None, strict=True, description="Whether anyone who knows the id can read the file.")

    _cannot_be_cleared = field_validator("filename", "is_public", mode="before")(refuse_null)


class File(ResponseModel):
    """A file. Its bytes can be downloaded while `status` is `available`."""

    id: UUID = Field(description="Id of the file.")
    filename: str = Field(description="Name of the file.")
    content_type: str = Field(description="The declared media type.")
    size_bytes: int = Field(description="Size of the content.")
    sha256: str | None = Field(description="SHA-256 of the content in hex, where it was declared.")
    description: str | None = Field(description="A text about the file.")
    is_public: bool = Field(description="Whether anyone who knows the id can read the file.")
    s3_key: str = Field(description="Key of the object in the bucket.")
    owner_id: UUID = Field(description="The user who owns the file.")
    owner_display_name: str | None = Field(
        description="In lists of files that are shared with the caller: the name that the owner shows to others. Null in other responses."
    )
    status: FileStatus = Field(
        description="`pending` until the upload is complete, then `available` or `rejected`; `expired` if it was never completed; "
        "`trashed` in the trash."
    )
    detected_content_type: str | None = Field(description="The content type detected from the bytes, if it contradicts `content_type`.")
    scan_status: ScanStatus = Field(
        description="Result of the malware scan: `none` where the server did not scan, `pending` until there is one, then `clean`, "
        "`infected` or `unscannable`."
    )
    is_withheld: bool = Field(
        description="Whether the content cannot be downloaded because of the malware scan. Superusers can release a file whose scan has a "
        "result."
    )
    upload_expires_at: Timestamp | None = Field(
        description="When a pending upload is given up if it is not completed; null for files in other states."
    )
    part_size_bytes: int | None = Field(
        description="Length of every part of a multipart upload except the last; null for a file that was sent in one request."
    )
    purge_at: Timestamp | None = Field(description="When a file in the trash is permanently deleted.")
    file_request_id: UUID | None = Field(description="The file request through which a guest uploaded the file.")
    created_at: Timestamp = Field(description="When the upload was started.")
    updated_at: Timestamp = Field(description="When it was last changed.")

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

    upload_url: str = Field(description="The presigned URL to which the content is sent.")
    file_id: UUID = Field(description="Id of the file, with which the upload is completed.")
    method: str = Field(description="The HTTP method of the upload.")
    headers: dict[str, str] = Field(description="The headers of the upload. Send exactly these.")
    expires_at: Timestamp = Field(description="Until when the upload can begin.")


class FileDownloadResponse(ResponseModel):
    """A presigned download URL. `content_type` is the content type of S3's response."""

    download_url: str = Field(description="The presigned URL of the content.")
    filename: str = Field(description="Name of the file.")
    content_type: str = Field(description="Media type of the response of `download_url`.")
    expires_at: Timestamp = Field(description="Until when `download_url` is valid.")
