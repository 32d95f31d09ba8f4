"""What the services need of an object store."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

SINGLE_PUT_MAX_BYTES = 5 * 1024**3
"""The longest body of one PUT: documented as 5 GB, answered by S3 itself as MaxSizeAllowed 5368709120."""


@dataclass(frozen=True, slots=True)
class PresignedRequest:
    """A request that anyone may make until `expires_at` (aware UTC, whole seconds), with exactly these headers beside Host."""

    method: str
    url: str = field(repr=False)
    headers: dict[str, str]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store says of an object; `sha256` (lower-case hex) is None unless the store checked it for the whole body."""

    size_bytes: int
    content_type: str
    etag: str
    sha256: str | None


class ObjectStore(Protocol):
    """Keeps bytes under keys, and lets clients move them without passing through us."""

    def presign_upload(self, *, key: str, size_bytes: int, content_type: str, sha256: str | None) -> PresignedRequest:
        """Sign the PUT of one object: this key, length, type and digest, and only while the key is free.

        Raises MalformedRequestError, TooLargeError past SINGLE_PUT_MAX_BYTES, UnavailableError without usable credentials.
        """
        ...

    def presign_download(self, *, key: str, filename: str, content_type: str) -> PresignedRequest:
        """Sign the GET of an object that is saved as `filename`, never shown, and typed harmlessly.

        Raises UnavailableError without usable credentials.
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
