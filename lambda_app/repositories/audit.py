"""Writes and lists of audit events. `audit_log` reads and seals the Merkle tree over them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Executable, Insert, Select, Text, Update, bindparam, cast, func, insert, literal, select
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningDelete, ReturningInsert, ReturningUpdate

from lambda_app.core import clock
from lambda_app.core.logs import request_id
from lambda_app.core.request_context import request_context
from lambda_app.db.compiled import parameter
from lambda_app.models import AuditChainEvent, AuditEvent, Base
from lambda_app.repositories.statements import OWN_TRANSACTION, Bound, as_column, built_once, table_of
from lambda_app.schemas.admin import AuditFilter

S = TypeVar("S", bound=Executable)
T = TypeVar("T", bound=Base)
PagedEvent = TypeVar("PagedEvent", AuditEvent, AuditChainEvent)

DISORDER = timedelta(minutes=1)
"""Longest time by which two events can be in another order by `at` than by `seq`: clocks differ, and transactions wait."""


def audit_entry(
    action: str, *, subject: str | None = None, actor_id: UUID | None = None, details: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the columns of an event. Actor and origin come from the current request; `actor_id` overrides the actor."""
    context = request_context()
    return {
        "at": clock.now(),
        "action": action,
        "actor_id": actor_id or context.actor_id,
        "credential": context.credential,
        "subject": subject,
        "details": audit_details(details),
        "source_address": context.source_address,
        "request_id": request_id.get(),
    }


ENTRY: Mapping[str, Any] = {
    name: bindparam(f"audit_{name}", type_=AuditEvent.__table__.c[name].type)
    for name in ("at", "action", "actor_id", "credential", "subject", "details", "source_address", "request_id")
}
"""The columns of an event, as the parameters of a statement that is built once. Their values are `entry_parameters`."""


