"""The worker's side of archives: a zip is built part by part, and whoever comes next goes on where the last one stopped."""

import logging
from datetime import timedelta
from enum import Enum
from time import monotonic, sleep
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.models import Archive
from lambda_app.repositories.archives.transitions import ArchiveTransitionRepository
from lambda_app.services.archives.archives import CONTENT_TYPE, FILE_WITHHELD, FILES_CHANGED
from lambda_app.services.archives.parts import FileGoneError, Part, PartMaker
from lambda_app.storage.keys import archive_request_key
from lambda_app.storage.object_store import MultipartEnd, ObjectStore, ObjectWithheldError, StoredPart

LEASE = timedelta(minutes=5)
"""How long a worker may be silent before another takes over: five thousand files of one part are read in three minutes."""
SCAN_GRACE = timedelta(minutes=10)
"""How long a file of an archive may wait for its malware scan, which sees it seconds after its upload."""
PAUSES_SECONDS = (5.0, 20.0, 60.0)
"""How long an archive waits after S3 broke off the first, second, … turn in a row that finished no part. Then it waits for the sweep."""

logger = logging.getLogger(__name__)


class BuildResult(Enum):
    """What one turn at an archive led to."""

    NOTHING = "nothing"
    """There is nothing to do, or another worker does it."""
    READY = "ready"
    FAILED = "failed"
    """A file in it cannot be had any more."""
    RETRY = "broken off"
    """S3 did not answer, or refused; another turn was asked for."""
    UNFINISHED = "unfinished"
    """The time was up; another turn was asked for."""
    SUPERSEDED = "overtaken"
    """It was deleted meanwhile, or another worker took over."""


class _SupersededError(Exception):
    """It is not our turn any more."""


class _FilesChangedError(Exception):
    """A file in it is not there any more for whoever asked."""


class _TimeIsUpError(Exception):
    """The rest is for another turn."""


class ArchiveBuildService:
    """Builds archives. Two workers at the same one do no harm: they make the same bytes, and only one of them can say so."""

    def __init__(self, *, transitions: ArchiveTransitionRepository, store: ObjectStore, retention: timedelta) -> None:
        self._transitions = transitions
        self._store = store
        self._retention = retention

    def build(self, archive_id: UUID, *, budget_seconds: float) -> BuildResult:
        """Go on with an archive until it is ready or the time is up. Raises UnavailableError; the archive then waits for the sweep."""
        archive = self._transitions.claim(archive_id, lease_id=uuid4(), lease_until=clock.now() + LEASE)
        if archive is None:
            return BuildResult.NOTHING
        turn = _BuildAttempt(archive, self._transitions, self._store, deadline=monotonic() + budget_seconds)
        try:
            # The word that woke us has been heard; another one is an object coming anew.
            self._store.delete(archive_request_key(archive.id))
            turn.run()
        except _SupersededError:
            return BuildResult.SUPERSEDED
        except (_FilesChangedError, FileGoneError):
            return self._fail(archive, FILES_CHANGED)
        except UnavailableError as error:
            return self._schedule_retry(archive, error)
        except _TimeIsUpError:
            if self._transitions.release_lease(archive):
                self._store.put_marker(archive_request_key(archive.id))
            return BuildResult.UNFINISHED
        return BuildResult.READY if self._transitions.finish(archive, expires_at=clock.now() + self._retention) else BuildResult.SUPERSEDED

    def _schedule_retry(self, archive: Archive, error: UnavailableError) -> BuildResult:
        """Ask for another turn after a pause, if another may succeed; raise the error when too many in a row have come to nothing."""
        is_withheld = isinstance(error, ObjectWithheldError)
        if is_withheld and archive.created_at < clock.now() - SCAN_GRACE:
            # Nor would a later turn get it: whoever asked can leave it out.
            logger.error("S3 withholds a file of archive %s: by a malware scan, or a policy that lacks s3:GetObject", archive.id)
            return self._fail(archive, FILE_WITHHELD)
        if not self._transitions.release_lease(archive):
            return BuildResult.SUPERSEDED
        turn = max(0, archive.attempts - 1)
        if turn >= len(PAUSES_SECONDS):
            if is_withheld:
                return BuildResult.RETRY
            raise error
        logger.warning("A turn at archive %s is broken off: %s", archive.id, error.__cause__ or error)
        # Here, because the queue cannot be reached, and S3 tells it at once.
        sleep(PAUSES_SECONDS[turn])
        self._store.put_marker(archive_request_key(archive.id))
        return BuildResult.RETRY

    def _fail(self, archive: Archive, error_code: str) -> BuildResult:
        if not self._transitions.fail(archive, error_code=error_code, expires_at=clock.now() + self._retention):
            return BuildResult.SUPERSEDED
        logger.info("An archive fails: %s", error_code, extra={"fields": {"archive_id": archive.id}})
        # A crash before this leaves the parts to the sweep, which knows them by the row.
        if archive.upload_id is not None:
            self._store.abort_multipart(archive.s3_key, archive.upload_id)
        self._store.delete(archive.s3_key)
        return BuildResult.FAILED


