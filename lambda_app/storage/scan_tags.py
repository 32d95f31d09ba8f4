"""The result of GuardDuty's malware scan, which it writes as a tag of the object. The bucket's policy lets only GuardDuty write it."""

from enum import StrEnum
from typing import NamedTuple

from lambda_app.core.aws import AwsAccess, AwsResponseError
from lambda_app.core.settings import Settings

SCAN_TAG = "GuardDutyMalwareScanStatus"


class ScanTag(StrEnum):
    """The values of the tag (GuardDuty user guide, "Using S3 object tags"), and our own for an object that an administrator released."""

    CLEAN = "NO_THREATS_FOUND"
    INFECTED = "THREATS_FOUND"
    UNSUPPORTED = "UNSUPPORTED"
    ACCESS_DENIED = "ACCESS_DENIED"
    FAILED = "FAILED"
    RELEASED = "RELEASED"


class TaggedObject(NamedTuple):
    """The current version of an object and its scan result; None while it has none."""

    version_id: str | None
    tag: ScanTag | None


class ScanTags:
    """Reads and replaces the tag."""

    def __init__(self, settings: Settings, aws: AwsAccess) -> None:
        self._bucket = settings.s3_bucket_name
        self._aws = aws

    def get(self, key: str) -> TaggedObject | None:
        """Return the tag of the current version; None if there is no such object. Raises UnavailableError, ValueError for a new value."""
        try:
            response = self._aws.call("s3", "get_object_tagging", Bucket=self._bucket, Key=key)
        except AwsResponseError as error:
            if error.aws_code in ("NoSuchKey", "MethodNotAllowed"):
                return None  # Deleted: the latter is S3's answer for a delete marker.
            raise
        values = [tag["Value"] for tag in response["TagSet"] if tag["Key"] == SCAN_TAG]
        return TaggedObject(response.get("VersionId"), ScanTag(values[0]) if values else None)

    def release(self, key: str) -> None:
        """Make an object readable although its scan found something. Raises UnavailableError."""
        tags = {"TagSet": [{"Key": SCAN_TAG, "Value": ScanTag.RELEASED}]}
        self._aws.call("s3", "put_object_tagging", Bucket=self._bucket, Key=key, Tagging=tags)
