"""Worker threads for the statements of asynchronous routes, under servers with an event loop.

anyio's threads (`anyio.to_thread`) cost 85 µs of processor time per call: two additional turns of the event loop, a limiter, and a queue in
Python. These cost 45 µs (docs/performance.md, "Under a server").
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class _Call:
    """A function to call, and the future of the coroutine that waits for its result."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._context = copy_context()
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def execute(self) -> Callable[[], None]:
        """Call the function, in a worker thread, and return the function that reports its result or its error to the coroutine."""
        try:
            result = self._context.run(self._function)
        except BaseException as error:  # noqa: BLE001 - the coroutine raises it
            return partial(self._report, self._fail, error)
        return partial(self._report, self._succeed, result)

    def _report(self, outcome: Callable[[Any], None], value: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(outcome, value)
        except RuntimeError:
            # The event loop was closed meanwhile, so no coroutine waits.
            return

    def _succeed(self, result: Any) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if not self.future.done():
            # A future does not accept StopIteration, which would end the coroutine that waits.
            self.future.set_exception(RuntimeError("StopIteration") if isinstance(error, StopIteration) else error)


class WorkerThreads:
    """Up to `limit` daemon threads, started when they are needed. Further calls wait for a thread, in order."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._started = 0
        self._idle: list[SimpleQueue[_Call]] = []
        """The inboxes of the idle threads. The last one is used first, because its data is in the caches of the processor."""
        self._waiting: deque[_Call] = deque()

    async def run(self, function: Callable[[], T]) -> T:
        """Call the function in a worker thread, with the context variables of the caller.

        If the coroutine is cancelled, the thread still finishes the call.
        """
        call = _Call(function)
        with self._lock:
            if self._idle:
                self._idle.pop().put(call)
            elif self._started < self._limit:
                inbox: SimpleQueue[_Call] = SimpleQueue()
                inbox.put(call)
                threading.Thread(target=self._work, args=(inbox,), name="statement", daemon=True).start()
                self._started += 1
            else:
                self._waiting.append(call)
        result: T = await call.future
        return result

    def _work(self, inbox: SimpleQueue[_Call]) -> None:
        call: _Call | None = None
        while True:
            report = (call or inbox.get()).execute()
            with self._lock:
                # Before the report: the next call of the same coroutine finds this thread idle, and starts no other.
                call = self._waiting.popleft() if self._waiting else None
                if call is None:
                    self._idle.append(inbox)
            report()
            del report  # An idle thread must not keep its last result.
