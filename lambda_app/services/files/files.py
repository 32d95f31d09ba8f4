"""Files: download, list, change, delete and restore."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, Self
from unicodedata import normalize
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, MalformedRequestError, PermissionDeniedError
from lambda_app.models import File, FileStatus, User
from lambda_app.repositories.files.caller_files import DownloadableFile
from lambda_app.repositories.files.file_access import Viewer
from lambda_app.repositories.files.files import TRIGRAM_LENGTH, FileChangedError, FileRepository, NoSuchFileError
from lambda_app.repositories.files.transitions import FileTransitionRepository
from lambda_app.schemas.accounts.api_keys import Scope
from lambda_app.schemas.files.file_lists import FileFilter, FileOrder, OrderField
from lambda_app.schemas.files.files import FileUpdate
from lambda_app.schemas.page import Cursor
from lambda_app.services.accounts.authentication import require_scope
from lambda_app.services.files.scans import withheld_error
from lambda_app.storage.content import FALLBACK_CONTENT_TYPE, served_content_type
from lambda_app.storage.object_store import DownloadMethod, ObjectStore, PresignedRequest

READER_DOWNLOAD_URL_TTL_SECONDS = 60
"""Lifetime of the presigned URL for readers other than the owner. Short, because S3 serves the file until the URL expires, even if
the file was made private or a grant was revoked."""


UNINDEXED_ROWS_MAX = 5000
"""The longest list that filters and orders without an index may read as a whole: about 20 ms."""
COUNT_MAX = 1000
"""The total of a list is exact up to this number."""


_BY_TIME = "send sort=-created or sort=created"


class ListTooLongError(MalformedRequestError):
    """No index supports these filters in this order, and the list is too long to be read as a whole."""

    code = "list_too_long"


class NotInTrashError(ConflictError):
    """The file is not in the trash."""

    code = "not_in_trash"
    message = "The file is not in the trash"


@dataclass(frozen=True, slots=True)
class Download:
    """An available file, its presigned download, and the content type that S3 sends."""

    file: File | DownloadableFile
    content_type: str
    request: PresignedRequest


class Total(NamedTuple):
    """The number of files in a list; if it is not exact, there are more."""

    files: int
    is_exact: bool

    @classmethod
    def of(cls, counted: int) -> Self:
        """Return the total for a count up to `count_limit`."""
        return cls(min(counted, COUNT_MAX), is_exact=counted <= COUNT_MAX)


def count_limit() -> int:
    """Return up to how many files are counted: one more than the largest exact total."""
    return COUNT_MAX + 1


@dataclass(frozen=True, slots=True)
class FilePage:
    """One page of files, the cursor of the next page if there is one, and the total number of files if requested."""

    files: list[File]
    next_cursor: Cursor | None
    total: Total | None


class FileService:
    """Reads, changes, deletes and restores files."""

    def __init__(
        self, *, files: FileRepository, transitions: FileTransitionRepository, store: ObjectStore, trash_retention: timedelta
    ) -> None:
        self._files = files
        self._transitions = transitions
        self._store = store
        self._trash_retention = trash_retention

    def start_public_download(self, file_id: str, *, method: DownloadMethod) -> Download:
        """Sign a short-lived download of a public file, for GET or HEAD. Raises NoSuchFileError, UnavailableError.

        `file_id` is text from a URL. Text that is not an id raises the same error as an unknown id.
        """
        try:
            requested_id = UUID(file_id)
        except ValueError as error:
            raise NoSuchFileError from error
        file = self._files.require_public(requested_id)
        return sign_download(self._store, file, method=method, lifetime_seconds=READER_DOWNLOAD_URL_TTL_SECONDS)

    def get_managed_file(self, user: User, file_id: UUID) -> File:
        """Return a file that the user may manage. Raises NoSuchFileError, FileForbiddenError."""
        return self._files.require_manageable(file_id, user)

    def page_files(
        self, user: Viewer, filters: FileFilter, *, order: FileOrder, skip: int, limit: int, after: Cursor | None, with_total: bool
    ) -> FilePage:
        """Return one page of the files that the user can list.

        Raises PermissionDeniedError when a user who is no superuser requests the files of others, ListTooLongError, MalformedRequestError.
        """
        if not user.is_superuser and (filters.of_all_owners or filters.owner_id not in (None, user.id)):
            raise PermissionDeniedError("Only a superuser can list the files of other users")
        self._require_bounded(user, filters, order)
        rows = self._files.page(user, filters, order=order, skip=skip, limit=limit + 1, after=after)
        files = rows[:limit]
        next_cursor = _cursor(files[-1], order) if len(rows) > limit else None
        total = Total.of(self._files.count(user, filters, up_to=count_limit())) if with_total else None
        return FilePage(files, next_cursor, total)

    def update_file(self, user: User, file_id: UUID, update: FileUpdate, *, revisions: Collection[int] | None = None) -> File:
        """Change the fields that are set in `update`. With `revisions`, only if the file has one of them.

        Visibility is a form of sharing: an API key needs the scope `shares` to change it.
        Raises ScopeMissingError, NoSuchFileError, FileForbiddenError, FileChangedError.
        """
        changes = update.model_dump(exclude_unset=True)
        if "is_public" in changes:
            require_scope(Scope.SHARES)
        if changes:
            return self._files.update(file_id, user, changes, revisions=revisions)
        file = self._files.require_changeable(file_id, user, changes)
        _require_revision(file, revisions)
        return file

    def delete_file(self, user: User, file_id: UUID, *, is_permanent: bool = False, revisions: Collection[int] | None = None) -> None:
        """Move an available file to the trash, if the trash is enabled; delete files in other states, with their bytes.

        With `revisions`, only if the file has one of them.

        Raises NoSuchFileError, FileForbiddenError, FileChangedError, UnavailableError. When S3 does not respond, the file is already
        hidden from every list; the caller can repeat the deletion, otherwise the sweep completes it.
        """
        if self._trash_retention and not is_permanent and self._move_to_trash(user, file_id, revisions):
            return
        file = self._transitions.start_deleting(file_id, user, revisions=revisions)
        if file is None:
            # Raises the error that applies to this user. A file that appeared since the statement above counts as deleted.
            _require_revision(self._files.require_manageable(file_id, user), revisions)
            raise NoSuchFileError
        if file.upload_id is not None:
            self._store.abort_multipart(file.s3_key, file.upload_id)
        self._store.delete(file.s3_key)
        self._transitions.remove(file.id)

    def restore_file(self, user: User, file_id: UUID, *, revisions: Collection[int] | None = None) -> File:
        """Restore a file from the trash; idempotent. With `revisions`, only if the file has one of them.

        Raises NotInTrashError, NoSuchFileError, FileForbiddenError, FileChangedError.
        """
        restored = self._transitions.restore(file_id, user, revisions=revisions)
        if restored is not None:
            return restored
        file = self._files.require_manageable(file_id, user)
        _require_revision(file, revisions)
        if file.status != FileStatus.AVAILABLE:
            raise NotInTrashError(extra={"file_status": file.status})
        return file

    def _require_bounded(self, user: Viewer, filters: FileFilter, order: FileOrder) -> None:
        """Raise ListTooLongError for a request that would read the whole of a long list."""
        advice = unindexed(filters, order)
        if advice is not None and self._files.has_more_than(UNINDEXED_ROWS_MAX, user, filters):
            raise ListTooLongError(f"The list has more than {UNINDEXED_ROWS_MAX} files; {advice}")

    def _move_to_trash(self, user: User, file_id: UUID, revisions: Collection[int] | None) -> bool:
        """Return whether the file is in the trash afterwards."""
        purge_at = clock.now() + self._trash_retention
        if self._transitions.trash(file_id, user, purge_at=purge_at, revisions=revisions) is not None:
            return True
        # Only available files go to the trash; files in other states are deleted permanently.
        found = self._files.get(file_id)
        if found is None or found.status == FileStatus.DELETING:
            return False
        file = self._files.require_manageable(file_id, user)
        _require_revision(file, revisions)
        return file.status == FileStatus.TRASHED


def _require_revision(file: File, revisions: Collection[int] | None) -> None:
    if revisions is not None and file.revision not in revisions:
        raise FileChangedError


def sign_download(
    store: ObjectStore, file: File | DownloadableFile, *, method: DownloadMethod = "GET", lifetime_seconds: int | None = None
) -> Download:
    """Sign a download as an attachment, with a content type that browsers do not execute.

    Raises FileNotScannedError, FileInfectedError, FileUnscannableError, UnavailableError.
    """
    if refusal := withheld_error(file):
        raise refusal
    content_type = download_content_type(file)
    request = store.presign_download(
        key=file.s3_key, filename=file.filename, content_type=content_type, method=method, lifetime_seconds=lifetime_seconds
    )
    return Download(file=file, content_type=content_type, request=request)


def download_content_type(file: File | DownloadableFile) -> str:
    """Return the content type of a download: `application/octet-stream` where the bytes contradict the declared type."""
    return FALLBACK_CONTENT_TYPE if file.detected_content_type else served_content_type(file.content_type)


def unindexed(filters: FileFilter, order: FileOrder) -> str | None:
    """Return what to send instead, if no index supports these filters in this order; else None."""
    if filters.name is not None and len(normalize("NFC", filters.name)) < TRIGRAM_LENGTH:
        return f"send at least {TRIGRAM_LENGTH} characters in q"
    is_by_time = order.field is OrderField.CREATED
    if filters.shared is not None:
        others = (filters.ids, filters.name, filters.content_type, filters.size_min, filters.size_max, filters.file_request_id)
        has_others = bool(filters.statuses) or filters.updated_after is not None or any(value is not None for value in others)
        return None if is_by_time and not has_others else f"{_BY_TIME}, and only created_after and created_before as filters"
    if filters.ids is not None:
        # At most as many rows as ids.
        return None
    if filters.of_all_owners:
        has_others = any(value is not None for value in (filters.content_type, filters.size_min, filters.size_max, filters.updated_after))
        return None if is_by_time and not has_others else f"{_BY_TIME}, and no content_type, size_min, size_max or updated_after"
    if filters.updated_after is not None and order.field is not OrderField.UPDATED:
        return "send sort=-updated or sort=updated with updated_after"
    return None if is_by_time or filters.content_type is None else _BY_TIME


def _cursor(file: File, order: FileOrder) -> Cursor:
    """Return the cursor of the page that begins after the file."""
    match order.field:
        case OrderField.CREATED:
            return Cursor(order, file.created_at, file.id)
        case OrderField.NAME:
            return Cursor(order, file.filename, file.id)
        case OrderField.SIZE:
            return Cursor(order, file.size_bytes, file.id)
        case OrderField.UPDATED:
            return Cursor(order, file.updated_at, file.id)
