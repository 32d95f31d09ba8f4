"""The object store that is Amazon S3."""

import base64
import binascii
import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from lambda_app.core.aws import AwsAccess, AwsRefusedError, AwsStream
from lambda_app.core.errors import UnavailableError
from lambda_app.core.settings import Settings
from lambda_app.storage.content import content_disposition, served_content_type
from lambda_app.storage.keys import KEY_PREFIX
from lambda_app.storage.object_store import (
    ByteSource,
    DownloadMethod,
    ListedObject,
    ListedUpload,
    MultipartEnd,
    ObjectPage,
    ObjectStore,
    ObjectWithheldError,
    PresignedRequest,
    StoredObject,
    StoredPart,
    UploadPage,
)
from lambda_app.storage.signed_headers import part_headers, safe_key, upload_headers

SHA256_BYTES = 32

_ENDS = {
    "NoSuchUpload": MultipartEnd.NO_UPLOAD,
    "PreconditionFailed": MultipartEnd.KEY_TAKEN,
    "BadDigest": MultipartEnd.PARTS_DIFFER,
    "EntityTooSmall": MultipartEnd.PARTS_DIFFER,
    "InvalidPart": MultipartEnd.PARTS_DIFFER,
    "InvalidPartOrder": MultipartEnd.PARTS_DIFFER,
    "InvalidRequest": MultipartEnd.PARTS_DIFFER,  # the sizes do not add up, or a part has no digest
}
"""What S3's refusals to join the parts mean."""

logger = logging.getLogger(__name__)


