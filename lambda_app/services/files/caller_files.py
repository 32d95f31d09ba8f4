"""The reads that most requests make: the details of a file, and its download. Each takes one statement."""

from uuid import UUID

from lambda_app.db.compiled import Steps
from lambda_app.models import FileStatus
from lambda_app.repositories.files.caller_files import CallerFileRepository, DownloadableFile, ShownFile
from lambda_app.services.accounts.callers import CallerService, SubmittedCredential
from lambda_app.services.files.files import READER_DOWNLOAD_URL_TTL_SECONDS, Download, sign_download, sign_inline
from lambda_app.services.files.upload_completion import FileNotAvailableError
from lambda_app.storage.object_store import ObjectStore


class CallerFileService:
    """Reads files for callers that are authenticated by the same statement."""

    def __init__(self, *, files: CallerFileRepository, callers: CallerService, store: ObjectStore) -> None:
        self._files = files
        self._callers = callers
        self._store = store

    def get_file(self, submitted: SubmittedCredential, file_id: UUID) -> Steps[ShownFile]:
        """Return a file that the caller can read.

        Raises NotAuthenticatedError, ScopeMissingError, NoSuchFileError, FileForbiddenError, UnavailableError.
        """
        credential = self._callers.read(submitted)
        found = yield from self._files.find(credential, file_id)
        self._callers.accept(submitted, credential, found.caller)
        return ShownFile(*found.require())

    def start_download(self, submitted: SubmittedCredential | None, file_id: UUID, *, is_inline: bool = False) -> Download:
        """Sign a download with a content type that browsers do not execute; short-lived unless the caller is the owner.

        It is an attachment. With `is_inline` a page can show it, if its type allows that.

        Without a credential, only for public files. Raises the errors of `get_file`, FileNotAvailableError.
        """
        if submitted is None:
            file, is_owner = self._files.require_public(file_id), False
        else:
            credential = self._callers.read(submitted)
            found = self._files.find_downloadable(credential, file_id)
            caller = self._callers.accept(submitted, credential, found.caller)
            file = DownloadableFile(*found.require())
            is_owner = caller.id == file.owner_id
        if file.status != FileStatus.AVAILABLE:
            raise FileNotAvailableError(extra={"file_status": file.status})
        if is_inline and (shown := sign_inline(self._store, file, is_owner=is_owner)) is not None:
            return shown
        return sign_download(self._store, file, lifetime_seconds=None if is_owner else READER_DOWNLOAD_URL_TTL_SECONDS)
