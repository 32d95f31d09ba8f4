"""Copies of the audit log's checkpoints in S3. They show whether the database was set back or changed."""

import re

from lambda_app.core.aws import AwsAccess, AwsResponseError
from lambda_app.core.settings import Settings

COPY_PREFIX = "audit-log/checkpoints/"
"""Key prefix of the copies. A key sorts by era and size."""
NOTE_MAX_BYTES = 4096

_KEY = re.compile(COPY_PREFIX + r"(\d{8})/(\d{20})")


class CheckpointCopies:
    """Writes each checkpoint once, and finds those after a given one."""

    def __init__(self, settings: Settings, aws: AwsAccess) -> None:
        self._bucket = settings.s3_bucket_name
        self._aws = aws

    def put(self, era: int, size: int, note: str) -> None:
        """Write a copy. Raises UnavailableError."""
        body = note.encode()
        self._aws.call("s3", "put_object", Bucket=self._bucket, Key=_key(era, size), Body=body, ContentType="text/plain; charset=utf-8")

    def get(self, era: int, size: int) -> str | None:
        """Return a copy; None if there is none. Raises UnavailableError."""
        try:
            response = self._aws.call("s3", "get_object", Bucket=self._bucket, Key=_key(era, size))
        except AwsResponseError as error:
            if error.aws_code == "NoSuchKey":
                return None
            raise
        return self._aws.read(response["Body"], NOTE_MAX_BYTES).decode()

    def list_after(self, era: int, size: int) -> list[tuple[int, int]]:
        """Return era and size of up to 1,000 copies after the given one, in order. Raises UnavailableError."""
        response = self._aws.call("s3", "list_objects_v2", Bucket=self._bucket, Prefix=COPY_PREFIX, StartAfter=_key(era, size))
        found = (_KEY.fullmatch(item["Key"]) for item in response.get("Contents", ()))
        return [(int(match[1]), int(match[2])) for match in found if match]


def _key(era: int, size: int) -> str:
    return f"{COPY_PREFIX}{era:08d}/{size:020d}"
