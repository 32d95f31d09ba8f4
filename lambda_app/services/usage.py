"""How much of their quota a user has used."""

from uuid import UUID

from lambda_app.core.errors import PermissionDeniedError
from lambda_app.models import User
from lambda_app.repositories.usage import UsageRepository
from lambda_app.schemas.usage import Usage
from lambda_app.services.quota import Quota


class UsageService:
    """Tells users, and superusers, what is kept."""

    def __init__(self, *, usage: UsageRepository, default_quota: Quota) -> None:
        self._usage = usage
        self._default_quota = default_quota

    def get_usage(self, viewer: User, user_id: UUID) -> Usage:
        """Return what a user keeps: oneself, or anybody for a superuser. Raises PermissionDeniedError, NotFoundError."""
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
