"""Requests about many files at once: their states and downloads. Each file is decided as by the request about it alone."""

from collections.abc import Sequence
from uuid import UUID

from lambda_app.core.errors import AppError, NotAuthenticatedError
from lambda_app.models import File, FileStatus, User
from lambda_app.repositories.files.batches import FileBatchRepository
from lambda_app.repositories.files.files import FileForbiddenError, NoSuchFileError
from lambda_app.services.files.files import READER_DOWNLOAD_URL_TTL_SECONDS, Download, download_content_type
from lambda_app.services.files.scans import withheld_error
from lambda_app.services.files.upload_completion import FileNotAvailableError
from lambda_app.storage.object_store import ObjectStore


class FileBatchService:
    """Reads many files."""

    def __init__(self, *, batches: FileBatchRepository, store: ObjectStore) -> None:
        self._batches = batches
        self._store = store

    def list_statuses(self, user: User, file_ids: Sequence[UUID]) -> list[FileStatus | None]:
        """Return the status of each of these files; None for an id that is unknown or whose file the user may not read."""
        found = self._batches.list_statuses(file_ids, user)
        return [found.get(file_id) for file_id in file_ids]

    def start_downloads(self, viewer: User | None, file_ids: Sequence[UUID]) -> list[Download | AppError]:
        """Sign the downloads of these files. Return for each its download, or the error that `FileService.start_download` would raise.

        Raises UnavailableError.
        """
        found = self._batches.list_readable(file_ids, viewer)
        return [self._start_download(viewer, *found.get(file_id, (None, False))) for file_id in file_ids]

    def _start_download(self, viewer: User | None, file: File | None, is_permitted: bool) -> Download | AppError:
        if file is None or not is_permitted:
            if viewer is None:
                return NotAuthenticatedError("Not authenticated")
            return NoSuchFileError() if file is None else FileForbiddenError()
        if file.status != FileStatus.AVAILABLE:
            return FileNotAvailableError(extra={"file_status": file.status})
        if refusal := withheld_error(file):
            return refusal
        content_type = download_content_type(file)
        lifetime = None if viewer is not None and viewer.id == file.owner_id else READER_DOWNLOAD_URL_TTL_SECONDS
        request = self._store.presign_download(
            key=file.s3_key, filename=file.filename, content_type=content_type, lifetime_seconds=lifetime
        )
        return Download(file=file, content_type=content_type, request=request)
