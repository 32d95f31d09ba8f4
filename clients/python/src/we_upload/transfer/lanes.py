"""Parallel requests: a number of lanes that adapts to the network, and the workers that use them."""

import threading
import time
from collections import deque
from collections.abc import Callable

from we_upload.errors import CancelledError

LANES_START = 4
LANES_MAX = 10
LANES_LIMIT = 64
"""Largest number that a caller can choose."""
GAIN_WORTH_A_LANE = 1.08
"""A further lane must raise the rate by this factor, or it is given up."""
ROUNDS_OF_REST = 4
"""Rounds without a further lane after one that brought nothing."""
REQUEST_COST_BYTES = 64 * 1024
"""A request counts like so many bytes, so that the rate of small files is their number."""


class LaneLimit:
    """Finds the number of parallel requests.

    A round is as many finished requests as there are lanes. While a further lane raises the rate, the next round tries one more. A refusal
    by the store or a lost connection halves the lanes.
    """

    def __init__(self, *, start: int = LANES_START, most: int = LANES_MAX, clock: Callable[[], float] = time.monotonic) -> None:
        self.current = min(start, most)
        self._most = most
        self._clock = clock
        self._round_began = clock()
        self._round_count = 0
        self._round_cost = 0
        self._rate_before = 0.0
        self._has_grown = False
        self._rest = 0

    def sent(self, size_bytes: int) -> None:
        """Count a finished request."""
        self._round_count += 1
        self._round_cost += size_bytes + REQUEST_COST_BYTES
        if self._round_count < self.current:
            return
        now = self._clock()
        rate = self._round_cost / max(1e-6, now - self._round_began)
        self._begin_round(now)
        if self._has_grown and rate < self._rate_before * GAIN_WORTH_A_LANE:
            self.current -= 1
            self._has_grown = False
            self._rest = ROUNDS_OF_REST
        elif self._rest > 0:
            self._rest -= 1
            self._has_grown = False
        elif self.current < self._most:
            self.current += 1
            self._has_grown = True
            self._rate_before = rate
        else:
            self._has_grown = False

    def refused(self) -> None:
        """Halve the lanes: the store requested fewer requests, or a connection was lost."""
        self.current = max(1, self.current // 2)
        self._has_grown = False
        self._rest = ROUNDS_OF_REST
        self._begin_round(self._clock())

    def _begin_round(self, now: float) -> None:
        self._round_began = now
        self._round_count = 0
        self._round_cost = 0


Task = Callable[[], None]
FIRST, URGENT, NORMAL = 0, 1, 2
"""Priorities. A task begins when none of a higher priority is queued."""


class Lanes:
    """Runs tasks in threads, at most as many at a time as the limit allows. A task may add tasks."""

    def __init__(self, limit: LaneLimit, *, threads: int, cancelled: threading.Event) -> None:
        self._limit = limit
        self._threads = threads
        self._cancelled = cancelled
        self._changed = threading.Condition()
        self._queues: tuple[deque[Task], ...] = (deque(), deque(), deque())
        self._running = 0
        self._failure: BaseException | None = None

    def add(self, task: Task, priority: int = NORMAL) -> None:
        """Add a task."""
        with self._changed:
            self._queues[priority].append(task)
            self._changed.notify()

    def sent(self, size_bytes: int) -> None:
        """Report a finished request."""
        with self._changed:
            before = self._limit.current
            self._limit.sent(size_bytes)
            if self._limit.current > before:
                self._changed.notify()

    def refused(self) -> None:
        """Report a refusal by the store or a lost connection."""
        with self._changed:
            self._limit.refused()

    def run(self) -> None:
        """Run all tasks. An exception of a task, or KeyboardInterrupt, cancels the others and is raised when all threads have ended.

        Raises CancelledError if another thread has cancelled the transfer.
        """
        threads = [threading.Thread(target=self._work, daemon=True, name=f"lane-{number}") for number in range(self._threads)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                # A join without a timeout would not be interrupted by Ctrl-C on every system.
                while thread.is_alive():
                    thread.join(0.5)
        except BaseException:
            self._stop(None)
            for thread in threads:
                thread.join(5)
            raise
        if self._failure is not None:
            raise self._failure
        if self._cancelled.is_set():
            raise CancelledError("The transfer was cancelled")

    def _stop(self, failure: BaseException | None) -> None:
        self._cancelled.set()
        with self._changed:
            self._failure = self._failure or failure
            for queue in self._queues:
                queue.clear()
            self._changed.notify_all()

    def _next(self) -> Task | None:
        with self._changed:
            while not self._cancelled.is_set():
                queue = next((queue for queue in self._queues if queue), None)
                if queue is not None and self._running < self._limit.current:
                    self._running += 1
                    return queue.popleft()
                if queue is None and not self._running:
                    break
                self._changed.wait()
            self._changed.notify_all()
            return None

    def _work(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except BaseException as error:  # noqa: BLE001 - re-raised by `run` in the caller's thread
                self._stop(error)
            finally:
                with self._changed:
                    self._running -= 1
                    if self._running or any(self._queues):
                        self._changed.notify()
                    else:
                        self._changed.notify_all()
