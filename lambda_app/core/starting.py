"""The garbage collector while the application loads: it finds nothing then, and takes an eighth of the time (docs/performance.md).

Modules, classes and routes stay for ever; the collector walks over them again and again as they come.
"""

import gc

_was_enabled = gc.isenabled()
gc.disable()


def finish() -> None:
    """Let the collector work again, on what comes from now on.

    What was loaded is put out of its sight: otherwise it would make up for all of it at once, for as long as it rested.
    """
    gc.freeze()
    if _was_enabled:
        gc.enable()
