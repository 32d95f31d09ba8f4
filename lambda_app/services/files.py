"""A file's life: upload, completion, download, change and deletion."""

from dataclasses import dataclass
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, TooLargeError
from lambda_app.models import File, FileStatus, User
from lambda_app.repositories.files import FileRepository, NoSuchFileError
from lambda_app.schemas.file import FileCreate, FileUpdate
from lambda_app.schemas.page import Cursor
from lambda_app.storage.content import served_content_type
from lambda_app.storage.keys import object_key
from lambda_app.storage.object_store import SINGLE_PUT_MAX_BYTES, ObjectStore, PresignedRequest, StoredObject


class UploadRejectedError(ConflictError):
    """What S3 held was not what had been declared; it has been deleted."""

    code = "upload_rejected"
    message = "The uploaded object is not the declared one and was deleted; start a new upload"


class UploadMissingError(ConflictError):
    """S3 holds nothing for this file yet."""

    code = "upload_missing"
    message = "Nothing has been uploaded for this file yet"


class FileNotAvailableError(ConflictError):
    """The file has not become available, or never will."""

    code = "file_not_available"
    message = "The file is not available for download"


@dataclass(frozen=True, slots=True)
class StartedUpload:
    """A pending file and the one request that may fill it."""

    file: File
    request: PresignedRequest


@dataclass(frozen=True, slots=True)
class Download:
    """An available file, and where and as what its bytes are served."""

    file: File
    content_type: str
    request: PresignedRequest


@dataclass(frozen=True, slots=True)
class FilePage:
    """One page of files, and the cursor of the next if there is one."""

    files: list[File]
    next_cursor: Cursor | None


class FileService:
    """What may be done with files."""

    def __init__(self, *, files: FileRepository, store: ObjectStore) -> None:
        self._files = files
        self._store = store

    def start_upload(self, owner: User, declared: FileCreate) -> StartedUpload:
        """Create a pending file and sign the one request that may fill it. Raises TooLargeError, UnavailableError."""
        if declared.size_bytes > SINGLE_PUT_MAX_BYTES:
            raise TooLargeError(
                f"One upload request takes at most {SINGLE_PUT_MAX_BYTES} bytes",
                code="single_upload_too_large",
                extra={"max_bytes": SINGLE_PUT_MAX_BYTES},
            )
        file_id, now = uuid4(), clock.now()
        key = object_key(file_id)
        request = self._store.presign_upload(
            key=key, size_bytes=declared.size_bytes, content_type=declared.content_type, sha256=declared.sha256
        )
        file = File(
            **declared.model_dump(),
            id=file_id,
            s3_key=key,
            owner_id=owner.id,
            status=FileStatus.PENDING,
            upload_expires_at=request.expires_at,
            created_at=now,
            updated_at=now,
        )
        return StartedUpload(file=self._files.add(file), request=request)

    def complete_upload(self, user: User, file_id: UUID) -> File:
        """Make the file available if S3 holds what was declared; a repeated call changes nothing.

        Raises:
            UploadMissingError: nothing has arrived; the upload may still be made.
            UploadRejectedError: something else has arrived; now, or at an earlier call.
            FileNotAvailableError: the upload's time is over.
            NoSuchFileError, FileForbiddenError, UnavailableError.
        """
        file = self._files.require_manageable(file_id, user)
        if file.status != FileStatus.PENDING:
            return self._outcome(file)
        # No transaction is open here: the read above was its own.
        stored = self._store.head(file.s3_key)
        if stored is None:
            raise UploadMissingError
        if not _is_as_declared(file, stored):
            rejected = self._files.move(file_id, before=FileStatus.PENDING, after=FileStatus.REJECTED)
            if rejected is not None:
                self._store.delete(rejected.s3_key)
                raise UploadRejectedError
        else:
            available = self._files.move(file_id, before=FileStatus.PENDING, after=FileStatus.AVAILABLE)
            if available is not None:
                return available
        # Somebody else moved it between our look and our update: their outcome is ours.
        return self._outcome(self._files.require_manageable(file_id, user))

    def start_download(self, viewer: User | None, file_id: UUID) -> Download:
        """Sign an address of the bytes, as an attachment and with a type that no browser runs.

        Raises NotAuthenticatedError, NoSuchFileError, FileForbiddenError, FileNotAvailableError, UnavailableError.
        """
        file = self._files.require_readable(file_id, viewer)
        if file.status != FileStatus.AVAILABLE:
            raise FileNotAvailableError(extra={"file_status": file.status})
        content_type = served_content_type(file.content_type)
        request = self._store.presign_download(key=file.s3_key, filename=file.filename, content_type=content_type)
        return Download(file=file, content_type=content_type, request=request)

    def get_file(self, viewer: User, file_id: UUID) -> File:
        """Return a file that the user may read. Raises NoSuchFileError, FileForbiddenError."""
        return self._files.require_readable(file_id, viewer)

    def page_files(self, user: User, *, skip: int, limit: int, after: Cursor | None) -> FilePage:
        """Return one page of the user's list, newest first."""
        rows = self._files.page(user, skip=skip, limit=limit + 1, after=after)
        files = rows[:limit]
        next_cursor = Cursor(created_at=files[-1].created_at, id=files[-1].id) if len(rows) > limit else None
        return FilePage(files=files, next_cursor=next_cursor)

    def update_file(self, user: User, file_id: UUID, update: FileUpdate) -> File:
        """Change what the caller named. Raises NoSuchFileError, FileForbiddenError."""
        changes = update.model_dump(exclude_unset=True)
        return self._files.update(file_id, user, changes) if changes else self._files.require_manageable(file_id, user)

    def delete_file(self, user: User, file_id: UUID) -> None:
        """Delete the file and its object, in any state. Raises NoSuchFileError, FileForbiddenError, UnavailableError.

        When S3 does not answer, the file is gone from every list already and the deletion can be repeated.
        """
        file = self._files.start_deleting(file_id, user)
        self._store.delete(file.s3_key)
        self._files.finish_deleting(file.id)

    def _outcome(self, file: File) -> File:
        match FileStatus(file.status):
            case FileStatus.AVAILABLE:
                return file
            case FileStatus.REJECTED:
                raise UploadRejectedError
            case FileStatus.PENDING | FileStatus.EXPIRED:
                raise FileNotAvailableError("The time for this upload is over; start a new one", extra={"file_status": file.status})
            case FileStatus.DELETING:
                raise NoSuchFileError


def _is_as_declared(file: File, stored: StoredObject) -> bool:
    if stored.size_bytes != file.size_bytes:
        return False
    return file.sha256 is None or stored.sha256 == file.sha256
