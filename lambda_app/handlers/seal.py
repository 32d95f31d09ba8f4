"""The Lambda entry point of the audit log's sealer, and of what follows the sealed events, invoked each minute."""

import logging
from dataclasses import asdict
from typing import Any

from lambda_app.factory import Services
from lambda_app.handlers.processes import process_services
from lambda_app.services.audit_sealing import LogMismatchError

DISPATCH_SECONDS = 20.0
"""Time limit for the dispatcher in one run; the next run continues."""

NOTIFICATION_SECONDS = 5.0
"""Time limit for the collector of notifications, and for the sender of their mails. One call of SES can take longer."""

LEAST_ROOM = 1_000_000
"""Numbers of audit events before the open partition, below which something has prevented the next partition for long."""

logger = logging.getLogger(__name__)


def handler(_event: dict[str, Any] | None, _context: Any) -> dict[str, Any]:
    """Seal all events of ended transactions, publish sealed ones, and send mail about them. Returns the counts of all reports."""
    services = process_services()
    counts = run_seal(services) | run_dispatch(services, budget_seconds=DISPATCH_SECONDS)
    return counts | run_notifications(services, budget_seconds=NOTIFICATION_SECONDS)


def run_seal(services: Services) -> dict[str, Any]:
    """Seal the log and return the counts of the report; empty if sealing has stopped, which logs an error.

    An alarm watches `oldest_unsealed_seconds`, and its absence.
    """
    try:
        with services.unit_of_work() as session:
            report = services.sealer(session).run()
    except LogMismatchError as error:
        logger.error("Sealing of the audit log has stopped: %s. See docs/runbook.md#auditsealing", error)
        return {}
    fields = asdict(report)
    logger.info("seal", extra={"fields": fields})
    if report.partition_room < LEAST_ROOM:
        logger.error(
            "Only %d numbers are left for the partitions of the audit log. See docs/runbook.md#auditpartitions", report.partition_room
        )
    return fields


def run_dispatch(services: Services, *, budget_seconds: float) -> dict[str, Any]:
    """Publish sealed events within the time budget and return the counts of the report. It works while sealing has stopped, too."""
    with services.unit_of_work() as session:
        fields = asdict(services.event_dispatcher(session).run(budget_seconds=budget_seconds))
    logger.log(_level(fields["read"]), "dispatch", extra={"fields": fields})
    return fields


def run_notifications(services: Services, *, budget_seconds: float) -> dict[str, Any]:
    """Collect notifications and send the mails that are due, each within the time budget, and return the counts."""
    with services.unit_of_work() as session:
        collected = services.notification_collector(session).run(budget_seconds=budget_seconds)
    counts = {"collected_events": collected.read, "mails_sent": 0, "mails_failed": 0}
    if services.settings.can_send_mail:
        with services.unit_of_work() as session:
            report = services.digest_sender(session).run(budget_seconds=budget_seconds)
        counts |= {"mails_sent": report.sent, "mails_failed": report.failed}
    logger.log(_level(*counts.values()), "notifications", extra={"fields": counts})
    return counts


def _level(*counts: int) -> int:
    """Return the log level of a run: it runs each minute, and most runs find nothing."""
    return logging.INFO if any(counts) else logging.DEBUG
