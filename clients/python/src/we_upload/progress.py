"""The progress of transfers, which the engine writes from several threads and a display reads."""

import threading
import time
from collections import deque
from enum import StrEnum

RATE_WINDOW_SECONDS = 8.0


class State(StrEnum):
    """The state of one transfer."""

    WAITING = "waiting"
    HASHING = "hashing"
    SENDING = "sending"
    CHECKING = "checking"
    DONE = "done"
    FAILED = "failed"


class Transfer:
    """One file on its way. `moved_bytes` counts the bytes sent or received, including those of an earlier run."""

    def __init__(self, name: str, size_bytes: int, lock: threading.Lock, progress: "Progress") -> None:
        self.name = name
        self.size_bytes = size_bytes
        self.moved_bytes = 0
        self.state = State.WAITING
        self._lock = lock
        self._progress = progress

    def moved(self, count: int) -> None:
        """Count bytes. A negative number takes back those of a failed request."""
        with self._lock:
            self.moved_bytes += count
            self._progress.moved_now += count

    def skipped(self, count: int) -> None:
        """Count bytes that an earlier run has moved. They do not count for the speed."""
        with self._lock:
            self.moved_bytes += count

    def enter(self, state: State) -> None:
        """Change the state."""
        with self._lock:
            if state is not self.state:
                self._progress.count_state(self, state)
                self.state = state


class Progress:
    """All transfers of one command."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.transfers: list[Transfer] = []
        self.moved_now = 0
        """Bytes moved since the start of this run."""
        self.done_count = 0
        self.failed_count = 0
        self._active: dict[int, Transfer] = {}
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, name: str, size_bytes: int) -> Transfer:
        """Return a new transfer."""
        transfer = Transfer(name, size_bytes, self._lock, self)
        with self._lock:
            self.transfers.append(transfer)
        return transfer

    def count_state(self, transfer: Transfer, state: State) -> None:
        """Count a change of state. The caller holds the lock."""
        ended = (State.DONE, State.FAILED)
        if state in ended:
            self._active.pop(id(transfer), None)
            self.done_count += state is State.DONE
            self.failed_count += state is State.FAILED
        elif state is not State.WAITING:
            self._active[id(transfer)] = transfer

    def active(self) -> list[Transfer]:
        """Return the transfers that are in progress."""
        with self._lock:
            return list(self._active.values())

    def totals(self) -> tuple[int, int]:
        """Return the bytes moved and the bytes of all transfers."""
        with self._lock:
            return sum(transfer.moved_bytes for transfer in self.transfers), sum(transfer.size_bytes for transfer in self.transfers)

    def bytes_per_second(self) -> float:
        """Return the speed over the last seconds."""
        now = time.monotonic()
        with self._lock:
            self._samples.append((now, self.moved_now))
            while len(self._samples) > 2 and now - self._samples[0][0] > RATE_WINDOW_SECONDS:
                self._samples.popleft()
            (began, before), (ended, after) = self._samples[0], self._samples[-1]
        return max(0.0, (after - before) / (ended - began)) if ended > began else 0.0
