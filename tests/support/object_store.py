"""An object store in memory for tests of the services. It enforces its presigned requests, like S3.

`tests/support/object_store_contract.py` runs the same tests against it and against S3.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from uuid import uuid4

from lambda_app.core import clock
from lambda_app.core.errors import StoreUnavailableError
from lambda_app.storage.content import download_overrides, inline_overrides
from lambda_app.storage.keys import KEY_PREFIX
from lambda_app.storage.object_store import (
    DownloadMethod,
    ListedObject,
    ListedUpload,
    MultipartResult,
    ObjectPage,
    ObjectStore,
    ObjectWithheldError,
    PresignedRequest,
    StoredObject,
    StoredPart,
    UploadPage,
)
from lambda_app.storage.signed_headers import ADVISED_PART_HEADERS, part_headers, safe_key, upload_headers

S3_PART_MIN_BYTES = 5 * 1024**2
STORED_HEADERS = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")


@dataclass(frozen=True, slots=True)
class StoreResponse:
    """The response to a client of the store; header names are lower-case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class FakeObject:
    """A stored object."""

    body: bytes
    content_type: str
    sha256: str | None
    crc64nvme: str | None = None
    """The checksum in S3's responses. The fake does not compute it; a test sets it."""
    modified_at: datetime = field(default_factory=clock.now)
    metadata: dict[str, str] = field(default_factory=dict)
    """Headers of the uploader that S3 stores without checking and sends with downloads."""


@dataclass(slots=True)
class FakeUpload:
    """A multipart upload in progress."""

    key: str
    content_type: str
    with_digests: bool
    started_at: datetime
    parts: dict[int, bytes] = field(default_factory=dict)


class FakeByteSource:
    """The content of an object from an offset."""

    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)

    def read_into(self, into: memoryview) -> None:
        """Fill `into`."""
        if len(into) > len(self._body):
            raise StoreUnavailableError
        into[:] = self._body[: len(into)]
        self._body = self._body[len(into) :]

    def close(self) -> None:
        """Release the content."""
        self._body = self._body[:0]


