"""The workers of a local run: threads in place of the Lambda functions that queues and schedules invoke in AWS."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from infra.local.object_store import PreviewRequests, UploadEvents
from lambda_app.core.settings import Settings

if TYPE_CHECKING:
    from lambda_app.core.outbound.posts import Poster
    from lambda_app.factory import Services

POLL_SECONDS = 0.5
"""Pause between two queries for work. Not a long poll, which would delay the end of the run."""
EVENTS_BATCH = 100
"""Events of uploads that are processed together. In AWS a batch has ten, and more batches are processed at the same time."""
BATCHING_SECONDS = 0.5
"""Pause after a batch of events that was not full."""
ARCHIVE_SECONDS = 5.0
"""Time budget of one step at an archive."""
SWEEP_PERIOD_SECONDS = 300.0
"""Pause between two complete sweeps. In AWS it is 15 minutes; a laptop is seldom on for long."""
SWEEP_SECONDS = 5.0
"""Time budget of one step of the sweep."""
SEAL_PERIOD_SECONDS = 10.0
"""Pause between two runs of the audit log's sealer and the event dispatcher. In AWS it is a minute."""
READ_TIMEOUT_SECONDS = 60.0
"""The emulator joins the parts of a large archive in memory."""
ERROR_PAUSE_SECONDS = 5.0
EVENT_LANES = 2
"""Batches of S3 events that are consumed at the same time."""
WEBHOOK_LANES = 4
"""Webhooks to which batches are sent at the same time."""
WEBHOOK_LANE_SECONDS = 3.0
"""Pause of all lanes but the first, when they find no work."""

logger = logging.getLogger(__name__)


@contextmanager
def local_workers(events: UploadEvents | None, previews: PreviewRequests | None = None) -> Iterator[None]:
    """Run all workers until the block ends: archives, the sweep, the audit log's sealer, webhooks, the events of uploads, and previews."""
    from lambda_app.core.aws import AwsAccess
    from lambda_app.factory import Services

    settings = Settings.from_environment()
    services = Services.build(settings, AwsAccess(settings, read_timeout_seconds=READ_TIMEOUT_SECONDS))
    try:
        with running_workers(services, events, previews):
            yield
    finally:
        services.engine.dispose()


@contextmanager
def running_workers(
    services: "Services",
    events: UploadEvents | None = None,
    previews: PreviewRequests | None = None,
    *,
    sweep_period: float = SWEEP_PERIOD_SECONDS,
) -> Iterator[None]:
    """Run the threads until the block ends.

    A thread that is still busy then is abandoned, as a Lambda function may be: its lease expires, and the next sweep does its work.
    """
    from lambda_app.core.outbound.posts import Poster

    finished = threading.Event()
    poster = Poster(allow_loopback=services.settings.webhook_allow_loopback)
    steps: list[Callable[[], float]] = [
        lambda: build_one_archive(services),
        lambda: sweep(services, period=sweep_period),
        lambda: seal(services),
        lambda: send_webhooks(services, poster),
        *[lambda: send_webhooks(services, poster, idle_seconds=WEBHOOK_LANE_SECONDS)] * (WEBHOOK_LANES - 1),
    ]
    if events is not None:
        steps += [lambda: consume_events(services, events)] * EVENT_LANES
    if previews is not None:
        steps.append(lambda: make_one_preview(previews))
    threads = [threading.Thread(target=_repeat, args=[step, finished], daemon=True) for step in steps]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        finished.set()
        for thread in threads:
            thread.join(2 * max(ARCHIVE_SECONDS, SWEEP_SECONDS))


def _repeat(step: Callable[[], float], finished: threading.Event) -> None:
    """Call `step` until `finished`; it returns the seconds to wait before the next call."""
    pause = POLL_SECONDS
    while not finished.wait(pause):
        try:
            pause = step()
        except Exception:
            # The thread must not end: no later work would be done.
            if finished.is_set():
                return
            logger.exception("A step of a worker failed; it is repeated")
            pause = ERROR_PAUSE_SECONDS


def build_one_archive(services: "Services") -> float:
    """Continue the oldest archive that is waiting, if there is one."""
    with services.unit_of_work() as session:
        waiting = services.archive_sweep(session).list_claimable(limit=1)
    for archive_id in waiting:
        with services.unit_of_work() as session:
            services.archive_builds(session).build(archive_id, budget_seconds=ARCHIVE_SECONDS)
    return POLL_SECONDS


def consume_events(services: "Services", events: UploadEvents) -> float:
    """Complete uploads whose events have arrived. A message that failed stays in the queue and is delivered again.

    The pause after a batch that is not full lets the next one fill, as the batching window of a queue does in AWS.
    """
    from lambda_app.handlers.object_created import complete_uploads

    messages = events.receive(EVENTS_BATCH)
    failed = {failure["itemIdentifier"] for failure in complete_uploads(services, {"Records": messages})["batchItemFailures"]}
    events.delete(message for message in messages if message["messageId"] not in failed)
    return 0.0 if len(messages) == EVENTS_BATCH else BATCHING_SECONDS if messages else POLL_SECONDS


def make_one_preview(previews: PreviewRequests) -> float:
    """Make the preview that was requested first, if there is one. It is decoded in a process of its own."""
    from lambda_preview.handler import make_previews

    messages = previews.events.receive(limit=1)
    if not make_previews(previews.store, {"Records": messages})["batchItemFailures"]:
        previews.events.delete(messages)
    return 0.0 if messages else POLL_SECONDS


def sweep(services: "Services", *, period: float) -> float:
    """Sweep for a few seconds. Return the pause: short while work is left, else `period`."""
    from lambda_app.handlers.sweep import run_sweep

    return period if run_sweep(services, budget_seconds=SWEEP_SECONDS)["is_finished"] else POLL_SECONDS


def send_webhooks(services: "Services", poster: "Poster", *, idle_seconds: float = POLL_SECONDS) -> float:
    """Send the webhook deliveries of the receiver that has waited longest, if there is one."""
    from lambda_app.handlers.webhooks import send_due_batch

    return 0.0 if send_due_batch(services, poster.post) else idle_seconds


def seal(services: "Services") -> float:
    """Seal the audit log, publish sealed events, and send mail about them."""
    from lambda_app.handlers.seal import run_dispatch, run_notifications, run_seal

    run_seal(services)
    run_dispatch(services, budget_seconds=SWEEP_SECONDS)
    run_notifications(services, budget_seconds=SWEEP_SECONDS)
    return SEAL_PERIOD_SECONDS
