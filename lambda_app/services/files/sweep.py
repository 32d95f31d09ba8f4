"""The sweep of files: completes or expires old uploads, finishes deletions, and deletes orphan objects."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.db.errors import StatementFailedError
from lambda_app.models import File, FileStatus, PreviewState
from lambda_app.repositories.accounts.deletions import AccountDeletionRepository
from lambda_app.repositories.files.idempotency import IdempotencyRepository
from lambda_app.repositories.files.previews import PREVIEWED, PreviewRepository
from lambda_app.repositories.files.sweep import SweepRepository
from lambda_app.repositories.files.tombstones import TombstoneRepository
from lambda_app.repositories.files.transitions import FileTransitionRepository
from lambda_app.services.accounts.transfers import MOVING_SECONDS, FileMover
from lambda_app.services.files.idempotency import KEY_LIFETIME
from lambda_app.services.files.preview_requests import delete_previews, is_previewable, request_preview
from lambda_app.services.files.upload_verification import UploadVerification, VerificationResult
from lambda_app.storage.keys import PREVIEW_PREFIX, file_id_of, object_key, previewed_file_of
from lambda_app.storage.object_store import ListedObject, ListedUpload, ObjectStore

PAGE_ROWS = 200
PAGE_KEYS = 1000
PREVIEW_REPEAT_AFTER = timedelta(minutes=30)
"""When a preview without a result is requested again: longer than the queue retries."""
PREVIEW_REQUESTS_MAX_COUNT = 3
"""Requests of one preview before it counts as failed."""
REJECTED_RETENTION = timedelta(days=30)
"""How long the row of a rejected upload is stored for its owner. It does not count in the quota."""
ORPHAN_MIN_AGE = timedelta(hours=1)
"""Uploads and objects without a row are not deleted before this age: a multipart upload is started before its row is written."""
UNKNOWN_OBJECTS_MAX_COUNT = 100
"""If one page of the listing has more objects without a row than this, and they are more than half, the sweep deletes none."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class SweepReport:
    """What one run did or, with a dry run, would have done. The names of the fields are those of the log line."""

    became_available: int = 0
    """Finished uploads that neither the client nor an event had completed."""
    became_rejected: int = 0
    expired: int = 0
    """Pending files whose bytes were never uploaded."""
    purged: int = 0
    """Files whose retention in the trash, or as rejected, had ended."""
    removed: int = 0
    """Rows deleted after their bytes: of expired files, purged files and interrupted deletions."""
    aborted_uploads: int = 0
    """Multipart uploads that belong to no pending file."""
    deleted_objects: int = 0
    """Objects that belong to no file."""
    requested_previews: int = 0
    """Previews that were requested again, because the worker had not reported them."""
    failed_previews: int = 0
    """Previews that were given up after several requests."""
    deleted_previews: int = 0
    """Images of previews that belong to no file."""
    lost_objects: int = 0
    """Files whose object is missing. They are only reported, because a misconfigured bucket looks the same."""
    forgotten_keys: int = 0
    """Idempotency keys that had expired."""
    ended_charges: int = 0
    """Charges of ended files whose upload URL had expired."""
    forgotten_tombstones: int = 0
    """Tombstones that had expired."""
    deleted_accounts: int = 0
    """Accounts whose period of grace had ended and of which nothing was left."""
    failures: int = 0
    """Steps that failed because S3 or the database did not respond. The next run retries them."""
    is_finished: bool = field(default=True)
    """Whether the run completed all steps within its time budget."""


class SweepService:
    """Sweeps rows and objects in pages, within a time budget. Each step is idempotent and safe while requests run."""

    def __init__(
        self,
        *,
        files: SweepRepository,
        transitions: FileTransitionRepository,
        tombstones: TombstoneRepository,
        keys: IdempotencyRepository,
        accounts: AccountDeletionRepository,
        previews: PreviewRepository | None,
        mover: FileMover,
        store: ObjectStore,
    ) -> None:
        self._previews = previews
        self._files = files
        self._accounts = accounts
        self._mover = mover
        self._transitions = transitions
        self._tombstones = tombstones
        self._keys = keys
        self._store = store
        self._verification = UploadVerification(transitions=transitions, store=store, has_previews=previews is not None)

    def run(self, *, budget_seconds: float, is_dry: bool = False, orphan_min_age: timedelta = ORPHAN_MIN_AGE) -> SweepReport:
        """Run all steps and return the report. The next run continues where the time budget ends this one."""
        sweep = _Run(
            files=self._files,
            transitions=self._transitions,
            tombstones=self._tombstones,
            keys=self._keys,
            accounts=self._accounts,
            previews=self._previews,
            mover=self._mover,
            store=self._store,
            verification=self._verification,
            now=clock.now(),
            orphan_min_age=orphan_min_age,
            is_dry=is_dry,
        )
        deadline = monotonic() + budget_seconds
        for step in sweep.steps():
            for _ in step:
                if monotonic() >= deadline:
                    sweep.report.is_finished = False
                    return sweep.report
        return sweep.report