class _BuildAttempt:
    """One worker's turn at one archive."""

    def __init__(self, archive: Archive, transitions: ArchiveTransitionRepository, store: ObjectStore, *, deadline: float) -> None:
        self._archive = archive
        self._transitions = transitions
        self._store = store
        self._deadline = deadline

    def run(self) -> None:
        """Leave the whole object behind."""
        archive = self._archive
        if not self._goes_on():
            if self._is_there():
                return
            self._begin()
        with PartMaker(archive, self._transitions.list_entries(archive.id), self._store) as maker:
            self._send_in_order(maker)
            self._send_missing(maker)
            self._require_files(0, archive.file_count - 1)
            self._join(maker)

    def _goes_on(self) -> bool:
        upload_id = self._archive.upload_id
        return upload_id is not None and self._store.list_parts(self._archive.s3_key, upload_id) is not None

    def _is_there(self) -> bool:
        stored = self._store.head(self._archive.s3_key)
        return stored is not None and stored.size_bytes == self._archive.size_bytes

    def _begin(self) -> None:
        # S3 comes first: a crash between the two leaves an upload that no row names, for the sweep.
        archive = self._archive
        upload_id = self._store.start_multipart(key=archive.s3_key, content_type=CONTENT_TYPE, with_digests=True)
        if not self._transitions.begin_again(archive, upload_id=upload_id):
            raise _SupersededError
        archive.upload_id, archive.done_bytes, archive.cut_crc32 = upload_id, 0, 0

    def _send_in_order(self, maker: PartMaker) -> None:
        waiting: Part | None = None
        done_count = -(-self._archive.done_bytes // self._archive.part_size_bytes)
        for number in range(done_count + 1, maker.plan.count + 1):
            waiting = self._send_next(maker, number, waiting)
            self._note(maker, number)

    def _send_next(self, maker: PartMaker, number: int, waiting: Part | None) -> Part | None:
        """Make and send a part; return the one, this or the earlier, that still waits for a checksum."""
        part = self._make(maker, number)
        if waiting is not None and maker.complete(waiting):
            self._send(waiting)
            waiting = None
        if part.waits_for is not None:
            return part
        self._send(part)
        return waiting

    def _note(self, maker: PartMaker, number: int) -> None:
        _, end = maker.bounds(number)
        news, maker.news = maker.news, {}
        lease_until = clock.now() + LEASE
        if not self._transitions.keep_part(self._archive, done_bytes=end, cut_crc32=maker.cut_crc32, crc32s=news, lease_until=lease_until):
            raise _SupersededError
        self._archive.attempts = 0

    def _send_missing(self, maker: PartMaker) -> None:
        """Make again what waited for a checksum when an earlier turn ended; all are known now."""
        for number in maker.plan.missing(self._list_parts()):
            self._send(self._make(maker, number))

    def _make(self, maker: PartMaker, number: int) -> Part:
        if monotonic() >= self._deadline:
            raise _TimeIsUpError
        if (positions := maker.positions(number)) is not None:
            self._require_files(*positions)
        return maker.make(number)

    def _require_files(self, first: int, last: int) -> None:
        if not self._transitions.is_whole(self._archive, first=first, last=last):
            raise _FilesChangedError

    def _send(self, part: Part) -> None:
        upload_id = self._archive.upload_id
        if upload_id is None or not self._store.send_part(
            key=self._archive.s3_key, upload_id=upload_id, number=part.number, body=part.body
        ):
            raise _SupersededError

    def _join(self, maker: PartMaker) -> None:
        parts, upload_id = self._list_parts(), self._archive.upload_id
        if maker.plan.missing(parts) or upload_id is None:
            raise _SupersededError
        end = self._store.complete_multipart(
            key=self._archive.s3_key, upload_id=upload_id, parts=parts, size_bytes=self._archive.size_bytes
        )
        if end is MultipartEnd.PARTS_DIFFER or not self._is_there():
            raise UnavailableError

    def _list_parts(self) -> list[StoredPart]:
        upload_id = self._archive.upload_id
        parts = None if upload_id is None else self._store.list_parts(self._archive.s3_key, upload_id)
        if parts is None:
            raise _SupersededError
        return parts
