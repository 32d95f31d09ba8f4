"""A request that has the process to itself, as in Lambda: its blocking steps run where they are, not each in a thread.

FastAPI hands every plain `def` (the session, the caller, the route, its answer, the commit) to a thread of its own, so that other requests
can be served meanwhile. Under a gateway there are no others, and the five changes of thread cost as much as the database does
(docs/performance.md). There is no setting for it: Starlette and FastAPI both go through `anyio.to_thread.run_sync`, so that is replaced by
a function which asks first. Under uvicorn nothing changes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import anyio.to_thread

_is_alone: ContextVar[bool] = ContextVar("is_alone", default=False)
_in_a_thread = anyio.to_thread.run_sync


@contextmanager
def serving_alone() -> Iterator[None]:
    """Run the blocking steps of this request in its own thread."""
    token = _is_alone.set(True)
    try:
        yield
    finally:
        _is_alone.reset(token)


async def _run_sync(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    if _is_alone.get():
        return function(*arguments)
    return await _in_a_thread(function, *arguments, **options)


anyio.to_thread.run_sync = _run_sync  # type: ignore[assignment]  # takes whatever it takes
