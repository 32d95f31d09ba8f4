"""Statistics and the audit log, for superusers. Both may be some seconds old, so a standby can serve them."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeVar

from lambda_app.core.errors import DatabaseStartingError, DatabaseUnavailableError, PermissionDeniedError
from lambda_app.models import AuditChainEvent, AuditEvent, User
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.audit_names import AuditNameRepository
from lambda_app.repositories.stats import DayTraffic, StatsRepository, StatusTotal
from lambda_app.schemas.admin import AuditFilter
from lambda_app.schemas.page import AuditCursor

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Stats(NamedTuple):
    """Totals over all accounts and files."""

    users: dict[str, int]
    files: list[StatusTotal]
    traffic_by_day: list[DayTraffic]


class AuditPage(NamedTuple):
    """Events, newest first, and the cursor of the next page; None on the last page."""

    events: list[AuditEvent | AuditChainEvent]
    next_cursor: AuditCursor | None
    names: dict[str, str]
    """The names of actors (as `user:<id>`) and subjects that exist."""


class AdministrationReads(NamedTuple):
    """The repositories on one connection."""

    audit: AuditRepository
    names: AuditNameRepository
    stats: StatsRepository


Source = Callable[[], AbstractContextManager[AdministrationReads]]
"""Opens the repositories on a standby or on the database."""


class AdministrationService:
    """Read access for superusers to data of all accounts, and for users to the events of their own account."""

    def __init__(self, sources: Sequence[Source]) -> None:
        """Read from the first of the `sources` that responds."""
        self._sources = sources

    def get_stats(self, viewer: User, *, days: int) -> Stats:
        """Return the statistics, with the traffic of the last `days` days. Raises PermissionDeniedError."""
        _require_superuser(viewer)
        return self._read(lambda reads: Stats(*reads.stats.totals(), reads.stats.traffic_by_day(days=days)))

    def page_audit_events(self, viewer: User, filters: AuditFilter, *, limit: int) -> AuditPage:
        """Return one page of the audit log, newest first. Raises PermissionDeniedError."""
        _require_superuser(viewer)

        def read(reads: AdministrationReads) -> AuditPage:
            events, next_cursor = _one_page(reads.audit.page(filters, limit=limit + 1), limit)
            actors = {f"user:{event.actor_id}" for event in events if event.actor_id is not None}
            names = reads.names.find(actors | {event.subject for event in events if event.subject is not None})
            return AuditPage(events, next_cursor, names)

        return self._read(read)

    def page_own_audit_events(self, user: User, filters: AuditFilter, *, limit: int) -> AuditPage:
        """Return one page of the events that the user caused or that are about the user's account, newest first.

        Only what belongs to the user has a name.
        """

        def read(reads: AdministrationReads) -> AuditPage:
            events, next_cursor = _one_page(reads.audit.page_of_user(user.id, filters, limit=limit + 1), limit)
            names = reads.names.find({event.subject for event in events if event.subject is not None}, of_owner=user.id)
            return AuditPage(events, next_cursor, names)

        return self._read(read)

    def _read(self, read: Callable[[AdministrationReads], T]) -> T:
        *standbys, primary = self._sources
        for source in standbys:
            try:
                with source() as reads:
                    return read(reads)
            except (DatabaseUnavailableError, DatabaseStartingError) as error:
                logger.warning("The standby does not respond; reading from the database itself: %s", error)
        with primary() as reads:
            return read(reads)


def _one_page(rows: list[AuditEvent | AuditChainEvent], limit: int) -> tuple[list[AuditEvent | AuditChainEvent], AuditCursor | None]:
    events = rows[:limit]
    return events, AuditCursor(events[-1].seq) if len(rows) > limit else None


def _require_superuser(viewer: User) -> None:
    if not viewer.is_superuser:
        raise PermissionDeniedError
