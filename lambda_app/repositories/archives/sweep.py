"""What the sweep asks about archives. There are few at a time: each lives for a day."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from lambda_app.models import UNFINISHED, Archive, ArchiveStatus


class ArchiveSweepRepository:
    """Reads archives in order of their ids."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list_abandoned(self, now: datetime, *, after: UUID | None, limit: int) -> list[Archive]:
        """Return the unfinished archives that no worker is known to work at."""
        return self._list(and_(Archive.status.in_(UNFINISHED), Archive.lease_until < now), after=after, limit=limit)

    def list_over(self, now: datetime, *, after: UUID | None, limit: int) -> list[Archive]:
        """Return the archives whose time is over, or whose deletion was interrupted."""
        is_past = and_(Archive.status.in_((ArchiveStatus.READY, ArchiveStatus.FAILED)), Archive.expires_at < now)
        return self._list(or_(is_past, Archive.status == ArchiveStatus.DELETING), after=after, limit=limit)

    def list_waiting(self, now: datetime, *, limit: int) -> list[UUID]:
        """Return the archives that a worker could take up, oldest first."""
        is_dead = and_(Archive.status == ArchiveStatus.BUILDING, Archive.lease_until < now)
        query = select(Archive.id).where(or_(Archive.status == ArchiveStatus.QUEUED, is_dead)).order_by(Archive.created_at)
        return list(self._session.execute(query.limit(limit)).scalars())

    def states_of(self, ids: Iterable[UUID]) -> dict[UUID, tuple[ArchiveStatus, str | None]]:
        """Return state and multipart upload of those of `ids` that have a row."""
        rows = self._session.execute(select(Archive.id, Archive.status, Archive.upload_id).where(Archive.id.in_(list(ids))))
        return {row.id: (ArchiveStatus(row.status), row.upload_id) for row in rows}

    def recover(self) -> None:
        """Make the session usable again after a statement of it failed. Nothing is undone: every step commits by itself."""
        self._session.rollback()

    def _list(self, condition: ColumnElement[bool], *, after: UUID | None, limit: int) -> list[Archive]:
        query = select(Archive).where(condition)
        if after is not None:
            query = query.where(Archive.id > after)
        query = query.order_by(Archive.id).limit(limit).execution_options(populate_existing=True)
        return list(self._session.execute(query).scalars())
