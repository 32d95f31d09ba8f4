"""Storage usage of users, and the correction of the usage counters."""

from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from lambda_app.core.errors import PermissionDeniedError
from lambda_app.models import User
from lambda_app.repositories.files.usage import UsageCount, UsageRepository
from lambda_app.schemas.files.usage import Usage
from lambda_app.services.files.quota import Quota

RECOUNT_PAGE_USERS = 500


class Recounted(NamedTuple):
    """A user whose counters differ from the sums over the user's files, and whether they were corrected."""

    counted: UsageCount
    is_corrected: bool


class UsageService:
    """Reads and recounts the storage usage of users."""

    def __init__(self, *, usage: UsageRepository, default_quota: Quota) -> None:
        self._usage = usage
        self._default_quota = default_quota

    def get_usage(self, viewer: User, user_id: UUID) -> Usage:
        """Return the usage of a user: the viewer, or any user for a superuser. Raises PermissionDeniedError, NotFoundError."""
        if viewer.id != user_id and not viewer.is_superuser:
            raise PermissionDeniedError
        user, trash = self._usage.require(user_id)
        quota = self._default_quota.of(user)
        return Usage(
            bytes_used=user.bytes_used,
            files_count=user.files_count,
            quota_bytes=quota.bytes,
            quota_files=quota.files,
            bytes_left=max(0, quota.bytes - user.bytes_used),
            files_left=max(0, quota.files - user.files_count),
            trash_bytes=trash.bytes,
            trash_files=trash.files,
        )

    def recount(self, *, is_dry: bool) -> Iterator[Recounted]:
        """Yield each user whose counters are wrong, and correct them unless `is_dry`. For the operator's command line only."""
        after: UUID | None = None
        while page := self._usage.count_page(after=after, limit=RECOUNT_PAGE_USERS):
            wrong = [counted for counted in page if not counted.is_consistent]
            corrected = self._usage.correct_page(after=after, limit=RECOUNT_PAGE_USERS) if wrong and not is_dry else set()
            yield from (Recounted(counted, counted.user_id in corrected) for counted in wrong)
            after = page[-1].user_id
