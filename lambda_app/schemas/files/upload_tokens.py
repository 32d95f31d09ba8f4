"""Models of upload tokens, and of what stock Uppy sends and reads (`@uppy/aws-s3` 6 with `companionEndpoint`)."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from lambda_app.schemas.base import RequestModel, ResponseModel, examples
from lambda_app.schemas.files.files import CONTENT_TYPE_MAX_LENGTH, FILENAME_MAX_LENGTH, SIZE_MAX_BYTES
from lambda_app.schemas.media_types import FALLBACK_MEDIA_TYPE, normalize_media_type
from lambda_app.schemas.sharing.file_requests import ContentTypeRules
from lambda_app.schemas.text import NOT_BLANK, ONE_LINE, Timestamp

LIFETIME_DEFAULT_HOURS = 6
LIFETIME_MAX_HOURS = 24
MAX_BYTES_DEFAULT = 10 * 1024**3
MAX_FILES_DEFAULT = 100
MAX_FILES_LIMIT = 10_000


class UploadTokenCreate(RequestModel):
    """The limits of a new upload token."""

    model_config = examples(
        {}, {"expires_in_hours": 2, "max_bytes": 2147483648, "max_files": 20, "allowed_content_types": ["image/*", "application/pdf"]}
    )

    expires_in_hours: int = Field(
        default=LIFETIME_DEFAULT_HOURS, strict=True, ge=1, le=LIFETIME_MAX_HOURS, description="Hours until the token expires."
    )
    max_bytes: int = Field(
        default=MAX_BYTES_DEFAULT, strict=True, ge=1, le=SIZE_MAX_BYTES, description="Total size of the files that can be uploaded."
    )
    max_files: int = Field(
        default=MAX_FILES_DEFAULT, strict=True, ge=1, le=MAX_FILES_LIMIT, description="Number of uploads that can be started."
    )
    max_size_bytes: int | None = Field(
        default=None, strict=True, ge=1, le=SIZE_MAX_BYTES, description="Largest file; null means that only `max_bytes` limits it."
    )
    allowed_content_types: ContentTypeRules | None = Field(default=None, description="Content types that can be uploaded; null allows any.")


class UploadToken(ResponseModel):
    """An upload token, for its owner."""

    id: UUID = Field(description="Id of the token, with which it is revoked. It is not the token itself.")
    max_bytes: int = Field(description="Total size of the files that can be uploaded.")
    max_files: int = Field(description="Number of uploads that can be started.")
    max_size_bytes: int = Field(description="Largest file.")
    allowed_content_types: list[str] | None = Field(description="Content types that can be uploaded; null allows any.")
    bytes_started: int = Field(description="Total size of the uploads that were started and not cancelled.")
    files_started: int = Field(description="Number of uploads that were started, also of those that were cancelled.")
    created_at: Timestamp = Field(description="When it was created.")
    expires_at: Timestamp = Field(description="When it stops working.")


class NewUploadToken(UploadToken):
    """A new upload token. The token and the endpoint appear in this response only."""

    token: str = Field(repr=False, description="The token.")
    companion_endpoint: str = Field(repr=False, description="The option `companionEndpoint` of Uppy. It contains the token.")


class UppyRestrictions(ResponseModel):
    """What can still be uploaded, by the limits of the token and the quota of its owner, in the form of Uppy's option `restrictions`."""

    max_file_size: int = Field(serialization_alias="maxFileSize", description="Largest file, in bytes.")
    max_total_file_size: int = Field(serialization_alias="maxTotalFileSize", description="Bytes that are left.")
    max_number_of_files: int = Field(serialization_alias="maxNumberOfFiles", description="Number of uploads that are left.")
    allowed_file_types: list[str] | None = Field(
        serialization_alias="allowedFileTypes", description="Content types that can be uploaded; null allows any."
    )


class _FromUppy(BaseModel):
    """What Uppy sends: unlike other bodies with members that this API does not know, because pages add their own."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, json_schema_extra={"additionalProperties": True})


def _media_type(value: str | None) -> str:
    try:
        return normalize_media_type(value or "")
    except ValueError:
        # Browsers take the type from the operating system, which may have any text.
        return FALLBACK_MEDIA_TYPE


_Name = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=FILENAME_MAX_LENGTH), ONE_LINE, NOT_BLANK]
_Type = Annotated[
    Annotated[str, StringConstraints(strict=True, max_length=CONTENT_TYPE_MAX_LENGTH), ONE_LINE] | None, AfterValidator(_media_type)
]


class UppyMetadata(_FromUppy):
    """The metadata of a file in Uppy. Other members are ignored."""

    size: int = Field(
        strict=True,
        ge=1,
        le=SIZE_MAX_BYTES,
        description="Exact length of the file, in bytes. Uppy does not add it: call `uppy.setFileMeta(file.id, { size: file.size })`.",
    )


class UppyStart(_FromUppy):
    """The declaration of a file, as Uppy sends it."""

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": True,
            "examples": [
                {"filename": "recording.mp4", "type": "video/mp4", "metadata": {"size": 734003200}},
                {
                    "filename": "photo.png",
                    "type": "image/png",
                    "metadata": {"name": "photo.png", "type": "image/png", "relativePath": None, "size": 48213},
                },
            ],
        }
    )

    filename: _Name = Field(description="Name of the file.")
    type: _Type = Field(default=FALLBACK_MEDIA_TYPE, description="Media type. Absent, null, empty or invalid: application/octet-stream.")
    metadata: UppyMetadata = Field(description="The metadata of the file.")


class UppyFile(RequestModel):
    """The declaration of a file, in the terms of this API."""

    filename: str
    content_type: str
    size_bytes: int


class UppyUpload(ResponseModel):
    """A started upload, as Uppy reads it."""

    key: str = Field(description="Id of the file.")
    upload_id: str = Field(serialization_alias="uploadId", description="Id of the file, too.")
    bucket: str = Field(description="A fixed name; the store's own names stay private.")


class UppyPart(ResponseModel):
    """An uploaded part, as Uppy reads it."""

    number: int = Field(serialization_alias="PartNumber", description="Number of the part, from 1.")
    etag: str = Field(serialization_alias="ETag", description="The `ETag` that S3 returned.")
    size_bytes: int = Field(serialization_alias="Size", description="Size of the part.")


class UppySignedPart(ResponseModel):
    """A presigned request for one part, as Uppy reads it."""

    url: str = Field(description="The presigned URL to which the part is sent with PUT.")
    expires: int = Field(description="Seconds until the upload of the part must begin.")


class UppyPartReference(_FromUppy):
    """A part that Uppy has sent. The server reads the parts from the store instead."""

    PartNumber: int | None = Field(default=None, description="Ignored.")
    ETag: str | None = Field(default=None, description="Ignored.")


class UppyCompletion(_FromUppy):
    """The parts that Uppy has sent. The server ignores them."""

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": True,
            "examples": [{"parts": [{"PartNumber": 1, "ETag": '"d41d8cd98f00b204e9800998ecf8427e"'}]}, {"parts": []}],
        }
    )

    parts: list[UppyPartReference] = Field(default=[], max_length=10_000, description="Ignored.")


class UppyCompleted(ResponseModel):
    """A completed upload, as Uppy reads it."""

    location: str = Field(description="Path of the file in this API. It needs the owner's credentials.")
    key: str = Field(description="Id of the file.")
    bucket: str = Field(description="A fixed name.")


class UppyCancelled(ResponseModel):
    """An empty object, which Uppy 5 parses."""
