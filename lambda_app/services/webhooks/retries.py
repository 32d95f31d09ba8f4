"""When a failed delivery is tried again, and when a receiver counts as dead."""

import random
from datetime import timedelta

RETRY_WITHIN = timedelta(days=3)
"""After that time a delivery has failed, and a webhook without any success is disabled."""
_DELAYS = [timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1800, 3600, 2 * 3600, 4 * 3600, 6 * 3600)]
"""The pauses after the first attempts. All later ones have the last pause."""
JITTER = 0.2
"""Largest random part of a pause, so that deliveries that failed together are not repeated together."""


def retry_delay(attempts: int) -> timedelta:
    """Return the pause after this number of failed attempts."""
    delay = _DELAYS[min(attempts, len(_DELAYS)) - 1]
    return delay * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - not a secret
