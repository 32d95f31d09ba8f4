"""The Lambda entry point of the sweep, invoked on a schedule."""

import logging
from dataclasses import asdict
from time import monotonic
from typing import Any

from lambda_app.handlers.processes import process_services

BUDGET_SECONDS = 240.0
"""What a run may take when nobody says how much time there is."""
SPARE_SECONDS = 30.0
"""What is left for the last step and the answer: one call of S3 can take half of it."""

logger = logging.getLogger(__name__)


def handler(event: dict[str, Any] | None, context: Any) -> dict[str, Any]:
    """Sweep until nothing is left or the function's time runs out; `{"dry_run": true}` only counts."""
    services, started_at = process_services(), monotonic()
    is_dry = bool((event or {}).get("dry_run"))
    budget = BUDGET_SECONDS
    if hasattr(context, "get_remaining_time_in_millis"):
        budget = max(1.0, context.get_remaining_time_in_millis() / 1000 - SPARE_SECONDS)
    with services.unit_of_work() as session:
        # They are few, and people wait for them.
        archives = services.archive_sweep(session).run(budget_seconds=budget / 2, is_dry=is_dry)
    with services.unit_of_work() as session:
        report = services.sweep(session).run(budget_seconds=max(1.0, budget - (monotonic() - started_at)), is_dry=is_dry)
    done = asdict(report) | asdict(archives)
    if not is_dry:
        with services.unit_of_work() as session:
            done |= {f"forgotten_{kind}": count for kind, count in services.maintenance(session).purge().items()}
    logger.info("sweep", extra={"fields": done})
    return done
