"""The Lambda entry point for the results of malware scans: events of GuardDuty, which arrive through EventBridge and an SQS queue.

The event only names an object and its version. The result is read from the object's tag, so that late, repeated and forged events change
nothing (`services/files/scans`).
"""

import json
import logging
from typing import Any, NamedTuple
from uuid import UUID

from lambda_app.core.errors import AppError
from lambda_app.factory import Services
from lambda_app.handlers.object_created import UnreadableMessageError
from lambda_app.handlers.processes import process_services
from lambda_app.services.files.scans import ScanOutcome
from lambda_app.storage.keys import file_id_of

DETAIL_TYPES = ("GuardDuty Malware Protection Object Scan Result", "GuardDuty Malware Protection Post Scan Action Failed")
"""https://docs.aws.amazon.com/guardduty/latest/ug/monitor-with-eventbridge-s3-malware-protection.html"""

logger = logging.getLogger(__name__)


class ScannedObject(NamedTuple):
    """A file whose object was scanned, and the version of the object."""

    file_id: UUID
    version_id: str | None


class MissingTagError(Exception):
    """The object has no result yet, although the event reports one. SQS delivers the message again."""


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Record the results and return the messages to redeliver (ReportBatchItemFailures)."""
    return record_results(process_services(), event)


def record_results(services: Services, event: dict[str, Any]) -> dict[str, Any]:
    """Record the result of each message of the batch, in a separate unit of work. Returns the failed messages, which SQS redelivers."""
    failed = []
    for message in event.get("Records", []):
        try:
            found = scanned_object(message.get("body", ""), bucket=services.settings.s3_bucket_name)
            if found is not None:
                _record(services, found)
        except (AppError, UnreadableMessageError, MissingTagError) as error:
            logger.warning("A message failed and will be redelivered: %s", error)
            failed.append({"itemIdentifier": message.get("messageId", "")})
    return {"batchItemFailures": failed}


def scanned_object(body: str, *, bucket: str) -> ScannedObject | None:
    """Return the file in `bucket` that the event of EventBridge names; None for another object. Raises UnreadableMessageError."""
    try:
        message = json.loads(body)
        is_result = message["detail-type"] in DETAIL_TYPES
        details = message["detail"]["s3ObjectDetails"]
        name, key, version_id = details["bucketName"], details["objectKey"], details.get("versionId")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableMessageError(f"not a scan result: {type(error).__name__}") from error
    file_id = file_id_of(key) if is_result and name == bucket and isinstance(key, str) else None
    return None if file_id is None else ScannedObject(file_id, version_id if isinstance(version_id, str) and version_id else None)


def _record(services: Services, found: ScannedObject) -> None:
    with services.unit_of_work() as session:
        outcome = services.scans(session).record_result(found.file_id, version_id=found.version_id)
    logger.info("scan result", extra={"fields": {"file_id": found.file_id, "outcome": outcome.value}})
    if outcome is ScanOutcome.UNTAGGED:
        raise MissingTagError(f"{found.file_id} has no scan result yet")
