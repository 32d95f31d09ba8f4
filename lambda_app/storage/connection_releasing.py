"""An object store that releases the database connection of a unit of work before each network call."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from lambda_app.db.session import release_connection
from lambda_app.storage.keys import KEY_PREFIX
from lambda_app.storage.object_store import (
    ByteSource,
    DownloadMethod,
    MultipartResult,
    ObjectPage,
    ObjectStore,
    PresignedRequest,
    StoredObject,
    StoredPart,
    UploadPage,
)


class ConnectionReleasingStore(ObjectStore):
    """Delegates to `store`, and returns the session's connection to the pool before each network call.

    Otherwise slow S3 calls would occupy connections that other requests need. A network call inside an open transaction raises
    RuntimeError, in tests and in production. Signing is local and keeps the connection.
    """

    def __init__(self, store: ObjectStore, session: Session) -> None:
        self._store = store
        self._session = session

    def presign_upload(self, *, key: str, size_bytes: int, content_type: str, sha256: str | None) -> PresignedRequest:
        """Sign the PUT of one object."""
        return self._store.presign_upload(key=key, size_bytes=size_bytes, content_type=content_type, sha256=sha256)

    def presign_download(
        self, *, key: str, filename: str, content_type: str, method: DownloadMethod = "GET", lifetime_seconds: int | None = None
    ) -> PresignedRequest:
        """Sign the GET or HEAD of an object."""
        return self._store.presign_download(
            key=key, filename=filename, content_type=content_type, method=method, lifetime_seconds=lifetime_seconds
        )

    def presign_inline(self, *, key: str, filename: str, content_type: str, lifetime_seconds: int | None = None) -> PresignedRequest:
        """Sign the GET of an object that a page shows."""
        return self._store.presign_inline(key=key, filename=filename, content_type=content_type, lifetime_seconds=lifetime_seconds)

    def presign_part(self, *, key: str, upload_id: str, number: int, size_bytes: int, sha256: str | None) -> PresignedRequest:
        """Sign the PUT of one part."""
        return self._store.presign_part(key=key, upload_id=upload_id, number=number, size_bytes=size_bytes, sha256=sha256)

    def head(self, key: str) -> StoredObject | None:
        """Return the metadata of the object."""
        return self._without_connection().head(key)

    def read_small(self, key: str, max_bytes: int) -> tuple[StoredObject, bytes] | None:
        """Return the metadata and the content of a small object."""
        return self._without_connection().read_small(key, max_bytes)

    def delete(self, key: str) -> None:
        """Delete the object."""
        self._without_connection().delete(key)

    def delete_many(self, keys: Sequence[str]) -> set[str]:
        """Delete the objects."""
        return self._without_connection().delete_many(keys)

    def read_start(self, key: str, length: int) -> bytes:
        """Return the first `length` bytes of an object."""
        return self._without_connection().read_start(key, length)

    def open(self, key: str, *, offset: int) -> ByteSource | None:
        """Open an object for reading from `offset`."""
        return self._without_connection().open(key, offset=offset)

    def put_marker(self, key: str) -> None:
        """Store an empty object."""
        self._without_connection().put_marker(key)

    def start_multipart(self, *, key: str, content_type: str, with_digests: bool) -> str:
        """Start a multipart upload."""
        return self._without_connection().start_multipart(key=key, content_type=content_type, with_digests=with_digests)

    def send_part(self, *, key: str, upload_id: str, number: int, body: bytes | bytearray) -> bool:
        """Send one part."""
        return self._without_connection().send_part(key=key, upload_id=upload_id, number=number, body=body)

    def has_multipart(self, key: str, upload_id: str) -> bool:
        """Return whether the multipart upload exists."""
        return self._without_connection().has_multipart(key, upload_id)

    def list_parts(self, key: str, upload_id: str) -> list[StoredPart] | None:
        """Return all uploaded parts."""
        return self._without_connection().list_parts(key, upload_id)

    def complete_multipart(
        self, *, key: str, upload_id: str, parts: Sequence[StoredPart], size_bytes: int, crc64nvme: str | None = None
    ) -> MultipartResult:
        """Complete a multipart upload."""
        return self._without_connection().complete_multipart(
            key=key, upload_id=upload_id, parts=parts, size_bytes=size_bytes, crc64nvme=crc64nvme
        )

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Abort a multipart upload."""
        self._without_connection().abort_multipart(key, upload_id)

    def list_objects(self, *, after_key: str, limit: int, prefix: str = KEY_PREFIX) -> ObjectPage:
        """Return a page of objects."""
        return self._without_connection().list_objects(after_key=after_key, limit=limit, prefix=prefix)

    def list_uploads(self, *, after_key: str, limit: int, prefix: str = KEY_PREFIX) -> UploadPage:
        """Return a page of multipart uploads."""
        return self._without_connection().list_uploads(after_key=after_key, limit=limit, prefix=prefix)

    def _without_connection(self) -> ObjectStore:
        release_connection(self._session)
        return self._store
