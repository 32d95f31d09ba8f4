"""Completes uploads, from client calls and S3 events."""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from functools import partial
from time import monotonic
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import AppError, ConflictError, UnavailableError
from lambda_app.models import File, FileStatus, User
from lambda_app.repositories.files.files import FileForbiddenError, FileRepository, FileState, NoSuchFileError
from lambda_app.repositories.files.tombstones import TombstoneRepository
from lambda_app.repositories.files.transitions import FileTransitionRepository
from lambda_app.services.files.upload_verification import UploadVerification, VerificationResult
from lambda_app.storage.keys import object_key
from lambda_app.storage.object_store import MultipartResult, ObjectStore, ObjectWithheldError
from lambda_app.storage.parts import PartPlan

COMPLETE_MULTIPART_GRACE = timedelta(hours=1)
"""How long S3 may take to complete a multipart upload. The upload's deadline is extended so that the sweep does not expire it."""
WITHHELD_RETRY_AFTER_SECONDS = 5
"""`Retry-After` for an upload that is being scanned."""
MISSING_PARTS_SHOWN = 100
"""How many missing parts an error lists: as many as one call can sign."""
BATCH_SECONDS = 4.0
"""When a request about many files begins with no further one. A call of S3 can take another 15 seconds, and the function ends after 20."""

_ENDED = (FileStatus.REJECTED, FileStatus.EXPIRED, FileStatus.DELETING)
"""States of a file that no longer has an object."""


class UploadRejectedError(ConflictError):
    """The uploaded object did not match the declared size or checksum and was deleted."""

    code = "upload_rejected"
    message = "The uploaded data does not match the declared file and was deleted; start a new upload"


class UploadMissingError(ConflictError):
    """S3 has no object for this file."""

    code = "upload_missing"
    message = "Nothing has been uploaded for this file yet"


class PartsMissingError(ConflictError):
    """Parts are missing; `missing_parts` lists the first of them."""

    code = "parts_missing"
    message = "Some parts have not been uploaded"


class UploadLostError(ConflictError):
    """S3 has neither the multipart upload nor the object."""

    code = "upload_lost"
    message = "The storage has lost this upload; delete the file and start a new upload"


class UploadWithheldError(ConflictError):
    """The object exists, but S3 denies access to it, for example until a malware scan has finished."""

    code = "upload_withheld"
    message = "The upload is being scanned; the file becomes available automatically"


class FileNotAvailableError(ConflictError):
    """The file is not available: its upload is pending, has expired or was rejected, or it is in the trash."""

    code = "file_not_available"
    message = "The file is not available for download"


class NoPartsError(ConflictError):
    """The file has no multipart upload in progress."""

    code = "not_in_parts"
    message = "This file has no multipart upload in progress"


