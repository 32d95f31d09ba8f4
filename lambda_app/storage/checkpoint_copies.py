"""Copies of the audit log's checkpoints in S3. They show whether the database was set back or changed.

docs/adr/0048-locked-checkpoints.md describes the copies that Object Lock protects.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lambda_app.core import clock
from lambda_app.core.aws import AwsAccess, AwsResponseError
from lambda_app.core.settings import Settings

COPY_PREFIX = "audit-log/checkpoints/"
"""Key prefix of the copies. A key sorts by era and size."""
NOTE_MAX_BYTES = 4096
LOCK_MODE = "COMPLIANCE"
"""No principal can shorten such a lock or delete the version. A principal of the account could pass by GOVERNANCE."""

_KEY = re.compile(COPY_PREFIX + r"(\d{8})/(\d{20})")


@dataclass(frozen=True, slots=True)
class CheckpointCopy:
    """One copy, as it was written first."""

    note: str
    was_replaced: bool = False
    """Whether a later version or a delete marker covers it. Only locked copies show that."""
    version: str | None = None
    """None if the copies are not locked."""
    locked_until: datetime | None = None


class CheckpointCopies:
    """Writes each checkpoint once, and finds those after a given one.

    Object Lock protects versions, not keys: a later version or a delete marker can cover a locked copy. So locked copies are found by the
    list of versions, and the first version of a key counts.
    """

    def __init__(self, settings: Settings, aws: AwsAccess) -> None:
        self._bucket = settings.checkpoint_bucket_name or settings.s3_bucket_name
        self._lock = timedelta(days=settings.checkpoint_lock_days)
        self._aws = aws

    def put(self, era: int, size: int, note: str) -> None:
        """Write a copy, locked if the settings say so. A copy that exists stays. Raises UnavailableError."""
        lock: dict[str, Any] = {}
        if self._lock:
            # S3 refuses a lock without a checksum of the body.
            lock = {"ObjectLockMode": LOCK_MODE, "ObjectLockRetainUntilDate": clock.now() + self._lock, "ChecksumAlgorithm": "SHA256"}
        content_type = "text/plain; charset=utf-8"
        try:
            self._call("put_object", Key=_key(era, size), Body=note.encode(), ContentType=content_type, IfNoneMatch="*", **lock)
        except AwsResponseError as error:
            # The next run of the sealer compares the copy that exists.
            if error.http_status != 412:
                raise

    def get(self, era: int, size: int) -> CheckpointCopy | None:
        """Return a copy; None if there is none. Raises UnavailableError."""
        key = _key(era, size)
        if self._lock:
            return self._get_locked(key)
        try:
            response = self._call("get_object", Key=key)
        except AwsResponseError as error:
            if error.aws_code == "NoSuchKey":
                return None
            raise
        return CheckpointCopy(self._read(response))

    def extend_lock(self, era: int, size: int, copy: CheckpointCopy) -> None:
        """Lock a copy again when half of its time is over: in a deployment without events, the newest copy stays the newest.

        Raises UnavailableError.
        """
        until = clock.now() + self._lock
        if copy.version is not None and (copy.locked_until is None or until - copy.locked_until > self._lock / 2):
            retention = {"Mode": LOCK_MODE, "RetainUntilDate": until}
            parameters = {"VersionId": copy.version, "Retention": retention, "ChecksumAlgorithm": "SHA256"}
            self._call("put_object_retention", Key=_key(era, size), **parameters)

    def list_after(self, era: int, size: int) -> list[tuple[int, int]]:
        """Return era and size of up to 1,000 copies after the given one, in order. Raises UnavailableError."""
        # A page can have only keys that are none of ours, which must not hide the copies behind them.
        for keys in self._key_pages(_key(era, size)):
            found = [match for match in (_KEY.fullmatch(key) for key in sorted(keys)) if match]
            if found:
                return [(int(match[1]), int(match[2])) for match in found]
        return []

    def _key_pages(self, after: str) -> Iterator[set[str]]:
        if self._lock:
            for page in self._version_pages(COPY_PREFIX, KeyMarker=after):
                # A key that has only a delete marker had a copy.
                yield {item["Key"] for item in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))}
            return
        while True:
            page = self._call("list_objects_v2", Prefix=COPY_PREFIX, StartAfter=after)
            keys = {item["Key"] for item in page.get("Contents", ())}
            yield keys
            if not page.get("IsTruncated"):
                return
            after = max(keys)

    def _get_locked(self, key: str) -> CheckpointCopy | None:
        versions, markers = 0, 0
        first = None
        for page in self._version_pages(key):
            own = [item for item in page.get("Versions", ()) if item["Key"] == key]
            versions += len(own)
            markers += sum(item["Key"] == key for item in page.get("DeleteMarkers", ()))
            # S3 lists the versions of a key from the newest to the oldest.
            first = own[-1]["VersionId"] if own else first
        if first is None:
            return None
        response = self._call("get_object", Key=key, VersionId=first)
        was_replaced = versions + markers > 1
        return CheckpointCopy(self._read(response), was_replaced, first, response.get("ObjectLockRetainUntilDate"))

    def _version_pages(self, prefix: str, **position: str) -> Iterator[dict[str, Any]]:
        while True:
            page = self._call("list_object_versions", Prefix=prefix, **position)
            yield page
            if not page.get("IsTruncated"):
                return
            position = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def _read(self, response: dict[str, Any]) -> str:
        return self._aws.read(response["Body"], NOTE_MAX_BYTES).decode()

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self._aws.call("s3", operation, Bucket=self._bucket, **parameters)


def _key(era: int, size: int) -> str:
    return f"{COPY_PREFIX}{era:08d}/{size:020d}"
