"""The Lambda entry point that queues webhook deliveries and records their results, invoked each minute and by results.

It runs in the VPC, from which nothing reaches the internet. `webhook_delivery` sends what it queues.
"""

import logging
from datetime import timedelta
from typing import Any

from lambda_app.core.errors import AppError
from lambda_app.factory import Services, webhook_objects
from lambda_app.handlers.object_created import UnreadableMessageError, created_keys
from lambda_app.handlers.processes import process_services
from lambda_app.storage.keys import webhook_result_of
from lambda_app.storage.webhook_objects import WebhookObjects

LEASE = timedelta(minutes=10)
"""How long the sending of a batch may take, with the time in both queues. Later it is sent again."""
LEASES_MAX = 40
"""Leases at a time. Two senders, the fewest of a deployment, need 25 s for the slowest batch, so they send these within a lease.

More senders are kept busy too: each result queues the next batch.
"""

logger = logging.getLogger(__name__)


def handler(event: dict[str, Any] | None, _context: object) -> dict[str, Any]:
    """Record the results that the messages name, queue the batches that are due, and return the messages to redeliver."""
    services = process_services()
    return run_webhooks(services, webhook_objects(services.settings, services.aws), event or {})


def run_webhooks(services: Services, objects: WebhookObjects, event: dict[str, Any]) -> dict[str, Any]:
    """Record results, then queue the batches that are due: a receiver whose batch was recorded gets its next one at once."""
    failed = []
    for message in event.get("Records", []):
        try:
            for key in created_keys(message.get("body", ""), bucket=services.settings.s3_bucket_name):
                _record(services, objects, key)
        except (AppError, UnreadableMessageError) as error:
            logger.warning("A message failed and will be redelivered: %s", error)
            failed.append({"itemIdentifier": message.get("messageId", "")})
    queued = _queue_due(services, objects)
    logger.info("webhooks queued", extra={"fields": {"batches": queued}})
    return {"batchItemFailures": failed}


def _record(services: Services, objects: WebhookObjects, key: str) -> None:
    batch_id = webhook_result_of(key)
    result = None if batch_id is None else objects.get_result(batch_id)
    if result is None:
        logger.info("ignored an object that is no result to record")
        return
    with services.unit_of_work() as session:
        services.webhook_batches(session, lease=LEASE).record(result)
    objects.delete_result(result.id)


def _queue_due(services: Services, objects: WebhookObjects) -> int:
    # An invocation ends also if results of other invocations keep ending leases.
    for count in range(LEASES_MAX):
        with services.unit_of_work() as session:
            batch = services.webhook_batches(session, lease=LEASE).lease_next(leases_max=LEASES_MAX)
        if batch is None:
            return count
        # Outside the transaction. If this fails, the lease ends and the batch is sent later.
        objects.put_work(batch)
    return LEASES_MAX
