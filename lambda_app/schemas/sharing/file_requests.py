"""Models of file requests, for owners and for guests."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from lambda_app.models.files.files import FileStatus
from lambda_app.models.sharing.file_requests import CONTENT_TYPE_RULE_MAX_LENGTH, REQUEST_NOTE_MAX_LENGTH, REQUEST_TITLE_MAX_LENGTH
from lambda_app.schemas.accounts.sessions import Secret
from lambda_app.schemas.base import RequestModel, ResponseModel, refuse_null
from lambda_app.schemas.files.files import FileUploadResponse
from lambda_app.schemas.media_types import normalize_media_range
from lambda_app.schemas.text import NOT_BLANK, ONE_LINE, SEVERAL_LINES, Instant, Timestamp

MAX_SIZE_DEFAULT_BYTES = 1024**3
MAX_SIZE_LIMIT_BYTES = 5 * 1024**3
"""Guests upload a file in one PUT, for which S3 allows 5 GiB."""
MAX_FILES_DEFAULT = 100
MAX_FILES_LIMIT = 10_000
CONTENT_TYPE_RULES_MAX_COUNT = 50

Title = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=REQUEST_TITLE_MAX_LENGTH), ONE_LINE, NOT_BLANK]
Note = Annotated[str, StringConstraints(strict=True, max_length=REQUEST_NOTE_MAX_LENGTH), SEVERAL_LINES]
MaxSize = Annotated[int, Field(strict=True, ge=1, le=MAX_SIZE_LIMIT_BYTES, description="Maximum size of one file, in bytes.")]
MaxFiles = Annotated[int, Field(strict=True, ge=1, le=MAX_FILES_LIMIT, description="Maximum number of files in all.")]
ContentTypeRule = Annotated[
    str,
    StringConstraints(strict=True, max_length=CONTENT_TYPE_RULE_MAX_LENGTH),
    AfterValidator(normalize_media_range),
]
ContentTypeRules = Annotated[
    list[ContentTypeRule],
    Field(
        min_length=1,
        max_length=CONTENT_TYPE_RULES_MAX_COUNT,
        description="Content types that guests can upload; null allows any.",
        examples=[["image/*", "application/pdf"]],
    ),
]


def matching_rules(*content_types: str) -> list[str]:
    """Return the rules that allow one of the content types: each type without parameters, and its wildcard, for example `image/*`."""
    essences = [content_type.partition(";")[0].strip().lower() for content_type in content_types]
    return sorted({rule for essence in essences for rule in (essence, f"{essence.partition('/')[0]}/*")})


class FileRequestCreate(RequestModel):
    """A new file request."""

    title: Title
    note: Note | None = None
    max_size_bytes: MaxSize = MAX_SIZE_DEFAULT_BYTES
    max_files: MaxFiles = MAX_FILES_DEFAULT
    allowed_content_types: ContentTypeRules | None = None
    expires_at: Instant | None = Field(default=None, description="At most 366 days from now; 30 days by default.")


class FileRequestUpdate(RequestModel):
    """Changes of a file request. Omitted fields are not changed."""

    title: Title | None = None
    note: Note | None = None
    max_size_bytes: MaxSize | None = None
    max_files: MaxFiles | None = None
    allowed_content_types: ContentTypeRules | None = None
    expires_at: Instant | None = None

    _cannot_be_cleared = field_validator("title", "max_size_bytes", "max_files", "expires_at", mode="before")(refuse_null)


class FileRequest(ResponseModel):
    """A file request. `file_count` counts started uploads, except those that failed or expired."""

    id: UUID
    url: str | None = Field(repr=False, description="Null if the server cannot read the address any more: `POST …/rotate` gives a new one.")
    title: str
    note: str | None
    max_size_bytes: int
    max_files: int
    allowed_content_types: list[str] | None
    expires_at: Timestamp
    file_count: int
    created_at: Timestamp
    updated_at: Timestamp


class NewFileRequest(FileRequest):
    """A file request with a new address. `token` is the last segment of `url`."""

    token: str = Field(repr=False)
    url: str = Field(repr=False)


class OpenRequest(ResponseModel):
    """A file request, for guests."""

    title: str
    requester_name: str | None = Field(description="Name of the person who requests the files, if shown. It is not verified.")
    note: str | None
    max_size_bytes: int
    allowed_content_types: list[str] | None
    expires_at: Timestamp
    files_left: int


class GuestUpload(FileUploadResponse):
    """A presigned upload request. `guest_token` completes this upload and appears in this response only."""

    guest_token: str = Field(repr=False)


class GuestCompletion(RequestModel):
    """The `guest_token` of the upload to complete."""

    guest_token: Secret = Field(repr=False)


class GuestFile(ResponseModel):
    """The status of a file that a guest has uploaded."""

    file_id: UUID
    status: FileStatus
