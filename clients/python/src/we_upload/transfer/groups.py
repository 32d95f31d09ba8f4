"""Groups of small files that one request starts."""

import threading
from collections.abc import Iterable, Sequence

from we_upload.errors import ProblemError
from we_upload.transfer.destinations import AccountUploads, SignedRequest
from we_upload.transfer.jobs import Job

GROUP_FILES = 100
"""Files that one request starts."""
GROUPED_MAX_BYTES = 4 * 1024**2
"""Larger files are started one by one, so that they do not delay a group."""
GROUPED_MIN_FILES = 20
"""Fewer small files are started one by one, which verifies them sooner."""


class Group:
    """Files that share a key in the journal. The same request with the same key returns the same uploads with new URLs."""

    def __init__(self, account: AccountUploads, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self._key = jobs[0].entry.key
        self._account = account
        self._lock = threading.Lock()
        self._requests: dict[Job, SignedRequest] = {}
        self.sent: list[Job] = []
        """Files that the store has."""
        self._left = self._half = 0

    def start(self) -> dict[Job, SignedRequest | ProblemError] | None:
        """Start the uploads. Return a request or an error for each; None if the server cannot start several at once."""
        started = self._account.start_many([(job.declared, job.sha256) for job in self.jobs], self._key)
        if started is None:
            return None
        results: dict[Job, SignedRequest | ProblemError] = {}
        for job, result in zip(self.jobs, started, strict=True):
            if isinstance(result, ProblemError):
                results[job] = result
            else:
                results[job] = result[1]
                # A file that has begun again since has another key and id.
                if job.entry.key == self._key:
                    job.entry.file_id, self._requests[job] = result
        return results

    def expect(self, sent: Sequence[Job], *, sending: int) -> None:
        """Set which files the store has already, and how many are going to be sent."""
        self.sent, self._left, self._half = list(sent), sending, sending // 2

    def ended(self, job: Job, *, is_sent: bool) -> tuple[bool, bool]:
        """Count a file whose sending has ended. Return whether it was the one in the middle, and whether it was the last one."""
        with self._lock:
            self._left -= 1
            if is_sent:
                self.sent.append(job)
            return self._left == self._half, not self._left

    def request_of(self, job: Job) -> SignedRequest:
        """Return the newest request that sends the file."""
        with self._lock:
            return self._requests[job]

    def renewed(self, job: Job, refused: SignedRequest) -> SignedRequest:
        """Return a new request instead of one that is old or was refused. One call renews those of all files."""
        with self._lock:
            if self._requests[job] is refused:
                self.start()
            return self._requests[job]


def is_grouped(job: Job) -> bool:
    """Return whether the journal has the file as one of a group."""
    return "-" in job.entry.key


def divide(jobs: Sequence[Job], account: AccountUploads) -> tuple[list[Group], list[Job]]:
    """Return groups of small files, and the other files.

    A group of the journal stays as it is, because its start can be repeated with the same files only. If one of them has changed since, the
    others go on one by one.
    """
    by_key: dict[str, list[Job]] = {}
    for job in jobs:
        by_key.setdefault(job.entry.key, []).append(job)
    groups = [group for key, group in by_key.items() if key.startswith(f"{len(group)}-")]
    rest = _without(jobs, [job for group in groups for job in group])
    fresh = [job for job in rest if not job.entry.file_id and job.declared.size_bytes <= GROUPED_MAX_BYTES]
    if len(fresh) >= GROUPED_MIN_FILES:
        for start in range(0, len(fresh), GROUP_FILES):
            group = fresh[start : start + GROUP_FILES]
            key = f"{len(group)}-{group[0].entry.key.rpartition('-')[2]}"
            for job in group:
                job.entry.key = key
            groups.append(group)
        rest = _without(rest, fresh)
    return [Group(account, group) for group in groups], rest


def _without(jobs: Sequence[Job], others: Iterable[Job]) -> list[Job]:
    left_out = set(others)
    return [job for job in jobs if job not in left_out]
