"""Malware scans: their results, what they withhold, and the release of a file by an administrator."""

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from lambda_app.core.errors import AppError, ConflictError, PermissionDeniedError
from lambda_app.models import File, ScanStatus, User
from lambda_app.repositories.files.scans import ScanRepository
from lambda_app.schemas.files.file_lists import FileOrder, Order
from lambda_app.schemas.page import Cursor
from lambda_app.storage.keys import object_key
from lambda_app.storage.scan_tags import ScanTag, ScanTags

SCAN_RETRY_SECONDS = 5
"""`Retry-After` for a file that is being scanned."""
_NEWEST_FIRST = FileOrder.of(Order.NEWEST_FIRST)

logger = logging.getLogger(__name__)


class FileNotScannedError(ConflictError):
    """The malware scan of the file has no result yet."""

    code = "file_not_scanned"
    message = "The file is being scanned for malware; try again in a moment"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": str(SCAN_RETRY_SECONDS)})


class FileInfectedError(PermissionDeniedError):
    """The malware scan found something."""

    code = "file_infected"
    message = "The malware scan found a threat in this file; it cannot be downloaded"


class FileUnscannableError(PermissionDeniedError):
    """The malware scan was not possible."""

    code = "file_unscannable"
    message = "The file could not be scanned for malware, for example because it is encrypted; it cannot be downloaded"


class NotWithheldError(ConflictError):
    """No scan result withholds the file."""

    code = "file_not_withheld"
    message = "No result of a malware scan withholds this file"


class Scanned(Protocol):
    """What decides whether a file is served."""

    @property
    def scan_status(self) -> str:
        """The result of its scan."""

    @property
    def is_withheld(self) -> bool:
        """Whether its content must not be served."""


def withheld_error(file: Scanned) -> AppError | None:
    """Return the reason why the content of the file must not be served, or None."""
    if not file.is_withheld:
        return None
    match file.scan_status:
        case ScanStatus.INFECTED:
            return FileInfectedError()
        case ScanStatus.UNSCANNABLE:
            return FileUnscannableError()
        case _:
            return FileNotScannedError()


class ScanOutcome(StrEnum):
    """What became of a result."""

    RECORDED = "recorded"
    UNCHANGED = "unchanged"
    """The file is gone, or has this result already."""
    NO_OBJECT = "no_object"
    OTHER_VERSION = "other_version"
    """The result is that of an earlier version of the object."""
    UNTAGGED = "untagged"
    """The object has no result yet: the tag follows."""


@dataclass(frozen=True, slots=True)
class WithheldPage:
    """One page of files that a scan withholds, and the cursor of the next."""

    files: list[File]
    next_cursor: Cursor | None


class ScanService:
    """Records the results of scans, and releases files."""

    def __init__(self, *, scans: ScanRepository, tags: ScanTags, serves_unscannable: bool) -> None:
        self._scans = scans
        self._tags = tags
        self._serves_unscannable = serves_unscannable

    def record_result(self, file_id: UUID, *, version_id: str | None) -> ScanOutcome:
        """Record the result that the object has now.

        The message only names the object and its version. The result itself is read from the object's tag, which only the scanner can
        write, so that late, repeated and forged messages change nothing. Raises UnavailableError.
        """
        found = self._tags.get(object_key(file_id))
        if found is None:
            return ScanOutcome.NO_OBJECT
        if None not in (version_id, found.version_id) and version_id != found.version_id:
            return ScanOutcome.OTHER_VERSION
        if found.tag is None:
            return ScanOutcome.UNTAGGED
        if found.tag is ScanTag.RELEASED:
            return ScanOutcome.UNCHANGED
        status = _STATUSES.get(found.tag, ScanStatus.UNSCANNABLE)
        is_served = status is ScanStatus.CLEAN or (found.tag is ScanTag.UNSUPPORTED and self._serves_unscannable)
        is_new = self._scans.record(file_id, status, is_withheld=not is_served, tag=found.tag.value)
        return ScanOutcome.RECORDED if is_new else ScanOutcome.UNCHANGED

    def page_withheld(self, viewer: User, *, limit: int, after: Cursor | None) -> WithheldPage:
        """Return the files that a result withholds, newest first. Raises PermissionDeniedError, MalformedRequestError."""
        _require_superuser(viewer)
        if after is not None:
            after.value_for(_NEWEST_FIRST)
        rows = self._scans.page_withheld(limit=limit + 1, after=after)
        files = rows[:limit]
        last = files[-1] if len(rows) > limit else None
        return WithheldPage(files, None if last is None else Cursor(_NEWEST_FIRST, last.created_at, last.id))

    def release(self, viewer: User, file_id: UUID) -> File:
        """Serve a file in spite of its result. Raises PermissionDeniedError, NoSuchFileError, NotWithheldError, UnavailableError."""
        _require_superuser(viewer)
        file = self._scans.require(file_id)
        if not file.is_withheld or file.scan_status == ScanStatus.PENDING:
            raise NotWithheldError(extra={"scan_status": file.scan_status})
        # First the object. Until the row changes, no URL is signed for it.
        self._scans.release_connection()
        self._tags.release(file.s3_key)
        return self._scans.release(file_id) or self._scans.require(file_id)


_STATUSES = {ScanTag.CLEAN: ScanStatus.CLEAN, ScanTag.INFECTED: ScanStatus.INFECTED}


def _require_superuser(viewer: User) -> None:
    if not viewer.is_superuser:
        raise PermissionDeniedError
