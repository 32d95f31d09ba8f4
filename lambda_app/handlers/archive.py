"""The Lambda entry point of the archive worker. To request an archive, the API puts a marker object; S3 then sends an event to SQS.

The API cannot send to the queue itself, because the functions' VPC has no egress and only a gateway endpoint for S3. The event only
triggers the worker. The archive's row decides what must be done and which worker holds the lease.
"""

import logging
from collections.abc import Callable
from typing import Any

from lambda_app.core.errors import AppError
from lambda_app.factory import Services
from lambda_app.handlers.object_created import UnreadableMessageError, created_keys
from lambda_app.handlers.processes import worker_services
from lambda_app.storage.keys import requested_archive_of

BUDGET_SECONDS = 600.0
"""Time limit of a build attempt when the context has no remaining time."""
RESERVED_SECONDS = 180.0
"""No new part is started in the last seconds of the invocation. A part made of 5,000 small files takes that long to read."""

logger = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Build the requested archives and return the messages to redeliver (ReportBatchItemFailures)."""

    def budget() -> float:
        if not hasattr(context, "get_remaining_time_in_millis"):
            return BUDGET_SECONDS
        remaining: float = context.get_remaining_time_in_millis() / 1000
        return max(1.0, remaining - RESERVED_SECONDS)

    return build_archives(worker_services(), event, budget=budget)


def build_archives(services: Services, event: dict[str, Any], *, budget: Callable[[], float]) -> dict[str, Any]:
    """Build each archive that the batch of SQS messages requests, in a separate unit of work.

    `budget` returns the seconds that remain for the next build. Returns the failed messages, which SQS redelivers.
    """
    failed = []
    for message in event.get("Records", []):
        try:
            for key in created_keys(message.get("body", ""), bucket=services.settings.s3_bucket_name):
                _build(services, key, budget())
        except (AppError, UnreadableMessageError) as error:
            logger.warning("A message failed and will be redelivered: %s", error)
            failed.append({"itemIdentifier": message.get("messageId", "")})
    return {"batchItemFailures": failed}


def _build(services: Services, key: str, budget_seconds: float) -> None:
    archive_id = requested_archive_of(key)
    if archive_id is None:
        logger.info("ignored the creation of an object that is not an archive request")
        return
    with services.unit_of_work() as session:
        result = services.archive_builds(session).build(archive_id, budget_seconds=budget_seconds)
    logger.info("archive", extra={"fields": {"archive_id": archive_id, "built": result.value}})