class FakeObjectStore(ObjectStore):
    """Stores objects in `objects`. `send` and `put` are requests of a client.

    With `is_down = True`, all methods except the client's and the presigning ones raise StoreUnavailableError.
    """

    def __init__(self, *, lifetime_seconds: int = 900) -> None:
        self.objects: dict[str, FakeObject] = {}
        self.uploads: dict[str, FakeUpload] = {}
        self.is_down = False
        self.withheld: set[str] = set()
        """Keys of objects to which access is denied."""
        self._lifetime_seconds = lifetime_seconds

    def presign_upload(self, *, key: str, size_bytes: int, content_type: str, sha256: str | None) -> PresignedRequest:
        """Sign a PUT with these properties."""
        headers = upload_headers(size_bytes=size_bytes, content_type=content_type, sha256=sha256)
        return self._presign("PUT", key, {}, headers)

    def presign_download(
        self, *, key: str, filename: str, content_type: str, method: DownloadMethod = "GET", lifetime_seconds: int | None = None
    ) -> PresignedRequest:
        """Sign a GET or HEAD whose response has this file name and a content type that browsers do not execute."""
        return self._presign(method, key, download_overrides(filename, content_type), {}, lifetime_seconds=lifetime_seconds)

    def presign_inline(self, *, key: str, filename: str, content_type: str, lifetime_seconds: int | None = None) -> PresignedRequest:
        """Sign a GET whose response a page shows with this content type."""
        return self._presign("GET", key, inline_overrides(filename, content_type), {}, lifetime_seconds=lifetime_seconds)

    def head(self, key: str) -> StoredObject | None:
        """Return the properties of the object."""
        self._answer()
        if key in self.withheld:
            raise ObjectWithheldError
        held = self.objects.get(safe_key(key))
        if held is None:
            return None
        return StoredObject(len(held.body), held.content_type, _etag(held.body), held.sha256, held.crc64nvme)

    def read_small(self, key: str, max_bytes: int) -> tuple[StoredObject, bytes] | None:
        """Return the properties and the content of the object."""
        stored = self.head(key)
        if stored is None:
            return None
        return stored, self.objects[key].body if stored.size_bytes <= max_bytes else b""

    def delete(self, key: str) -> None:
        """Delete the object."""
        self._answer()
        self.objects.pop(safe_key(key), None)

    def delete_many(self, keys: Sequence[str]) -> set[str]:
        """Delete the objects."""
        self._answer()
        for key in keys:
            self.objects.pop(safe_key(key), None)
        return set()

    def read_start(self, key: str, length: int) -> bytes:
        """Return the first bytes of the object."""
        self._answer()
        held = self.objects.get(safe_key(key))
        return held.body[:length] if held else b""

    def open(self, key: str, *, offset: int) -> FakeByteSource | None:
        """Open the object at an offset."""
        self._answer()
        if key in self.withheld:
            raise ObjectWithheldError
        held = self.objects.get(safe_key(key))
        return FakeByteSource(held.body[offset:]) if held else None

    def put_marker(self, key: str) -> None:
        """Store an empty object."""
        self._answer()
        self.objects[safe_key(key)] = FakeObject(b"", "binary/octet-stream", None)

    def start_multipart(self, *, key: str, content_type: str, with_digests: bool) -> str:
        """Start a multipart upload."""
        self._answer()
        upload_id = uuid4().hex
        self.uploads[upload_id] = FakeUpload(safe_key(key), content_type, with_digests, clock.now())
        return upload_id

    def presign_part(self, *, key: str, upload_id: str, number: int, size_bytes: int, sha256: str | None) -> PresignedRequest:
        """Sign a PUT of this part."""
        headers = part_headers(number=number, size_bytes=size_bytes, sha256=sha256)
        signed = self._presign("PUT", key, {"partNumber": str(number), "uploadId": upload_id}, headers)
        return replace(signed, headers={**ADVISED_PART_HEADERS, **signed.headers})

    def send_part(self, *, key: str, upload_id: str, number: int, body: bytes | bytearray) -> bool:
        """Store the part."""
        self._answer()
        upload = self._upload(key, upload_id)
        if upload is None:
            return False
        upload.parts[number] = bytes(body)
        return True

    def has_multipart(self, key: str, upload_id: str) -> bool:
        """Return whether the upload is in progress."""
        self._answer()
        return self._upload(key, upload_id) is not None

    def list_parts(self, key: str, upload_id: str) -> list[StoredPart] | None:
        """Return the parts of the upload."""
        self._answer()
        upload = self._upload(key, upload_id)
        return None if upload is None else list(_stored_parts(upload))

    def complete_multipart(
        self, *, key: str, upload_id: str, parts: Sequence[StoredPart], size_bytes: int, crc64nvme: str | None = None
    ) -> MultipartResult:
        """Create the object from its parts. Checksums of whole objects are not computed."""
        self._answer()
        upload = self._upload(key, upload_id)
        if upload is None:
            return MultipartResult.UPLOAD_NOT_FOUND
        held = {part.number: part for part in _stored_parts(upload)}
        is_as_named = [part.number for part in parts] == sorted({part.number for part in parts}) and all(
            held.get(part.number) == part for part in parts
        )
        is_big_enough = all(part.size_bytes >= S3_PART_MIN_BYTES for part in parts[:-1])
        if not parts or not is_as_named or not is_big_enough or sum(part.size_bytes for part in parts) != size_bytes:
            return MultipartResult.PARTS_MISMATCH
        if key in self.objects:
            return MultipartResult.KEY_EXISTS
        self.objects[key] = FakeObject(b"".join(upload.parts[part.number] for part in parts), upload.content_type, None)
        del self.uploads[upload_id]
        return MultipartResult.COMPLETED

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Delete the multipart upload."""
        self._answer()
        if self._upload(key, upload_id) is not None:
            del self.uploads[upload_id]

    def list_objects(self, *, after_key: str, limit: int, prefix: str = KEY_PREFIX) -> ObjectPage:
        """Return objects in the order of their keys."""
        self._answer()
        keys = sorted(key for key in self.objects if key > after_key and key.startswith(prefix))
        listed = [ListedObject(key, len(self.objects[key].body), self.objects[key].modified_at) for key in keys[:limit]]
        return ObjectPage(listed, is_last=len(keys) <= limit)

    def list_uploads(self, *, after_key: str, limit: int, prefix: str = KEY_PREFIX) -> UploadPage:
        """Return multipart uploads in the order of their keys."""
        self._answer()
        found = sorted(
            (ListedUpload(upload.key, upload_id, upload.started_at) for upload_id, upload in self.uploads.items()),
            key=lambda upload: (upload.key, upload.upload_id),
        )
        found = [upload for upload in found if upload.key > after_key and upload.key.startswith(prefix)]
        return UploadPage(found[:limit], is_last=len(found) <= limit)

    def _upload(self, key: str, upload_id: str) -> FakeUpload | None:
        upload = self.uploads.get(upload_id)
        return upload if upload is not None and upload.key == safe_key(key) else None

    def put(self, presigned: PresignedRequest, body: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Upload `body` as a client and return the status; `headers` replace the presigned ones."""
        return self.send(presigned.method, presigned.url, presigned.headers if headers is None else headers, body).status

    def send(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> StoreResponse:
        """Serve a request of a client. Its Content-Length is always the length of `body`."""
        sent = {name.lower(): value for name, value in (headers or {}).items()} | {"content-length": str(len(body))}
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        signature = query.pop("signature", "")
        signed = {name: sent.get(name, "") for name in query.get("signed", "").split(",") if name}
        if not hmac.compare_digest(signature, _signature(method, parts.path, query, signed)):
            return StoreResponse(403)
        if clock.now().timestamp() > int(query["expires"]) or any(name.startswith("x-amz-") and name not in signed for name in sent):
            return StoreResponse(403)
        key = unquote(parts.path).removeprefix("/")
        if "uploadId" in query:
            return self._receive_part(key, query["uploadId"], int(query["partNumber"]), sent, body)
        if method == "PUT":
            return self._receive(key, sent, body)
        served = self._serve(key, query)
        return StoreResponse(served.status, served.headers) if method == "HEAD" else served

    def _receive_part(self, key: str, upload_id: str, number: int, sent: dict[str, str], body: bytes) -> StoreResponse:
        upload = self._upload(key, upload_id)
        if upload is None:
            return StoreResponse(404)
        declared = sent.get("x-amz-checksum-sha256")
        if (declared is not None) != upload.with_digests:
            return StoreResponse(400)
        if declared is not None and base64.b64decode(declared) != hashlib.sha256(body).digest():
            return StoreResponse(400)
        upload.parts[number] = body
        return StoreResponse(200, {"etag": _etag(body)})

    def _receive(self, key: str, sent: dict[str, str], body: bytes) -> StoreResponse:
        digest = hashlib.sha256(body)
        declared = sent.get("x-amz-checksum-sha256")
        if declared is not None and base64.b64decode(declared) != digest.digest():
            return StoreResponse(400)
        if key in self.objects:
            return StoreResponse(412)
        metadata = {name: sent[name] for name in STORED_HEADERS if name in sent}
        self.objects[key] = FakeObject(body, sent["content-type"], digest.hexdigest() if declared else None, metadata=metadata)
        return StoreResponse(200)

    def _serve(self, key: str, query: dict[str, str]) -> StoreResponse:
        held = self.objects.get(key)
        if held is None:
            return StoreResponse(404)
        overrides = {name.removeprefix("response-"): value for name, value in query.items() if name.startswith("response-")}
        return StoreResponse(200, {"content-type": held.content_type} | held.metadata | overrides, held.body)

    def _presign(
        self, method: str, key: str, query: dict[str, str], headers: dict[str, str], *, lifetime_seconds: int | None = None
    ) -> PresignedRequest:
        seconds = self._lifetime_seconds if lifetime_seconds is None else min(lifetime_seconds, self._lifetime_seconds)
        expires_at = clock.now().replace(microsecond=0) + timedelta(seconds=seconds)
        path = f"/{safe_key(key)}"
        signed = {name.lower(): value for name, value in headers.items()}
        query = query | {"expires": str(int(expires_at.timestamp())), "signed": ",".join(signed)}
        query["signature"] = _signature(method, path, query, signed)
        return PresignedRequest(method, f"https://objects.test{path}?{urlencode(query)}", headers, expires_at)

    def _answer(self) -> None:
        if self.is_down:
            raise StoreUnavailableError


def _signature(method: str, path: str, query: Mapping[str, str], signed: Mapping[str, str]) -> str:
    text = repr((method, path, sorted(query.items()), sorted(signed.items())))
    return hmac.new(b"the store's own key", text.encode(), hashlib.sha256).hexdigest()


def _etag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def _stored_parts(upload: FakeUpload) -> Iterator[StoredPart]:
    for number, body in sorted(upload.parts.items()):
        yield StoredPart(number, len(body), _etag(body), hashlib.sha256(body).hexdigest() if upload.with_digests else None)
