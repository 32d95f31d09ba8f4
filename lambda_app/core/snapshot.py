"""SnapStart: what must not be in the snapshot of a started function, and what every copy must make anew.

Lambda freezes the process after import and starts each copy from that image (AWS Lambda developer guide, "Lambda SnapStart runtime hooks").
"""

import random
from collections.abc import Callable


def prepare_for_snapshot(*, before_snapshot: Callable[[], None], warm_up: Callable[[], None]) -> bool:
    """Register the hooks; tell whether there is a runtime that calls them, which outside Lambda there is not.

    `warm_up` runs before the snapshot, so that what it loads is in it. `before_snapshot` runs before it too: a socket does not
    survive, and two copies must not believe that they share one.
    """
    try:
        from snapshot_restore_py import register_after_restore, register_before_snapshot
    except ModuleNotFoundError:
        return False
    # Called in the reverse order of registration.
    register_before_snapshot(before_snapshot)
    register_before_snapshot(warm_up)
    # Ids and keys come from the operating system, which reseeds itself; retries are spread with this one, which does not.
    register_after_restore(random.seed)
    return True
