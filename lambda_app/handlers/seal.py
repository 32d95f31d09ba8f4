"""The Lambda entry point of the audit log's sealer, invoked each minute."""

import logging
from dataclasses import asdict
from typing import Any

from lambda_app.factory import Services
from lambda_app.handlers.processes import process_services
from lambda_app.services.audit_sealing import LogMismatchError

logger = logging.getLogger(__name__)


def handler(_event: dict[str, Any] | None, _context: Any) -> dict[str, Any]:
    """Seal all events of ended transactions. Returns the counts of the report."""
    return run_seal(process_services())


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
