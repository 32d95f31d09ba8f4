"""SnapStart hooks: what runs before the snapshot of an initialised function, and what runs after each restore.

Lambda snapshots the process after import and restores each instance from that snapshot (AWS Lambda developer guide, "Lambda SnapStart
runtime hooks").
"""

import random
from collections.abc import Callable


def prepare_for_snapshot(*, before_snapshot: Callable[[], None], warm_up: Callable[[], None]) -> bool:
    """Register the hooks and return True, or return False outside Lambda, where the runtime library is missing.

    Both run before the snapshot: first `warm_up`, so that the snapshot contains what it loads, then `before_snapshot`, which closes
    sockets. A socket does not survive the snapshot, and two restored instances must not use the same connection.
    """
    try:
        from snapshot_restore_py import register_after_restore, register_before_snapshot
    except ModuleNotFoundError:
        return False
    # Called in the reverse order of registration.
    register_before_snapshot(before_snapshot)
    register_before_snapshot(warm_up)
    # Ids and keys use the operating system's generator, which Lambda reseeds. `random` spreads retries and needs a new seed per instance.
    register_after_restore(random.seed)
    return True
