"""How much a user may keep, and what is said when it is not enough."""

from dataclasses import dataclass

from lambda_app.core.errors import TooLargeError
from lambda_app.models import User


@dataclass(frozen=True, slots=True)
class Quota:
    """Bytes and files that a user may keep."""

    bytes: int
    files: int

    def of(self, user: User) -> "Quota":
        """Return the user's own quota; this one where they have none."""
        own_bytes, own_files = user.quota_bytes, user.quota_files
        return Quota(self.bytes if own_bytes is None else own_bytes, self.files if own_files is None else own_files)


class QuotaExceededError(TooLargeError):
    """There is no room for the file; `bytes_left` and `files_left` say what there is room for."""

    code = "quota_exceeded"
    message = "The file does not fit into your quota; delete something first"

    def __init__(self, *, quota: Quota, user: User) -> None:
        left = {"bytes_left": max(0, quota.bytes - user.bytes_used), "files_left": max(0, quota.files - user.files_count)}
        super().__init__(extra=left)
