"""The sweep of archives: requeues abandoned builds, deletes expired and withdrawn archives and orphan objects."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.db.errors import StatementFailedError
from lambda_app.models import UNFINISHED, Archive, ArchiveStatus
from lambda_app.repositories.archives.sweep import ArchiveSweepRepository
from lambda_app.repositories.archives.transitions import ArchiveTransitionRepository
from lambda_app.storage.keys import ARCHIVE_PREFIX, REQUEST_PREFIX, archive_id_of, archive_request_key
from lambda_app.storage.object_store import ListedObject, ListedUpload, ObjectStore

PAGE_ROWS = 200
PAGE_KEYS = 1000
ORPHAN_MIN_AGE = timedelta(hours=1)
"""Uploads and objects without a row are not deleted before this age: a worker starts an upload before it writes the row."""
ATTEMPTS_MAX_COUNT = 8
"""Consecutive attempts without a finished part after which an archive fails: three retries by the worker, five by the sweep."""
UNFINISHED_MAX_AGE = timedelta(hours=24)
"""Age at which an unfinished archive fails."""
GIVEN_UP = "given_up"

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ArchiveSweepReport:
    """What one run did or, with a dry run, would have done. The names of the fields are those of the log line."""

    woken_archives: int = 0
    """Archives that were queued again: the worker crashed, or the queue's message was lost."""
    given_up_archives: int = 0
    """Archives that failed after too many attempts or too long a time."""
    removed_archives: int = 0
    """Archives that had expired, or whose deletion was interrupted."""
    withdrawn_archives: int = 0
    """Ready archives with a file that their requester may not download any more."""
    stray_archive_parts: int = 0
    """Multipart uploads that belong to no unfinished archive."""
    stray_archive_objects: int = 0
    """Zips without an archive, and old queue markers."""
    archive_failures: int = 0
    """Steps that failed because S3 or the database did not respond. The next run retries them."""
    archives_are_finished: bool = field(default=True)
    """Whether the run completed all steps within its time budget."""


class ArchiveSweepService:
    """Sweeps archives and their objects. Each step is idempotent and safe while workers and requests run."""

    def __init__(
        self, *, archives: ArchiveSweepRepository, transitions: ArchiveTransitionRepository, store: ObjectStore, retention: timedelta
    ) -> None:
        self._archives = archives
        self._transitions = transitions
        self._store = store
        self._retention = retention

    def run(self, *, budget_seconds: float, is_dry: bool = False) -> ArchiveSweepReport:
        """Run all steps and return the report. The next run continues where the time budget ends this one."""
        sweep = _Run(self._archives, self._transitions, self._store, self._retention, clock.now(), is_dry)
        deadline = monotonic() + budget_seconds
        for step in sweep.steps():
            for _ in step:
                if monotonic() >= deadline:
                    sweep.report.archives_are_finished = False
                    return sweep.report
        return sweep.report

    def list_claimable(self, *, limit: int) -> list[UUID]:
        """Return archives that wait for a worker. The local worker polls this, because there is no queue."""
        return self._archives.list_claimable(clock.now(), limit=limit)


