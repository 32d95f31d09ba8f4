"""Statistics and the audit log, for superusers."""

from datetime import date
from typing import NamedTuple

from lambda_app.core.errors import PermissionDeniedError
from lambda_app.models import AuditEvent, User
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.stats import STATS_DAYS, StatsRepository, StatusTotal
from lambda_app.schemas.admin import AuditFilter


class Stats(NamedTuple):
    """Totals over all accounts and files."""

    users: dict[str, int]
    files: list[StatusTotal]
    uploads_by_day: list[tuple[date, int]]


class AdministrationService:
    """Read access for superusers to data of all accounts."""

    def __init__(self, *, audit: AuditRepository, stats: StatsRepository) -> None:
        self._audit = audit
        self._stats = stats

    def get_stats(self, viewer: User) -> Stats:
        """Return the statistics. Raises PermissionDeniedError."""
        _require_superuser(viewer)
        return Stats(*self._stats.totals(), self._stats.uploads_by_day(days=STATS_DAYS))

    def page_audit_events(self, viewer: User, filters: AuditFilter, *, limit: int) -> list[AuditEvent]:
        """Return one page of the audit log, newest first. Raises PermissionDeniedError."""
        _require_superuser(viewer)
        return self._audit.page(filters, limit=limit)


def _require_superuser(viewer: User) -> None:
    if not viewer.is_superuser:
        raise PermissionDeniedError
