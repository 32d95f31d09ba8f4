"""Models of multipart uploads."""

import re
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, computed_field, field_validator

from lambda_app.schemas.base import RequestModel, ResponseModel, examples
from lambda_app.schemas.files.files import SIZE_MAX_BYTES, ContentType, Description, Filename, Sha256
from lambda_app.schemas.text import Timestamp

PARTS_PER_CALL = 100
"""Maximum number of parts that one call can sign."""
CRC64NVME_PATTERN = "^[0-9A-Za-z+/]{11}=$"


class DeclaredMultipart(RequestModel):
    """The declaration of a file to upload in parts.

    It has no SHA-256 of the whole file, because S3 does not compute one for multipart uploads. Each part can have its own SHA-256, and
    the completion can have the CRC64NVME of the whole file.
    """

    model_config = examples(
        {"filename": "recording.mp4", "content_type": "video/mp4", "size_bytes": 7340032000},
        {"filename": "backup.tar", "content_type": "application/x-tar", "size_bytes": 734003200, "has_part_digests": True},
    )

    filename: Filename = Field(description="Name of the file.")
    content_type: ContentType
    size_bytes: int = Field(strict=True, ge=1, le=SIZE_MAX_BYTES, description="Exact length of the file, in bytes.")
    has_part_digests: bool = Field(
        default=False, strict=True, description="Whether each part is signed with its SHA-256, which S3 then checks."
    )
    description: Description | None = Field(default=None, description="A text about the file.")


class MultipartCreate(DeclaredMultipart):
    """The declaration of a file to upload in parts, and its visibility.

    It has no SHA-256 of the whole file, because S3 does not compute one for multipart uploads. Each part can have its own SHA-256, and
    the completion can have the CRC64NVME of the whole file.
    """

    model_config = examples(
        {"filename": "recording.mp4", "content_type": "video/mp4", "size_bytes": 7340032000},
        {"filename": "backup.tar", "content_type": "application/x-tar", "size_bytes": 734003200, "has_part_digests": True},
    )

    is_public: bool = Field(default=False, strict=True, description="Whether anyone who knows the id can read the file.")


class MultipartUpload(ResponseModel):
    """A multipart upload. Each part has `part_size_bytes`, except the last, which has the rest. Resuming needs only the file id."""

    file_id: UUID = Field(description="Id of the file, with which parts are signed and the upload is completed.")
    part_size_bytes: int = Field(description="Size of each part except the last.")
    part_count: int = Field(description="Number of parts.")
    expires_at: Timestamp = Field(description="Until when the upload must be completed.")


class PartRequest(RequestModel):
    """A part to sign."""

    number: int = Field(strict=True, ge=1, le=10_000, description="Number of the part, from 1.")
    sha256: Sha256 | None = Field(default=None, description="SHA-256 of the part, in hex.")


class PartsRequest(RequestModel):
    """The parts to sign."""

    model_config = examples(
        {"parts": [{"number": 1}, {"number": 2}]},
        {"parts": [{"number": 1, "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}]},
    )

    parts: Annotated[list[PartRequest], Field(min_length=1, max_length=PARTS_PER_CALL)] = Field(description="The parts, each once.")

    @field_validator("parts")
    @classmethod
    def _once_each(cls, value: list[PartRequest]) -> list[PartRequest]:
        if len({part.number for part in value}) != len(value):
            raise ValueError("must not contain a part more than once")
        return value


class PartUpload(ResponseModel):
    """A presigned request for one part. Send it with exactly these `headers` before `expires_at`."""

    number: int = Field(description="Number of the part.")
    size_bytes: int = Field(description="Size of the part.")
    upload_url: str = Field(description="The presigned URL to which the part is sent.")
    method: str = Field(description="The HTTP method of the upload.")
    headers: dict[str, str] = Field(description="The headers of the upload. Send exactly these.")
    expires_at: Timestamp = Field(description="Until when the upload of the part can begin.")


class PartUploads(ResponseModel):
    """The presigned requests of the parts."""

    parts: list[PartUpload] = Field(description="The presigned requests, in the order of the request.")


class Part(ResponseModel):
    """An uploaded part."""

    number: int = Field(description="Number of the part.")
    size_bytes: int = Field(description="Size of the part.")
    etag: str = Field(description="The `ETag` that S3 returned.")
    sha256: str | None = Field(description="SHA-256 of the part in hex, for uploads with part digests.")


class UploadedParts(ResponseModel):
    """The parts that were uploaded, and the size and number of all parts."""

    part_size_bytes: int = Field(description="Size of each part except the last.")
    part_count: int = Field(description="Number of parts of the whole file.")
    parts: list[Part] = Field(description="The parts that were uploaded, by number.")

    @computed_field(description="Size of these parts together.")  # type: ignore[prop-decorator]  # pydantic documents this order
    @property
    def bytes_received(self) -> int:
        """Return the size of the parts together."""
        return sum(part.size_bytes for part in self.parts)


def _refuse_other_checksums(value: str) -> str:
    if not re.fullmatch(CRC64NVME_PATTERN, value):
        raise ValueError("must be a CRC64NVME in base64: 11 characters and an equals sign")
    return value


Crc64Nvme = Annotated[
    str, StringConstraints(strict=True), AfterValidator(_refuse_other_checksums), Field(json_schema_extra={"pattern": CRC64NVME_PATTERN})
]


class UploadCompletion(RequestModel):
    """The completion of an upload."""

    model_config = examples({}, {"crc64nvme": "rosUhgp5mIg="})

    crc64nvme: Crc64Nvme | None = Field(
        default=None,
        description="CRC64NVME of the whole file, in base64. A file with another checksum is rejected. Not for uploads with part digests.",
    )
