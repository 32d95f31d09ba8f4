"""What superusers see of the whole: numbers, and the audit log."""

from datetime import date
from typing import NamedTuple

from lambda_app.core.errors import PermissionDeniedError
from lambda_app.models import AuditEvent, User
from lambda_app.repositories.audit import AuditFilter, AuditRepository
from lambda_app.repositories.stats import StatsRepository, StatusTotal

STATS_DAYS = 30
"""How far back uploads are counted by day."""


class Stats(NamedTuple):
    """The whole in numbers."""

    users: dict[str, int]
    files: list[StatusTotal]
    uploads_by_day: list[tuple[date, int]]


class AdministrationService:
    """What superusers may look at."""

    def __init__(self, *, audit: AuditRepository, stats: StatsRepository) -> None:
        self._audit = audit
        self._stats = stats

    def count(self, viewer: User) -> Stats:
        """Return the numbers. Raises PermissionDeniedError."""
        _require_superuser(viewer)
        return Stats(self._stats.users(), self._stats.files_by_status(), self._stats.uploads_by_day(days=STATS_DAYS))

    def page_audit(self, viewer: User, wanted: AuditFilter, *, limit: int) -> list[AuditEvent]:
        """Return one page of the audit log, newest first. Raises PermissionDeniedError."""
        _require_superuser(viewer)
        return self._audit.page(wanted, limit=limit)


def _require_superuser(viewer: User) -> None:
    if not viewer.is_superuser:
        raise PermissionDeniedError