@dataclass(slots=True)
class _Run:
    """One run. Each step yields after each item, so that the run can stop there."""

    files: SweepRepository
    transitions: FileTransitionRepository
    tombstones: TombstoneRepository
    keys: IdempotencyRepository
    accounts: AccountDeletionRepository
    previews: PreviewRepository | None
    """None without a preview worker."""
    mover: FileMover
    store: ObjectStore
    verification: UploadVerification
    now: datetime
    orphan_min_age: timedelta
    is_dry: bool
    report: SweepReport = field(default_factory=SweepReport)
    _has_more: bool = False
    """Whether the account that is being deleted may have further rows."""

    def steps(self) -> list[Iterator[None]]:
        rejected_before = self.now - REJECTED_RETENTION
        return [
            # First: the files of an account must be moved before the account is deleted.
            self._move_files(),
            self._each(lambda after: self.files.list_overdue(self.now, after=after, limit=PAGE_ROWS), self._end_upload),
            self._each(lambda after: self.files.list_ended(after=after, limit=PAGE_ROWS), self._finish),
            self._each(
                lambda after: self.files.list_to_purge(self.now, after=after, limit=PAGE_ROWS),
                lambda file: self._purge(file, FileStatus.TRASHED, self.now),
            ),
            self._each(
                lambda after: self.files.list_rejected(rejected_before, after=after, limit=PAGE_ROWS),
                lambda file: self._purge(file, FileStatus.REJECTED, rejected_before),
            ),
            self._delete_accounts(),
            self._delete_expired_keys(),
            self._orphan_uploads(),
            self._objects(),
            *([] if self.previews is None else [self._repeat_preview_requests(self.previews), self._delete_orphan_previews()]),
            # After the objects: until the last bytes are deleted, they are charged, and a tombstone marks them.
            self._release_ended_charges(),
            self._delete_expired_tombstones(),
        ]

    def _each(self, page: Callable[[UUID | None], list[File]], act: Callable[[File], None]) -> Iterator[None]:
        after: UUID | None = None
        while files := page(after):
            for file in files:
                after = file.id
                self._try(partial(act, file))
                yield

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (UnavailableError, StatementFailedError) as error:
            self.report.failures += 1
            self.files.reset_session()
            logger.warning("A step of the sweep failed; the next run retries it: %s", error.__cause__ or error)

    def _end_upload(self, file: File) -> None:
        if self.is_dry:
            self.report.expired += self.store.head(file.s3_key) is None
            return
        # A finished upload is accepted even after its deadline: the bytes exist, and the client may have crashed before completing it.
        result, _ = self.verification.verify(file)
        self.report.became_available += result is VerificationResult.AVAILABLE
        self.report.became_rejected += result is VerificationResult.REJECTED
        if result is VerificationResult.MISSING and (expired := self.transitions.expire(file.id, overdue_at=self.now)) is not None:
            self.report.expired += 1
            self._finish(expired)

    def _purge(self, file: File, before: FileStatus, overdue_at: datetime) -> None:
        purged = file if self.is_dry else self.transitions.purge(file.id, before=before, overdue_at=overdue_at)
        if purged is not None:
            self.report.purged += 1
            self._finish(purged)

    def _finish(self, file: File) -> None:
        self.report.removed += 1
        if self.is_dry:
            return
        if file.upload_id is not None:
            self.store.abort_multipart(file.s3_key, file.upload_id)
        if file.status != FileStatus.EXPIRED and is_previewable(file):
            delete_previews(self.store, [file.id])
        self.store.delete(file.s3_key)
        self.transitions.remove(file.id)

    def _delete_accounts(self) -> Iterator[None]:
        after: UUID | None = None
        while due := self.accounts.list_due(self.now, after=after, limit=PAGE_ROWS):
            for user_id in due:
                after = user_id
                yield from self._each(
                    lambda file_id, owner_id=user_id: self.files.list_of_owner(owner_id, after=file_id, limit=PAGE_ROWS),  # type: ignore[misc]
                    self._purge_with_account,
                )
                self._has_more = not self.is_dry
                while self._has_more:
                    self._try(partial(self._delete_rows_of_account, user_id))
                    yield
                self._try(partial(self._delete_account, user_id))
                yield

    def _purge_with_account(self, file: File) -> None:
        purged = file if self.is_dry else self.transitions.purge_with_account(file.id, now=self.now)
        if purged is not None:
            self.report.purged += 1
            self._finish(purged)

    def _move_files(self) -> Iterator[None]:
        after: UUID | None = None
        while not self.is_dry and (found := self.mover.transfers.list_moving(after=after, limit=PAGE_ROWS)):
            for transfer_id in found:
                after = transfer_id
                self._try(partial(self.mover.move, transfer_id, seconds=MOVING_SECONDS))
                yield

    def _delete_rows_of_account(self, user_id: UUID) -> None:
        # False also after an error: the next run continues.
        self._has_more = False
        self._has_more = self.accounts.delete_batch(user_id, now=self.now)

    def _delete_account(self, user_id: UUID) -> None:
        if self.is_dry:
            return
        # The sweep of archives deletes their objects and rows; a later run of this sweep then deletes the account.
        self.accounts.end_archives(user_id)
        self.report.deleted_accounts += self.accounts.remove(user_id, now=self.now)

    def _delete_expired_keys(self) -> Iterator[None]:
        before = self.now - KEY_LIFETIME
        self._try(lambda: self._delete_keys(before))
        yield

    def _delete_keys(self, before: datetime) -> None:
        self.report.forgotten_keys += self.keys.count_expired(before) if self.is_dry else self.keys.delete_expired(before)

    def _release_ended_charges(self) -> Iterator[None]:
        after: UUID | None = None
        while owners := self.tombstones.list_owners_with_ended_charges(self.now, after=after, limit=PAGE_ROWS):
            for owner_id in owners:
                after = owner_id
                self._try(partial(self._release_charges_of, owner_id))
                yield

    def _release_charges_of(self, owner_id: UUID) -> None:
        release = self.tombstones.count_ended_charges if self.is_dry else self.tombstones.release_ended_charges
        self.report.ended_charges += release(owner_id, self.now)

    def _delete_expired_tombstones(self) -> Iterator[None]:
        self._try(self._delete_tombstones)
        yield

    def _delete_tombstones(self) -> None:
        delete = self.tombstones.count_expired if self.is_dry else self.tombstones.delete_expired
        self.report.forgotten_tombstones += delete(self.now)

    def _orphan_uploads(self) -> Iterator[None]:
        name, after = "uploads", self.files.get_position("uploads")
        is_last = False
        while not is_last:
            try:
                page = self.store.list_uploads(after_key=after, limit=PAGE_KEYS)
            except UnavailableError:
                self.report.failures += 1
                return
            self._abort_orphans(page.uploads)
            # A store without paging returns the same page again.
            is_last = page.is_last or not page.uploads or page.uploads[-1].key <= after
            after = "" if is_last else page.uploads[-1].key
            self._keep_position(name, after)
            yield

    def _abort_orphans(self, uploads: list[ListedUpload]) -> None:
        known = self._known(upload.key for upload in uploads)
        for upload in uploads:
            status, upload_id = known.get(upload.key, (None, None))
            is_live = status is FileStatus.PENDING and upload_id == upload.upload_id
            if not is_live and upload.started_at <= self.now - self.orphan_min_age:
                self._try(partial(self._abort, upload))

    def _abort(self, upload: ListedUpload) -> None:
        if not self.is_dry:
            self.store.abort_multipart(upload.key, upload.upload_id)
        self.report.aborted_uploads += 1

    def _objects(self) -> Iterator[None]:
        """Compare the bucket's keys with the table's ids page by page; both sort in the same order."""
        name, after = "objects", self.files.get_position("objects")
        is_last = False
        while not is_last:
            try:
                page = self.store.list_objects(after_key=after, limit=PAGE_KEYS)
            except UnavailableError:
                self.report.failures += 1
                return
            is_last = page.is_last or not page.objects
            keys = [found.key for found in page.objects]
            if not self._delete_orphans(page.objects):
                break
            self._report_lost(after, None if is_last else keys[-1], set(keys))
            after = "" if is_last else keys[-1]
            self._keep_position(name, after)
            yield

    def _delete_orphans(self, objects: list[ListedObject]) -> bool:
        """Delete the objects of ended files and of no file; return False if the objects of no file are too many to delete."""
        # The rows are read after the keys, and a row is committed before its upload URL is returned. So an object without a row
        # is not a new upload.
        ours = {found.key: file_id for found in objects if (file_id := file_id_of(found.key)) is not None}
        known = self._known(ours)
        without_row = [file_id for key, file_id in ours.items() if key not in known]
        remembered = self.tombstones.list_existing(without_row) if without_row else set()
        expected = (FileStatus.PENDING, FileStatus.AVAILABLE, FileStatus.TRASHED)
        for key, file_id in ours.items():
            # Presigned URLs can store objects after their file has ended. These are known to be unwanted, however many they are.
            if file_id in remembered or (key in known and known[key][0] not in expected):
                self._try(partial(self._delete_late_object, file_id))
        unknown = [found for found in objects if found.key in ours and found.key not in known and ours[found.key] not in remembered]
        if len(unknown) > UNKNOWN_OBJECTS_MAX_COUNT and len(unknown) > len(objects) / 2:
            # The likely cause is a restored or a wrong database; deleting the objects would lose data.
            self.report.failures += 1
            self.report.is_finished = False
            logger.error("Most objects have no row in the database; the sweep deletes none of them. Check that this is the right database.")
            return False
        for found in unknown:
            if found.modified_at <= self.now - self.orphan_min_age:
                self._try(partial(self._delete_orphan, found.key))
        return True

    def _delete_late_object(self, file_id: UUID) -> None:
        if not self.is_dry:
            self.tombstones.count_late_object(file_id)
        self._delete_orphan(object_key(file_id))

    def _delete_orphan(self, key: str) -> None:
        if not self.is_dry:
            self.store.delete(key)
        self.report.deleted_objects += 1

    def _report_lost(self, after_key: str, until_key: str | None, keys: set[str]) -> None:
        until = None if until_key is None else file_id_of(until_key)
        for file_id in self.files.list_stored(after=file_id_of(after_key), until=until, limit=2 * PAGE_KEYS):
            if object_key(file_id) not in keys:
                self._try(partial(self._report_if_lost, file_id))

    def _report_if_lost(self, file_id: UUID) -> None:
        # The object may have been uploaded, or the file deleted, since the page was listed.
        if self.store.head(object_key(file_id)) is None and self.files.get_statuses([file_id]):
            self.report.lost_objects += 1
            logger.error("The object of file %s is missing", file_id)

    def _repeat_preview_requests(self, previews: PreviewRepository) -> Iterator[None]:
        before, after = self.now - PREVIEW_REPEAT_AFTER, None
        while overdue := previews.list_overdue(before, after=after, limit=PAGE_ROWS):
            for preview in overdue:
                after = preview.file_id
                self._try(partial(self._repeat_preview_request, previews, preview.file_id, preview.request_count))
                yield

    def _repeat_preview_request(self, previews: PreviewRepository, file_id: UUID, request_count: int) -> None:
        if request_count >= PREVIEW_REQUESTS_MAX_COUNT:
            self.report.failed_previews += 1
            if not self.is_dry:
                previews.record(file_id, state=PreviewState.FAILED, reason="no_result")
            return
        self.report.requested_previews += 1
        if not self.is_dry:
            previews.repeat_request(file_id)
            request_preview(self.store, file_id)

    def _delete_orphan_previews(self) -> Iterator[None]:
        """Delete the images of files that are gone: the worker may have stored them after the deletion."""
        name, after = "previews", self.files.get_position("previews")
        is_last = False
        while not is_last:
            try:
                page = self.store.list_objects(after_key=after, limit=PAGE_KEYS, prefix=PREVIEW_PREFIX)
            except UnavailableError:
                self.report.failures += 1
                return
            is_last = page.is_last or not page.objects
            owners = {found.key: file_id for found in page.objects if (file_id := previewed_file_of(found.key)) is not None}
            known = self.files.get_statuses(list(set(owners.values()))) if owners else {}
            orphans = [key for key, file_id in owners.items() if file_id not in known or known[file_id][0] not in PREVIEWED]
            if len(orphans) > UNKNOWN_OBJECTS_MAX_COUNT and len(orphans) > len(owners) / 2:
                # As for the objects of files: this may be the wrong database.
                self.report.failures += 1
                self.report.is_finished = False
                return
            if orphans:
                self._try(partial(self._delete_preview_objects, orphans))
            after = "" if is_last else page.objects[-1].key
            self._keep_position(name, after)
            yield

    def _delete_preview_objects(self, keys: list[str]) -> None:
        left = set() if self.is_dry else self.store.delete_many(keys)
        self.report.deleted_previews += len(keys) - len(left)

    def _known(self, keys: Iterable[str]) -> dict[str, tuple[FileStatus, str | None]]:
        ids = [file_id for key in keys if (file_id := file_id_of(key)) is not None]
        return {object_key(file_id): found for file_id, found in self.files.get_statuses(ids).items()} if ids else {}

    def _keep_position(self, name: str, after_key: str) -> None:
        if not self.is_dry:
            self.files.set_position(name, after_key)
