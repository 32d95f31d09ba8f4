"""Statistics and the audit log, for superusers."""

from datetime import date
from typing import NamedTuple

from lambda_app.core.errors import PermissionDeniedError
from lambda_app.models import AuditChainEvent, AuditEvent, User
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.stats import STATS_DAYS, StatsRepository, StatusTotal
from lambda_app.schemas.admin import AuditFilter
from lambda_app.schemas.page import AuditCursor


class Stats(NamedTuple):
    """Totals over all accounts and files."""

    users: dict[str, int]
    files: list[StatusTotal]
    uploads_by_day: list[tuple[date, int]]


class AuditPage(NamedTuple):
    """Events, newest first, and the cursor of the next page; None on the last page."""

    events: list[AuditEvent | AuditChainEvent]
    next_cursor: AuditCursor | None


class AdministrationService:
    """Read access for superusers to data of all accounts."""

    def __init__(self, *, audit: AuditRepository, stats: StatsRepository) -> None:
        self._audit = audit
        self._stats = stats

    def get_stats(self, viewer: User) -> Stats:
        """Return the statistics. Raises PermissionDeniedError."""
        _require_superuser(viewer)
        return Stats(*self._stats.totals(), self._stats.uploads_by_day(days=STATS_DAYS))

    def page_audit_events(self, viewer: User, filters: AuditFilter, *, limit: int) -> AuditPage:
        """Return one page of the audit log, newest first. Raises PermissionDeniedError."""
        _require_superuser(viewer)
        rows = self._audit.page(filters, limit=limit + 1)
        events = rows[:limit]
        return AuditPage(events, AuditCursor(events[-1].seq) if len(rows) > limit else None)


def _require_superuser(viewer: User) -> None:
    if not viewer.is_superuser:
        raise PermissionDeniedError
