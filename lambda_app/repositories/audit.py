"""Queries on the audit log. A database trigger rejects updates and deletes."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Insert, Select, Update, func, insert, literal, select
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from lambda_app.core import clock
from lambda_app.core.logs import request_id
from lambda_app.core.request_context import request_context
from lambda_app.db.compiled import parameter
from lambda_app.models import AuditEvent, AuditHead, Base, User
from lambda_app.repositories.statements import OWN_TRANSACTION, as_column
from lambda_app.schemas.admin import AuditFilter

T = TypeVar("T", bound=Base)

DISORDER = timedelta(minutes=1)
"""Longest time by which two events can be in another order by `at` than by `seq`: clocks differ, and transactions wait."""
READ_ROWS = 1000
"""Rows per query while the chain is verified."""


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


def audit_insert(entry: Mapping[str, Any]) -> Insert:
    """Return the statement that adds the event."""
    return insert(AuditEvent).values(**entry)


def audit_insert_each(rows: CTE, entry: Mapping[str, Any]) -> Insert:
    """Return the statement that adds the event once per row of `rows`."""
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
    """Return one statement that makes the change and adds an event per changed row; it returns the changed rows.

    `change` must be RETURNING whole rows. The row is the subject of its event. `actor` names the column that holds the acting
    user, if that is not the authenticated caller.
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
    after: Sequence[CTE] = (),
    entry: Mapping[str, Any] | None = None,
) -> Insert:
    """Return the statement that adds an event per row of `changed`, with the subject `<kind>:<key of the row>`.

    It runs after the CTEs `after`: see `audited_writes`. `entry` replaces the columns of the current request, for a statement that is
    compiled once: see `audit_parameters`.
    """
    entry = audit_entry(action, details=details) if entry is None else entry
    columns: dict[str, ColumnElement[Any]] = {
        name: as_column(value, AuditEvent.__table__.c[name].type).label(name) for name, value in entry.items()
    }
    columns["subject"] = func.concat(f"{kind}:", changed.c[key])
    if actor is not None:
        columns["actor_id"] = changed.c[actor]
    rows = select(*columns.values()).select_from(changed).where(*(has_run(part) for part in after))
    return insert(AuditEvent).from_select(list(columns), rows)


def audited_writes(*writes: Insert | Update, entry: Mapping[str, Any], lock_user_ids: Collection[UUID] = ()) -> Select[int]:
    """Return one statement that executes all `writes` and then adds the event.

    Lock order: the rows of `writes`, the users `lock_user_ids`, the end of the audit log. Every transaction locks the end of the
    audit log last; otherwise two of them could deadlock. PostgreSQL may run the CTEs of a WITH in any order unless one reads from
    another, so the event reads from all of them. A foreign key locks the row it refers to only at the end of the statement, which
    is after the end of the log: `lock_user_ids` are the users to whom new rows refer.
    """
    done = [write.returning(literal(1).label("done")).cte(f"write_{number}") for number, write in enumerate(writes)]
    if lock_user_ids:
        done.append(lock_users(*lock_user_ids, after=done))
    table = AuditEvent.__table__
    columns = [literal(value, table.c[name].type).label(name) for name, value in entry.items()]
    logged = insert(AuditEvent).from_select(list(entry), select(*columns).where(*(has_run(part) for part in done)))
    return select(literal(1)).add_cte(*done, logged.cte("logged"))


def lock_users(*user_ids: UUID, after: Sequence[CTE]) -> CTE:
    """Return the CTE that locks the users in the order of their ids, in the mode of a foreign key, after the CTEs `after`.

    The event of the statement has to come after this CTE: see `audited_writes`.
    """
    users = select(User.id).where(User.id.in_(user_ids), *(has_run(part) for part in after)).order_by(User.id)
    return users.with_for_update(read=True, key_share=True).cte("locked_users")


def has_run(part: CTE) -> ColumnElement[bool]:
    """Return a condition that is always true and is known only after the CTE has run: PostgreSQL has to count its rows."""
    return select(func.count()).select_from(part).scalar_subquery() >= 0


class AuditRepository:
    """Adds events to the audit log and reads them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, action: str, **fields: Any) -> None:
        """Add an event within the caller's transaction, so that the action and its event are committed together."""
        self._session.execute(audit_insert(audit_entry(action, **fields)))

    def add_durably(self, action: str, **fields: Any) -> None:
        """Add an event and commit it, so that it survives the rollback of a refused request."""
        self._session.execute(audit_insert(audit_entry(action, **fields)).execution_options(**OWN_TRANSACTION))

    def page(self, filters: AuditFilter, *, limit: int) -> list[AuditEvent]:
        """Return up to `limit` events, newest first."""
        query = select(AuditEvent).order_by(AuditEvent.seq.desc()).limit(limit)
        for column in ("actor_id", "subject", "action"):
            if (value := getattr(filters, column)) is not None:
                query = query.where(getattr(AuditEvent, column) == value)
        # `at` is taken before the end of the log is locked, so events are nearly but not exactly in its order. The bounds of `seq` let
        # PostgreSQL begin near the right place; the exact conditions stay.
        if filters.since is not None:
            first = (
                select(AuditEvent.seq)
                .where(AuditEvent.at >= literal(filters.since, AuditEvent.at.type) - DISORDER)
                .order_by(AuditEvent.at, AuditEvent.seq)
            )
            query = query.where(AuditEvent.at >= filters.since, AuditEvent.seq >= first.limit(1).scalar_subquery())
        if filters.until is not None:
            last = select(AuditEvent.seq).where(AuditEvent.at < literal(filters.until, AuditEvent.at.type) + DISORDER)
            last = last.order_by(AuditEvent.at.desc(), AuditEvent.seq.desc())
            query = query.where(AuditEvent.at < filters.until, AuditEvent.seq <= last.limit(1).scalar_subquery())
        if filters.before_seq is not None:
            query = query.where(AuditEvent.seq < filters.before_seq)
        return list(self._session.execute(query).scalars())

    def head(self) -> AuditHead:
        """Return the end of the hash chain."""
        return self._session.execute(select(AuditHead)).scalar_one()

    def read_chain(self) -> Iterator[AuditEvent]:
        """Yield every event in order of `seq`."""
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
