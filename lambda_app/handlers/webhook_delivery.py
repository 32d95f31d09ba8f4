"""The Lambda entry point that sends webhooks. It runs outside the VPC and has no database: batches and results are objects in S3."""

import logging
from functools import cache
from typing import Any, NamedTuple

from lambda_app.core import clock
from lambda_app.core.aws import AwsAccess
from lambda_app.core.errors import AppError
from lambda_app.core.logs import configure_logs
from lambda_app.core.outbound.posts import Poster
from lambda_app.core.settings import Settings
from lambda_app.core.webhooks import Post, send_batch
from lambda_app.factory import webhook_objects
from lambda_app.handlers.object_created import UnreadableMessageError, created_keys
from lambda_app.storage.keys import webhook_work_of
from lambda_app.storage.webhook_objects import WebhookObjects

logger = logging.getLogger(__name__)


class Sender(NamedTuple):
    """What the process keeps between invocations."""

    bucket: str
    objects: WebhookObjects
    post: Post


@cache
def process_sender() -> Sender:
    """Return the sender of this process, created from its environment on first use."""
    settings = Settings.without_database()
    configure_logs(settings.log_level)
    return Sender(settings.s3_bucket_name, webhook_objects(settings, AwsAccess(settings)), Poster().post)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Send the batches and return the messages to redeliver (ReportBatchItemFailures)."""
    return send_batches(process_sender(), event)


def send_batches(sender: Sender, event: dict[str, Any]) -> dict[str, Any]:
    """Send each batch that the SQS messages name, and write its result. A batch that was sent already is ignored.

    If the result cannot be written, the message is redelivered and the batch sent again: receivers recognise messages by their id.
    """
    failed = []
    for message in event.get("Records", []):
        try:
            for key in created_keys(message.get("body", ""), bucket=sender.bucket):
                _send(sender, key)
        except (AppError, UnreadableMessageError) as error:
            logger.warning("A message failed and will be redelivered: %s", error)
            failed.append({"itemIdentifier": message.get("messageId", "")})
    return {"batchItemFailures": failed}


def _send(sender: Sender, key: str) -> None:
    batch_id = webhook_work_of(key)
    batch = None if batch_id is None else sender.objects.get_work(batch_id)
    if batch is None:
        logger.info("ignored an object that is no batch to send")
        return
    if batch.is_stale(clock.now()):
        logger.warning("A batch of the webhook %s waited in the queue for longer than its lease; it is queued again", batch.webhook_id)
        sender.objects.delete_work(batch.id)
        return
    result = send_batch(batch, sender.post)
    sender.objects.put_result(result)
    sender.objects.delete_work(batch.id)
    failures = sum(outcome.error is not None for outcome in result.outcomes)
    logger.info("webhook", extra={"fields": {"webhook_id": batch.webhook_id, "sent": len(result.outcomes), "failures": failures}})
