"""Shapes of file requests, on their owner's side and on the guests'."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from lambda_app.models.files.files import FileStatus
from lambda_app.models.sharing.file_requests import CONTENT_TYPE_RULE_MAX_LENGTH, REQUEST_NOTE_MAX_LENGTH, REQUEST_TITLE_MAX_LENGTH
from lambda_app.schemas.accounts.sessions import Secret
from lambda_app.schemas.base import RequestModel, ResponseModel, refuse_null
from lambda_app.schemas.files.files import FileUploadResponse
from lambda_app.schemas.text import NOT_BLANK, ONE_LINE, SEVERAL_LINES, Instant

MAX_SIZE_DEFAULT_BYTES = 1024**3
MAX_SIZE_LIMIT_BYTES = 5 * 1024**3
"""Guests send a file in one PUT, which takes no more."""
MAX_FILES_DEFAULT = 100
MAX_FILES_LIMIT = 10_000
CONTENT_TYPE_RULES_MAX_COUNT = 50

_WORD = r"[!#$%&'+.^_`|~0-9A-Za-z-]+"

Title = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=REQUEST_TITLE_MAX_LENGTH), ONE_LINE, NOT_BLANK]
Note = Annotated[str, StringConstraints(strict=True, max_length=REQUEST_NOTE_MAX_LENGTH), SEVERAL_LINES]
MaxSize = Annotated[int, Field(strict=True, ge=1, le=MAX_SIZE_LIMIT_BYTES, description="Bytes that one file may have.")]
MaxFiles = Annotated[int, Field(strict=True, ge=1, le=MAX_FILES_LIMIT, description="How many files guests may send in all.")]
ContentTypeRule = Annotated[
    str,
    StringConstraints(strict=True, max_length=CONTENT_TYPE_RULE_MAX_LENGTH, pattern=rf"^{_WORD}/(?:{_WORD}|\*)$"),
    AfterValidator(str.lower),
]
ContentTypeRules = Annotated[
    list[ContentTypeRule],
    Field(
        min_length=1,
        max_length=CONTENT_TYPE_RULES_MAX_COUNT,
        description="Types that guests may declare; null is any.",
        examples=[["image/*", "application/pdf"]],
    ),
]


def matching_rules(content_type: str) -> tuple[str, str]:
    """Return the rules that let a content type in: itself without its parameters, and its family."""
    essence = content_type.partition(";")[0].strip().lower()
    return essence, f"{essence.partition('/')[0]}/*"


class FileRequestCreate(RequestModel):
    """A request for files, and what it takes."""

    title: Title
    note: Note | None = None
    max_size_bytes: MaxSize = MAX_SIZE_DEFAULT_BYTES
    max_files: MaxFiles = MAX_FILES_DEFAULT
    allowed_content_types: ContentTypeRules | None = None
    expires_at: Instant | None = Field(default=None, description="Within a year; 30 days from now by default.")


class FileRequestUpdate(RequestModel):
    """What may change of a request; an absent field stays as it is."""

    title: Title | None = None
    note: Note | None = None
    max_size_bytes: MaxSize | None = None
    max_files: MaxFiles | None = None
    allowed_content_types: ContentTypeRules | None = None
    expires_at: Instant | None = None

    _cannot_be_cleared = field_validator("title", "max_size_bytes", "max_files", "expires_at", mode="before")(refuse_null)


class FileRequest(ResponseModel):
    """A request as its owner sees it; `file_count` is how many uploads were started, without those that came to nothing."""

    id: UUID
    title: str
    note: str | None
    max_size_bytes: int
    max_files: int
    allowed_content_types: list[str] | None
    expires_at: datetime
    file_count: int
    created_at: datetime
    updated_at: datetime


class NewFileRequest(FileRequest):
    """A request just made; `token`, and the link with it, are shown this once."""

    token: str = Field(repr=False)
    url: str = Field(repr=False)


class OpenRequest(ResponseModel):
    """A request as a guest sees it."""

    title: str
    note: str | None
    max_size_bytes: int
    allowed_content_types: list[str] | None
    expires_at: datetime
    files_left: int


class GuestUpload(FileUploadResponse):
    """A presigned request that admits one object; `guest_token` is for completing this upload, and shown this once."""

    guest_token: str = Field(repr=False)


class GuestCompletion(RequestModel):
    """The token that came with the upload."""

    guest_token: Secret = Field(repr=False)


class GuestFile(ResponseModel):
    """What a guest is told of a file that they sent."""

    file_id: UUID
    status: FileStatus
