"""The Lambda entry point of the audit log's sealer and of the event dispatcher behind it, invoked each minute."""

import logging
from dataclasses import asdict
from typing import Any

from lambda_app.factory import Services
from lambda_app.handlers.processes import process_services
from lambda_app.services.audit_sealing import LogMismatchError

DISPATCH_SECONDS = 20.0
"""Time limit for the dispatcher in one run; the next run continues."""

logger = logging.getLogger(__name__)


def handler(_event: dict[str, Any] | None, _context: Any) -> dict[str, Any]:
    """Seal all events of ended transactions, and publish sealed ones. Returns the counts of both reports."""
    services = process_services()
    return run_seal(services) | run_dispatch(services, budget_seconds=DISPATCH_SECONDS)


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
    return fields


def run_dispatch(services: Services, *, budget_seconds: float) -> dict[str, Any]:
    """Publish sealed events within the time budget and return the counts of the report. It works while sealing has stopped, too."""
    with services.unit_of_work() as session:
        fields = asdict(services.event_dispatcher(session).run(budget_seconds=budget_seconds))
    logger.info("dispatch", extra={"fields": fields})
    return fields
