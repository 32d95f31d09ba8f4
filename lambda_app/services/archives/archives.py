"""Zip archives of several files: create, read, download and delete. A worker builds them (`services/archives/builds`)."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, GoneError, NotFoundError, TooLargeError, TooManyRequestsError
from lambda_app.models import Archive, ArchiveStatus, File, FileStatus, Share, User
from lambda_app.repositories.archives.archives import ArchiveRepository, FoundArchive, NoSuchArchiveError, RequestedFile
from lambda_app.repositories.archives.transitions import ArchiveTransitionRepository, NumberTakenError
from lambda_app.schemas.archives import DEFAULT_FILENAME, ArchiveCreate
from lambda_app.schemas.files.file_lists import FileOrder, Order
from lambda_app.schemas.page import Cursor
from lambda_app.services.files.files import READER_DOWNLOAD_URL_TTL_SECONDS
from lambda_app.services.files.quota import Quota, QuotaExceededError
from lambda_app.services.files.scans import withheld_error
from lambda_app.storage.keys import archive_key, archive_request_key
from lambda_app.storage.object_store import ObjectStore, PresignedRequest
from lambda_app.storage.parts import MIB
from lambda_app.storage.zip_layout import ZipEntry, ZipLayout
from lambda_app.storage.zip_names import entry_names

ARCHIVE_MAX_BYTES = 100 * 1024**3
"""Largest zip: three invocations of the worker build it at 40 MB/s, and it stays below S3's limit of 10,000 parts."""
PART_SIZE_BYTES = 16 * MIB
"""Length of each part of the zip's multipart upload. A worker holds at most two parts in memory."""
UNFINISHED_MAX_COUNT = 5
"""Queued and building archives that one user can have."""
LINKS_UNFINISHED_MAX_COUNT = 20
"""Queued and building archives that all share links of one user can have together. A link has one, unless its files change."""
STORED_MAX_BYTES = 2 * ARCHIVE_MAX_BYTES
"""Total size of one user's archives until their bytes are deleted. The archives of the user's links have the same limit together.
Archives do not count in the quota, so this limit bounds the storage."""
REQUEUE_GRACE = timedelta(minutes=2)
"""How long a queued archive may wait for a worker before the sweep queues it again."""
MISSING_FILES_SHOWN = 100
CONTENT_TYPE = "application/zip"
FILES_CHANGED = "files_changed"
FILE_WITHHELD = "file_withheld"
BUSY_SECONDS = 60

_NEWEST_FIRST = FileOrder.of(Order.NEWEST_FIRST)


class FilesMissingError(NotFoundError):
    """Some files do not exist or the caller cannot read them; `file_ids` lists the first of them."""

    code = "files_not_found"
    message = "Some of the files were not found"


class FilesNotAvailableError(ConflictError):
    """Some files are not available or are in the trash; `file_ids` lists the first of them."""

    code = "files_not_available"
    message = "Some of the files are not available for download"


class TooManyArchivesError(TooManyRequestsError):
    """The limit of unfinished archives, or of the total size of archives, is reached."""

    code = "too_many_archives"
    message = "Too many archives; wait until the unfinished ones are ready, or delete some"


class NoRoomForArchiveError(ConflictError):
    """The link's owner must not cause storage. Visitors do not learn the quota."""

    code = "no_room"
    message = "There is not enough storage for a zip of these files; download them one by one"


class ArchiveExpiredError(GoneError):
    """The archive has expired."""

    code = "archive_expired"
    message = "The archive has expired; request a new one"


@dataclass(frozen=True, slots=True)
class ArchiveDownload:
    """An archive, its status for this caller, and the presigned download if it is ready."""

    archive: Archive
    status: ArchiveStatus
    error_code: str | None
    request: PresignedRequest | None = None


@dataclass(frozen=True, slots=True)
class ArchivePage:
    """One page of archives, and the cursor of the next if there is one."""

    archives: list[Archive]
    next_cursor: Cursor | None


