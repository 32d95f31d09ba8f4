"""What the dispatcher reads from the audit log and writes for users."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    CTE,
    DateTime,
    Integer,
    Select,
    String,
    Update,
    Uuid,
    and_,
    any_,
    case,
    column,
    func,
    insert,
    join,
    or_,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as insert_or_ignore
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.webhooks import BREAKER_FAILURES
from lambda_app.db.session import own_transaction
from lambda_app.models import (
    Archive,
    AuditCheckpoint,
    AuditEra,
    AuditEvent,
    EventCursor,
    File,
    FileRequest,
    PublishedEvent,
    Share,
    User,
    UserSession,
    Webhook,
    WebhookDelivery,
)
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.statements import as_column, built_once, json_rows, json_text, table_of


class SealedEvent(NamedTuple):
    """An event of the audit log, with the fields from which the events of users are made."""

    era: int
    xid: int
    seq: int
    at: datetime
    action: str
    actor_id: UUID | None
    subject: str | None
    details: str | None
    source_address: str | None


class LogPosition(NamedTuple):
    """The place of an event in the log."""

    era: int
    xid: int
    seq: int


class NewEvent(NamedTuple):
    """An event of one user."""

    owner_id: UUID
    type: str
    at: datetime
    subject: str
    data: dict[str, Any]


class NamedObject(NamedTuple):
    """The owner of a row, and what its events show about it."""

    owner_id: UUID
    data: dict[str, Any]


class EventDispatchRepository:
    """Reads sealed events behind the cursor, and writes the events of users in the same transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @contextmanager
    def dispatching(self) -> Iterator[LogPosition | None]:
        """Open the dispatcher's transaction, and commit it at the end. Yields the cursor; None if another dispatcher is at work."""
        with own_transaction(self._session):
            row = self._session.execute(*_lock_cursor()).one_or_none()
            yield None if row is None else LogPosition(*row)

    def list_sealed(self, after: LogPosition, *, limit: int) -> list[SealedEvent]:
        """Return up to `limit` sealed events of the era behind the position, in the order of the log."""
        return [SealedEvent(*row) for row in self._session.execute(*_sealed(**after._asdict(), limit=limit))]

    def next_era(self, era: int) -> int | None:
        """Return the era that follows; None if this one still gets events."""
        return self._session.execute(*_next_era(era=era)).scalar_one_or_none()

    def move_cursor(self, to: LogPosition) -> None:
        """Set the cursor."""
        self._session.execute(*_move_cursor(**to._asdict()))

    def find_objects(self, subjects: Collection[str]) -> dict[str, NamedObject]:
        """Return the rows of these subjects, as `file:<id>`. Deleted rows and unknown kinds are missing."""
        ids: dict[str, list[UUID]] = {}
        for name, _, text in (subject.partition(":") for subject in subjects):
            if name in _KINDS:
                ids.setdefault(name, []).append(UUID(text))
        found: dict[str, NamedObject] = {}
        for name, wanted in ids.items():
            kind = _KINDS[name]
            for object_id, owner_id, *values in self._session.execute(*_objects(name, ids=wanted)):
                shown = dict(zip((column.key for column in kind.columns), values, strict=True))
                data = shown if kind.name is None else {kind.name: str(object_id), **shown}
                found[f"{name}:{object_id}"] = NamedObject(owner_id, data)
        return found

    def add(self, events: Sequence[NewEvent]) -> int:
        """Insert the events of users that exist, in this order, with a delivery for each webhook that wants them; return how many."""
        if not events:
            return 0
        given = json_text({"position": position, **event._asdict()} for position, event in enumerate(events))
        owner_ids = list({event.owner_id for event in events})
        return int(self._session.execute(*_add(events=given, owner_ids=owner_ids, now=clock.now())).scalar_one())

    def purge(self, *, before: datetime) -> int:
        """Delete events from before this time, in batches; return how many."""
        return delete_in_batches(self._session, PublishedEvent, PublishedEvent.at < before)


@built_once
def _lock_cursor() -> Select[int, int, int]:
    query = select(EventCursor.era, EventCursor.xid, EventCursor.seq).where(EventCursor.id == 1)
    return query.with_for_update(skip_locked=True)


