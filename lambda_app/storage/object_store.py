"""The interface of the object store that the services use."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Literal, Protocol

from lambda_app.core.errors import StoreUnavailableError
from lambda_app.storage.keys import KEY_PREFIX

SINGLE_PUT_MAX_BYTES = 5 * 1024**3
"""Largest body of one PUT. S3 documents 5 GB; its error response states MaxSizeAllowed 5368709120."""

DownloadMethod = Literal["GET", "HEAD"]


class ObjectWithheldError(StoreUnavailableError):
    """The object exists but its content is blocked, for example until a malware scan has found it clean."""


@dataclass(frozen=True, slots=True)
class PresignedRequest:
    """A request that any client may send until `expires_at` (aware UTC, whole seconds), with these headers besides Host."""

    method: str
    url: str = field(repr=False)
    headers: dict[str, str]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Metadata of an object.

    `sha256` (lower-case hex) and `crc64nvme` (base64) cover the whole body, and are None when the store does not report them. S3
    computes CRC64NVME for every object that was uploaded without another checksum.
    """

    size_bytes: int
    content_type: str
    etag: str
    sha256: str | None
    crc64nvme: str | None = None


@dataclass(frozen=True, slots=True)
class StoredPart:
    """An uploaded part. `sha256` is in lower-case hex, and None when the upload has no part digests."""

    number: int
    size_bytes: int
    etag: str
    sha256: str | None = None


class MultipartResult(Enum):
    """The result of an attempt to complete a multipart upload."""

    COMPLETED = "completed"
    """The object exists."""
    UPLOAD_NOT_FOUND = "upload not found"
    """The upload was completed before, was aborted, or is lost. A HEAD of the object shows which."""
    KEY_EXISTS = "key exists"
    """An object with the key exists already. It was not changed."""
    PARTS_MISMATCH = "parts mismatch"
    """The uploaded parts differ from the listed ones."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object in a listing."""

    key: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """Objects ordered by key. `is_last`: no more objects follow."""

    objects: list[ListedObject]
    is_last: bool


@dataclass(frozen=True, slots=True)
class ListedUpload:
    """A multipart upload that was neither completed nor aborted."""

    key: str
    upload_id: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class UploadPage:
    """Multipart uploads ordered by key. `is_last`: no more uploads follow."""

    uploads: list[ListedUpload]
    is_last: bool


class ByteSource(Protocol):
    """A stream of an object's bytes."""

    def read_into(self, buffer: memoryview) -> None:
        """Fill `buffer` with the next bytes. Raises UnavailableError when the object ends early or the connection fails."""
        ...

    def close(self) -> None:
        """Close the stream, also before its end."""
        ...


