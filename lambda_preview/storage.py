"""The worker's access to the bucket: it reads files, writes previews and results, and deletes requests."""

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Self

from lambda_preview.failures import PreviewFailedError, Reason
from lambda_preview.pipes import Rendered

REQUEST_PREFIX = "preview-requests/"
"""Key prefix of the empty objects that request a preview. Their creation events start the worker."""
RESULT_PREFIX = "preview-results/"
"""Key prefix of the results. Their creation events start the function that records them."""
_REQUEST_KEY = re.compile(REQUEST_PREFIX + "([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_MISSING = frozenset({"404", "NoSuchKey"})
_REFUSED = frozenset({"403", "AccessDenied"})


def requested_file_of(key: str) -> str | None:
    """Return the id of the file whose preview the object with this key requests; None for another object."""
    match = _REQUEST_KEY.fullmatch(key)
    return match[1] if match else None


@dataclass(frozen=True, slots=True)
class PreviewStore:
    """One bucket."""

    s3: Any
    bucket: str

    @classmethod
    def from_environment(cls) -> Self:
        """Connect as the function's role."""
        import boto3  # type: ignore[import-untyped]  # ships no type information

        return cls(boto3.client("s3"), os.environ["S3_BUCKET_NAME"])

    def size_of(self, file_id: str) -> int:
        """Return the size of a file in bytes. Raises PreviewFailedError when it cannot be read."""
        response = self._call("head_object", Key=f"uploads/{file_id}")
        return int(response["ContentLength"])

    def read(self, file_id: str, offset: int, length: int) -> bytes:
        """Return bytes of a file. Raises PreviewFailedError when it cannot be read."""
        response = self._call("get_object", Key=f"uploads/{file_id}", Range=f"bytes={offset}-{offset + length - 1}")
        content: bytes = response["Body"].read()
        return content

    def put_preview(self, file_id: str, rendered: Rendered) -> None:
        """Store both images, and then the result that refers to them."""
        for name, content in (("small", rendered.small), ("large", rendered.large)):
            self.s3.put_object(Bucket=self.bucket, Key=f"previews/{file_id}/{name}", Body=content, ContentType="image/webp")
        self._put_result(
            file_id,
            state="ready",
            width=rendered.width,
            height=rendered.height,
            small_size=rendered.small_size,
            large_size=rendered.large_size,
            duration_seconds=rendered.duration_seconds,
            page_count=rendered.page_count,
        )

    def put_failure(self, file_id: str, reason: Reason) -> None:
        """Store the result of a file that has no preview."""
        self._put_result(file_id, state="failed", reason=reason.value)

    def delete_request(self, file_id: str) -> None:
        """Delete the request, once its result is stored."""
        self.s3.delete_object(Bucket=self.bucket, Key=f"{REQUEST_PREFIX}{file_id}")

    def _put_result(self, file_id: str, **result: Any) -> None:
        body = json.dumps(result).encode()
        self.s3.put_object(Bucket=self.bucket, Key=f"{RESULT_PREFIX}{file_id}", Body=body, ContentType="application/json")

    def _call(self, operation: str, **parameters: Any) -> Any:
        from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # ships no type information

        try:
            return getattr(self.s3, operation)(Bucket=self.bucket, **parameters)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _MISSING:
                raise PreviewFailedError(Reason.MISSING) from error
            if code in _REFUSED:
                raise PreviewFailedError(Reason.WITHHELD) from error
            raise