@built_once
def _sealed(*, era: int, xid: int, seq: int, limit: int) -> Select[Any]:
    cutoff = select(func.max(AuditCheckpoint.cutoff)).where(AuditCheckpoint.era == era).scalar_subquery()
    place = tuple_(as_column(xid, AuditEvent.xid.type), as_column(seq, AuditEvent.seq.type))
    query = select(*(AuditEvent.__table__.c[name] for name in SealedEvent._fields))
    query = query.where(AuditEvent.era == era, AuditEvent.xid < cutoff, tuple_(AuditEvent.xid, AuditEvent.seq) > place)
    return query.order_by(AuditEvent.xid, AuditEvent.seq).limit(limit)


@built_once
def _next_era(*, era: int) -> Select[int]:
    return select(func.min(AuditEra.era)).where(AuditEra.era > era)


@built_once
def _move_cursor(**to: int) -> Update:
    return update(table_of(EventCursor)).where(EventCursor.id == 1).values(to)


@built_once
def _objects(name: str, *, ids: list[UUID]) -> Select[Any]:
    kind = _KINDS[name]
    return select(kind.id, kind.owner_id, *kind.columns).where(kind.id.in_(ids))


@built_once
def _add(*, events: str, owner_ids: list[UUID], now: datetime) -> Select[int]:
    table = PublishedEvent.__table__.c
    rows = json_rows(
        "rows",
        events,
        column("position", Integer),
        column("owner_id", Uuid),
        column("type", String),
        column("at", DateTime(timezone=True)),
        column("subject", String),
        column("data", JSONB),
    )
    names = ["owner_id", "type", "at", "subject", "data"]
    # The lock keeps the user from being deleted before the commit.
    owners = select(User.id).where(User.id.in_(owner_ids)).order_by(User.id)
    locked = owners.with_for_update(read=True, key_share=True).cte("locked")
    ordered = select(*(rows.c[name] for name in names)).join(locked, locked.c.id == rows.c.owner_id).order_by(rows.c.position)
    added = insert(PublishedEvent).from_select(names, ordered).returning(table.id, table.owner_id, table.type).cte("added")
    return select(func.count()).select_from(added).add_cte(*_deliveries_of(added, now))


def _deliveries_of(added: CTE, now: datetime) -> tuple[CTE, CTE]:
    """Return the parts that queue the new events for the webhooks of their users, and for those for all users."""
    wants = and_(Webhook.is_enabled, or_(Webhook.event_types.is_(None), added.c.type == any_(Webhook.event_types)))
    columns = (Webhook.id.label("webhook_id"), added.c.id.label("event_id"), as_column(now, WebhookDelivery.next_attempt_at.type))
    own = select(*columns).select_from(Webhook).join(added, Webhook.owner_id == added.c.owner_id).where(wants, ~Webhook.for_all_users)
    is_superuser = and_(User.id == Webhook.owner_id, User.is_active, User.is_superuser)
    receivers = join(join(added, Webhook, Webhook.for_all_users), User, is_superuser)
    for_all = select(*columns).select_from(receivers).where(wants)
    rows = union_all(own, for_all)
    queued = insert_or_ignore(WebhookDelivery).from_select(["webhook_id", "event_id", "next_attempt_at"], rows, include_defaults=False)
    queued_rows = queued.on_conflict_do_nothing().returning(WebhookDelivery.webhook_id).cte("queued")
    # A receiver that is down keeps its pause.
    earliest = case((Webhook.failure_count >= BREAKER_FAILURES, Webhook.next_due_at), else_=func.least(Webhook.next_due_at, now))
    due = update(Webhook).where(Webhook.id.in_(select(queued_rows.c.webhook_id))).values(next_due_at=func.coalesce(earliest, now))
    return queued_rows, due.returning(Webhook.id).cte("due")


class _Kind(NamedTuple):
    """A table of objects: its keys, and the columns that events show."""

    id: Any
    owner_id: Any
    name: str | None
    """The member of `data` that has the id."""
    columns: tuple[Any, ...]


_KINDS = {
    "file": _Kind(File.id, File.owner_id, "file_id", (File.filename, File.size_bytes)),
    "share": _Kind(Share.id, Share.owner_id, "share_id", ()),
    "file_request": _Kind(FileRequest.id, FileRequest.owner_id, "file_request_id", (FileRequest.title,)),
    "archive": _Kind(Archive.id, Archive.holder_id, "archive_id", (Archive.filename, Archive.size_bytes)),
    "user_session": _Kind(UserSession.id, UserSession.user_id, None, (UserSession.user_agent,)),
}