class S3ObjectStore(ObjectStore):
    """One bucket. Signing is local; `head` and `delete` are calls to S3."""

    def __init__(self, settings: Settings, aws: AwsAccess) -> None:
        self._bucket = settings.s3_bucket_name
        self._bucket_url = bucket_url(settings)
        self._lifetime_seconds = settings.presigned_url_expiration
        self._aws = aws

    def presign_upload(self, *, key: str, size_bytes: int, content_type: str, sha256: str | None) -> PresignedRequest:
        """Sign a PUT that S3 refuses for any other length, type or digest, and once the key is taken (If-None-Match)."""
        headers = upload_headers(size_bytes=size_bytes, content_type=content_type, sha256=sha256)
        return self._presign("PUT", self._url(key), headers)

    def presign_download(
        self, *, key: str, filename: str, content_type: str, method: DownloadMethod = "GET", lifetime_seconds: int | None = None
    ) -> PresignedRequest:
        """Sign a GET or HEAD whose answer is an attachment of a harmless type, and the bytes as they were stored."""
        overrides = {
            # S3 keeps a Content-Encoding that an uploader sends beside the signed headers, and a client that then
            # decompresses would see other bytes than those whose size and digest were checked.
            "response-content-encoding": "identity",
            "response-content-disposition": content_disposition(filename),
            "response-content-type": served_content_type(content_type),
        }
        url = f"{self._url(key)}?{urlencode(overrides, quote_via=quote, safe='')}"
        return self._presign(method, url, {}, lifetime_seconds=lifetime_seconds)

    def head(self, key: str) -> StoredObject | None:
        """Ask S3 for the object's size, type and whole-body checksums."""
        try:
            answer = self._aws.call("s3", "head_object", Bucket=self._bucket, Key=safe_key(key), ChecksumMode="ENABLED")
        except AwsRefusedError as error:
            if error.http_status == 404:
                return None
            if error.http_status != 403:
                raise
            # The answer to a HEAD has no body to say more. Without s3:ListBucket a missing object is a 403 too, and
            # taking that for "missing" would take a broken policy for the loss of every file.
            logger.warning(
                "S3 refuses HEAD: no clean scan yet, or the role lacks s3:GetObject on the objects or s3:ListBucket on the bucket"
            )
            raise ObjectWithheldError from error
        return StoredObject(
            size_bytes=answer["ContentLength"],
            content_type=answer.get("ContentType", ""),
            etag=answer.get("ETag", "").strip('"'),
            sha256=_digest(_whole_body_checksum(answer, "ChecksumSHA256")),
            crc64nvme=_whole_body_checksum(answer, "ChecksumCRC64NVME") or None,
        )

    def delete(self, key: str) -> None:
        """Delete the object; S3 says the same of one that was not there."""
        try:
            self._aws.call("s3", "delete_object", Bucket=self._bucket, Key=safe_key(key))
        except AwsRefusedError as error:
            if error.aws_code != "NoSuchKey":
                raise

    def read_start(self, key: str, length: int) -> bytes:
        """Ask for a range. S3 refuses one of an empty object."""
        try:
            answer = self._aws.call("s3", "get_object", Bucket=self._bucket, Key=safe_key(key), Range=f"bytes=0-{length - 1}")
        except AwsRefusedError as error:
            if error.aws_code in ("NoSuchKey", "InvalidRange"):
                return b""
            raise
        return self._aws.read(answer["Body"], length)

    def open(self, key: str, *, offset: int) -> ByteSource | None:
        """Ask for the rest of the object, and read it as it comes."""
        whence = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            answer = self._aws.call("s3", "get_object", Bucket=self._bucket, Key=safe_key(key), **whence)
        except AwsRefusedError as error:
            if error.aws_code == "NoSuchKey":
                return None
            if error.aws_code == "AccessDenied":
                raise ObjectWithheldError from error
            raise
        return AwsStream(answer["Body"])

    def put_marker(self, key: str) -> None:
        """Put an object without bytes."""
        self._aws.call("s3", "put_object", Bucket=self._bucket, Key=safe_key(key), Body=b"")

    def start_multipart(self, *, key: str, content_type: str, with_digests: bool) -> str:
        """Start an upload. Without digests of parts, S3 itself computes the CRC64NVME of the whole object."""
        digests = {"ChecksumAlgorithm": "SHA256", "ChecksumType": "COMPOSITE"} if with_digests else {}
        answer = self._aws.call(
            "s3", "create_multipart_upload", Bucket=self._bucket, Key=safe_key(key), ContentType=content_type, **digests
        )
        upload_id: str = answer["UploadId"]
        return upload_id

    def presign_part(self, *, key: str, upload_id: str, number: int, size_bytes: int, sha256: str | None) -> PresignedRequest:
        """Sign the PUT of one part."""
        headers = part_headers(number=number, size_bytes=size_bytes, sha256=sha256)
        query = urlencode({"partNumber": number, "uploadId": upload_id}, quote_via=quote, safe="")
        return self._presign("PUT", f"{self._url(key)}?{query}", headers)

    def send_part(self, *, key: str, upload_id: str, number: int, body: bytes | bytearray) -> bool:
        """Put the part, with its digest."""
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        part = {"Key": safe_key(key), "UploadId": upload_id, "PartNumber": number, "Body": body, "ChecksumSHA256": digest}
        try:
            self._aws.call("s3", "upload_part", Bucket=self._bucket, **part)
        except AwsRefusedError as error:
            if error.aws_code == "NoSuchUpload":
                return False
            raise
        return True

    def list_parts(self, key: str, upload_id: str) -> list[StoredPart] | None:
        """Ask page by page, of 1000 parts each."""
        try:
            return list(self._parts(safe_key(key), upload_id))
        except AwsRefusedError as error:
            if error.aws_code == "NoSuchUpload":
                return None
            raise

    def complete_multipart(
        self, *, key: str, upload_id: str, parts: Sequence[StoredPart], size_bytes: int, crc64nvme: str | None = None
    ) -> MultipartEnd:
        """Complete the upload; S3 may say 200 and then an error, which botocore turns into one."""
        checksum = {} if crc64nvme is None else {"ChecksumCRC64NVME": crc64nvme, "ChecksumType": "FULL_OBJECT"}
        try:
            self._aws.call(
                "s3",
                "complete_multipart_upload",
                Bucket=self._bucket,
                Key=safe_key(key),
                UploadId=upload_id,
                MultipartUpload={"Parts": [_named_part(part) for part in parts]},
                MpuObjectSize=size_bytes,
                IfNoneMatch="*",
                **checksum,
            )
        except AwsRefusedError as error:
            if error.aws_code not in _ENDS:
                raise
            return _ENDS[error.aws_code]
        return MultipartEnd.JOINED

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Abort the upload. A part that is being sent at this moment may survive it, for the sweep to find."""
        try:
            self._aws.call("s3", "abort_multipart_upload", Bucket=self._bucket, Key=safe_key(key), UploadId=upload_id)
        except AwsRefusedError as error:
            if error.aws_code != "NoSuchUpload":
                raise

    def list_objects(self, *, after_key: str, limit: int, prefix: str = KEY_PREFIX) -> ObjectPage:
        """List the bucket in the order of its keys."""
        after = {"StartAfter": after_key} if after_key else {}
        answer = self._aws.call("s3", "list_objects_v2", Bucket=self._bucket, Prefix=prefix, MaxKeys=limit, **after)
        listed = [ListedObject(item["Key"], item["Size"], item["LastModified"]) for item in answer.get("Contents", [])]
        return ObjectPage(listed, is_last=not answer.get("IsTruncated", False))

    def list_uploads(self, *, after_key: str, limit: int, prefix: str = KEY_PREFIX) -> UploadPage:
        """List what is under way in the order of its keys."""
        after = {"KeyMarker": after_key} if after_key else {}
        answer = self._aws.call("s3", "list_multipart_uploads", Bucket=self._bucket, Prefix=prefix, MaxUploads=limit, **after)
        listed = [ListedUpload(item["Key"], item["UploadId"], item["Initiated"]) for item in answer.get("Uploads", [])]
        return UploadPage(listed, is_last=not answer.get("IsTruncated", False))

    def _parts(self, key: str, upload_id: str) -> Iterator[StoredPart]:
        marker = 0
        while True:
            answer = self._aws.call("s3", "list_parts", Bucket=self._bucket, Key=key, UploadId=upload_id, PartNumberMarker=marker)
            for part in answer.get("Parts", []):
                yield StoredPart(part["PartNumber"], part["Size"], part["ETag"], _digest(part.get("ChecksumSHA256", "")))
            following = int(answer.get("NextPartNumberMarker") or 0)
            if not answer.get("IsTruncated", False):
                return
            if following <= marker:
                raise UnavailableError
            marker = following

    def _url(self, key: str) -> str:
        return f"{self._bucket_url}/{quote(safe_key(key), safe='/')}"

    def _presign(self, method: str, url: str, headers: dict[str, str], *, lifetime_seconds: int | None = None) -> PresignedRequest:
        seconds = self._lifetime_seconds if lifetime_seconds is None else min(lifetime_seconds, self._lifetime_seconds)
        signed = self._aws.presign(method=method, url=url, headers=headers, lifetime_seconds=seconds)
        return PresignedRequest(method, signed.url, headers, signed.expires_at)


def bucket_url(settings: Settings) -> str:
    """Return the address that clients will use; the host is signed, so another name for the same place is refused."""
    bucket = settings.s3_bucket_name
    endpoint = settings.s3_public_endpoint_url or settings.aws_endpoint_url
    if endpoint:
        return f"{endpoint}/{bucket}"
    host = f"s3.{settings.aws_region}.amazonaws.com"
    if settings.aws_region.startswith("cn-"):
        host += ".cn"
    # S3's certificate covers one label in front of its name, which a bucket with dots is not.
    return f"https://{host}/{bucket}" if "." in bucket else f"https://{bucket}.{host}"


def _whole_body_checksum(answer: dict[str, Any], name: str) -> str:
    """Return the checksum in base64, "" for a composite one (of a multipart upload's parts) or none at all."""
    is_whole = answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
    return str(answer.get(name, "")) if is_whole else ""


def _digest(text: str) -> str | None:
    try:
        digest = base64.b64decode(text, validate=True)
    except binascii.Error:  # "…=-3": the composite form, from a store that does not name the type
        return None
    return digest.hex() if len(digest) == SHA256_BYTES else None


def _named_part(part: StoredPart) -> dict[str, Any]:
    digest = {} if part.sha256 is None else {"ChecksumSHA256": base64.b64encode(bytes.fromhex(part.sha256)).decode()}
    return {"PartNumber": part.number, "ETag": part.etag, **digest}
