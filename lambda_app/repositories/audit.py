"""Queries on the audit log. It is only ever added to; the database refuses everything else."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Insert, Select, Update, func, insert, literal, select
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from lambda_app.core import clock
from lambda_app.core.logs import request_id
from lambda_app.core.request_context import request_context
from lambda_app.models import AuditEvent, AuditHead, Base, User

T = TypeVar("T", bound=Base)

READ_ROWS = 1000
"""How many rows are read at a time when the chain is verified."""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which events to list; None is any."""

    actor_id: UUID | None = None
    subject: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before_seq: int | None = None


def audit_entry(
    action: str, *, subject: str | None = None, actor_id: UUID | None = None, details: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the columns of an event; who and where come from the request being served unless `actor_id` says otherwise."""
    origin = request_context()
    return {
        "at": clock.now(),
        "action": action,
        "actor_id": actor_id or origin.actor_id,
        "credential": origin.credential,
        "subject": subject,
        "details": json.dumps(details or {}, sort_keys=True, default=str),
        "source_address": origin.source_address,
        "request_id": request_id.get(),
    }


def audit_insert(entry: Mapping[str, Any]) -> Insert:
    """Return the statement that adds the event."""
    return insert(AuditEvent).values(**entry)


def audit_insert_each(rows: CTE, entry: Mapping[str, Any]) -> Insert:
    """Return the statement that adds the event once for each of `rows`: not at all when there are none."""
    columns = [literal(value, AuditEvent.__table__.c[name].type) for name, value in entry.items()]
    return insert(AuditEvent).from_select(list(entry), select(*columns).select_from(rows))


def audited_change(
    change: ReturningUpdate[Any] | ReturningInsert[Any],
    model: type[T],
    action: str,
    *,
    details: Mapping[str, Any] | None = None,
    actor: str | None = None,
) -> Select[T]:
    """Return one statement that makes the change (it must be RETURNING whole rows) and adds an event for each row it changed.

    A change without its event cannot happen: they are one statement. Its rows are the changed ones, each the subject of its
    event. `actor` names the column of the row that holds who did it, where that is not the caller who signed in.
    """
    changed = change.cte("changed")
    logged = audit_insert_for(changed, action, kind=str(model.__tablename__), details=details, actor=actor)
    return select(aliased(model, changed)).add_cte(logged.cte("logged"))


def audit_insert_for(
    changed: CTE,
    action: str,
    *,
    kind: str,
    key: str = "id",
    details: Mapping[str, Any] | None = None,
    actor: str | None = None,
    behind: Sequence[CTE] = (),
) -> Insert:
    """Return the statement that adds an event for each row of `changed`, whose subject is `kind` and the row's `key`.

    It waits for the parts `behind` which it comes: see `audited_writes`.
    """
    entry = audit_entry(action, details=details)
    columns: dict[str, ColumnElement[Any]] = {
        name: literal(value, AuditEvent.__table__.c[name].type).label(name) for name, value in entry.items()
    }
    columns["subject"] = func.concat(f"{kind}:", changed.c[key])
    if actor is not None:
        columns["actor_id"] = changed.c[actor]
    rows = select(*columns.values()).select_from(changed).where(*(_is_done(part) for part in behind))
    return insert(AuditEvent).from_select(list(columns), rows)


def audited_writes(*writes: Insert | Update, entry: Mapping[str, Any], keeping: UUID | None = None) -> Select[int]:
    """Return one statement that carries out all `writes` and then adds the event.

    Then, not meanwhile: the order of the parts of a WITH is PostgreSQL's to choose, unless one needs another's rows. Whoever
    locks the head of the chain before its own rows could wait for somebody who does it the other way round. A foreign key locks
    its row only when the whole statement is over, so the user whose row one refers to is `keeping`: locked as the key does, in time.
    """
    done = [write.returning(literal(1).label("done")).cte(f"write_{number}") for number, write in enumerate(writes)]
    if keeping is not None:
        done.append(lock_users(keeping, behind=done))
    table = AuditEvent.__table__
    columns = [literal(value, table.c[name].type).label(name) for name, value in entry.items()]
    logged = insert(AuditEvent).from_select(list(entry), select(*columns).where(*(_is_done(part) for part in done)))
    return select(literal(1)).add_cte(*done, logged.cte("logged"))


def lock_users(*user_ids: UUID, behind: Sequence[CTE]) -> CTE:
    """Return the part that locks the users to whom new rows refer, as their foreign keys will, after the parts `behind`.

    A foreign key locks its row only when the whole statement is over, behind the head of the chain: the event has to wait for this.
    """
    kept = select(User.id).where(User.id.in_(user_ids), *(_is_done(part) for part in behind)).order_by(User.id)
    return kept.with_for_update(read=True, key_share=True).cte("kept")


def _is_done(part: CTE) -> ColumnElement[bool]:
    # True whatever the part did; it has to be carried out to be counted.
    return select(func.count()).select_from(part).scalar_subquery() >= 0


class AuditRepository:
    """Adds to the audit log and reads it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, action: str, **fields: Any) -> None:
        """Add an event within the caller's transaction: what it tells of is not done unless the event is kept."""
        self._session.execute(audit_insert(audit_entry(action, **fields)))

    def add_durably(self, action: str, **fields: Any) -> None:
        """Add an event that is kept although the answer is a refusal."""
        self._session.execute(audit_insert(audit_entry(action, **fields)).execution_options(own_transaction=True))

    def page(self, wanted: AuditFilter, *, limit: int) -> list[AuditEvent]:
        """Return up to `limit` events, newest first."""
        query = select(AuditEvent).order_by(AuditEvent.seq.desc()).limit(limit)
        for column in ("actor_id", "subject", "action"):
            if (value := getattr(wanted, column)) is not None:
                query = query.where(getattr(AuditEvent, column) == value)
        if wanted.since is not None:
            query = query.where(AuditEvent.at >= wanted.since)
        if wanted.until is not None:
            query = query.where(AuditEvent.at < wanted.until)
        if wanted.before_seq is not None:
            query = query.where(AuditEvent.seq < wanted.before_seq)
        return list(self._session.execute(query).scalars())

    def head(self) -> AuditHead:
        """Return where the chain ends."""
        return self._session.execute(select(AuditHead)).scalar_one()

    def read_chain(self) -> Iterator[AuditEvent]:
        """Yield every event in order, as the table has them."""
        after = None
        while True:
            query = select(AuditEvent).order_by(AuditEvent.seq).limit(READ_ROWS).execution_options(populate_existing=True)
            if after is not None:
                query = query.where(AuditEvent.seq > after)
            rows = list(self._session.execute(query).scalars())
            yield from rows
            if len(rows) < READ_ROWS:
                return
            after = rows[-1].seq
            self._session.expunge_all()
