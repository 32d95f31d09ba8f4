"""What makes the application's start shorter: the garbage collector rests, and validators that nobody asks for are not built.

Modules, classes and routes stay for ever; the collector walks over them again and again as they come, finds nothing, and takes an
eighth of the time (docs/performance.md).
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel

_was_enabled = gc.isenabled()
gc.disable()


@contextmanager
def leaving_validators() -> Iterator[None]:
    """Let pydantic models that are declared meanwhile build their validators when they are first used.

    For FastAPI's own models: forty, which only the OpenAPI document uses.
    """
    before = BaseModel.model_config
    BaseModel.model_config = {**before, "defer_build": True}
    try:
        yield
    finally:
        BaseModel.model_config = before


def finish() -> None:
    """Let the collector work again, on what comes from now on.

    What was loaded is put out of its sight: otherwise it would make up for all of it at once, for as long as it rested.
    """
    gc.freeze()
    if _was_enabled:
        gc.enable()