@dataclass(slots=True)
class _Run:
    """One run. Each step yields after each item, so that the run can stop there."""

    archives: ArchiveSweepRepository
    transitions: ArchiveTransitionRepository
    store: ObjectStore
    retention: timedelta
    now: datetime
    is_dry: bool
    report: ArchiveSweepReport = field(default_factory=ArchiveSweepReport)

    def steps(self) -> list[Iterator[None]]:
        return [
            self._each(lambda after: self.archives.list_abandoned(self.now, after=after, limit=PAGE_ROWS), self._requeue),
            self._each(lambda after: self.archives.list_expired(self.now, after=after, limit=PAGE_ROWS), self._remove),
            self._each(lambda after: self.archives.list_ready(after=after, limit=PAGE_ROWS), self._withdraw),
            self._orphan_uploads(),
            self._objects(ARCHIVE_PREFIX, self._orphan_zips),
            self._objects(REQUEST_PREFIX, lambda objects: objects),
        ]

    def _each(self, page: Callable[[UUID | None], list[Archive]], act: Callable[[Archive], None]) -> Iterator[None]:
        after: UUID | None = None
        while archives := page(after):
            for archive in archives:
                after = archive.id
                self._try(partial(act, archive))
                yield

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (UnavailableError, StatementFailedError) as error:
            self.report.archive_failures += 1
            self.archives.reset_session()
            logger.warning("A step of the archive sweep failed; the next run retries it: %s", error.__cause__ or error)

    def _requeue(self, archive: Archive) -> None:
        if archive.attempts < ATTEMPTS_MAX_COUNT and archive.created_at > self.now - UNFINISHED_MAX_AGE:
            self.report.woken_archives += 1
            if not self.is_dry:
                self.store.put_marker(archive_request_key(archive.id))
            return
        self.report.given_up_archives += 1
        if self.is_dry:
            return
        if self.transitions.fail_abandoned(archive.id, overdue_at=self.now, error_code=GIVEN_UP, expires_at=self.now + self.retention):
            logger.error("Archive %s failed after %d attempts", archive.id, archive.attempts)
            self._delete_bytes(archive)

    def _remove(self, archive: Archive) -> None:
        self.report.removed_archives += 1
        if self.is_dry:
            return
        if archive.status == ArchiveStatus.DELETING or self.transitions.expire(archive.id, overdue_at=self.now) is not None:
            self._delete_bytes(archive)
            self.transitions.remove(archive.id)

    def _withdraw(self, archive: Archive) -> None:
        if self.transitions.has_all_files(archive, first=0, last=archive.file_count - 1):
            return
        self.report.withdrawn_archives += 1
        if not self.is_dry and self.transitions.withdraw(archive.id):
            self._delete_bytes(archive)
            self.transitions.remove(archive.id)

    def _delete_bytes(self, archive: Archive) -> None:
        if archive.upload_id is not None:
            self.store.abort_multipart(archive.s3_key, archive.upload_id)
        self.store.delete(archive.s3_key)

    def _orphan_uploads(self) -> Iterator[None]:
        after, is_last = "", False
        while not is_last:
            try:
                page = self.store.list_uploads(after_key=after, limit=PAGE_KEYS, prefix=ARCHIVE_PREFIX)
            except UnavailableError:
                self.report.archive_failures += 1
                return
            states = self._states(upload.key for upload in page.uploads)
            for upload in page.uploads:
                status, upload_id = states.get(upload.key, (None, None))
                is_live = status in UNFINISHED and upload_id == upload.upload_id
                if not is_live and upload.started_at <= self.now - ORPHAN_MIN_AGE:
                    self._try(partial(self._abort, upload))
            # A store without paging returns the same page again.
            is_last = page.is_last or not page.uploads or page.uploads[-1].key <= after
            after = page.uploads[-1].key if page.uploads else ""
            yield

    def _objects(self, prefix: str, orphans: Callable[[list[ListedObject]], list[ListedObject]]) -> Iterator[None]:
        after, is_last = "", False
        while not is_last:
            try:
                page = self.store.list_objects(after_key=after, limit=PAGE_KEYS, prefix=prefix)
            except UnavailableError:
                self.report.archive_failures += 1
                return
            for found in orphans([found for found in page.objects if found.modified_at <= self.now - ORPHAN_MIN_AGE]):
                self._try(partial(self._delete_orphan, found.key))
            is_last = page.is_last or not page.objects
            after = page.objects[-1].key if page.objects else ""
            yield

    def _orphan_zips(self, objects: list[ListedObject]) -> list[ListedObject]:
        # The object of an archive exists before its status becomes `ready`.
        expected = (ArchiveStatus.BUILDING, ArchiveStatus.QUEUED, ArchiveStatus.READY)
        states = self._states(found.key for found in objects)
        return [found for found in objects if states.get(found.key, (None, None))[0] not in expected]

    def _abort(self, upload: ListedUpload) -> None:
        if not self.is_dry:
            self.store.abort_multipart(upload.key, upload.upload_id)
        self.report.stray_archive_parts += 1

    def _delete_orphan(self, key: str) -> None:
        if not self.is_dry:
            self.store.delete(key)
        self.report.stray_archive_objects += 1

    def _states(self, keys: Iterator[str]) -> dict[str, tuple[ArchiveStatus, str | None]]:
        ids = {key: archive_id for key in keys if (archive_id := archive_id_of(key)) is not None}
        known = self.archives.get_statuses(ids.values()) if ids else {}
        return {key: known[archive_id] for key, archive_id in ids.items() if archive_id in known}
