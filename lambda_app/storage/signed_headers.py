"""The headers that are signed into an upload URL and so restrict the upload. All values are validated first."""

import base64
import re

from lambda_app.core.errors import MalformedRequestError, TooLargeError
from lambda_app.storage.object_store import SINGLE_PUT_MAX_BYTES
from lambda_app.storage.parts import PART_MAX_BYTES, PARTS_MAX_COUNT

# Characters that S3 documents as safe in keys and that no client, proxy or XML parser changes. "." and ".." would be resolved as paths.
_KEY = re.compile(r"(?!(?:.*/)?\.{1,2}(?:/|$))[\w!.*'()-]+(?:/[\w!.*'()-]+)*", re.ASCII)
_KEY_MAX_LENGTH = 1024
# One line of printable ASCII with a slash, which is safe as a header value. The request schema validates the media type itself.
_CONTENT_TYPE = re.compile(r"[!-~]+/[!-~](?:[ -~]*[!-~])?")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
ADVISED_PART_HEADERS = {"Content-Type": "application/octet-stream"}
"""Headers of a part that are returned to the client but not signed.

Without a type, some clients add `application/x-www-form-urlencoded`, which proxies and emulators may parse. S3 ignores the type of a part.
"""


def safe_key(key: str) -> str:
    """Return `key` if it is safe in a URL without encoding. Raises ValueError for keys that `storage.keys` cannot produce."""
    if len(key) > _KEY_MAX_LENGTH or not _KEY.fullmatch(key):
        raise ValueError(f"unsafe object key: {key[:80]!r}")
    return key


def upload_headers(*, size_bytes: int, content_type: str, sha256: str | None) -> dict[str, str]:
    """Return the headers that the client must send to upload this body. `sha256` is in hex.

    Raises MalformedRequestError for invalid header values, TooLargeError above SINGLE_PUT_MAX_BYTES.
    """
    if size_bytes < 0:
        raise MalformedRequestError("The size cannot be negative")
    if size_bytes > SINGLE_PUT_MAX_BYTES:
        raise TooLargeError(
            f"A single upload can have at most {SINGLE_PUT_MAX_BYTES} bytes; use a multipart upload", code="too_large_for_one_upload"
        )
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise MalformedRequestError("The content type must be a media type such as image/png")
    return {"Content-Length": str(size_bytes), "Content-Type": content_type, "If-None-Match": "*", **_digest_header(sha256)}


def part_headers(*, number: int, size_bytes: int, sha256: str | None) -> dict[str, str]:
    """Return the headers that the client must send to upload this part. S3 ignores a content type or a condition of a part.

    Raises MalformedRequestError for a part number or size that S3 would reject.
    """
    if not 1 <= number <= PARTS_MAX_COUNT or not 0 < size_bytes <= PART_MAX_BYTES:
        raise MalformedRequestError("The part number or part size is out of range")
    return {"Content-Length": str(size_bytes), **_digest_header(sha256)}


def _digest_header(sha256: str | None) -> dict[str, str]:
    if sha256 is None:
        return {}
    if not _SHA256.fullmatch(sha256):
        raise MalformedRequestError("The SHA-256 must be 64 hexadecimal digits")
    return {"x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(sha256)).decode()}
