"""What one upload URL admits, as the headers that are signed into it; nothing is signed unchecked."""

import base64
import re

from lambda_app.core.errors import MalformedRequestError, TooLargeError
from lambda_app.storage.object_store import SINGLE_PUT_MAX_BYTES
from lambda_app.storage.parts import PART_MAX_BYTES, PARTS_MAX_COUNT

# Letters that S3 calls safe in a key and that no client, proxy or XML parser rewrites; dots alone would be resolved as a path.
_KEY = re.compile(r"(?!(?:.*/)?\.{1,2}(?:/|$))[\w!.*'()-]+(?:/[\w!.*'()-]+)*", re.ASCII)
_KEY_MAX_LENGTH = 1024
# One line of printable ASCII with a slash in it. Whether it is a media type is the schema's to say; here it becomes a header.
_CONTENT_TYPE = re.compile(r"[!-~]+/[!-~](?:[ -~]*[!-~])?")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def safe_key(key: str) -> str:
    """Return `key`, which goes into a URL as it is. Raises ValueError for one that `storage.keys` cannot have made."""
    if len(key) > _KEY_MAX_LENGTH or not _KEY.fullmatch(key):
        raise ValueError(f"not a key of ours: {key[:80]!r}")
    return key


def upload_headers(*, size_bytes: int, content_type: str, sha256: str | None) -> dict[str, str]:
    """Return the headers that a client must send to upload this body; `sha256` is in hex.

    Raises MalformedRequestError for values that cannot be headers, TooLargeError past SINGLE_PUT_MAX_BYTES.
    """
    if size_bytes < 0:
        raise MalformedRequestError("The size cannot be negative")
    if size_bytes > SINGLE_PUT_MAX_BYTES:
        raise TooLargeError(f"One upload carries at most {SINGLE_PUT_MAX_BYTES} bytes", code="too_large_for_one_upload")
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise MalformedRequestError("The content type must be a media type such as image/png")
    return {"Content-Length": str(size_bytes), "Content-Type": content_type, "If-None-Match": "*", **_digest_header(sha256)}


def part_headers(*, number: int, size_bytes: int, sha256: str | None) -> dict[str, str]:
    """Return the headers that a client must send to upload this part; S3 takes neither a type nor a condition with a part.

    Raises MalformedRequestError for what S3 would not take.
    """
    if not 1 <= number <= PARTS_MAX_COUNT or not 0 < size_bytes <= PART_MAX_BYTES:
        raise MalformedRequestError("There is no such part")
    return {"Content-Length": str(size_bytes), **_digest_header(sha256)}


def _digest_header(sha256: str | None) -> dict[str, str]:
    if sha256 is None:
        return {}
    if not _SHA256.fullmatch(sha256):
        raise MalformedRequestError("The SHA-256 must be 64 hexadecimal digits")
    return {"x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(sha256)).decode()}
