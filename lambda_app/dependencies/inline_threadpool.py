"""Runs the blocking steps of a request in its own thread when the process serves one request at a time, as Lambda does.

FastAPI runs every plain `def` (session, caller, route, response, commit) in a worker thread, so that other requests can proceed
meanwhile. In Lambda there are none, and the five thread switches cost as much as the database does (docs/performance.md). Starlette and
FastAPI have no setting for it; both call `anyio.to_thread.run_sync`, so the Lambda handler replaces that function. Other servers do not.
"""

from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any

import anyio.to_thread

_is_inline: ContextVar[bool] = ContextVar("is_inline", default=False)
_run_in_thread = anyio.to_thread.run_sync

is_inline = _is_inline.get
"""Whether the blocking steps of this request run in its own thread."""


class InlineThreadpool:
    """A context in which the blocking steps of a request run in its own thread."""

    def __enter__(self) -> None:
        self._token: Token[bool] = _is_inline.set(True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _is_inline.reset(self._token)


def install() -> None:
    """Replace `anyio.to_thread.run_sync` for this process. Outside `InlineThreadpool` it behaves as before."""
    anyio.to_thread.run_sync = _run_sync  # type: ignore[assignment]  # the same parameters


async def _run_sync(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    if is_inline():
        return function(*arguments)
    return await _run_in_thread(function, *arguments, **options)
