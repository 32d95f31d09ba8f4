"""Keys in objects of S3, for a stage without Secrets Manager: made once, read by the functions, replaced by a rotation.

A conditional write creates and replaces them, so that two deployments or rotations at once never lose a key that is in use.
"""

import secrets
from dataclasses import dataclass, field

from lambda_app.core.aws import SECRET_MAX_BYTES, AwsAccess, AwsResponseError, object_of_arn
from lambda_app.core.errors import StoreUnavailableError

KEY_BYTES = 48
CONDITION_FAILED = ("PreconditionFailed", "ConditionalRequestConflict")
"""Codes of S3 for a conditional write that another one preceded."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """The value of a key, and the version of the object that had it."""

    value: str = field(repr=False)
    etag: str


class StoredKeys:
    """The key objects. Each method takes the ARN of one."""

    def __init__(self, aws: AwsAccess) -> None:
        self._aws = aws

    def create_missing(self, arn: str) -> bool:
        """Write a random key if there is none. Return whether it was written. Raises UnavailableError."""
        bucket, key = _location(arn)
        try:
            self._aws.call("s3", "put_object", Bucket=bucket, Key=key, Body=secrets.token_urlsafe(KEY_BYTES).encode(), IfNoneMatch="*")
        except AwsResponseError as error:
            if error.aws_code in CONDITION_FAILED:
                return False
            raise
        return True

    def get(self, arn: str) -> StoredKey:
        """Return a key. Raises UnavailableError when there is none, too."""
        bucket, key = _location(arn)
        response = self._aws.call("s3", "get_object", Bucket=bucket, Key=key)
        return StoredKey(self._aws.read(response["Body"], SECRET_MAX_BYTES).decode(), response["ETag"])

    def replace(self, arn: str, old: StoredKey, *, value: str) -> None:
        """Write the new value of a key. Raises UnavailableError, also when the key is no longer `old`."""
        bucket, key = _location(arn)
        try:
            self._aws.call("s3", "put_object", Bucket=bucket, Key=key, Body=value.encode(), IfMatch=old.etag)
        except AwsResponseError as error:
            if error.aws_code in CONDITION_FAILED:
                raise StoreUnavailableError("Another rotation replaced the key at the same time") from error
            raise


def _location(arn: str) -> tuple[str, str]:
    found = object_of_arn(arn)
    if found is None:
        raise ValueError("not the ARN of an S3 object")
    return found
