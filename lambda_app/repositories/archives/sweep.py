"""Queries of the sweep on archives. Archives expire after a day, so there are few at a time."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session

from lambda_app.models import UNFINISHED, Archive, ArchiveStatus
from lambda_app.repositories.statements import Bound, built_once


class ArchiveSweepRepository:
    """Reads archives in order of their ids."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list_abandoned(self, now: datetime, *, after: UUID | None, limit: int) -> list[Archive]:
        """Return the unfinished archives whose lease has expired."""
        return self._list(_abandoned(now=now, after=after, limit=limit))

    def list_expired(self, now: datetime, *, after: UUID | None, limit: int) -> list[Archive]:
        """Return the expired archives, and those whose deletion was interrupted."""
        return self._list(_expired(now=now, after=after, limit=limit))

    def list_ready(self, *, after: UUID | None, limit: int) -> list[Archive]:
        """Return the archives that can be downloaded, without exports: an owner keeps the export when files are deleted."""
        return self._list(_ready(after=after, limit=limit))

    def list_claimable(self, now: datetime, *, limit: int) -> list[UUID]:
        """Return the archives that a worker may claim, oldest first."""
        return list(self._session.execute(*_claimable(now=now, limit=limit)).scalars())

    def get_statuses(self, ids: Iterable[UUID]) -> dict[UUID, tuple[ArchiveStatus, str | None]]:
        """Return the state and multipart upload id of each of `ids` that has a row."""
        rows = self._session.execute(*_statuses(ids=list(ids)))
        return {row.id: (ArchiveStatus(row.status), row.upload_id) for row in rows}

    def reset_session(self) -> None:
        """Make the session usable after a failed statement. Earlier transitions stay: each has committed by itself."""
        self._session.rollback()

    def _list(self, query: Bound[Select[Archive]]) -> list[Archive]:
        return list(self._session.execute(*query).scalars())


def _archives(condition: ColumnElement[bool], *, after: UUID | None, limit: int) -> Select[Archive]:
    query = select(Archive).where(condition)
    if after is not None:
        query = query.where(Archive.id > after)
    return query.order_by(Archive.id).limit(limit).execution_options(populate_existing=True)


@built_once
def _abandoned(*, now: datetime, after: UUID | None, limit: int) -> Select[Archive]:
    return _archives(and_(Archive.status.in_(UNFINISHED), Archive.lease_until < now), after=after, limit=limit)


@built_once
def _expired(*, now: datetime, after: UUID | None, limit: int) -> Select[Archive]:
    is_expired = and_(Archive.status.in_((ArchiveStatus.READY, ArchiveStatus.FAILED)), Archive.expires_at < now)
    return _archives(or_(is_expired, Archive.status == ArchiveStatus.DELETING), after=after, limit=limit)


@built_once
def _ready(*, after: UUID | None, limit: int) -> Select[Archive]:
    return _archives(and_(Archive.status == ArchiveStatus.READY, ~Archive.is_export), after=after, limit=limit)


@built_once
def _claimable(*, now: datetime, limit: int) -> Select[UUID]:
    is_abandoned = and_(Archive.status == ArchiveStatus.BUILDING, Archive.lease_until < now)
    query = select(Archive.id).where(or_(Archive.status == ArchiveStatus.QUEUED, is_abandoned))
    return query.order_by(Archive.created_at).limit(limit)


@built_once
def _statuses(*, ids: list[UUID]) -> Select[UUID, str, str | None]:
    return select(Archive.id, Archive.status, Archive.upload_id).where(Archive.id.in_(ids))
