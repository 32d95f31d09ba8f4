"""Models of file requests, for owners and for guests."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from lambda_app.models.files.files import FileStatus
from lambda_app.models.sharing.file_requests import CONTENT_TYPE_RULE_MAX_LENGTH, REQUEST_NOTE_MAX_LENGTH, REQUEST_TITLE_MAX_LENGTH
from lambda_app.schemas.accounts.sessions import Secret
from lambda_app.schemas.base import RequestModel, ResponseModel, examples, refuse_null
from lambda_app.schemas.files.files import FileUploadResponse
from lambda_app.schemas.files.uploads import MultipartUpload, PartsRequest
from lambda_app.schemas.media_types import normalize_media_range
from lambda_app.schemas.text import NOT_BLANK, ONE_LINE, SEVERAL_LINES, Instant, Timestamp

MAX_SIZE_DEFAULT_BYTES = 1024**3
MAX_SIZE_LIMIT_BYTES = 10_000 * 5 * 1024**3
"""The largest file of a multipart upload: 10,000 parts of 5 GiB. Guests upload a file of more than 5 GiB in parts."""
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

    model_config = examples(
        {"title": "Photos of the meeting"},
        {
            "title": "Invoices",
            "note": "One file for each invoice, please.",
            "max_size_bytes": 20971520,
            "max_files": 12,
            "allowed_content_types": ["application/pdf", "image/*"],
            "expires_at": "2026-12-31T12:00:00Z",
        },
    )

    title: Title = Field(description="What guests see as the heading.")
    note: Note | None = Field(default=None, description="A text for guests.")
    max_size_bytes: MaxSize = MAX_SIZE_DEFAULT_BYTES
    max_files: MaxFiles = MAX_FILES_DEFAULT
    allowed_content_types: ContentTypeRules | None = Field(
        default=None, description="Content types that guests can upload; null allows any."
    )
    expires_at: Instant | None = Field(default=None, description="At most 366 days from now; 30 days by default.")
    notify_on_upload: bool | None = Field(
        default=None,
        strict=True,
        description="Whether the owner gets a mail about received files; by default the setting `request_uploads` of the account decides.",
    )

    def identity(self) -> str:
        """Return the text by which two requests with one idempotency key are compared.

        Choices that earlier versions did not know are left out if they were not made, so that a repetition after an upgrade is the same.
        """
        return self.model_dump_json(exclude={"notify_on_upload"} if self.notify_on_upload is None else None)


class FileRequestUpdate(RequestModel):
    """Changes of a file request. Omitted fields are not changed."""

    model_config = examples({"max_files": 50}, {"note": None, "expires_at": "2026-12-31T12:00:00Z"})

    title: Title | None = Field(default=None, description="The new heading.")
    note: Note | None = Field(default=None, description="The new text for guests; null removes it.")
    max_size_bytes: MaxSize | None = Field(default=None, description="The new maximum size of one file, in bytes.")
    max_files: MaxFiles | None = Field(default=None, description="The new maximum number of files in all.")
    allowed_content_types: ContentTypeRules | None = Field(default=None, description="The new content types; null allows any.")
    expires_at: Instant | None = Field(default=None, description="When the link stops working. At most 366 days from now.")

    notify_on_upload: bool | None = Field(default=None, strict=True, description="Whether the owner gets a mail about received files.")

    _cannot_be_cleared = field_validator("title", "max_size_bytes", "max_files", "expires_at", "notify_on_upload", mode="before")(
        refuse_null
    )


class FileRequest(ResponseModel):
    """A file request. `file_count` counts started uploads, except those that failed or expired."""

    id: UUID = Field(description="Id of the file request.")
    url: str | None = Field(
        repr=False, description="Null if it is revoked, or if the server cannot read the address any more: `POST …/rotate` gives a new one."
    )
    title: str = Field(description="What guests see as the heading.")
    note: str | None = Field(description="A text for guests.")
    max_size_bytes: int = Field(description="Maximum size of one file.")
    max_files: int = Field(description="Maximum number of files in all.")
    allowed_content_types: list[str] | None = Field(description="Content types that guests can upload; null allows any.")
    expires_at: Timestamp = Field(description="When the link stops working.")
    notify_on_upload: bool = Field(description="Whether the owner gets a mail about received files.")
    file_count: int = Field(description="Number of started uploads, except those that failed or expired.")
    created_at: Timestamp = Field(description="When it was created.")
    updated_at: Timestamp = Field(description="When it was last changed.")
    revoked_at: Timestamp | None = Field(description="When it was revoked; null while it is not.")


class NewFileRequest(FileRequest):
    """A file request with a new address. `token` is the last segment of `url`."""

    token: str = Field(repr=False, description="The last segment of `url`.")
    url: str = Field(repr=False, description="The address for guests.")


class OpenRequest(ResponseModel):
    """A file request, for guests."""

    title: str = Field(description="The heading.")
    requester_name: str | None = Field(description="Name of the person who requests the files, if shown. It is not verified.")
    note: str | None = Field(description="A text of the owner.")
    max_size_bytes: int = Field(description="Maximum size of one file.")
    allowed_content_types: list[str] | None = Field(description="Content types that are accepted; null accepts any.")
    expires_at: Timestamp = Field(description="When the link stops working.")
    files_left: int = Field(description="Number of files that can still be uploaded.")


class GuestUpload(FileUploadResponse):
    """A presigned upload request. `guest_token` completes this upload and appears in this response only."""

    guest_token: str = Field(repr=False, description="Completes this upload. Only this response contains it.")


class GuestMultipartUpload(MultipartUpload):
    """A multipart upload of a guest. `guest_token` signs, lists and completes its parts and appears in this response only."""

    guest_token: str = Field(repr=False, description="Continues and completes this upload. Only this response contains it.")


class GuestParts(PartsRequest):
    """The parts to sign, and the `guest_token` of their upload."""

    model_config = examples(
        {"guest_token": "Yk3q9vXr0Zc1LdT7wPsN5uHbE8fJmA2gKoQiVxCy4Rt", "parts": [{"number": 1}, {"number": 2}]},
        {
            "guest_token": "m8Tn2QxWc5Lr9KzB1vYdH7sJpF4gEoUa6iRyNtCkX3w",
            "parts": [{"number": 1, "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}],
        },
    )

    guest_token: Secret = Field(repr=False, description="The token of the upload, from its start.")


class GuestCompletion(RequestModel):
    """The `guest_token` of the upload to complete."""

    model_config = examples(
        {"guest_token": "Yk3q9vXr0Zc1LdT7wPsN5uHbE8fJmA2gKoQiVxCy4Rt"}, {"guest_token": "m8Tn2QxWc5Lr9KzB1vYdH7sJpF4gEoUa6iRyNtCkX3w"}
    )

    guest_token: Secret = Field(repr=False, description="The token of the upload, from its start.")


class GuestFile(ResponseModel):
    """The status of a file that a guest has uploaded."""

    file_id: UUID = Field(description="Id of the file.")
    status: FileStatus = Field(description="The status of the file.")