class ArchiveService:
    """Creates, reads and deletes archives."""

    def __init__(
        self,
        *,
        archives: ArchiveRepository,
        transitions: ArchiveTransitionRepository,
        store: ObjectStore,
        retention: timedelta,
        default_quota: Quota,
    ) -> None:
        self._archives = archives
        self._transitions = transitions
        self._store = store
        self._retention = retention
        self._default_quota = default_quota

    def start(self, user: User, parameters: ArchiveCreate) -> Archive:
        """Queue an archive of files that the user can download, and notify the worker. A repeated request returns the same archive.

        Archives are not charged, but a user with a quota of 0 bytes must not cause storage at all, for example of public files.
        Raises QuotaExceededError, FilesMissingError, FilesNotAvailableError, TooLargeError, TooManyArchivesError, UnavailableError.
        """
        quota = self._default_quota.of(user)
        if quota.bytes == 0:
            raise QuotaExceededError.of(quota, user)
        candidates = self._archives.list_requested_files(parameters.file_ids, user)
        files = _require_all(parameters.file_ids, candidates)
        archive = _new_archive(files, filename=parameters.filename, user_id=user.id, holder_id=user.id)
        return self._queue(archive, files)

    def start_for_link(self, share: Share, files: Sequence[File]) -> Archive:
        """Queue an archive of a share link's files, and notify the worker. Visitors who request the same files share one archive.

        Files that a malware scan withholds are left out. Raises the error of the first one if it withholds all.

        The limits apply to all links of the owner together: a limit per link could be evaded by creating and revoking links. As for
        the owner's own archives, a quota of 0 bytes excludes them. Raises NoRoomForArchiveError, TooLargeError, TooManyArchivesError,
        UnavailableError.
        """
        owner = self._archives.get_holder(share.owner_id)
        if owner is None or self._default_quota.of(owner).bytes == 0:
            raise NoRoomForArchiveError
        refusals = [withheld_error(file) for file in files]
        if refusals and refusals[0] is not None and all(refusals):
            raise refusals[0]
        files = [file for file, refusal in zip(files, refusals, strict=True) if refusal is None]
        archive = _new_archive(files, filename=DEFAULT_FILENAME, share_id=share.id, holder_id=share.owner_id)
        return self._queue(archive, files)

    def get_for_link(self, share: Share, archive_id: UUID) -> ArchiveDownload:
        """Return an archive of a link, without a download; `ShareLinkService.start_archive_download` signs that.

        The status is `failed` when the link no longer opens all its files. Raises NoSuchArchiveError, ArchiveExpiredError.
        """
        return _with_status(self._archives.require_of_link(archive_id, share))

    def get(self, user: User, archive_id: UUID) -> ArchiveDownload:
        """Return one of the user's archives, with a presigned download if it is ready; short-lived if it has files of other users.

        The status is `failed` when the user can no longer read all its files. Raises NoSuchArchiveError, ArchiveExpiredError.
        """
        row = self._archives.require(archive_id, user)
        found = _with_status(row)
        if found.status is not ArchiveStatus.READY:
            return found
        archive = found.archive
        request = self._store.presign_download(
            key=archive.s3_key,
            filename=archive.filename,
            content_type=CONTENT_TYPE,
            lifetime_seconds=None if row.is_own else READER_DOWNLOAD_URL_TTL_SECONDS,
        )
        return replace(found, request=request)

    def page(self, user: User, *, limit: int, after: Cursor | None) -> ArchivePage:
        """Return one page of the user's archives, newest first. Raises MalformedRequestError for a cursor of another order."""
        if after is not None:
            after.value_for(_NEWEST_FIRST)
        rows = self._archives.page(user, limit=limit + 1, after=after)
        archives = rows[:limit]
        last = archives[-1] if len(rows) > limit else None
        return ArchivePage(archives, None if last is None else Cursor(_NEWEST_FIRST, last.created_at, last.id))

    def delete(self, user: User, archive_id: UUID) -> None:
        """Delete an archive in any state. A worker that is building it stops at its next part.

        Raises NoSuchArchiveError, UnavailableError. When S3 does not respond, the sweep completes the deletion.
        """
        archive = self._transitions.start_deleting(archive_id, user)
        if archive is None:
            raise NoSuchArchiveError
        if archive.upload_id is not None:
            self._store.abort_multipart(archive.s3_key, archive.upload_id)
        self._store.delete(archive.s3_key)
        self._transitions.remove(archive.id)

    def _queue(self, archive: Archive, files: Sequence[File]) -> Archive:
        entries = _entries(files)
        archive.size_bytes = _zip_size(entries)
        if archive.size_bytes > ARCHIVE_MAX_BYTES:
            raise TooLargeError(
                f"An archive can have at most {ARCHIVE_MAX_BYTES} bytes; choose fewer files",
                code="archive_too_large",
                extra={"max_bytes": ARCHIVE_MAX_BYTES},
            )
        queued = self._insert(archive, entries)
        # A repeated request notifies the worker again, because the first notification may be lost. Requests at share links do so
        # only after the grace period; otherwise anonymous visitors could fill the queue.
        was_notified = queued.share_id is not None and queued.id != archive.id and queued.lease_until >= clock.now()
        if queued.status == ArchiveStatus.QUEUED and not was_notified:
            self._store.put_marker(archive_request_key(queued.id))
        return queued

    def _insert(self, archive: Archive, entries: Sequence[dict[str, Any]]) -> Archive:
        unfinished_max = UNFINISHED_MAX_COUNT if archive.share_id is None else LINKS_UNFINISHED_MAX_COUNT
        for _ in range(unfinished_max + 1):
            try:
                queued = self._transitions.start(
                    archive,
                    entries,
                    unfinished_max=unfinished_max,
                    stored_bytes_max=STORED_MAX_BYTES,
                    expires_at=archive.created_at + self._retention,
                )
            except NumberTakenError:
                continue
            queued = queued or self._archives.get_current(archive.holder_id, archive.fingerprint)
            if queued is not None:
                return queued
            break
        message = None if archive.share_id is None else "Too many zip archives were requested from the links of this owner; try again later"
        raise TooManyArchivesError(message, extra={"max_archives": unfinished_max}, headers={"Retry-After": str(BUSY_SECONDS)})


