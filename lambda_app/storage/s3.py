"""The object store on Amazon S3."""

import base64
import binascii
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from lambda_app.core.aws import AwsAccess, AwsResponseError, AwsStream
from lambda_app.core.errors import StoreUnavailableError
from lambda_app.core.settings import Settings
from lambda_app.storage.content import download_overrides, inline_overrides
from lambda_app.storage.keys import KEY_PREFIX
from lambda_app.storage.object_store import (
    ByteSource,
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

SHA256_BYTES = 32

_RESULT_BY_ERROR_CODE = {
    "NoSuchUpload": MultipartResult.UPLOAD_NOT_FOUND,
    "PreconditionFailed": MultipartResult.KEY_EXISTS,
    "BadDigest": MultipartResult.PARTS_MISMATCH,
    "EntityTooSmall": MultipartResult.PARTS_MISMATCH,
    "InvalidPart": MultipartResult.PARTS_MISMATCH,
    "InvalidPartOrder": MultipartResult.PARTS_MISMATCH,
    "InvalidRequest": MultipartResult.PARTS_MISMATCH,  # wrong total size, or a part without a digest
}
"""Error codes of S3 in response to CompleteMultipartUpload."""

logger = logging.getLogger(__name__)


class S3ObjectStore(ObjectStore):
    """One bucket. Signing is local; all other methods call S3."""

    def __init__(self, settings: Settings, aws: AwsAccess) -> None:
        self._bucket = settings.s3_bucket_name
        self._bucket_url = bucket_url(settings)
        self._lifetime_seconds = settings.presigned_url_expiration
        self._aws = aws

    def presign_upload(self, *, key: str, size_bytes: int, content_type: str, sha256: str | None) -> PresignedRequest:
        """Sign a PUT that S3 rejects for another length, type or digest, or when the key exists (If-None-Match)."""
        headers = upload_headers(size_bytes=size_bytes, content_type=content_type, sha256=sha256)
        return self._presign("PUT", self._url(key), headers)

    def presign_download(
        self, *, key: str, filename: str, content_type: str, method: DownloadMethod = "GET", lifetime_seconds: int | None = None
    ) -> PresignedRequest:
        """Sign a GET or HEAD. The response is an attachment with a safe content type, without headers of the uploader."""
        url = f"{self._url(key)}?{urlencode(download_overrides(filename, content_type), quote_via=quote, safe='')}"
        return self._presign(method, url, {}, lifetime_seconds=lifetime_seconds)

    def presign_inline(self, *, key: str, filename: str, content_type: str, lifetime_seconds: int | None = None) -> PresignedRequest:
        """Sign a GET whose response is shown in a page, without headers of the uploader."""
        url = f"{self._url(key)}?{urlencode(inline_overrides(filename, content_type), quote_via=quote, safe='')}"
        return self._presign("GET", url, {}, lifetime_seconds=lifetime_seconds)

    def head(self, key: str) -> StoredObject | None:
        """Return the size, type and whole-body checksums of the object."""
        response = self._find("head_object", key)
        return None if response is None else _stored_object(response)

    def read_small(self, key: str, max_bytes: int) -> tuple[StoredObject, bytes] | None:
        """Read the whole object: S3 returns no checksum with a range. The content of a larger object is not transferred."""
        response = self._find("get_object", key)
        if response is None:
            return None
        stored = _stored_object(response)
        if stored.size_bytes > max_bytes:
            response["Body"].close()
            return stored, b""
        return stored, self._aws.read(response["Body"], max_bytes)

    def delete(self, key: str) -> None:
        """Delete the object. S3 also reports success when the object does not exist."""
        try:
            self._aws.call("s3", "delete_object", Bucket=self._bucket, Key=safe_key(key))
        except AwsResponseError as error:
            if error.aws_code != "NoSuchKey":
                raise

    def delete_many(self, keys: Sequence[str]) -> set[str]:
        """Delete the objects. S3 lists those that are gone, also those that did not exist, and the errors of the others."""
        listed = {"Objects": [{"Key": safe_key(key)} for key in keys], "Quiet": False}
        response = self._aws.call("s3", "delete_objects", Bucket=self._bucket, Delete=listed)
        left = set(keys) - {deleted.get("Key") for deleted in response.get("Deleted", [])}
        if left:
            codes = {error.get("Code") for error in response.get("Errors", [])}
            logger.warning("S3 did not delete %d of %d objects: %s", len(left), len(keys), codes)
        return left

    def read_start(self, key: str, length: int) -> bytes:
        """Read a range from the start. S3 rejects every range of an empty object (InvalidRange)."""
        try:
            response = self._aws.call("s3", "get_object", Bucket=self._bucket, Key=safe_key(key), Range=f"bytes=0-{length - 1}")
        except AwsResponseError as error:
            if error.aws_code in ("NoSuchKey", "InvalidRange"):
                return b""
            raise
        return self._aws.read(response["Body"], length)

    def open(self, key: str, *, offset: int) -> ByteSource | None:
        """Stream the object from `offset`."""
        byte_range = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            response = self._aws.call("s3", "get_object", Bucket=self._bucket, Key=safe_key(key), **byte_range)
        except AwsResponseError as error:
            if error.aws_code == "NoSuchKey":
                return None
            if error.aws_code == "AccessDenied":
                raise ObjectWithheldError from error
            raise
        return AwsStream(response["Body"])

    def put_marker(self, key: str) -> None:
        """Put an empty object."""
        self._aws.call("s3", "put_object", Bucket=self._bucket, Key=safe_key(key), Body=b"")

    def start_multipart(self, *, key: str, content_type: str, with_digests: bool) -> str:
        """Start a multipart upload. Without part digests, S3 computes the CRC64NVME of the whole object."""
        digests = {"ChecksumAlgorithm": "SHA256", "ChecksumType": "COMPOSITE"} if with_digests else {}
        response = self._aws.call(
            "s3", "create_multipart_upload", Bucket=self._bucket, Key=safe_key(key), ContentType=content_type, **digests
        )
        upload_id: str = response["UploadId"]
        return upload_id

    def presign_part(self, *, key: str, upload_id: str, number: int, size_bytes: int, sha256: str | None) -> PresignedRequest:
        """Sign the PUT of one part, and add the headers that are advised but not signed."""
        headers = part_headers(number=number, size_bytes=size_bytes, sha256=sha256)
        query = urlencode({"partNumber": number, "uploadId": upload_id}, quote_via=quote, safe="")
        signed = self._presign("PUT", f"{self._url(key)}?{query}", headers)
        return replace(signed, headers={**ADVISED_PART_HEADERS, **signed.headers})

    def send_part(self, *, key: str, upload_id: str, number: int, body: bytes | bytearray) -> bool:
        """Upload the part with its SHA-256."""
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        part = {"Key": safe_key(key), "UploadId": upload_id, "PartNumber": number, "Body": body, "ChecksumSHA256": digest}
        try:
            self._aws.call("s3", "upload_part", Bucket=self._bucket, **part)
        except AwsResponseError as error:
            if error.aws_code == "NoSuchUpload":
                return False
            raise
        return True

    def has_multipart(self, key: str, upload_id: str) -> bool:
        """List at most one part, because S3 has no other request for this."""
        try:
            self._aws.call("s3", "list_parts", Bucket=self._bucket, Key=safe_key(key), UploadId=upload_id, MaxParts=1)
        except AwsResponseError as error:
            if error.aws_code == "NoSuchUpload":
                return False
            raise
        return True

    def list_parts(self, key: str, upload_id: str) -> list[StoredPart] | None:
        """List all parts, in pages of 1000."""
        try:
            return list(self._parts(safe_key(key), upload_id))
        except AwsResponseError as error:
            if error.aws_code == "NoSuchUpload":
                return None
            raise

    def complete_multipart(
        self, *, key: str, upload_id: str, parts: Sequence[StoredPart], size_bytes: int, crc64nvme: str | None = None
    ) -> MultipartResult:
        """Complete the upload. S3 may send status 200 followed by an error in the body, which botocore raises as an error."""
        checksum = {} if crc64nvme is None else {"ChecksumCRC64NVME": crc64nvme, "ChecksumType": "FULL_OBJECT"}
        try:
            self._aws.call(
                "s3",
                "complete_multipart_upload",
                Bucket=self._bucket,
                Key=safe_key(key),
                UploadId=upload_id,
                MultipartUpload={"Parts": [_completed_part(part) for part in parts]},
                MpuObjectSize=size_bytes,
                IfNoneMatch="*",
                **checksum,
            )
        except AwsResponseError as error:
            if error.aws_code not in _RESULT_BY_ERROR_CODE:
                raise
            return _RESULT_BY_ERROR_CODE[error.aws_code]
        return MultipartResult.COMPLETED

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Abort the upload. A part that is in transfer may survive; the sweep aborts the upload again later."""
        try:
            self._aws.call("s3", "abort_multipart_upload", Bucket=self._bucket, Key=safe_key(key), UploadId=upload_id)
        except AwsResponseError as error:
            if error.aws_code != "NoSuchUpload":
                raise

    def list_objects(self, *, after_key: str, limit: int, prefix: str = KEY_PREFIX) -> ObjectPage:
        """List objects in key order."""
        after = {"StartAfter": after_key} if after_key else {}
        response = self._aws.call("s3", "list_objects_v2", Bucket=self._bucket, Prefix=prefix, MaxKeys=limit, **after)
        listed = [ListedObject(item["Key"], item["Size"], item["LastModified"]) for item in response.get("Contents", [])]
        return ObjectPage(listed, is_last=not response.get("IsTruncated", False))

    def list_uploads(self, *, after_key: str, limit: int, prefix: str = KEY_PREFIX) -> UploadPage:
        """List unfinished multipart uploads in key order."""
        after = {"KeyMarker": after_key} if after_key else {}
        response = self._aws.call("s3", "list_multipart_uploads", Bucket=self._bucket, Prefix=prefix, MaxUploads=limit, **after)
        listed = [ListedUpload(item["Key"], item["UploadId"], item["Initiated"]) for item in response.get("Uploads", [])]
        return UploadPage(listed, is_last=not response.get("IsTruncated", False))

    def _parts(self, key: str, upload_id: str) -> Iterator[StoredPart]:
        marker = 0
        while True:
            response = self._aws.call("s3", "list_parts", Bucket=self._bucket, Key=key, UploadId=upload_id, PartNumberMarker=marker)
            for part in response.get("Parts", []):
                yield StoredPart(part["PartNumber"], part["Size"], part["ETag"], _digest(part.get("ChecksumSHA256", "")))
            next_marker = int(response.get("NextPartNumberMarker") or 0)
            if not response.get("IsTruncated", False):
                return
            if next_marker <= marker:
                raise StoreUnavailableError
            marker = next_marker

    def _find(self, operation: str, key: str) -> dict[str, Any] | None:
        """Return the response to HEAD or GET with its checksums, None when the object does not exist."""
        try:
            return self._aws.call("s3", operation, Bucket=self._bucket, Key=safe_key(key), ChecksumMode="ENABLED")
        except AwsResponseError as error:
            if error.http_status == 404:
                return None
            if error.http_status != 403:
                raise
            # The response to HEAD has no body with details. Without s3:ListBucket, S3 also returns 403 for a missing object. Treating
            # 403 as "missing" would turn a wrong policy into the loss of every file.
            logger.warning(
                "S3 returned 403: no clean scan yet, or the role lacks s3:GetObject on the objects or s3:ListBucket on the bucket"
            )
            raise ObjectWithheldError from error

    def _url(self, key: str) -> str:
        return f"{self._bucket_url}/{quote(safe_key(key), safe='/')}"

    def _presign(self, method: str, url: str, headers: dict[str, str], *, lifetime_seconds: int | None = None) -> PresignedRequest:
        seconds = self._lifetime_seconds if lifetime_seconds is None else min(lifetime_seconds, self._lifetime_seconds)
        signed = self._aws.presign(method=method, url=url, headers=headers, lifetime_seconds=seconds)
        return PresignedRequest(method, signed.url, headers, signed.expires_at)


def bucket_url(settings: Settings) -> str:
    """Return the base URL for clients. The host is signed, so the same bucket under another host name is rejected."""
    bucket = settings.s3_bucket_name
    endpoint = settings.s3_public_endpoint_url or settings.aws_endpoint_url
    if endpoint:
        return f"{endpoint}/{bucket}"
    host = f"s3.{settings.aws_region}.amazonaws.com"
    if settings.aws_region.startswith("cn-"):
        host += ".cn"
    # S3's wildcard certificate covers only one label, so a bucket name with dots needs a path-style URL.
    return f"https://{host}/{bucket}" if "." in bucket else f"https://{bucket}.{host}"


def _stored_object(response: dict[str, Any]) -> StoredObject:
    return StoredObject(
        size_bytes=response["ContentLength"],
        content_type=response.get("ContentType", ""),
        etag=response.get("ETag", "").strip('"'),
        sha256=_digest(_whole_body_checksum(response, "ChecksumSHA256")),
        crc64nvme=_whole_body_checksum(response, "ChecksumCRC64NVME") or None,
    )


def _whole_body_checksum(response: dict[str, Any], name: str) -> str:
    """Return the checksum in base64, or "" when it is missing or composite (over the parts of a multipart upload)."""
    is_whole = response.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
    return str(response.get(name, "")) if is_whole else ""


def _digest(text: str) -> str | None:
    try:
        digest = base64.b64decode(text, validate=True)
    except binascii.Error:  # "…=-3": a composite checksum, from a store that does not report the type
        return None
    return digest.hex() if len(digest) == SHA256_BYTES else None


def _completed_part(part: StoredPart) -> dict[str, Any]:
    digest = {} if part.sha256 is None else {"ChecksumSHA256": base64.b64encode(bytes.fromhex(part.sha256)).decode()}
    return {"PartNumber": part.number, "ETag": part.etag, **digest}
