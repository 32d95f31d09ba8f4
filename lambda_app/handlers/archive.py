"""The Lambda entry point of the archive worker: an empty object comes into the bucket, S3 tells a queue, the queue wakes us.

The functions stand in a network without a way out, where S3 can be reached and a queue cannot: so the API asks by way of the bucket. The
message is only a reason to look. What there is to do, and whether it is our turn, the archive's row says.
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
"""What a turn may take when nobody says how much time there is."""
SPARE_SECONDS = 180.0
"""What is left when the last part is begun: as long as five thousand small files of one part take to read."""

logger = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take SQS messages; answer which of them are to be delivered again (ReportBatchItemFailures)."""

    def budget() -> float:
        if not hasattr(context, "get_remaining_time_in_millis"):
            return BUDGET_SECONDS
        left: float = context.get_remaining_time_in_millis() / 1000
        return max(1.0, left - SPARE_SECONDS)

    return take_batch(worker_services(), event, budget=budget)


def take_batch(services: Services, event: dict[str, Any], *, budget: Callable[[], float]) -> dict[str, Any]:
    """Go on with every archive that the batch asks for, each in a unit of work of its own."""
    failed = []
    for message in event.get("Records", []):
        try:
            for key in created_keys(message.get("body", ""), bucket=services.settings.s3_bucket_name):
                _build(services, key, budget())
        except (AppError, UnreadableMessageError) as error:
            logger.warning("A message goes back to the queue: %s", error)
            failed.append({"itemIdentifier": message.get("messageId", "")})
    return {"batchItemFailures": failed}


def _build(services: Services, key: str, budget_seconds: float) -> None:
    archive_id = requested_archive_of(key)
    if archive_id is None:
        logger.info("An object that asks for no archive was created")
        return
    with services.unit_of_work() as session:
        built = services.archive_builds(session).build(archive_id, budget_seconds=budget_seconds)
    logger.info("archive", extra={"fields": {"archive_id": archive_id, "built": built.value}})
