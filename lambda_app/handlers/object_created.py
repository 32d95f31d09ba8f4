"""The Lambda entry point for S3 "object created" events, which arrive through an SQS queue.

S3 can deliver an event several times, late or out of order, and a principal with write access to the queue could forge one. So the
event only names the object. The outcome depends on the row of the file and on what S3 returns about the object, never on the content of the
event.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_plus
from uuid import UUID

from lambda_app.core.errors import AppError
from lambda_app.factory import Services
from lambda_app.handlers.processes import process_services
from lambda_app.storage.keys import file_id_of, preview_result_of

logger = logging.getLogger(__name__)


class UnreadableMessageError(ValueError):
    """The message is not an S3 event."""


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Complete the uploads and return the messages to redeliver (ReportBatchItemFailures)."""
    return complete_uploads(process_services(), event)


def complete_uploads(services: Services, event: dict[str, Any]) -> dict[str, Any]:
    """Complete the uploads of all objects in the batch of SQS messages.

    Returns the failed messages, which SQS redelivers. An unreadable message also fails, so that it ends in the dead-letter queue.
    """
    failed: dict[str, Exception] = {}
    ids: dict[UUID, list[str]] = {}
    for message in event.get("Records", []):
        message_id = message.get("messageId", "")
        try:
            for key in created_keys(message.get("body", ""), bucket=services.settings.s3_bucket_name):
                file_id = file_id_of(key)
                if (previewed_id := preview_result_of(key)) is not None:
                    with services.unit_of_work() as session:
                        services.previews(session).record_result(previewed_id)
                elif file_id is None:
                    logger.info("ignored the creation of an object that is not a file")
                else:
                    ids.setdefault(file_id, []).append(message_id)
        except (AppError, UnreadableMessageError) as error:
            failed[message_id] = error
    for file_id, cause in _complete(services, list(ids)).items():
        failed |= dict.fromkeys(ids[file_id], cause)
    for reason in failed.values():
        logger.warning("A message failed and will be redelivered: %s", reason)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _complete(services: Services, file_ids: Sequence[UUID]) -> Mapping[UUID, AppError]:
    """Complete the uploads in one unit of work, or each in its own if the database refuses one, and return the errors."""
    try:
        with services.unit_of_work() as session:
            return services.completion(session).complete_from_events(file_ids) if file_ids else {}
    except AppError as error:
        if len(file_ids) == 1:
            return {file_ids[0]: error}
    return dict(pair for file_id in file_ids for pair in _complete(services, [file_id]).items())


def created_keys(body: str, *, bucket: str) -> list[str]:
    """Return the keys of the objects in `bucket` that were created according to the message.

    Accepts S3 notifications (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html) and EventBridge
    events (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html). Raises UnreadableMessageError.
    """
    try:
        message = json.loads(body)
        if "detail" in message:
            # Keys are unencoded in EventBridge events and form-encoded in S3 notifications.
            created = [message["detail"]] if message["detail-type"] == "Object Created" else []
            keys = [(entity["bucket"]["name"], entity["object"]["key"]) for entity in created]
        elif message.get("Event") == "s3:TestEvent":
            keys = []
        else:
            created = [record["s3"] for record in message["Records"] if record["eventName"].startswith("ObjectCreated:")]
            keys = [(entity["bucket"]["name"], unquote_plus(entity["object"]["key"])) for entity in created]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableMessageError(f"not an S3 event: {type(error).__name__}") from error
    return [key for name, key in keys if name == bucket and isinstance(key, str)]
