"""The end of an upload: everything has arrived, is looked at, and the file becomes available; whoever says so."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError
from lambda_app.models import File, FileStatus
from lambda_app.repositories.files.files import FileRepository, NoSuchFileError
from lambda_app.repositories.files.transitions import FileTransitionRepository
from lambda_app.services.files.upload_verification import UploadVerification, VerificationResult
from lambda_app.storage.object_store import MultipartEnd, ObjectStore, ObjectWithheldError
from lambda_app.storage.parts import PartPlan

COMPLETE_MULTIPART_GRACE = timedelta(hours=1)
"""How long S3 may take to join parts: an upload is not taken for abandoned meanwhile."""
WITHHELD_SECONDS = 5
"""When to ask again for an upload that is being checked."""
MISSING_PARTS_SHOWN = 100
"""How many missing parts an answer names: as many as one call signs."""


class UploadRejectedError(ConflictError):
    """What S3 held was not what had been declared; it has been deleted."""

    code = "upload_rejected"
    message = "The uploaded object is not the declared one and was deleted; start a new upload"


class UploadMissingError(ConflictError):
    """S3 holds nothing for this file yet."""

    code = "upload_missing"
    message = "Nothing has been uploaded for this file yet"


class PartsMissingError(ConflictError):
    """Not every part has arrived; `missing_parts` names the first of them."""

    code = "parts_missing"
    message = "Some parts have not been uploaded"


class UploadLostError(ConflictError):
    """S3 knows neither the multipart upload nor the object."""

    code = "upload_lost"
    message = "The store has lost this upload; delete the file and start a new one"


class UploadWithheldError(ConflictError):
    """The store has the object and does not show it to us, as until a malware scan has found it clean."""

    code = "upload_withheld"
    message = "The upload is being checked; it becomes available by itself"


class FileNotAvailableError(ConflictError):
    """The file has not become available, or never will."""

    code = "file_not_available"
    message = "The file is not available for download"


class NoPartsError(ConflictError):
    """The file does not take parts (any more)."""

    code = "not_in_parts"
    message = "This file is not being uploaded in parts"


class UploadCompletion:
    """Completes uploads, at the word of a client or of S3's event."""

    def __init__(self, *, files: FileRepository, transitions: FileTransitionRepository, store: ObjectStore) -> None:
        self._files = files
        self._transitions = transitions
        self._store = store
        self._settlement = UploadVerification(transitions=transitions, store=store)

    def complete(self, read: Callable[[], File], *, crc64nvme: str | None = None) -> File:
        """Make the file that `read` returns, as it is at each call, available if S3 holds what was declared.

        Raises as `UploadService.complete_upload`, and `read` does.
        """
        file = read()
        if file.status == FileStatus.REJECTED:
            # The call that rejected it may have been cut off before this.
            self._store.delete(file.s3_key)
        if file.status != FileStatus.PENDING:
            return _outcome(file)
        joined_by = clock.now() + COMPLETE_MULTIPART_GRACE
        if file.upload_id is not None and file.upload_expires_at < joined_by and not self._transitions.extend(file.id, until=joined_by):
            return _outcome(read())
        is_lost = file.upload_id is not None and not self._join(file, file.upload_id, crc64nvme)
        try:
            settled, file = self._settlement.verify(file, crc64nvme=crc64nvme)
        except ObjectWithheldError as error:
            # S3's event and the sweep go by roles that may look at what was not scanned yet.
            file = read()
            if file.status != FileStatus.PENDING:
                return _outcome(file)
            raise UploadWithheldError(headers={"Retry-After": str(WITHHELD_SECONDS)}) from error
        if settled is VerificationResult.MISSING:
            # It may have been deleted, bytes and all, while S3 was asked.
            read()
            raise UploadLostError if is_lost else UploadMissingError
        # Somebody else moved it between our look and our update: their outcome is ours.
        return _outcome(read() if settled is VerificationResult.SUPERSEDED else file)

    def record_object(self, file_id: UUID) -> VerificationResult:
        """Take S3's word that an object may have come, and look. Unordered, late, repeated and untrue words all do no harm.

        Raises UnavailableError.
        """
        file = self._files.get(file_id)
        if file is None:
            # A file that was deleted, or never was. The sweep deletes objects without rows, and takes its time to be sure.
            return VerificationResult.SUPERSEDED
        if file.status == FileStatus.PENDING:
            return self._settlement.verify(file)[0]
        if file.status in (FileStatus.REJECTED, FileStatus.EXPIRED, FileStatus.DELETING):
            # It came after its file had ended, by a URL that was still alive.
            self._store.delete(file.s3_key)
        return VerificationResult.SUPERSEDED

    def _join(self, file: File, upload_id: str, crc64nvme: str | None) -> bool:
        """Join the parts; False when S3 does not know the upload, which may be because it was joined before."""
        parts = self._store.list_parts(file.s3_key, upload_id)
        if parts is None:
            return False
        missing = plan_of(file).missing(parts)
        if missing:
            raise PartsMissingError(extra={"missing_parts": missing[:MISSING_PARTS_SHOWN], "missing_count": len(missing)})
        end = self._store.complete_multipart(
            key=file.s3_key, upload_id=upload_id, parts=parts, size_bytes=file.size_bytes, crc64nvme=crc64nvme
        )
        if end is MultipartEnd.PARTS_DIFFER:
            raise PartsMissingError("S3 does not take these parts for the file; list them, and send again what differs")
        return end is not MultipartEnd.NO_UPLOAD


def plan_of(file: File) -> PartPlan:
    """Return the plan of a file's parts. Raises NoPartsError."""
    if file.part_size_bytes is None:
        raise NoPartsError
    return PartPlan(file.size_bytes, file.part_size_bytes)


def _outcome(file: File) -> File:
    match FileStatus(file.status):
        case FileStatus.AVAILABLE | FileStatus.TRASHED:
            return file
        case FileStatus.REJECTED:
            raise UploadRejectedError
        case FileStatus.PENDING | FileStatus.EXPIRED:
            raise FileNotAvailableError("The time for this upload is over; start a new one", extra={"file_status": file.status})
        case FileStatus.DELETING:
            raise NoSuchFileError
