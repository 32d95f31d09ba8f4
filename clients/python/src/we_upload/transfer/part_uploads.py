"""Uploads of large files: the missing parts are hashed, signed in groups, and sent in parallel."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from we_upload.errors import ConflictError, NotFoundError
from we_upload.models import File, PartPlan
from we_upload.transfer.destinations import Destination, SignedRequest
from we_upload.transfer.jobs import Job
from we_upload.transfer.sending import Sender
from we_upload.transfer.sources import digest_of

PARTS_PER_GROUP = 16
"""Parts that are hashed and signed together."""
PARTS_FIRST = 4
"""Parts of the first group, so that the lanes soon have work. Each further group has twice as many, up to PARTS_PER_GROUP."""

Step = Callable[[], None]


@dataclass(slots=True)
class _Parts:
    plan: PartPlan
    missing: deque[int]
    left: int
    ready: int = 0
    """Parts that are signed but not sent."""
    is_preparing: bool = False
    group_size: int = PARTS_FIRST
    lock: threading.Lock = field(default_factory=threading.Lock)

    def range_of(self, number: int, size_bytes: int) -> tuple[int, int]:
        offset = (number - 1) * self.plan.part_size_bytes
        return offset, min(self.plan.part_size_bytes, size_bytes - offset)


class PartUploads:
    """Sends the parts of a file that the object store does not have, then calls `on_sent`. `add` queues a step of the job."""

    def __init__(
        self,
        destination: Destination,
        sender: Sender,
        *,
        add: Callable[[Job, Step], None],
        on_started: Callable[[Job], None],
        on_sent: Callable[[Job], None],
        on_done: Callable[[Job, File | None], None],
        cancelled: threading.Event,
    ) -> None:
        self._destination = destination
        self._sender = sender
        self._add = add
        self._on_started = on_started
        self._on_sent = on_sent
        self._on_done = on_done
        self._cancelled = cancelled

    def begin(self, job: Job) -> None:
        """Start the upload, or continue the one of the journal."""
        plan = None
        if job.entry.file_id:
            try:
                plan = self._destination.parts(job.entry)
            except (NotFoundError, ConflictError):
                if self._was_completed(job):
                    return
        if plan is None:
            plan = self._destination.start_parts(job.declared, job.entry, job.idempotency_key)
            self._on_started(job)
        stored = {part.number: part.size_bytes for part in plan.parts}
        parts = _Parts(plan, deque(), 0)
        for number in range(1, plan.part_count + 1):
            length = parts.range_of(number, job.declared.size_bytes)[1]
            if stored.get(number) == length:
                job.transfer.skipped(length)
            else:
                parts.missing.append(number)
        parts.left = len(parts.missing)
        if parts.left:
            self._prepare(job, parts)
        else:
            self._on_sent(job)

    def _was_completed(self, job: Job) -> bool:
        """Return whether the upload in the journal was completed; otherwise discard it."""
        try:
            file = self._destination.complete(job.entry)
        except (NotFoundError, ConflictError):
            self._destination.discard(job.entry)
            job.entry.restart()
            return False
        job.transfer.skipped(job.declared.size_bytes)
        self._on_done(job, file)
        return True

    def _prepare(self, job: Job, parts: _Parts) -> None:
        """Hash and sign the next parts, then queue them. The next group is prepared while these are sent."""
        with parts.lock:
            if parts.is_preparing or not parts.missing or parts.ready >= PARTS_PER_GROUP:
                return
            parts.is_preparing = True
            numbers = [parts.missing.popleft() for _ in range(min(parts.group_size, PARTS_PER_GROUP, len(parts.missing)))]
            parts.group_size *= 2
        digests = []
        for number in numbers:
            offset, length = parts.range_of(number, job.declared.size_bytes)
            digests.append((number, digest_of(job.item.source, offset, length, cancelled=self._cancelled)))
        signed = self._destination.sign_parts(job.entry, digests)
        with parts.lock:
            parts.ready += len(numbers)
            parts.is_preparing = False
        for number, digest in digests:
            self._add(job, self._sending(job, parts, number, digest, signed[number]))
        self._add(job, lambda: self._prepare(job, parts))

    def _sending(self, job: Job, parts: _Parts, number: int, digest: str, request: SignedRequest) -> Step:
        def send() -> None:
            offset, length = parts.range_of(number, job.declared.size_bytes)
            self._sender.send(job, offset, length, request, lambda _: self._destination.sign_parts(job.entry, [(number, digest)])[number])
            with parts.lock:
                parts.left -= 1
                parts.ready -= 1
                is_last = not parts.left
                is_short = bool(parts.missing) and not parts.is_preparing and parts.ready < PARTS_PER_GROUP
            if is_last:
                job.item.source.check()
                self._on_sent(job)
            elif is_short:
                self._add(job, lambda: self._prepare(job, parts))

        return send
