"""Storage quotas, and the error when a quota is exceeded."""

from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Self

from lambda_app.core.errors import TooLargeError, TooManyRequestsError
from lambda_app.models import User
from lambda_app.models.accounts.users import DELETION_WINDOW


@dataclass(frozen=True, slots=True)
class Quota:
    """The number of bytes and files that a user can store."""

    bytes: int
    files: int

    def of(self, user: User) -> "Quota":
        """Return the user's quota; this one is the default for limits that the user does not have."""
        own_bytes, own_files = user.quota_bytes, user.quota_files
        return Quota(self.bytes if own_bytes is None else own_bytes, self.files if own_files is None else own_files)


class QuotaExceededError(TooLargeError):
    """The file exceeds the quota; `bytes_left` and `files_left` tell what is left of it."""

    code = "quota_exceeded"
    message = "The file exceeds your storage quota; delete files first"

    def __init__(self, *, bytes_left: int, files_left: int) -> None:
        super().__init__(extra={"bytes_left": max(0, bytes_left), "files_left": max(0, files_left)})

    @classmethod
    def of(cls, quota: Quota, user: User) -> Self:
        """Return the error for a user with this quota."""
        return cls(bytes_left=quota.bytes - user.bytes_used, files_left=quota.files - user.files_count)


@dataclass(frozen=True, slots=True)
class DeletionAllowance:
    """The bytes that a user can delete in `DELETION_WINDOW`; see `repositories/files/deletions`."""

    bytes: int

    def seconds_left(self, user: User, now: datetime) -> int:
        """Return after how many seconds the user can upload again; 0 if the allowance is not used."""
        if user.deleted_bytes_at is None or user.deleted_bytes <= self.bytes:
            return 0
        windows = (user.deleted_bytes - self.bytes) / max(1, self.bytes)
        left = windows * DELETION_WINDOW.total_seconds() - (now - user.deleted_bytes_at).total_seconds()
        return max(0, ceil(left))


class DeletionAllowanceUsedError(TooManyRequestsError):
    """The user has deleted so much that new uploads are refused for a time."""

    code = "deletion_allowance_used"
    message = "You have deleted too much data recently; wait before you upload again"
