"""Sending of webhook deliveries in the process that has the database, as the local run does."""

import logging
from datetime import timedelta

from lambda_app.core.webhooks import Post, send_batch
from lambda_app.factory import Services

LEASE = timedelta(minutes=2)
"""Longer than a batch takes. If the process is killed, the deliveries are sent again after that time."""

logger = logging.getLogger(__name__)


def send_due_batch(services: Services, post: Post) -> bool:
    """Send the batch that is due, and record its result; False if none is due. No transaction is open meanwhile."""
    with services.unit_of_work() as session:
        batch = services.webhook_batches(session, lease=LEASE).lease_next()
    if batch is None:
        return False
    result = send_batch(batch, post)
    with services.unit_of_work() as session:
        services.webhook_batches(session, lease=LEASE).record(result)
    failures = sum(outcome.error is not None for outcome in result.outcomes)
    logger.info("webhook", extra={"fields": {"webhook_id": batch.webhook_id, "sent": len(result.outcomes), "failures": failures}})
    return True