def _with_status(found: FoundArchive) -> ArchiveDownload:
    archive = found.archive
    if archive.expires_at is not None and archive.expires_at <= clock.now():
        raise ArchiveExpiredError
    if archive.status == ArchiveStatus.READY and not found.is_whole:
        return ArchiveDownload(archive, ArchiveStatus.FAILED, FILES_CHANGED)
    return ArchiveDownload(archive, ArchiveStatus(archive.status), archive.error_code)


def _require_all(file_ids: Sequence[UUID], candidates: Sequence[RequestedFile]) -> list[File]:
    found = {candidate.file.id: candidate for candidate in candidates}
    missing = [str(file_id) for file_id in file_ids if file_id not in found or not _is_visible(found[file_id])]
    if missing:
        raise FilesMissingError(extra={"file_ids": missing[:MISSING_FILES_SHOWN], "missing_count": len(missing)})
    unavailable = [str(candidate.file.id) for candidate in candidates if not candidate.is_downloadable]
    if unavailable:
        raise FilesNotAvailableError(extra={"file_ids": unavailable[:MISSING_FILES_SHOWN], "missing_count": len(unavailable)})
    return [candidate.file for candidate in candidates]


def _is_visible(candidate: RequestedFile) -> bool:
    return candidate.is_readable and candidate.file.status != FileStatus.DELETING


def _new_archive(
    files: Sequence[File], *, filename: str, holder_id: UUID, user_id: UUID | None = None, share_id: UUID | None = None
) -> Archive:
    now, archive_id = clock.now(), uuid4()
    name = filename if filename.lower().endswith(".zip") else f"{filename[: 255 - 4]}.zip"
    content = json.dumps([str(share_id), name, *([str(file.id), file.revision] for file in files)])
    return Archive(
        id=archive_id,
        user_id=user_id,
        share_id=share_id,
        holder_id=holder_id,
        fingerprint=hashlib.sha256(content.encode()).hexdigest(),
        filename=name,
        status=ArchiveStatus.QUEUED,
        s3_key=archive_key(archive_id),
        file_count=len(files),
        part_size_bytes=PART_SIZE_BYTES,
        lease_until=now + REQUEUE_GRACE,
        created_at=now,
        updated_at=now,
    )


def _entries(files: Sequence[File]) -> list[dict[str, Any]]:
    names = entry_names(file.filename for file in files)
    return [
        {"position": position, "file_id": file.id, "name": name, "size_bytes": file.size_bytes, "modified_at": file.created_at}
        for position, (file, name) in enumerate(zip(files, names, strict=True))
    ]


def _zip_size(entries: Sequence[dict[str, Any]]) -> int:
    return ZipLayout([ZipEntry(entry["name"], entry["size_bytes"], entry["modified_at"]) for entry in entries]).size_bytes
