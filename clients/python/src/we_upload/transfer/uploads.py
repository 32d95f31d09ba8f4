"""Uploads many files side by side and continues what an earlier run began.

Many small files are started together, sent one by one, and completed together. Single files are started, sent and
completed one after the other. Large files are sent in parts.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from we_upload.errors import (
    CancelledError,
    ConflictError,
    ConnectionFailedError,
    FileChangedError,
    NotSignedInError,
    ProblemError,
    UploadError,
)
from we_upload.http import Api
from we_upload.journal import DONE, IDEMPOTENCY_SECONDS, SENT, STARTED, Journal, UploadEntry
from we_upload.models import File
from we_upload.progress import Progress, State
from we_upload.transfer.destinations import AccountUploads, GuestUploads, SignedRequest
from we_upload.transfer.groups import Group, divide, is_grouped
from we_upload.transfer.jobs import Job, UploadItem, UploadResult
from we_upload.transfer.lanes import FIRST, LANES_MAX, LANES_START, NORMAL, URGENT, LaneLimit, Lanes
from we_upload.transfer.part_uploads import PartUploads
from we_upload.transfer.sending import Sender
from we_upload.transfer.sources import digest_of

SINGLE_MAX_BYTES = 64 * 1024**2
"""Larger files are sent in parts."""
FATAL = (NotSignedInError, ConnectionFailedError, CancelledError)
"""Errors that concern all files, so that the run ends."""
LOST = ("upload_lost", "upload_rejected", "idempotent_file_gone", "file_not_available", "file_not_found", "not_found")
"""Codes after which the file on the server is of no more use."""
STARTS_MAX = 3
GROUPS_AT_START = 2
"""Groups that begin at once."""


class Uploader:
    """Uploads files to one destination. `run` names the run in the journal; the same name continues an interrupted run.

    With `is_waiting=False`, many small files are left to the server's verification once the store has accepted their bytes and digests.
    With `keeps_run=True`, the caller ends the run in the journal itself, with `forget_run`.
    """

    def __init__(
        self,
        destination: AccountUploads | GuestUploads,
        *,
        api: Api,
        journal: Journal | None = None,
        run: str = "",
        progress: Progress | None = None,
        lanes: int | None = None,
        is_waiting: bool = True,
        keeps_run: bool = False,
    ) -> None:
        self._destination = destination
        self._account = destination if isinstance(destination, AccountUploads) else None
        self._cancelled = api.cancelled
        self._is_waiting = is_waiting
        self._keeps_run = keeps_run
        self._journal = journal or Journal()
        self._run = run
        self._progress = progress or Progress()
        limit = LaneLimit(start=lanes or LANES_START, most=lanes or LANES_MAX)
        self._lanes = Lanes(limit, threads=lanes or LANES_MAX, cancelled=api.cancelled)
        self._sender = Sender(api.transport, self._lanes, api.cancelled)
        self._groups: deque[Group] = deque()
        """Groups that have not begun."""

    def upload(self, items: Iterable[UploadItem]) -> list[UploadResult]:
        """Upload the files and return their results in the same order.

        An error of one file does not stop the others. Raises NotSignedInError and ConnectionFailedError, which concern all of them; a later
        call with the same journal and run continues.
        """
        jobs = [self._job(item, known) for known in [self._journal.uploads_of(self._run)] for item in items]
        groups, alone = divide(jobs, self._account) if self._account else ([], jobs)
        self._journal.save(job.entry for job in jobs if job.entry.state != DONE)
        for job in jobs:
            if job.entry.state == DONE:
                job.result.file_id, job.result.was_done = job.entry.file_id, True
                job.transfer.skipped(job.declared.size_bytes)
                job.transfer.enter(State.DONE)
        self._groups.extend(groups)
        for _ in range(GROUPS_AT_START):
            self._begin_next_group()
        for job in alone:
            if job.entry.state != DONE:
                self._add(job, self._begin, NORMAL)
        self._lanes.run()
        results = [job.result for job in jobs]
        if not self._keeps_run and not any(result.error for result in results):
            self._journal.forget_run(self._run)
        return results

    def _job(self, item: UploadItem, known: dict[str, UploadEntry]) -> Job:
        entry = known.get(item.path)
        is_changed = entry is not None and (entry.size_bytes, entry.mtime_ns) != (item.source.size_bytes, item.source.mtime_ns)
        is_old = entry is not None and not entry.file_id and time.time() - entry.changed_at > IDEMPOTENCY_SECONDS
        if entry is not None and is_changed and entry.file_id and entry.state != DONE:
            self._destination.discard(entry)
        if entry is None or is_changed or is_old:
            entry = UploadEntry(self._run, item.path, item.source.size_bytes, item.source.mtime_ns)
        return Job(item, item.declaration(), entry, self._progress.add(item.path, item.source.size_bytes), UploadResult(item))

    def _add(self, job: Job, step: Callable[[Job], None], priority: int) -> None:
        self._lanes.add(lambda: self._guarded(job, lambda: step(job)), priority)

    def _guarded(self, job: Job, step: Callable[[], None]) -> None:
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

    def _restart(self, job: Job) -> None:
        self._discard(job)
        job.transfer.skipped(-job.transfer.moved_bytes)
        self._add(job, self._begin, URGENT)

    def _fail(self, job: Job, error: UploadError) -> None:
        job.result.error = error
        job.transfer.enter(State.FAILED)
        if isinstance(error, FileChangedError):
            self._discard(job)

    def _discard(self, job: Job) -> None:
        if job.entry.file_id:
            self._destination.discard(job.entry)
        job.entry.restart()
        self._journal.save([job.entry])

    # One file

    def _begin(self, job: Job) -> None:
        job.starts += 1
        if job.entry.state == SENT:
            job.transfer.skipped(job.declared.size_bytes)
            self._complete(job)
        elif job.declared.size_bytes > SINGLE_MAX_BYTES:
            job.transfer.enter(State.SENDING)
            parts = PartUploads(
                self._destination,
                self._sender,
                add=lambda job, step: self._lanes.add(lambda: self._guarded(job, step), URGENT),
                on_started=self._started,
                on_sent=self._complete,
                on_done=self._finish,
                cancelled=self._cancelled,
            )
            parts.begin(job)
        else:
            if is_grouped(job) and job.entry.file_id:
                # The group cannot be started again as it was.
                self._discard(job)
            self._hash(job)
            request = self._start(job)
            self._started(job)
            self._send_whole(job, request)
            self._complete(job)

    def _hash(self, job: Job) -> None:
        job.transfer.enter(State.HASHING)
        job.sha256 = digest_of(job.item.source, 0, job.declared.size_bytes, cancelled=self._cancelled)
        job.result.sha256 = job.sha256

    def _start(self, job: Job) -> SignedRequest:
        return self._destination.start(job.declared, job.sha256, job.entry, job.idempotency_key)

    def _started(self, job: Job) -> None:
        job.entry.state = STARTED
        self._journal.save([job.entry])

    def _send_whole(self, job: Job, request: SignedRequest, sign: Callable[[SignedRequest], SignedRequest] | None = None) -> None:
        job.transfer.enter(State.SENDING)
        self._sender.send(job, 0, job.declared.size_bytes, request, sign or (lambda _: self._start(job)))
        job.entry.state = SENT
        self._journal.save([job.entry])

    def _complete(self, job: Job) -> None:
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

    def _finish(self, job: Job, file: File | None) -> None:
        job.entry.state = DONE
        self._journal.save([job.entry])
        job.result.file_id, job.result.file = job.entry.file_id, file
        job.transfer.enter(State.DONE)

    # Groups of small files

    def _begin_next_group(self) -> None:
        """Queue the start of the next group. It is called again when half of a group has been sent, so that no lane waits for a start."""
        with suppress(IndexError):
            group = self._groups.popleft()
            self._lanes.add(lambda: self._begin_group(group), FIRST)

    def _begin_group(self, group: Group) -> None:
        """Start a group with one request, then queue its files. A server without this request gets one start for each file."""
        for job in group.jobs:
            self._guarded(job, lambda job=job: self._hash(job))  # type: ignore[misc]  # mypy does not infer the defaults of a lambda
        is_complete = not any(job.result.error for job in group.jobs)
        started = group.start() if is_complete else None
        if started is None:
            for job in group.jobs:
                if job.entry.state != DONE:
                    self._add(job, self._begin, NORMAL)
            self._begin_next_group()
            return
        for job, result in started.items():
            self._guarded(job, lambda job=job, result=result: self._begin_member(job, result))  # type: ignore[misc]  # as above
        # A file that the server refused has failed, or is started again by a request of its own.
        members = [job for job, result in started.items() if not isinstance(result, ProblemError)]
        unfinished = [job for job in members if job.result.error is None and job.entry.state != DONE]
        self._journal.save(job.entry for job in unfinished)
        sent = [job for job in unfinished if job.entry.state == SENT]
        waiting = [job for job in unfinished if job.entry.state != SENT]
        group.expect(sent, sending=len(waiting))
        for job in waiting:
            self._lanes.add(lambda job=job: self._send_member(group, job), URGENT)  # type: ignore[misc]  # as above
        if not waiting:
            self._begin_next_group()
            self._complete_group(group)

    def _begin_member(self, job: Job, request: SignedRequest | ProblemError) -> None:
        if isinstance(request, ProblemError):
            raise request
        job.starts += 1
        job.transfer.enter(State.SENDING)
        if job.entry.state == SENT:
            job.transfer.skipped(job.declared.size_bytes)
        elif job.entry.state != DONE:
            job.entry.state = STARTED

    def _send_member(self, group: Group, job: Job) -> None:
        is_sent = False

        def send() -> None:
            nonlocal is_sent
            self._send_whole(job, group.request_of(job), lambda refused: group.renewed(job, refused))
            is_sent = True

        try:
            self._guarded(job, send)
        finally:
            is_half, is_last = group.ended(job, is_sent=is_sent)
            if is_half:
                self._begin_next_group()
            if is_last:
                self._lanes.add(lambda: self._complete_group(group), URGENT)

    def _complete_group(self, group: Group) -> None:
        """Complete the files of a group that the store has by one request, and those that it leaves one by one."""
        left = list(group.sent)
        while left:
            available = self._complete_many(left) if self._is_waiting else left
            for job in available:
                job.entry.state = DONE
                job.result.file_id = job.entry.file_id
                job.transfer.enter(State.DONE)
            self._journal.save(job.entry for job in available)
            left = [job for job in left if job.entry.state != DONE]
            if not available:
                break
        for job in left:
            self._add(job, self._complete, NORMAL)

    def _complete_many(self, jobs: Sequence[Job]) -> list[Job]:
        """Complete files by one request, and return those that are available."""
        try:
            results = self._account.complete_many([job.entry.file_id for job in jobs]) if self._account else None
        except NotSignedInError:
            raise
        except ProblemError:
            # The requests for single files show which of them it concerns.
            return []
        return [job for job in jobs if results and results.get(job.entry.file_id) == "available"]
