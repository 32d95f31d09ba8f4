"""The archive worker of a local run: a thread that looks for work, where in AWS a queue brings it."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lambda_app.core.settings import Settings

if TYPE_CHECKING:
    from lambda_app.factory import Services

LOOK_SECONDS = 1.0
TURN_SECONDS = 5.0
"""How long the thread works at one archive before it looks whether it is to end."""
READ_TIMEOUT_SECONDS = 60.0
"""The emulator joins the parts of a large zip in memory."""

logger = logging.getLogger(__name__)


@contextmanager
def archive_worker() -> Iterator[None]:
    """Build archives as they are asked for, until the block ends; one that is being built is gone on with at the next start."""
    from lambda_app.core.aws import AwsAccess
    from lambda_app.factory import Services

    settings = Settings.from_environment()
    services = Services.build(settings, AwsAccess(settings, read_timeout_seconds=READ_TIMEOUT_SECONDS))
    try:
        with working(services):
            yield
    finally:
        services.engine.dispose()


@contextmanager
def working(services: "Services") -> Iterator[None]:
    """Run the worker's thread until the block ends."""
    finished = threading.Event()
    worker = threading.Thread(target=_work, args=[services, finished], daemon=True)
    worker.start()
    try:
        yield
    finally:
        finished.set()
        # If it is at something that takes longer, its lease runs out: the next start is a later worker.
        worker.join(2 * TURN_SECONDS)


def _work(services: "Services", finished: threading.Event) -> None:
    while not finished.wait(LOOK_SECONDS):
        try:
            with services.unit_of_work() as session:
                waiting = services.archive_sweep(session).list_claimable(limit=1)
            for archive_id in waiting:
                with services.unit_of_work() as session:
                    services.archive_builds(session).build(archive_id, budget_seconds=TURN_SECONDS)
        except Exception:
            # A thread that dies says nothing, and every later archive would wait for ever.
            logger.exception("the archive worker stumbled")
