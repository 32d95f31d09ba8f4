"""Storage quotas, and the error when a quota is exceeded."""

from dataclasses import dataclass

from lambda_app.core.errors import TooLargeError
from lambda_app.models import User


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

    def __init__(self, *, quota: Quota, user: User) -> None:
        left = {"bytes_left": max(0, quota.bytes - user.bytes_used), "files_left": max(0, quota.files - user.files_count)}
        super().__init__(extra=left)
