"""The object store that is Amazon S3."""

import base64
import binascii
import logging
from typing import Any
from urllib.parse import quote, urlencode

from lambda_app.core.aws import AwsAccess, AwsRefusedError
from lambda_app.core.settings import Settings
from lambda_app.storage.admission import safe_key, upload_headers
from lambda_app.storage.content import content_disposition, served_content_type
from lambda_app.storage.object_store import ObjectStore, PresignedRequest, StoredObject

SHA256_BYTES = 32

logger = logging.getLogger(__name__)


class S3ObjectStore(ObjectStore):
    """One bucket. Signing is local; `head` and `delete` are calls to S3."""

    def __init__(self, settings: Settings, aws: AwsAccess) -> None:
        self._bucket = settings.s3_bucket_name
        self._bucket_url = _bucket_url(settings)
        self._lifetime_seconds = settings.presigned_url_expiration
        self._aws = aws

    def presign_upload(self, *, key: str, size_bytes: int, content_type: str, sha256: str | None) -> PresignedRequest:
        """Sign a PUT that S3 refuses for any other length, type or digest, and once the key is taken (If-None-Match)."""
        headers = upload_headers(size_bytes=size_bytes, content_type=content_type, sha256=sha256)
        return self._presign("PUT", self._url(key), headers)

    def presign_download(self, *, key: str, filename: str, content_type: str) -> PresignedRequest:
        """Sign a GET whose answer is an attachment of a harmless type, and the bytes as they were stored."""
        overrides = {
            # S3 keeps a Content-Encoding that an uploader sends beside the signed headers, and a client that then
            # decompresses would see other bytes than those whose size and digest were checked.
            "response-content-encoding": "identity",
            "response-content-disposition": content_disposition(filename),
            "response-content-type": served_content_type(content_type),
        }
        return self._presign("GET", f"{self._url(key)}?{urlencode(overrides, quote_via=quote, safe='')}", {})

    def head(self, key: str) -> StoredObject | None:
        """Ask S3 for the object's size, type and whole-body SHA-256."""
        try:
            answer = self._aws.call("s3", "head_object", Bucket=self._bucket, Key=safe_key(key), ChecksumMode="ENABLED")
        except AwsRefusedError as error:
            if error.http_status == 404:
                return None
            if error.http_status == 403:
                # The answer to a HEAD has no body to say more. Without s3:ListBucket a missing object is a 403 too, and
                # taking that for "missing" would take a broken policy for the loss of every file.
                logger.error("S3 refuses HEAD: the role needs s3:GetObject on the objects and s3:ListBucket on the bucket")
            raise
        return StoredObject(
            size_bytes=answer["ContentLength"],
            content_type=answer.get("ContentType", ""),
            etag=answer.get("ETag", "").strip('"'),
            sha256=_whole_body_sha256(answer),
        )

    def delete(self, key: str) -> None:
        """Delete the object; S3 says the same of one that was not there."""
        try:
            self._aws.call("s3", "delete_object", Bucket=self._bucket, Key=safe_key(key))
        except AwsRefusedError as error:
            if error.aws_code != "NoSuchKey":
                raise

    def _url(self, key: str) -> str:
        return f"{self._bucket_url}/{quote(safe_key(key), safe='/')}"

    def _presign(self, method: str, url: str, headers: dict[str, str]) -> PresignedRequest:
        signed = self._aws.presign(method=method, url=url, headers=headers, lifetime_seconds=self._lifetime_seconds)
        return PresignedRequest(method, signed.url, headers, signed.expires_at)


def _bucket_url(settings: Settings) -> str:
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


def _whole_body_sha256(answer: dict[str, Any]) -> str | None:
    """Return the digest in hex, None for a composite one (of a multipart upload's parts) or none at all."""
    if answer.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    try:
        digest = base64.b64decode(answer.get("ChecksumSHA256", ""), validate=True)
    except binascii.Error:  # "…=-3": the composite form, from a store that does not name the type
        return None
    return digest.hex() if len(digest) == SHA256_BYTES else None
