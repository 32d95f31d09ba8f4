"""Uploads many files side by side, small ones in one request and large ones in parts, and continues what an earlier run began."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from we_upload.errors import (
    CancelledError,
    ConflictError,
    ConnectionFailedError,
    FileChangedError,
    NotFoundError,
    NotSignedInError,
    ProblemError,
    StorageRefusedError,
    UploadError,
)
from we_upload.http import Transport
from we_upload.journal import DONE, IDEMPOTENCY_SECONDS, SENT, STARTED, Journal, UploadEntry
from we_upload.models import File, PartPlan
from we_upload.progress import Progress, State, Transfer
from we_upload.retries import Retries
from we_upload.transfer.destinations import AccountUploads, Declaration, GuestUploads, SignedRequest
from we_upload.transfer.lanes import LANES_MAX, LANES_START, LaneLimit, Lanes
from we_upload.transfer.sources import SliceReader, Source, content_type_of, digest_of, safe_name

SINGLE_MAX_BYTES = 64 * 1024**2
"""Larger files are sent in parts."""
PARTS_PER_GROUP = 16
"""Parts that are hashed and signed together."""
FATAL = (NotSignedInError, ConnectionFailedError, CancelledError)
"""Errors that concern all files, so that the run ends."""
LOST = ("upload_lost", "upload_rejected", "idempotent_file_gone", "file_not_available", "file_not_found", "not_found")
"""Codes after which the file on the server is of no more use."""
CHANGED = ("BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest", "IncompleteBody", "XAmzContentSHA256Mismatch")
"""Codes of S3 for a body that does not have the signed length or digest."""
NEW_SIGNATURES_MAX = 3
STARTS_MAX = 2


@dataclass(slots=True)
class UploadItem:
    """A file to upload. `path` identifies it in the journal and in results; `name` and `content_type` are what the server stores."""

    source: Source
    path: str
    name: str = ""
    content_type: str = ""
    description: str | None = None
    is_public: bool = False

    def declaration(self) -> Declaration:
        """Return what is declared to the server."""
        name = safe_name(self.name or self.path.rpartition("/")[2])
        return Declaration(name, self.content_type or content_type_of(name), self.source.size_bytes, self.description, self.is_public)


@dataclass(slots=True)
class UploadResult:
    """The result of one file: `file_id`, or `error`. `file` is None for a guest, and for a file that an earlier run completed."""

    item: UploadItem
    file_id: str = ""
    file: File | None = None
    error: UploadError | None = None
    was_done: bool = False
    """Whether an earlier, interrupted run had uploaded the file."""


@dataclass(slots=True)
class _Job:
    item: UploadItem
    declared: Declaration
    entry: UploadEntry
    transfer: Transfer
    result: UploadResult
    starts: int = 0
    sha256: str = ""


@dataclass(slots=True)
class _Parts:
    """The missing parts of a large file."""

    plan: PartPlan
    missing: deque[int]
    left: int
    ready: int = 0
    is_preparing: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def range_of(self, number: int, size_bytes: int) -> tuple[int, int]:
        offset = (number - 1) * self.plan.part_size_bytes
        return offset, min(self.plan.part_size_bytes, size_bytes - offset)


class Uploader:
    """Uploads files to one destination. `run` names the run in the journal; the same name continues an interrupted run."""

    def __init__(
        self,
        destination: AccountUploads | GuestUploads,
        *,
        transport: Transport,
        cancelled: threading.Event,
        journal: Journal | None = None,
        run: str = "",
        progress: Progress | None = None,
        lanes: int | None = None,
    ) -> None:
        self._destination = destination
        self._transport = transport
        self._cancelled = cancelled
        self._journal = journal or Journal()
        self._run = run
        self._progress = progress or Progress()
        limit = LaneLimit(start=lanes or LANES_START, most=lanes or LANES_MAX)
        self._lanes = Lanes(limit, threads=lanes or LANES_MAX, cancelled=cancelled)

    def upload(self, items: Iterable[UploadItem]) -> list[UploadResult]:
        """Upload the files and return their results in the same order.

        An error of one file does not stop the others. Raises NotSignedInError and ConnectionFailedError, which concern all of them; a later
        call with the same journal and run continues.
        """
        jobs = self._jobs(items)
        self._journal.save(job.entry for job in jobs if job.entry.state != DONE)
        for job in jobs:
            if job.entry.state == DONE:
                job.result.file_id, job.result.was_done = job.entry.file_id, True
                job.transfer.skipped(job.declared.size_bytes)
                job.transfer.enter(State.DONE)
            else:
                self._add(job, self._begin)
        self._lanes.run()
        results = [job.result for job in jobs]
        if not any(result.error for result in results):
            self._journal.forget_run(self._run)
        return results

    def _jobs(self, items: Iterable[UploadItem]) -> list[_Job]:
        known = self._journal.uploads_of(self._run)
        jobs = []
        for item in items:
            entry = known.get(item.path)
            if entry is None or (entry.size_bytes, entry.mtime_ns) != (item.source.size_bytes, item.source.mtime_ns):
                if entry is not None and entry.file_id and entry.state != DONE and isinstance(self._destination, AccountUploads):
                    self._destination.discard(entry.file_id)
                entry = UploadEntry(self._run, item.path, item.source.size_bytes, item.source.mtime_ns)
            elif not entry.file_id and _age(entry) > IDEMPOTENCY_SECONDS:
                entry = UploadEntry(self._run, item.path, item.source.size_bytes, item.source.mtime_ns)
            transfer = self._progress.add(item.path, item.source.size_bytes)
            jobs.append(_Job(item, item.declaration(), entry, transfer, UploadResult(item)))
        return jobs

    def _add(self, job: _Job, step: Callable[[_Job], None], *, is_urgent: bool = False) -> None:
        self._lanes.add(lambda: self._guarded(job, lambda: step(job)), is_urgent=is_urgent)

    def _guarded(self, job: _Job, step: Callable[[], None]) -> None:
        """Run a step of a job. Errors of this file end the job; errors that concern all files end the run."""
        if job.result.error is not None:
            return
        try:
            step()
        except FATAL:
            raise
        except ProblemError as error:
            if error.code in LOST and job.starts < STARTS_MAX:
                self._restart(job)
            else:
                self._fail(job, error)
        except (UploadError, OSError) as error:
            self._fail(
                job, error if isinstance(error, UploadError) else UploadError(f"{job.item.path}: {error.strerror}", code="unreadable")
            )

    def _restart(self, job: _Job) -> None:
        if job.entry.file_id and isinstance(self._destination, AccountUploads):
            self._destination.discard(job.entry.file_id)
        job.entry.restart()
        self._journal.save([job.entry])
        job.transfer.skipped(-job.transfer.moved_bytes)
        self._add(job, self._begin, is_urgent=True)

    def _fail(self, job: _Job, error: UploadError) -> None:
        job.result.error = error
        job.transfer.enter(State.FAILED)
        if isinstance(error, FileChangedError) and job.entry.file_id and isinstance(self._destination, AccountUploads):
            self._destination.discard(job.entry.file_id)
            job.entry.restart()
            self._journal.save([job.entry])

    def _begin(self, job: _Job) -> None:
        job.starts += 1
        if job.entry.state == SENT:
            job.transfer.skipped(job.declared.size_bytes)
            self._complete(job)
        elif job.declared.size_bytes > SINGLE_MAX_BYTES and isinstance(self._destination, AccountUploads):
            self._begin_parts(job, self._destination)
        else:
            self._send_single(job)

    # In one request

    def _send_single(self, job: _Job) -> None:
        size_bytes = job.declared.size_bytes
        job.transfer.enter(State.HASHING)
        job.sha256 = digest_of(job.item.source, 0, size_bytes, cancelled=self._cancelled)
        request = self._destination.start(job.declared, job.sha256, job.entry)
        job.entry.state = STARTED
        if not self._destination.takes_parts:
            self._journal.save([job.entry])
        job.transfer.enter(State.SENDING)
        self._send(job, 0, size_bytes, request, lambda: self._destination.start(job.declared, job.sha256, job.entry))
        job.entry.state = SENT
        self._journal.save([job.entry])
        self._complete(job)

    # In parts

    def _begin_parts(self, job: _Job, destination: AccountUploads) -> None:
        plan = self._resumed_plan(job, destination) if job.entry.file_id else None
        if job.entry.state == DONE:
            return
        if plan is None:
            plan = destination.start_parts(job.declared, job.entry)
            job.entry.state = STARTED
            self._journal.save([job.entry])
        sizes = {part.number: part.size_bytes for part in plan.parts}
        parts = _Parts(plan, deque(), 0)
        for number in range(1, plan.part_count + 1):
            length = parts.range_of(number, job.declared.size_bytes)[1]
            if sizes.get(number) == length:
                job.transfer.skipped(length)
            else:
                parts.missing.append(number)
        parts.left = len(parts.missing)
        job.transfer.enter(State.SENDING)
        if parts.left:
            self._prepare(job, parts, destination)
        else:
            self._complete(job)

    def _resumed_plan(self, job: _Job, destination: AccountUploads) -> PartPlan | None:
        """Return the plan of an unfinished upload. None if the upload was completed, or has to begin again."""
        try:
            return destination.parts(job.entry.file_id)
        except (NotFoundError, ConflictError):
            pass
        try:
            self._finish(job, destination.complete(job.entry))
        except (NotFoundError, ConflictError):
            destination.discard(job.entry.file_id)
            job.entry.restart()
            return None
        job.transfer.skipped(job.declared.size_bytes)
        return None

    def _prepare(self, job: _Job, parts: _Parts, destination: AccountUploads) -> None:
        """Hash and sign the next parts, then add a task for each. The next group is prepared while these are sent."""
        with parts.lock:
            if parts.is_preparing or not parts.missing or parts.ready >= PARTS_PER_GROUP:
                return
            parts.is_preparing = True
            numbers = [parts.missing.popleft() for _ in range(min(PARTS_PER_GROUP, len(parts.missing)))]
        digests = []
        for number in numbers:
            offset, length = parts.range_of(number, job.declared.size_bytes)
            digests.append((number, digest_of(job.item.source, offset, length, cancelled=self._cancelled)))
        signed = destination.sign_parts(job.entry.file_id, digests)
        with parts.lock:
            parts.ready += len(numbers)
            parts.is_preparing = False
        for number, digest in digests:
            self._add(job, lambda job, n=number, d=digest: self._send_part(job, parts, destination, n, d, signed[n]), is_urgent=True)  # type: ignore[misc]  # mypy does not infer the defaults of a lambda
        self._add(job, lambda job: self._prepare(job, parts, destination), is_urgent=True)

    def _send_part(self, job: _Job, parts: _Parts, destination: AccountUploads, number: int, digest: str, request: SignedRequest) -> None:
        offset, length = parts.range_of(number, job.declared.size_bytes)
        self._send(job, offset, length, request, lambda: destination.sign_parts(job.entry.file_id, [(number, digest)])[number])
        with parts.lock:
            parts.left -= 1
            parts.ready -= 1
            is_last = not parts.left
            is_short = bool(parts.missing) and not parts.is_preparing and parts.ready < PARTS_PER_GROUP
        if is_last:
            job.item.source.check()
            self._complete(job)
        elif is_short:
            self._add(job, lambda job: self._prepare(job, parts, destination), is_urgent=True)

    # Both

    def _send(self, job: _Job, offset: int, length: int, request: SignedRequest, sign: Callable[[], SignedRequest]) -> None:
        """Send a slice to the object store, again after temporary errors and with a new signature after a refused one."""
        retries = Retries(self._cancelled)
        signatures = 0
        while True:
            if request.is_old:
                request = sign()
            reader = SliceReader(job.item.source, offset, length, on_bytes=job.transfer.moved, cancelled=self._cancelled)
            try:
                answer = self._transport.send(request.method, request.url, body=reader if length else b"", headers=request.headers)
            except UploadError as error:
                job.transfer.moved(-reader.counted)
                self._lanes.refused()
                if not isinstance(error, ConnectionFailedError) or not retries.wait():
                    raise
                continue
            finally:
                reader.close()
            if answer.status < 300 or answer.status == 412:
                # 412: an earlier attempt, whose answer was lost, has stored the bytes.
                job.transfer.moved(length - reader.counted)
                self._lanes.sent(length)
                return
            job.transfer.moved(-reader.counted)
            refusal = StorageRefusedError(answer.status, answer.reason)
            if answer.reason in CHANGED:
                raise FileChangedError(f"{job.item.path} was changed during the upload")
            if answer.status == 404:
                raise ConflictError(404, {"code": "upload_lost", "detail": "The storage has lost this upload"})
            if answer.status == 403 and signatures < NEW_SIGNATURES_MAX:
                signatures += 1
                request = sign()
                continue
            self._lanes.refused()
            is_temporary = answer.status in (408, 429) or answer.status >= 500 or answer.reason == "RequestTimeout"
            if not is_temporary or not retries.wait():
                raise refusal

    def _complete(self, job: _Job) -> None:
        job.transfer.enter(State.CHECKING)
        try:
            file = self._destination.complete(job.entry)
        except ConflictError as error:
            if error.code not in ("parts_missing", "upload_missing") or job.starts >= STARTS_MAX:
                raise
            # The store lost something that the journal has as sent.
            job.entry.state = STARTED
            job.transfer.skipped(-job.transfer.moved_bytes)
            self._begin(job)
            return
        self._finish(job, file)

    def _finish(self, job: _Job, file: File | None) -> None:
        job.entry.state = DONE
        self._journal.save([job.entry])
        job.result.file_id, job.result.file = job.entry.file_id, file
        job.transfer.enter(State.DONE)


def _age(entry: UploadEntry) -> float:
    import time

    return time.time() - entry.changed_at
