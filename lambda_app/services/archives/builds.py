"""Building of zip archives by a worker.

A zip is uploaded part by part. The progress is stored after each part, so the next attempt continues where the last one stopped.
"""

import logging
from datetime import timedelta
from enum import Enum
from time import monotonic, sleep
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import StoreUnavailableError, UnavailableError
from lambda_app.models import Archive
from lambda_app.repositories.archives.transitions import ArchiveTransitionRepository
from lambda_app.services.archives.archives import CONTENT_TYPE, FILE_WITHHELD, FILES_CHANGED
from lambda_app.services.archives.export_data import ExportPreparation
from lambda_app.services.archives.parts import FileMissingError, Part, PartBuilder
from lambda_app.storage.keys import archive_request_key, export_document_key
from lambda_app.storage.object_store import MultipartResult, ObjectStore, ObjectWithheldError, StoredPart

LEASE = timedelta(minutes=5)
"""How long a worker holds an archive without storing progress, before another worker takes over. Must exceed the time for one part:
a part of five thousand small files takes three minutes."""
SCAN_GRACE = timedelta(minutes=10)
"""How long a build waits for the malware scan of a file, which normally follows within seconds of the upload."""
PAUSES_SECONDS = (5.0, 20.0, 60.0)
"""Delays before the first, second, … retry after consecutive attempts that finished no part. After that, the sweep retries."""

logger = logging.getLogger(__name__)


class BuildResult(Enum):
    """The outcome of one attempt to build an archive."""

    NOTHING = "nothing"
    """There is nothing to build, or another worker holds the lease."""
    READY = "ready"
    FAILED = "failed"
    """A file of the archive is missing or stays withheld."""
    RETRY = "retry"
    """S3 did not respond or refused the request. A retry was queued, or the sweep will queue it."""
    UNFINISHED = "unfinished"
    """The time budget is used up; the next attempt was queued."""
    SUPERSEDED = "superseded"
    """The archive was deleted, or another worker took over."""


class _SupersededError(Exception):
    """The worker no longer holds the lease."""


class _FilesChangedError(Exception):
    """The requester can no longer read a file of the archive."""


class _BudgetExceededError(Exception):
    """The time budget is used up; the next attempt continues."""


class ArchiveBuildService:
    """Builds archives. Two workers on the same archive are safe: both write the same bytes, and only the lease holder can finish it."""

    def __init__(
        self, *, transitions: ArchiveTransitionRepository, exports: ExportPreparation, store: ObjectStore, retention: timedelta
    ) -> None:
        self._transitions = transitions
        self._exports = exports
        self._store = store
        self._retention = retention

    def build(self, archive_id: UUID, *, budget_seconds: float) -> BuildResult:
        """Build an archive until it is ready or the time budget is used up.

        Raises UnavailableError when too many consecutive attempts have failed; the archive then waits for the sweep.
        """
        archive = self._transitions.claim(archive_id, lease_id=uuid4(), lease_until=clock.now() + LEASE)
        if archive is None:
            return BuildResult.NOTHING
        attempt = _BuildAttempt(archive, self._transitions, self._store, deadline=monotonic() + budget_seconds)
        try:
            # Delete the processed queue marker: only a new object triggers the next event.
            self._store.delete(archive_request_key(archive.id))
            if archive.is_export and not self._exports.prepare(archive):
                raise _SupersededError  # noqa: TRY301 - as when a part finds that the lease is lost
            attempt.run()
        except _SupersededError:
            return BuildResult.SUPERSEDED
        except (_FilesChangedError, FileMissingError):
            return self._fail(archive, FILES_CHANGED)
        except UnavailableError as error:
            return self._schedule_retry(archive, error)
        except _BudgetExceededError:
            if self._transitions.release_lease(archive):
                self._store.put_marker(archive_request_key(archive.id))
            return BuildResult.UNFINISHED
        return self._finish(archive)

    def _finish(self, archive: Archive) -> BuildResult:
        if not self._transitions.finish(archive, expires_at=clock.now() + self._retention):
            return BuildResult.SUPERSEDED
        self._delete_document(archive)
        return BuildResult.READY

    def _delete_document(self, archive: Archive) -> None:
        # After a crash before this point, the sweep deletes it with the archive.
        if archive.is_export:
            self._store.delete(export_document_key(archive.id))

    def _schedule_retry(self, archive: Archive, error: UnavailableError) -> BuildResult:
        """Queue a retry after a delay, unless it cannot succeed. Raise the error when too many consecutive attempts have failed."""
        is_withheld = isinstance(error, ObjectWithheldError)
        if is_withheld and archive.created_at < clock.now() - SCAN_GRACE:
            # A later attempt would fail too. The requester can create an archive without the file.
            logger.error("S3 denies access to a file of archive %s: a malware scan, or a policy without s3:GetObject", archive.id)
            return self._fail(archive, FILE_WITHHELD)
        if not self._transitions.release_lease(archive):
            return BuildResult.SUPERSEDED
        retry = max(0, archive.attempts - 1)
        if retry >= len(PAUSES_SECONDS):
            if is_withheld:
                return BuildResult.RETRY
            raise error
        logger.warning("Building archive %s failed and will be retried: %s", archive.id, error.__cause__ or error)
        # The worker has no network route to the queue and cannot delay a message; S3 sends the marker's event immediately.
        sleep(PAUSES_SECONDS[retry])
        self._store.put_marker(archive_request_key(archive.id))
        return BuildResult.RETRY

    def _fail(self, archive: Archive, error_code: str) -> BuildResult:
        if not self._transitions.fail(archive, error_code=error_code, expires_at=clock.now() + self._retention):
            return BuildResult.SUPERSEDED
        logger.info("Archive failed: %s", error_code, extra={"fields": {"archive_id": archive.id}})
        # After a crash before this point, the sweep deletes the parts; the row still names the upload.
        if archive.upload_id is not None:
            self._store.abort_multipart(archive.s3_key, archive.upload_id)
        self._store.delete(archive.s3_key)
        self._delete_document(archive)
        return BuildResult.FAILED