def entry_parameters(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the parameters in ENTRY for the columns of an event (`audit_entry`)."""
    return {f"audit_{name}": value for name, value in entry.items()}


def with_event(bound: Bound[S], action: str, **fields: Any) -> Bound[S]:
    """Return the statement with the values of ENTRY for an event of the current request. `fields` are those of `audit_entry`."""
    return Bound(bound.statement, bound.values | entry_parameters(audit_entry(action, **fields)))


def compiled_audit_entry(
    action: str, *, actor_id: ColumnElement[Any], credential: ColumnElement[Any], details: str | ColumnElement[Any]
) -> dict[str, Any]:
    """Return the columns of an event for a statement that is compiled once. Its parameters are those of `audit_parameters`.

    `details` is a JSON object as text, as `audit_details` returns it.
    """
    types = AuditEvent.__table__.c
    bound = {name: parameter(f"audit_{name}", types[name].type) for name in ("at", "source_address", "request_id")}
    return {"action": action, "actor_id": actor_id, "credential": credential, "subject": None, "details": details, **bound}


def audit_parameters() -> dict[str, Any]:
    """Return the parameters of `compiled_audit_entry`, from the current request."""
    return {"audit_at": clock.now(), "audit_source_address": request_context().source_address, "audit_request_id": request_id.get()}


def audit_details(details: Mapping[str, Any] | None) -> str:
    """Return the details of an event as they are stored."""
    return json.dumps(details or {}, sort_keys=True, default=str)


def details_of(**members: ColumnElement[Any]) -> ColumnElement[str]:
    """Return the details of an event from columns of its statement. Members that are NULL are left out."""
    pairs = [part for name, value in members.items() for part in (literal(name, Text), value)]
    return cast(func.json_strip_nulls(func.json_build_object(*pairs)), Text)


def audit_insert(entry: Mapping[str, Any]) -> Insert:
    """Return the statement that adds the event."""
    return insert(table_of(AuditEvent)).values(**entry)


def audit_insert_each(rows: CTE, entry: Mapping[str, Any]) -> Insert:
    """Return the statement that adds the event once per row of `rows`."""
    columns = [as_column(value, AuditEvent.__table__.c[name].type) for name, value in entry.items()]
    return insert(table_of(AuditEvent)).from_select(list(entry), select(*columns).select_from(rows))


def audited_change(
    change: ReturningUpdate[Any] | ReturningInsert[Any] | ReturningDelete[Any], model: type[T], *, actor: str | None = None
) -> Select[T]:
    """Return one statement that makes the change and adds an event per changed row; it returns the changed rows.

    `change` must be RETURNING whole rows. The row is the subject of its event. `actor` names the column that holds the acting
    user, if that is not the authenticated caller. The event's other columns are ENTRY: see `with_event`.
    """
    changed = change.cte("changed")
    logged = audit_insert_for(changed, kind=str(model.__tablename__), actor=actor)
    return select(aliased(model, changed)).add_cte(logged.cte("logged"))


def audit_insert_for(
    changed: CTE,
    *,
    kind: str,
    key: str = "id",
    details: ColumnElement[str] | None = None,
    actor: str | None = None,
    entry: Mapping[str, Any] = ENTRY,
) -> Insert:
    """Return the statement that adds an event per row of `changed`, with the subject `<kind>:<key of the row>`.

    `details` are an expression on the row that is JSON text, in place of those of the entry. `entry` are the columns of the event; the
    statement gets those of ENTRY from `with_event`.
    """
    columns: dict[str, ColumnElement[Any]] = {
        name: as_column(value, AuditEvent.__table__.c[name].type).label(name) for name, value in entry.items()
    }
    columns["subject"] = func.concat(f"{kind}:", changed.c[key])
    if details is not None:
        columns["details"] = details
    if actor is not None:
        columns["actor_id"] = changed.c[actor]
    rows = select(*columns.values()).select_from(changed)
    return insert(table_of(AuditEvent)).from_select(list(columns), rows)


def audited_writes(*writes: Insert | Update, entry: Mapping[str, Any]) -> Select[int]:
    """Return one statement that executes all `writes` and adds the event."""
    done = [write.returning(literal(1).label("done")).cte(f"write_{number}") for number, write in enumerate(writes)]
    return select(literal(1)).add_cte(*done, audit_insert(entry).cte("logged"))


def has_run(part: CTE) -> ColumnElement[bool]:
    """Return a condition that is always true and is known only after the CTE has run: PostgreSQL has to count its rows.

    For a lock order between rows of different tables. The audit log needs none.
    """
    return select(func.count()).select_from(part).scalar_subquery() >= 0


@cache
def audit_insert_entry() -> Insert:
    """Return the statement that adds the event whose columns are the parameters in ENTRY."""
    return audit_insert(ENTRY)


def add_event(session: Session, action: str, **fields: Any) -> None:
    """Add an event within the caller's transaction. `fields` are those of `audit_entry`."""
    session.execute(audit_insert_entry(), entry_parameters(audit_entry(action, **fields)))


class AuditRepository:
    """Adds events to the audit log and reads them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, action: str, **fields: Any) -> None:
        """Add an event within the caller's transaction, so that the action and its event are committed together."""
        add_event(self._session, action, **fields)

    def add_durably(self, action: str, **fields: Any) -> None:
        """Add an event and commit it, so that it survives the rollback of a refused request."""
        self._session.execute(audit_insert_entry(), entry_parameters(audit_entry(action, **fields)), execution_options=OWN_TRANSACTION)

    def page(self, filters: AuditFilter, *, limit: int) -> list[AuditEvent | AuditChainEvent]:
        """Return up to `limit` events, newest first: those of the log, then those of the closed chain, which are all older."""
        events: list[AuditEvent | AuditChainEvent] = [*self._page(AuditEvent, filters, limit)]
        if len(events) < limit:
            events += self._page(AuditChainEvent, filters, limit - len(events))
        return events

    def page_of_user(self, user_id: UUID, filters: AuditFilter, *, limit: int) -> list[AuditEvent | AuditChainEvent]:
        """Return up to `limit` events that the user caused or that are about the user's account, newest first."""
        # Two queries, because each reads its index in the order of the list and stops at the limit.
        filtered = replace(filters, actor_id=user_id), replace(filters, subject=f"user:{user_id}")
        events = _newest([row for own in filtered for row in self._page(AuditEvent, own, limit)], limit)
        left = limit - len(events)
        if not left:
            return events
        earlier = [row for own in filtered for row in self._page(AuditChainEvent, own, left)]
        return events + _newest(earlier, left)

    def _page(self, table: type[PagedEvent], filters: AuditFilter, limit: int) -> Iterable[PagedEvent]:
        return self._session.execute(*_page(table, limit=limit, **asdict(filters))).scalars()


def _newest(events: Sequence[PagedEvent], limit: int) -> list[AuditEvent | AuditChainEvent]:
    distinct = {event.seq: event for event in events}
    return [distinct[seq] for seq in sorted(distinct, reverse=True)[:limit]]


@built_once
def _page(
    table: type[PagedEvent],
    *,
    limit: int,
    actor_id: UUID | None,
    subject: str | None,
    action: str | None,
    since: datetime | None,
    until: datetime | None,
    before_seq: int | None,
) -> Select[PagedEvent]:
    query = select(table).order_by(table.seq.desc()).limit(limit)
    for column, value in ((table.actor_id, actor_id), (table.subject, subject), (table.action, action)):
        if value is not None:
            query = query.where(column == value)
    # `at` is taken before the number, so events are nearly but not exactly in its order. The bounds of `seq` let PostgreSQL begin near
    # the right place; the exact conditions stay.
    if since is not None:
        first = select(table.seq).where(table.at >= as_column(since, table.at.type) - DISORDER).order_by(table.at, table.seq)
        query = query.where(table.at >= since, table.seq >= first.limit(1).scalar_subquery())
    if until is not None:
        last = select(table.seq).where(table.at < as_column(until, table.at.type) + DISORDER)
        last = last.order_by(table.at.desc(), table.seq.desc())
        query = query.where(table.at < until, table.seq <= last.limit(1).scalar_subquery())
    if before_seq is not None:
        query = query.where(table.seq < before_seq)
    return query
