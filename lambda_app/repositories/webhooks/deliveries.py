"""Queries on deliveries: which are due, what became of them.

A webhook is leased while a batch of its deliveries is sent, so there is one batch at a time. Lock order: the webhook, its deliveries.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Update, func, insert, or_, select, update
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from lambda_app.core import clock
from lambda_app.db.session import own_transaction
from lambda_app.models import DeliveryStatus, EventCursor, PublishedEvent, ShownDelivery, User, Webhook, WebhookDelivery
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.statements import built_once, table_of


class DueDelivery(NamedTuple):
    """A delivery with its event."""

    id: UUID
    owner_id: UUID
    type: str
    at: datetime
    subject: str
    data: dict[str, Any]
    event_id: int


class WebhookDeliveryRepository:
    """Reads and writes the rows of `webhook_delivery`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # Sending

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Open a transaction, and commit it at the end."""
        with own_transaction(self._session):
            yield

    def lock_due_webhook(self) -> tuple[Webhook, User] | None:
        """Lock the enabled webhook that has waited longest for a batch, and return it with its owner; None if none is due."""
        row = self._session.execute(*_lock_due(now=clock.now())).one_or_none()
        return None if row is None else (row[0], row[1])

    def count_leases(self, *, limit: int) -> int:
        """Return how many webhooks are leased, up to `limit`."""
        return int(self._session.execute(*_count_leases(now=clock.now(), limit=limit)).scalar_one())

    def lock_leased_webhook(self, webhook_id: UUID, *, lease_id: UUID) -> Webhook | None:
        """Lock the webhook if this lease still holds it."""
        return self._session.execute(*_lock_leased(webhook_id=webhook_id, lease_id=lease_id)).scalar_one_or_none()

    def list_due(self, webhook_id: UUID, *, limit: int) -> list[DueDelivery]:
        """Return the deliveries that are due, the longest waiting first."""
        due = self._session.execute(*_due(webhook_id=webhook_id, now=clock.now(), limit=limit))
        return [DueDelivery(*row) for row in due]

    def list_pending(self, webhook_id: UUID, ids: Sequence[UUID]) -> list[WebhookDelivery]:
        """Lock and return those of the deliveries that are pending."""
        return list(self._session.execute(*_lock_pending(webhook_id=webhook_id, ids=list(ids))).scalars())

    def first_due_at(self, webhook_id: UUID) -> datetime | None:
        """Return when the next pending delivery of the webhook is due; None if there is none."""
        return self._session.execute(*_first_due_at(webhook_id=webhook_id)).scalar_one_or_none()

    def save(self) -> None:
        """Write the changes of loaded rows."""
        self._session.flush()

    def record_disabling(self, webhook: Webhook) -> None:
        """Audit that the server disabled the webhook, which also tells its owner."""
        details = {"owner_id": webhook.owner_id, "reason": webhook.disabled_reason}
        AuditRepository(self._session).add("webhook.disabled", subject=f"webhook:{webhook.id}", details=details)

    # For the owner

    def page(self, webhook_id: UUID, *, before: int | None, limit: int, status: str | None) -> list[ShownDelivery]:
        """Return up to `limit` deliveries of the webhook, the newest event first, older than the event `before`."""
        page = _page(webhook_id=webhook_id, before=before, limit=limit, status=status)
        return [ShownDelivery(*row) for row in self._session.execute(*page)]

    def replay(self, webhook_id: UUID, delivery_id: UUID) -> ShownDelivery | None:
        """Make the delivery due again with new attempts, and commit; None if there is none."""
        now = clock.now()
        with own_transaction(self._session):
            self._session.execute(*_make_due(webhook_id=webhook_id, now=now))
            if self._session.execute(*_restart(delivery_id=delivery_id, webhook_id=webhook_id, now=now)).scalar_one_or_none() is None:
                return None
        return ShownDelivery(*self._session.execute(*_shown(delivery_id=delivery_id)).one())

    def add_test(self, webhook: Webhook, *, event_type: str, data: Mapping[str, Any]) -> ShownDelivery | None:
        """Add an event for this webhook only, make it due, and commit; None if one of this type and webhook is pending."""
        now = clock.now()
        with own_transaction(self._session):
            # The lock of the dispatcher: readers rely on ids that grow in the order of the commits.
            self._session.execute(*_lock_cursor())
            test: dict[str, Any] = {"owner_id": webhook.owner_id, "event_type": event_type, "webhook_id": webhook.id}
            if self._session.execute(*_pending_test(**test)).scalar_one_or_none() is not None:
                return None
            subject = f"webhook:{webhook.id}"
            event = _add_event(owner_id=webhook.owner_id, type=event_type, at=now, subject=subject, data=data)
            event_id = self._session.execute(*event).scalar_one()
            delivery = self._session.execute(*_add(webhook_id=webhook.id, event_id=event_id, now=now)).scalar_one()
            self._session.execute(*_make_due(webhook_id=webhook.id, now=now))
        return ShownDelivery(delivery, event_type)


@built_once
def _lock_due(*, now: datetime) -> Select[Webhook, User]:
    is_free = or_(Webhook.leased_until.is_(None), Webhook.leased_until <= now)
    query = select(Webhook, User).join(User, User.id == Webhook.owner_id).where(Webhook.is_enabled, Webhook.next_due_at <= now, is_free)
    query = query.order_by(Webhook.next_due_at).limit(1).with_for_update(of=Webhook, skip_locked=True)
    return query.execution_options(populate_existing=True)


@built_once
def _count_leases(*, now: datetime, limit: int) -> Select[int]:
    leased = select(Webhook.id).where(Webhook.leased_until > now).limit(limit).subquery()
    return select(func.count()).select_from(leased)


@built_once
def _lock_leased(*, webhook_id: UUID, lease_id: UUID) -> Select[Webhook]:
    query = select(Webhook).where(Webhook.id == webhook_id, Webhook.lease_id == lease_id).with_for_update()
    return query.execution_options(populate_existing=True)


def _is_pending(webhook_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.status == DeliveryStatus.PENDING.value


@built_once
def _due(*, webhook_id: UUID, now: datetime, limit: int) -> Select[Any]:
    event = PublishedEvent
    query = select(WebhookDelivery.id, event.owner_id, event.type, event.at, event.subject, event.data, event.id.label("event_id"))
    query = query.join(event, event.id == WebhookDelivery.event_id)
    query = query.where(*_is_pending(webhook_id), WebhookDelivery.next_attempt_at <= now)
    return query.order_by(WebhookDelivery.next_attempt_at).limit(limit)


@built_once
def _lock_pending(*, webhook_id: UUID, ids: list[UUID]) -> Select[WebhookDelivery]:
    query = select(WebhookDelivery).where(*_is_pending(webhook_id), WebhookDelivery.id.in_(ids))
    return query.order_by(WebhookDelivery.id).with_for_update().execution_options(populate_existing=True)


@built_once
def _first_due_at(*, webhook_id: UUID) -> Select[datetime]:
    return select(func.min(WebhookDelivery.next_attempt_at)).where(*_is_pending(webhook_id))


@built_once
def _page(*, webhook_id: UUID, before: int | None, limit: int, status: str | None) -> Select[WebhookDelivery, str]:
    query = select(WebhookDelivery, PublishedEvent.type).join(PublishedEvent, PublishedEvent.id == WebhookDelivery.event_id)
    query = query.where(WebhookDelivery.webhook_id == webhook_id)
    if before is not None:
        query = query.where(WebhookDelivery.event_id < before)
    if status is not None:
        query = query.where(WebhookDelivery.status == status)
    return query.order_by(WebhookDelivery.event_id.desc()).limit(limit).execution_options(populate_existing=True)


@built_once
def _make_due(*, webhook_id: UUID, now: datetime) -> Update:
    due_at = func.least(func.coalesce(Webhook.next_due_at, now), now)
    return update(table_of(Webhook)).where(Webhook.id == webhook_id).values(next_due_at=due_at)


@built_once
def _restart(*, delivery_id: UUID, webhook_id: UUID, now: datetime) -> ReturningUpdate[UUID]:
    values = {"status": DeliveryStatus.PENDING.value, "attempts": 0, "first_attempt_at": None, "next_attempt_at": now}
    change = update(table_of(WebhookDelivery)).where(WebhookDelivery.id == delivery_id, WebhookDelivery.webhook_id == webhook_id)
    return change.values(values).returning(WebhookDelivery.id)


@built_once
def _shown(*, delivery_id: UUID) -> Select[WebhookDelivery, str]:
    query = select(WebhookDelivery, PublishedEvent.type).join(PublishedEvent, PublishedEvent.id == WebhookDelivery.event_id)
    return query.where(WebhookDelivery.id == delivery_id).execution_options(populate_existing=True)


@built_once
def _lock_cursor() -> Select[int]:
    return select(EventCursor.id).where(EventCursor.id == 1).with_for_update()


@built_once
def _pending_test(*, owner_id: UUID, event_type: str, webhook_id: UUID) -> Select[UUID]:
    event = PublishedEvent
    query = select(WebhookDelivery.id).join(event, event.id == WebhookDelivery.event_id)
    return query.where(event.owner_id == owner_id, event.type == event_type, *_is_pending(webhook_id)).limit(1)


@built_once
def _add_event(**columns: Any) -> ReturningInsert[int]:
    return insert(table_of(PublishedEvent)).values(**columns).returning(PublishedEvent.id)


@built_once
def _add(*, webhook_id: UUID, event_id: int, now: datetime) -> Select[WebhookDelivery]:
    values = {"webhook_id": webhook_id, "event_id": event_id, "next_attempt_at": now}
    added = insert(WebhookDelivery).values(**values).returning(*WebhookDelivery.__table__.c).cte("added")
    return select(aliased(WebhookDelivery, added))
