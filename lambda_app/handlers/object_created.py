"""The Lambda entry point for S3's word that an object has come, through an SQS queue.

S3 sends events at least once, late and out of order, and a message may be forged by whoever may write to the queue. So an event is only
the reason to look: what happens depends on the file's row and on a HEAD of the object, never on what the event says of it.
"""

import json
import logging
from typing import Any
from urllib.parse import unquote_plus

from lambda_app.core.errors import AppError
from lambda_app.factory import Services
from lambda_app.handlers.processes import process_services
from lambda_app.storage.keys import file_id_of

logger = logging.getLogger(__name__)


class UnreadableMessageError(ValueError):
    """The message is not an event of S3."""


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take a batch of SQS messages; answer which of them are to be delivered again (ReportBatchItemFailures)."""
    return take_batch(process_services(), event)


def take_batch(services: Services, event: dict[str, Any]) -> dict[str, Any]:
    """Look at every object that the batch names, each in a unit of work of its own.

    A message that cannot be read counts as failed too, so that the queue puts it aside where an operator finds it.
    """
    failed = []
    for message in event.get("Records", []):
        try:
            for key in created_keys(message.get("body", ""), bucket=services.settings.s3_bucket_name):
                _look(services, key)
        except (AppError, UnreadableMessageError) as error:
            logger.warning("A message goes back to the queue: %s", error)
            failed.append({"itemIdentifier": message.get("messageId", "")})
    return {"batchItemFailures": failed}


def created_keys(body: str, *, bucket: str) -> list[str]:
    """Return the keys of the objects that a message says were created in `bucket`.

    Takes a notification of S3 (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html) and an event of
    EventBridge (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html). Raises UnreadableMessageError.
    """
    try:
        message = json.loads(body)
        if "detail" in message:
            named = [message["detail"]] if message["detail-type"] == "Object Created" else []
            # EventBridge writes keys as they are, a notification as a form does.
            keys = [(origin["bucket"]["name"], origin["object"]["key"]) for origin in named]
        elif message.get("Event") == "s3:TestEvent":
            keys = []
        else:
            named = [record["s3"] for record in message["Records"] if record["eventName"].startswith("ObjectCreated:")]
            keys = [(origin["bucket"]["name"], unquote_plus(origin["object"]["key"])) for origin in named]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableMessageError(f"not an event of S3: {type(error).__name__}") from error
    return [key for name, key in keys if name == bucket and isinstance(key, str)]


def _look(services: Services, key: str) -> None:
    file_id = file_id_of(key)
    if file_id is None:
        logger.info("An object that is no file's was created")
        return
    with services.unit_of_work() as session:
        services.completion(session).record_object(file_id)