class UploadCompletion:
    """Completes uploads, when a client or an S3 event reports that the bytes have arrived."""

    def __init__(
        self,
        *,
        files: FileRepository,
        transitions: FileTransitionRepository,
        tombstones: TombstoneRepository,
        store: ObjectStore,
        has_previews: bool = False,
    ) -> None:
        self._files = files
        self._transitions = transitions
        self._tombstones = tombstones
        self._store = store
        self._verification = UploadVerification(transitions=transitions, store=store, has_previews=has_previews)

    def complete(self, read: Callable[[], File], *, crc64nvme: str | None = None) -> File:
        """Make a pending file available if its object in S3 matches the declared file.

        `read` returns the current row; it is called again after a concurrent change. Raises the errors of `read` and of
        `UploadService.complete_upload`.
        """
        file = read()
        if file.status == FileStatus.REJECTED:
            # The call that rejected the upload may have been interrupted before it deleted the object, and its URL may store it again.
            self._delete_late_object(file.id)
        if file.status != FileStatus.PENDING:
            return _outcome(file)
        joined_by = clock.now() + COMPLETE_MULTIPART_GRACE
        is_late = file.upload_id is not None and file.upload_expires_at < joined_by
        if is_late and not self._transitions.extend(file.id, until=joined_by):
            return _outcome(read())
        is_lost = file.upload_id is not None and not self._complete_multipart(file, file.upload_id, crc64nvme)
        try:
            result, file = self._verification.verify(file, crc64nvme=crc64nvme)
        except ObjectWithheldError as error:
            # The roles of the S3 event handler and of the sweep can read objects that are not scanned yet; they complete the upload.
            file = read()
            if file.status != FileStatus.PENDING:
                return _outcome(file)
            raise _withheld() from error
        if result is VerificationResult.MISSING:
            # Raises NoSuchFileError if the file was deleted during the request to S3.
            read()
            raise UploadLostError if is_lost else UploadMissingError
        # If a concurrent request changed the file first, its result applies to this call too.
        return _outcome(read() if result is VerificationResult.SUPERSEDED else file)

    def complete_many(self, user: User, file_ids: Sequence[UUID]) -> list[FileStatus | AppError]:
        """Complete these uploads. Return for each the status of the file, or the error that `UploadService.complete_upload` would raise.

        A file that is not reached within `BATCH_SECONDS` stays pending, and has that status. Objects that arrive for rejected files are
        left to their events.
        """
        until = monotonic() + BATCH_SECONDS
        pending = self._files.list_pending(file_ids, user)
        single = [file for file in pending if file.part_size_bytes is None]
        errors: dict[UUID, AppError] = {}
        for file_id, error in self._verification.verify_many(single, until=until).items():
            errors[file_id] = _withheld() if isinstance(error, ObjectWithheldError) else error
        missing = {file.id for file in single} if monotonic() < until else set()
        for file in pending:
            if file.part_size_bytes is not None and monotonic() < until:
                try:
                    self.complete(partial(self._files.require_manageable, file.id, user))
                except AppError as refusal:
                    errors[file.id] = refusal
        states = {state.id: state for state in self._files.list_states(file_ids, user)}
        return [_state_after(states.get(file_id), errors.get(file_id), is_missing=file_id in missing) for file_id in file_ids]

    def complete_from_events(self, file_ids: Collection[UUID]) -> dict[UUID, UnavailableError]:
        """Verify the objects that S3 events report, and return the errors of those that could not be read.

        Events can be out of order, late, repeated or wrong.
        """
        files = self._files.get_many(file_ids)
        # Those that end below have no late object.
        ended = {file.id for file in files.values() if file.status in _ENDED}
        errors = self._verification.verify_many([file for file in files.values() if file.status == FileStatus.PENDING])
        for file_id in file_ids:
            try:
                # The object was uploaded after the file had ended or was deleted, with a presigned URL that was still valid. Without a
                # tombstone, this may be the wrong database. The sweep deletes unknown objects after a safety period.
                if file_id in ended or (file_id not in files and self._tombstones.has(file_id)):
                    self._delete_late_object(file_id)
            except UnavailableError as error:
                errors[file_id] = error
        return errors

    def _delete_late_object(self, file_id: UUID) -> None:
        # An object that was deleted before must not count again.
        if self._store.head(object_key(file_id)) is not None:
            self._tombstones.count_late_object(file_id)
            self._store.delete(object_key(file_id))

    def _complete_multipart(self, file: File, upload_id: str, crc64nvme: str | None) -> bool:
        """Complete the multipart upload; return False when S3 does not know it, for example because it was completed before."""
        parts = self._store.list_parts(file.s3_key, upload_id)
        if parts is None:
            return False
        missing = plan_of(file).missing(parts)
        if missing:
            raise PartsMissingError(extra={"missing_parts": missing[:MISSING_PARTS_SHOWN], "missing_count": len(missing)})
        end = self._store.complete_multipart(
            key=file.s3_key, upload_id=upload_id, parts=parts, size_bytes=file.size_bytes, crc64nvme=crc64nvme
        )
        if end is MultipartResult.PARTS_MISMATCH:
            raise PartsMissingError("The uploaded parts do not form the declared file; list the parts and upload those that differ again")
        return end is not MultipartResult.UPLOAD_NOT_FOUND


def plan_of(file: File) -> PartPlan:
    """Return the part plan of a file. Raises NoPartsError."""
    if file.part_size_bytes is None:
        raise NoPartsError
    return PartPlan(file.size_bytes, file.part_size_bytes)


def _state_after(state: FileState | None, error: AppError | None, *, is_missing: bool) -> FileStatus | AppError:
    """Return the result of one file of a request about many, from its state afterwards."""
    if state is None or not state.is_manageable:
        return NoSuchFileError() if state is None else FileForbiddenError()
    match FileStatus(state.status):
        case FileStatus.PENDING as status:
            return error or (UploadMissingError() if is_missing else status)
        case FileStatus.REJECTED:
            return UploadRejectedError()
        case FileStatus.EXPIRED as status:
            return _expired(status)
        case status:
            return status


def _withheld() -> UploadWithheldError:
    return UploadWithheldError(headers={"Retry-After": str(WITHHELD_RETRY_AFTER_SECONDS)})


def _expired(status: str) -> FileNotAvailableError:
    return FileNotAvailableError("The upload has expired; start a new one", extra={"file_status": status})


def _outcome(file: File) -> File:
    match FileStatus(file.status):
        case FileStatus.AVAILABLE | FileStatus.TRASHED:
            return file
        case FileStatus.REJECTED:
            raise UploadRejectedError
        case FileStatus.PENDING | FileStatus.EXPIRED:
            raise _expired(file.status)
        case FileStatus.DELETING:
            raise NoSuchFileError
