"""The garbage collector while the application loads: it finds nothing then, and takes an eighth of the time (docs/performance.md).

Modules, classes and routes stay for ever; the collector walks over them again and again as they come.
"""

import gc

_was_enabled = gc.isenabled()
gc.disable()


def finish() -> None:
    """Let the collector work again."""
    if _was_enabled:
        gc.enable()


def settle() -> None:
    """Put what was loaded out of the collector's sight for good; for a process that is the application and nothing else."""
    gc.freeze()
