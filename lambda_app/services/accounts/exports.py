"""The export of an account: everything that is stored about a user, as JSON with the files in a zip (docs/adr/0042-account-exports.md)."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from lambda_app.core import clock
from lambda_app.core.errors import TooManyRequestsError
from lambda_app.core.mail import Mail
from lambda_app.models import Archive, ArchiveStatus, User
from lambda_app.repositories.accounts.exports import ExportRepository
from lambda_app.repositories.archives.transitions import ArchiveTransitionRepository, NumberTakenError
from lambda_app.services.accounts.login_throttle import LoginThrottle, PasswordPurpose
from lambda_app.services.accounts.second_factor import SecondFactorVerifier
from lambda_app.services.archives.archives import CONTENT_TYPE, FILE_WITHHELD, PART_SIZE_BYTES, REQUEUE_GRACE
from lambda_app.storage.keys import archive_key, archive_request_key
from lambda_app.storage.object_store import ObjectStore, PresignedRequest

EXPORT_INTERVAL = timedelta(days=1)
RETRY_INTERVAL = timedelta(hours=1)
"""Shortest time after the request of an export that has failed."""
EXPORT_FILENAME = "we-upload-export.zip"
NUMBER_ATTEMPTS = 6
_UNLIMITED = 2**31 - 1

_MAIL = """An export of your account was requested: all data and files of the account as one zip.

If this wasn't you, change your password at once. That ends all sessions, so that only you can download the export.
"""


class TooManyExportsError(TooManyRequestsError):
    """The user has requested an export already."""

    code = "too_many_exports"
    message = "An account can be exported once a day; use the export that exists, or wait"


@dataclass(frozen=True, slots=True)
class Export:
    """An export, and the presigned download once it is ready. `status` and `error_code` replace those of the row."""

    archive: Archive
    status: ArchiveStatus
    error_code: str | None
    request: PresignedRequest | None = None


class ExportService:
    """Requests exports and returns their state. The archive worker builds them; they count in no quota."""

    def __init__(
        self,
        *,
        exports: ExportRepository,
        transitions: ArchiveTransitionRepository,
        login_throttle: LoginThrottle,
        second_factor: SecondFactorVerifier,
        store: ObjectStore,
        retention: timedelta,
    ) -> None:
        self._exports = exports
        self._transitions = transitions
        self._login_throttle = login_throttle
        self._second_factor = second_factor
        self._store = store
        self._retention = retention

    def start(self, user: User, *, current_password: str | None, otp: str | None) -> tuple[Archive, Mail | None]:
        """Request an export, or return the one that is being built or is ready. Return the mail to the owner for a new one.

        Raises CurrentPasswordError, SecondFactorRequiredError, BadSecondFactorError, ThrottledError, TooManyExportsError, UnavailableError.
        """
        self._login_throttle.require_password(user, current_password, purpose=PasswordPurpose.CHANGE)
        self._second_factor.require(user, otp)
        current = self._exports.get_current(user.id)
        is_withheld = current is not None and self._is_withheld(current)
        if current is not None and current.status != ArchiveStatus.FAILED and not is_withheld:
            if current.status == ArchiveStatus.QUEUED:
                # The first notification of the worker may be lost.
                self._store.put_marker(archive_request_key(current.id))
            return current, None
        allowed_at = self._exports.claim(user.id, interval=EXPORT_INTERVAL, interval_after_failure=RETRY_INTERVAL)
        if allowed_at is not None:
            raise TooManyExportsError.until(allowed_at)
        if current is not None and is_withheld:
            # Otherwise it would be returned as the current one; the sweep deletes it.
            self._transitions.withdraw(current.id)
        archive = self._queue(user)
        self._store.put_marker(archive_request_key(archive.id))
        return archive, Mail(to=user.email, subject="An export of your account was requested", text=_MAIL)

    def get(self, user: User) -> Export | None:
        """Return the newest export of the user, with a presigned download if it is ready; None if there is none or it has expired.

        The status is `failed` while a malware scan withholds one of its files.
        """
        archive = self._exports.get_current(user.id)
        if archive is None:
            return None
        if self._is_withheld(archive):
            return Export(archive, ArchiveStatus.FAILED, FILE_WITHHELD)
        if archive.status != ArchiveStatus.READY:
            return Export(archive, ArchiveStatus(archive.status), archive.error_code)
        request = self._store.presign_download(key=archive.s3_key, filename=archive.filename, content_type=CONTENT_TYPE)
        return Export(archive, ArchiveStatus.READY, None, request)

    def _is_withheld(self, archive: Archive) -> bool:
        return archive.status == ArchiveStatus.READY and self._exports.has_withheld_file(archive)

    def _queue(self, user: User) -> Archive:
        now, archive_id = clock.now(), uuid4()
        archive = Archive(
            id=archive_id,
            user_id=user.id,
            holder_id=user.id,
            is_export=True,
            fingerprint=hashlib.sha256(f"export {user.id}".encode()).hexdigest(),
            filename=EXPORT_FILENAME,
            status=ArchiveStatus.QUEUED,
            s3_key=archive_key(archive_id),
            # Not known before the worker has prepared the export.
            file_count=0,
            size_bytes=1,
            part_size_bytes=PART_SIZE_BYTES,
            lease_until=now + REQUEUE_GRACE,
            created_at=now,
            updated_at=now,
        )
        for _ in range(NUMBER_ATTEMPTS):
            try:
                stored = self._transitions.start(
                    archive,
                    [],
                    unfinished_max=_UNLIMITED,
                    stored_bytes_max=2**62,
                    expires_at=now + self._retention,
                    action="account.export_requested",
                )
            except NumberTakenError:
                continue
            if stored is not None:
                return stored
        raise TooManyExportsError
