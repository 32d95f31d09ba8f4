"""What the services need of an object store."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Literal, Protocol

from lambda_app.core.errors import UnavailableError
from lambda_app.storage.keys import KEY_PREFIX

SINGLE_PUT_MAX_BYTES = 5 * 1024**3
"""The longest body of one PUT: documented as 5 GB, answered by S3 itself as MaxSizeAllowed 5368709120."""

DownloadMethod = Literal["GET", "HEAD"]


class ObjectWithheldError(UnavailableError):
    """The store has the object and gives its bytes to nobody, as one that a malware scan did not find clean."""


@dataclass(frozen=True, slots=True)
class PresignedRequest:
    """A request that anyone may make until `expires_at` (aware UTC, whole seconds), with exactly these headers beside Host."""

    method: str
    url: str = field(repr=False)
    headers: dict[str, str]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store says of an object.

    `sha256` (lower-case hex) and `crc64nvme` (base64) are of the whole body, None when the store does not say. S3 makes the second of
    every object that was not sent with another checksum.
    """

    size_bytes: int
    content_type: str
    etag: str
    sha256: str | None
    crc64nvme: str | None = None


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part as the store holds it; `sha256` is in lower-case hex, None when the upload takes no digests."""

    number: int
    size_bytes: int
    etag: str
    sha256: str | None = None


class MultipartEnd(Enum):
    """How an attempt to join the parts ended."""

    JOINED = "joined"
    """The object is there."""
    NO_UPLOAD = "no upload"
    """The store does not know the upload: it was joined before, aborted, or lost. Only a look at the object tells."""
    KEY_TAKEN = "key taken"
    """There is an object under the key already; it was left alone."""
    PARTS_DIFFER = "parts differ"
    """The parts are not, or no longer, the ones that were named."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object in a listing."""

    key: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """Objects in order of their keys; `is_last` when nothing lies behind them."""

    objects: list[ListedObject]
    is_last: bool


@dataclass(frozen=True, slots=True)
class ListedUpload:
    """A multipart upload that was neither joined nor aborted."""

    key: str
    upload_id: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class UploadPage:
    """Multipart uploads in order of their keys; `is_last` when nothing lies behind them."""

    uploads: list[ListedUpload]
    is_last: bool


class ByteSource(Protocol):
    """The bytes of an object from some position on, as they come."""

    def read_into(self, into: memoryview) -> None:
        """Fill `into` with the next bytes. Raises UnavailableError when there are fewer, or they break off."""
        ...

    def close(self) -> None:
        """Let go of it, read to its end or not."""
        ...


class ObjectStore(Protocol):
    """Keeps bytes under keys, and lets clients move them without passing through us."""

    def presign_upload(self, *, key: str, size_bytes: int, content_type: str, sha256: str | None) -> PresignedRequest:
        """Sign the PUT of one object: this key, length, type and digest, and only while the key is free.

        Raises MalformedRequestError, TooLargeError past SINGLE_PUT_MAX_BYTES, UnavailableError without usable credentials.
        """
        ...

    def presign_download(
        self, *, key: str, filename: str, content_type: str, method: DownloadMethod = "GET", lifetime_seconds: int | None = None
    ) -> PresignedRequest:
        """Sign the GET, or only the HEAD, of an object that is saved as `filename`, never shown, and typed harmlessly.

        It lives `lifetime_seconds` where that is shorter than usual. Raises UnavailableError without usable credentials.
        """
        ...

    def head(self, key: str) -> StoredObject | None:
        """Return what is stored under `key`, None when nothing is.

        Raises UnavailableError when the store does not answer or refuses to say.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete what is stored under `key`, if anything is.

        Raises UnavailableError when the store does not answer or refuses.
        """
        ...

    def read_start(self, key: str, length: int) -> bytes:
        """Return the first `length` bytes of an object, fewer when it has fewer, none when there is no object.

        Raises UnavailableError when the store does not answer or refuses.
        """
        ...

    def open(self, key: str, *, offset: int) -> ByteSource | None:
        """Open an object for reading from `offset` on, which must lie inside of it; None when there is no object.

        Raises ObjectWithheldError, and UnavailableError when the store does not answer or refuses otherwise.
        """
        ...

    def put_marker(self, key: str) -> None:
        """Store an object without bytes, over one that is there.

        Raises UnavailableError when the store does not answer or refuses.
        """
        ...

    def start_multipart(self, *, key: str, content_type: str, with_digests: bool) -> str:
        """Start a multipart upload and return its id; `with_digests` demands a SHA-256 of every part.

        Raises UnavailableError when the store does not answer or refuses.
        """
        ...

    def presign_part(self, *, key: str, upload_id: str, number: int, size_bytes: int, sha256: str | None) -> PresignedRequest:
        """Sign the PUT of one part of exactly this length, and digest if given. A part may be sent again, until the parts are joined.

        Raises MalformedRequestError, UnavailableError without usable credentials.
        """
        ...

    def send_part(self, *, key: str, upload_id: str, number: int, body: bytes | bytearray) -> bool:
        """Send one part ourselves, of an upload that demands digests; False when the store does not know the upload.

        Raises UnavailableError when the store does not answer or refuses.
        """
        ...

    def list_parts(self, key: str, upload_id: str) -> list[StoredPart] | None:
        """Return all parts that the store holds, by number; None when it does not know the upload.

        Raises UnavailableError when the store does not answer or refuses.
        """
        ...

    def complete_multipart(
        self, *, key: str, upload_id: str, parts: Sequence[StoredPart], size_bytes: int, crc64nvme: str | None = None
    ) -> MultipartEnd:
        """Make the object of its parts, only while the key is free and only if their sizes add up to `size_bytes`.

        `crc64nvme` (base64) is the checksum of the whole object, which the store then compares. Safe to repeat.
        Raises UnavailableError when the store does not answer or refuses; whether the parts were joined is then unknown.
        """
        ...

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Forget the upload and its parts, if it is there.

        Raises UnavailableError when the store does not answer or refuses.
        """
        ...

    def list_objects(self, *, after_key: str, limit: int, prefix: str = KEY_PREFIX) -> ObjectPage:
        """Return up to `limit` (1000 at most) objects below `prefix`, behind `after_key` ("" for the first).

        Raises UnavailableError when the store does not answer or refuses.
        """
        ...

    def list_uploads(self, *, after_key: str, limit: int, prefix: str = KEY_PREFIX) -> UploadPage:
        """Return up to `limit` (1000 at most) multipart uploads under way below `prefix`, behind `after_key` ("" for the first).

        Raises UnavailableError when the store does not answer or refuses.
        """
        ...
