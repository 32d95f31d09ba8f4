"""Uploads many files side by side and continues what an earlier run began.

Many small files are started together, sent one by one, and verified by the server's own events. Single files are started, sent and
completed one after the other. Large files are sent in parts.
"""

import threading
import time
from collections.abc import Callable, Iterable

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
from we_upload.transfer.lanes import IDLE, LANES_MAX, LANES_START, NORMAL, URGENT, LaneLimit, Lanes
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
SETTLE_PAUSE_SECONDS = 0.05
"""Pause while the last files of a group are being sent."""
EVENTS_PAUSE_SECONDS = 0.25
"""Pause between two questions whether the events have verified further files."""
EVENTS_PATIENCE_SECONDS = 5.0
"""How long no file may become verified before each is completed by a call."""


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
        self._lock = threading.Lock()
        self._sent_groups: list[list[Job]] = []
        """Groups of small files that the events of the store still have to verify, in the order in which they were sent."""
        self._verified_at: float | None = None
        """When the events last verified a file."""

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
        for group in groups:
            self._lanes.add(lambda group=group: self._begin_group(group))  # type: ignore[misc]  # mypy does not infer the defaults of a lambda
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
            return
        for job, result in started.items():
            self._guarded(job, lambda job=job, result=result: self._begin_member(group, job, result))  # type: ignore[misc]  # as above
        waiting = [job for job in group.jobs if job.result.error is None and job.entry.state != DONE]
        self._journal.save(job.entry for job in waiting)
        self._lanes.add(lambda: self._settle(waiting), IDLE)

    def _begin_member(self, group: Group, job: Job, request: SignedRequest | ProblemError) -> None:
        if isinstance(request, ProblemError):
            raise request
        job.starts += 1
        job.transfer.enter(State.SENDING)
        if job.entry.state == SENT:
            job.transfer.skipped(job.declared.size_bytes)
        elif job.entry.state != DONE:
            job.entry.state = STARTED
            self._add(job, lambda job: self._send_whole(job, request, lambda refused: group.renewed(job, refused)), URGENT)

    def _settle(self, group: list[Job]) -> None:
        """Finish the files that the events of the store have verified, and complete the others. Runs when nothing is queued.

        Only the group that was sent first is looked up, because the events come in about this order.
        """
        unfinished = [job for job in group if job.result.error is None and job.entry.state != DONE]
        if not unfinished or self._account is None:
            self._settled(group)
            return
        is_sent = all(job.entry.state == SENT for job in unfinished)
        if not is_sent or (self._is_waiting and not self._is_next(group)):
            self._cancelled.wait(EVENTS_PAUSE_SECONDS if is_sent else SETTLE_PAUSE_SECONDS)
            self._lanes.add(lambda: self._settle(group), IDLE)
            return
        statuses = self._account.statuses([job.entry.file_id for job in unfinished]) if self._is_waiting else {}
        done = [job for job in unfinished if not self._is_waiting or statuses.get(job.entry.file_id) == "available"]
        for job in done:
            job.entry.state = DONE
            job.result.file_id = job.entry.file_id
            job.transfer.enter(State.DONE)
        self._journal.save(job.entry for job in done)
        left = [job for job in unfinished if job.entry.state != DONE]
        now = time.monotonic()
        if done or self._verified_at is None:
            self._verified_at = now
        is_pending = any(statuses.get(job.entry.file_id) == "pending" for job in left)
        if is_pending and now - self._verified_at < EVENTS_PATIENCE_SECONDS:
            self._cancelled.wait(EVENTS_PAUSE_SECONDS)
            self._lanes.add(lambda: self._settle(group), IDLE)
            return
        self._settled(group)
        for job in left:
            self._add(job, self._complete, NORMAL)

    def _is_next(self, group: list[Job]) -> bool:
        """Return whether all groups that were sent before this one are verified."""
        with self._lock:
            if not any(group is other for other in self._sent_groups):
                self._sent_groups.append(group)
            return self._sent_groups[0] is group

    def _settled(self, group: list[Job]) -> None:
        with self._lock:
            self._sent_groups = [other for other in self._sent_groups if other is not group]