class ObjectStore(Protocol):
    """Stores objects under keys. Clients transfer the content directly, with presigned requests."""

    def presign_upload(self, *, key: str, size_bytes: int, content_type: str, sha256: str | None) -> PresignedRequest:
        """Sign the PUT of one object with this key, length, type and digest. The store rejects it when the key exists.

        Raises MalformedRequestError, TooLargeError past SINGLE_PUT_MAX_BYTES, UnavailableError without usable credentials.
        """
        ...

    def presign_download(
        self, *, key: str, filename: str, content_type: str, method: DownloadMethod = "GET", lifetime_seconds: int | None = None
    ) -> PresignedRequest:
        """Sign the GET or HEAD of an object. The response is an attachment with a safe name and content type.

        `lifetime_seconds` can only shorten the default lifetime. Raises UnavailableError without usable credentials.
        """
        ...

    def presign_inline(self, *, key: str, filename: str, content_type: str, lifetime_seconds: int | None = None) -> PresignedRequest:
        """Sign the GET of an object that a page shows, with exactly this content type, which no browser executes.

        `lifetime_seconds` can only shorten the default lifetime. Raises UnavailableError without usable credentials.
        """
        ...

    def head(self, key: str) -> StoredObject | None:
        """Return the metadata of the object, None when it does not exist.

        Raises ObjectWithheldError, and UnavailableError when the store does not respond or rejects the request.
        """
        ...

    def read_small(self, key: str, max_bytes: int) -> tuple[StoredObject, bytes] | None:
        """Return the metadata and the content of an object by one request, None when it does not exist.

        The content is b"" when the object is larger than `max_bytes`. Raises the errors of `head`.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete the object if it exists.

        Raises UnavailableError when the store does not respond or rejects the request.
        """
        ...

    def delete_many(self, keys: Sequence[str]) -> set[str]:
        """Delete up to 1000 objects by one request, those that exist, and return the keys that the store refused to delete.

        Raises UnavailableError when the store does not respond or rejects the request.
        """
        ...

    def read_start(self, key: str, length: int) -> bytes:
        """Return the first `length` bytes of an object, fewer when it is shorter, b"" when it does not exist.

        Raises UnavailableError when the store does not respond or rejects the request.
        """
        ...

    def open(self, key: str, *, offset: int) -> ByteSource | None:
        """Open an object for reading from `offset`, which must be less than its size; None when the object does not exist.

        Raises ObjectWithheldError, and UnavailableError when the store does not respond or rejects the request otherwise.
        """
        ...

    def put_marker(self, key: str) -> None:
        """Store an empty object, replacing an existing one.

        Raises UnavailableError when the store does not respond or rejects the request.
        """
        ...

    def start_multipart(self, *, key: str, content_type: str, with_digests: bool) -> str:
        """Start a multipart upload and return its id. `with_digests`: every part requires a SHA-256.

        Raises UnavailableError when the store does not respond or rejects the request.
        """
        ...

    def presign_part(self, *, key: str, upload_id: str, number: int, size_bytes: int, sha256: str | None) -> PresignedRequest:
        """Sign the PUT of one part with exactly this length and digest. A part can be replaced until the upload is completed.

        Raises MalformedRequestError, UnavailableError without usable credentials.
        """
        ...

    def send_part(self, *, key: str, upload_id: str, number: int, body: bytes | bytearray) -> bool:
        """Upload one part of an upload with digests from the server; False when the upload does not exist.

        Raises UnavailableError when the store does not respond or rejects the request.
        """
        ...

    def has_multipart(self, key: str, upload_id: str) -> bool:
        """Return whether the multipart upload exists, that is, was neither completed nor aborted nor lost.

        Raises UnavailableError when the store does not respond or rejects the request.
        """
        ...

    def list_parts(self, key: str, upload_id: str) -> list[StoredPart] | None:
        """Return all uploaded parts, ordered by number; None when the upload does not exist.

        Raises UnavailableError when the store does not respond or rejects the request.
        """
        ...

    def complete_multipart(
        self, *, key: str, upload_id: str, parts: Sequence[StoredPart], size_bytes: int, crc64nvme: str | None = None
    ) -> MultipartResult:
        """Create the object from its parts if the key does not exist and the sizes of the parts add up to `size_bytes`.

        `crc64nvme` (base64) is the checksum of the whole object, which the store verifies. Safe to retry.
        Raises UnavailableError when the store does not respond or rejects the request; the upload may have been completed nevertheless.
        """
        ...

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Delete the upload and its parts if it exists.

        Raises UnavailableError when the store does not respond or rejects the request.
        """
        ...

    def list_objects(self, *, after_key: str, limit: int, prefix: str = KEY_PREFIX) -> ObjectPage:
        """Return up to `limit` (at most 1000) objects below `prefix` whose keys are greater than `after_key` ("" for the first page).

        Raises UnavailableError when the store does not respond or rejects the request.
        """
        ...

    def list_uploads(self, *, after_key: str, limit: int, prefix: str = KEY_PREFIX) -> UploadPage:
        """Return up to `limit` (at most 1000) unfinished uploads below `prefix` with keys greater than `after_key` ("" for the first page).

        Raises UnavailableError when the store does not respond or rejects the request.
        """
        ...
