"""The Lambda entry point of the sweep, invoked on a schedule."""

import logging
from dataclasses import asdict
from time import monotonic
from typing import Any

from lambda_app.factory import Services
from lambda_app.handlers.processes import process_services

BUDGET_SECONDS = 240.0
"""Time limit of a run when the context has no remaining time."""
RESERVED_SECONDS = 30.0
"""Time reserved for the last step and the response. One call of S3 can take half of it."""

logger = logging.getLogger(__name__)


def handler(event: dict[str, Any] | None, context: Any) -> dict[str, Any]:
    """Sweep until nothing is left or the time limit is reached. The event `{"dry_run": true}` only counts."""
    services, started_at = process_services(), monotonic()
    is_dry = bool((event or {}).get("dry_run"))
    budget = BUDGET_SECONDS
    if hasattr(context, "get_remaining_time_in_millis"):
        budget = max(1.0, context.get_remaining_time_in_millis() / 1000 - RESERVED_SECONDS)
    return run_sweep(services, budget_seconds=budget - (monotonic() - started_at), is_dry=is_dry)


def run_sweep(services: Services, *, budget_seconds: float, is_dry: bool = False) -> dict[str, Any]:
    """Sweep archives, then files, within the time budget, and purge what has expired. Return the counts of the report."""
    started_at = monotonic()
    with services.unit_of_work() as session:
        # Archives first: they are few, and users wait for them.
        archives = services.archive_sweep(session).run(budget_seconds=budget_seconds / 2, is_dry=is_dry)
    with services.unit_of_work() as session:
        report = services.sweep(session).run(budget_seconds=max(1.0, budget_seconds - (monotonic() - started_at)), is_dry=is_dry)
    counts = asdict(report) | asdict(archives)
    if not is_dry:
        try:
            with services.unit_of_work() as session:
                counts["counted_hours"] = services.maintenance(session).count_uploads()
        finally:
            # Expired rows are deleted even if the count fails. Its error then ends the run.
            with services.unit_of_work() as session:
                counts |= {f"forgotten_{kind}": count for kind, count in services.maintenance(session).purge().items()}
    # An error raises the alarm ErrorLines: nothing else shows that S3 or the database refuses the sweep.
    level = logging.ERROR if counts["failures"] or counts["archive_failures"] else logging.INFO
    logger.log(level, "sweep", extra={"fields": counts})
    return counts