class _BuildAttempt:
    """One worker's attempt to build one archive."""

    def __init__(self, archive: Archive, transitions: ArchiveTransitionRepository, store: ObjectStore, *, deadline: float) -> None:
        self._archive = archive
        self._transitions = transitions
        self._store = store
        self._deadline = deadline

    def run(self) -> None:
        """Upload all parts that are missing and complete the multipart upload. Do nothing when the object exists already."""
        archive = self._archive
        if not self._has_upload():
            if self._has_object():
                return
            self._start_upload()
        with PartBuilder(archive, self._transitions.list_entries(archive.id), self._store) as builder:
            self._upload_in_order(builder)
            self._upload_missing(builder)
            self._require_files(0, archive.file_count - 1)
            self._complete_upload(builder)

    def _has_upload(self) -> bool:
        upload_id = self._archive.upload_id
        return upload_id is not None and self._store.list_parts(self._archive.s3_key, upload_id) is not None

    def _has_object(self) -> bool:
        stored = self._store.head(self._archive.s3_key)
        return stored is not None and stored.size_bytes == self._archive.size_bytes

    def _start_upload(self) -> None:
        # S3 first: after a crash between the two calls, the sweep aborts the upload, because no row names it.
        archive = self._archive
        upload_id = self._store.start_multipart(key=archive.s3_key, content_type=CONTENT_TYPE, with_digests=True)
        if not self._transitions.restart_upload(archive, upload_id=upload_id):
            raise _SupersededError
        archive.upload_id, archive.done_bytes, archive.cut_crc32 = upload_id, 0, 0

    def _upload_in_order(self, builder: PartBuilder) -> None:
        incomplete: Part | None = None
        done_count = -(-self._archive.done_bytes // self._archive.part_size_bytes)
        for number in range(done_count + 1, builder.plan.count + 1):
            incomplete = self._upload_next(builder, number, incomplete)
            self._store_progress(builder, number)

    def _upload_next(self, builder: PartBuilder, number: int, incomplete: Part | None) -> Part | None:
        """Build a part and upload it; return the part, this or the previous one, that still lacks a checksum."""
        part = self._build_part(builder, number)
        if incomplete is not None and builder.complete(incomplete):
            self._upload(incomplete)
            incomplete = None
        if part.missing_crc32_of is not None:
            return part
        self._upload(part)
        return incomplete

    def _store_progress(self, builder: PartBuilder, number: int) -> None:
        _, end = builder.bounds(number)
        crc32s, builder.new_crc32s = builder.new_crc32s, {}
        lease_until = clock.now() + LEASE
        if not self._transitions.record_part(
            self._archive, done_bytes=end, cut_crc32=builder.cut_crc32, crc32s=crc32s, lease_until=lease_until
        ):
            raise _SupersededError
        self._archive.attempts = 0

    def _upload_missing(self, builder: PartBuilder) -> None:
        """Build the parts that lacked a checksum when an earlier attempt ended; all checksums are known now."""
        for number in builder.plan.missing(self._list_parts()):
            self._upload(self._build_part(builder, number))

    def _build_part(self, builder: PartBuilder, number: int) -> Part:
        if monotonic() >= self._deadline:
            raise _BudgetExceededError
        if (positions := builder.positions(number)) is not None:
            self._require_files(*positions)
        return builder.build(number)

    def _require_files(self, first: int, last: int) -> None:
        if not self._transitions.has_all_files(self._archive, first=first, last=last):
            raise _FilesChangedError

    def _upload(self, part: Part) -> None:
        upload_id = self._archive.upload_id
        if upload_id is None or not self._store.send_part(
            key=self._archive.s3_key, upload_id=upload_id, number=part.number, body=part.body
        ):
            raise _SupersededError

    def _complete_upload(self, builder: PartBuilder) -> None:
        parts, upload_id = self._list_parts(), self._archive.upload_id
        if builder.plan.missing(parts) or upload_id is None:
            raise _SupersededError
        end = self._store.complete_multipart(
            key=self._archive.s3_key, upload_id=upload_id, parts=parts, size_bytes=self._archive.size_bytes
        )
        if end is MultipartResult.PARTS_MISMATCH or not self._has_object():
            raise StoreUnavailableError

    def _list_parts(self) -> list[StoredPart]:
        upload_id = self._archive.upload_id
        parts = None if upload_id is None else self._store.list_parts(self._archive.s3_key, upload_id)
        if parts is None:
            raise _SupersededError
        return parts
