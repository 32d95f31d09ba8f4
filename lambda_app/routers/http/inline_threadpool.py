"""Runs the blocking steps of a request in its own thread when the process serves one request at a time, as Lambda does.

FastAPI runs every plain `def` (session, caller, route, response, commit) in a worker thread, so that other requests can proceed
meanwhile. In Lambda there are none, and the five thread switches cost as much as the database does (docs/performance.md). Starlette and
FastAPI have no setting for it; both call `anyio.to_thread.run_sync`, so the Lambda handler replaces that function. Other servers do not.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import anyio.to_thread

_is_inline: ContextVar[bool] = ContextVar("is_inline", default=False)
_run_in_thread = anyio.to_thread.run_sync


@contextmanager
def inline_threadpool() -> Iterator[None]:
    """Run the blocking steps of this request in its own thread."""
    token = _is_inline.set(True)
    try:
        yield
    finally:
        _is_inline.reset(token)


def install() -> None:
    """Replace `anyio.to_thread.run_sync` for this process. Outside `inline_threadpool` it behaves as before."""
    anyio.to_thread.run_sync = _run_sync  # type: ignore[assignment]  # the same parameters


async def _run_sync(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    if _is_inline.get():
        return function(*arguments)
    return await _run_in_thread(function, *arguments, **options)
