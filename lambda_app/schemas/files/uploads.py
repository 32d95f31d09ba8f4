"""Shapes of uploads in parts."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator

from lambda_app.schemas.base import RequestModel, ResponseModel
from lambda_app.schemas.files.files import (
    CONTENT_TYPE_MAX_LENGTH,
    CONTENT_TYPE_PATTERN,
    SHA256_PATTERN,
    SIZE_MAX_BYTES,
    Description,
    Filename,
)

PARTS_PER_CALL = 100
"""How many parts one call signs."""


class MultipartCreate(RequestModel):
    """The file that the caller is about to upload in parts.

    There is no digest of the whole: S3 computes none of parts. Each part can carry its own, and the completion a CRC64NVME of the whole.
    """

    filename: Filename
    content_type: str = Field(strict=True, max_length=CONTENT_TYPE_MAX_LENGTH, pattern=CONTENT_TYPE_PATTERN, examples=["video/mp4"])
    size_bytes: int = Field(strict=True, ge=1, le=SIZE_MAX_BYTES, description="Exact length of the whole file, in bytes.")
    has_part_digests: bool = Field(
        default=False, strict=True, description="Whether every part comes with its SHA-256, which S3 then checks."
    )
    description: Description | None = None
    is_public: bool = Field(default=False, strict=True, description="Whether anyone who knows the id may read it.")


class MultipartStarted(ResponseModel):
    """An upload in parts: every part has `part_size_bytes` but the last, which has the rest. The file id is all that is needed to go on."""

    file_id: UUID
    part_size_bytes: int
    part_count: int
    expires_at: datetime


class PartWanted(RequestModel):
    """A part to sign."""

    number: int = Field(strict=True, ge=1, le=10_000)
    sha256: str | None = Field(default=None, strict=True, pattern=SHA256_PATTERN, description="SHA-256 of the part, in hex.")

    @field_validator("sha256")
    @classmethod
    def _lower(cls, value: str | None) -> str | None:
        return value.lower() if value else value


class PartsWanted(RequestModel):
    """The parts to sign."""

    parts: Annotated[list[PartWanted], Field(min_length=1, max_length=PARTS_PER_CALL)]

    @field_validator("parts")
    @classmethod
    def _once_each(cls, value: list[PartWanted]) -> list[PartWanted]:
        if len({part.number for part in value}) != len(value):
            raise ValueError("must name each part once")
        return value


class PartUpload(ResponseModel):
    """A presigned request that admits one part; send `headers` exactly, before `expires_at`."""

    number: int
    size_bytes: int
    upload_url: str
    method: str
    headers: dict[str, str]
    expires_at: datetime


class PartUploads(ResponseModel):
    """The signed parts."""

    parts: list[PartUpload]


class Part(ResponseModel):
    """A part that the store holds."""

    number: int
    size_bytes: int
    etag: str
    sha256: str | None


class PartsHeld(ResponseModel):
    """What the store holds of the file, and what it takes to be whole."""

    part_size_bytes: int
    part_count: int
    parts: list[Part]


class UploadCompletion(RequestModel):
    """What the caller knows of the whole."""

    crc64nvme: str | None = Field(
        default=None,
        strict=True,
        pattern="^[0-9A-Za-z+/]{11}=$",
        description="CRC64NVME of the whole file in base64. A file that has another is refused. Not for uploads whose parts have digests.",
    )
