"""Queries on deliveries: which are due, what became of them.

A webhook is leased while a batch of its deliveries is sent, so there is one batch at a time. Lock order: the webhook, its deliveries.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.db.session import own_transaction
from lambda_app.models import DeliveryStatus, EventCursor, PublishedEvent, ShownDelivery, User, Webhook, WebhookDelivery
from lambda_app.repositories.audit import AuditRepository


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
        now = clock.now()
        is_free = or_(Webhook.leased_until.is_(None), Webhook.leased_until <= now)
        query = select(Webhook, User).join(User, User.id == Webhook.owner_id).where(Webhook.is_enabled, Webhook.next_due_at <= now, is_free)
        query = query.order_by(Webhook.next_due_at).limit(1).with_for_update(of=Webhook, skip_locked=True)
        row = self._session.execute(query.execution_options(populate_existing=True)).one_or_none()
        return None if row is None else (row[0], row[1])

    def count_leases(self, *, limit: int) -> int:
        """Return how many webhooks are leased, up to `limit`."""
        leased = select(Webhook.id).where(Webhook.leased_until > clock.now()).limit(limit).subquery()
        return self._session.execute(select(func.count()).select_from(leased)).scalar_one()

    def lock_leased_webhook(self, webhook_id: UUID, *, lease_id: UUID) -> Webhook | None:
        """Lock the webhook if this lease still holds it."""
        query = select(Webhook).where(Webhook.id == webhook_id, Webhook.lease_id == lease_id).with_for_update()
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()

    def list_due(self, webhook_id: UUID, *, limit: int) -> list[DueDelivery]:
        """Return the deliveries that are due, the longest waiting first."""
        event = PublishedEvent
        query = (
            select(WebhookDelivery.id, event.owner_id, event.type, event.at, event.subject, event.data, event.id.label("event_id"))
            .join(event, event.id == WebhookDelivery.event_id)
            .where(
                WebhookDelivery.webhook_id == webhook_id,
                WebhookDelivery.status == DeliveryStatus.PENDING.value,
                WebhookDelivery.next_attempt_at <= clock.now(),
            )
            .order_by(WebhookDelivery.next_attempt_at)
            .limit(limit)
        )
        return [DueDelivery(*row) for row in self._session.execute(query)]

    def list_pending(self, webhook_id: UUID, ids: Sequence[UUID]) -> list[WebhookDelivery]:
        """Lock and return those of the deliveries that are pending."""
        query = select(WebhookDelivery).where(
            WebhookDelivery.webhook_id == webhook_id,
            WebhookDelivery.id.in_(ids),
            WebhookDelivery.status == DeliveryStatus.PENDING.value,
        )
        query = query.order_by(WebhookDelivery.id).with_for_update().execution_options(populate_existing=True)
        return list(self._session.execute(query).scalars())

    def first_due_at(self, webhook_id: UUID) -> datetime | None:
        """Return when the next pending delivery of the webhook is due; None if there is none."""
        query = select(func.min(WebhookDelivery.next_attempt_at)).where(
            WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.status == DeliveryStatus.PENDING.value
        )
        return self._session.execute(query).scalar_one_or_none()

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
        query = select(WebhookDelivery, PublishedEvent.type).join(PublishedEvent, PublishedEvent.id == WebhookDelivery.event_id)
        query = query.where(WebhookDelivery.webhook_id == webhook_id)
        if before is not None:
            query = query.where(WebhookDelivery.event_id < before)
        if status is not None:
            query = query.where(WebhookDelivery.status == status)
        query = query.order_by(WebhookDelivery.event_id.desc()).limit(limit).execution_options(populate_existing=True)
        return [ShownDelivery(*row) for row in self._session.execute(query)]

    def replay(self, webhook_id: UUID, delivery_id: UUID) -> ShownDelivery | None:
        """Make the delivery due again with new attempts, and commit; None if there is none."""
        now = clock.now()
        with own_transaction(self._session):
            webhook = update(Webhook).where(Webhook.id == webhook_id)
            self._session.execute(webhook.values(next_due_at=func.least(func.coalesce(Webhook.next_due_at, now), now)))
            values: Mapping[str, Any] = {
                "status": DeliveryStatus.PENDING.value,
                "attempts": 0,
                "first_attempt_at": None,
                "next_attempt_at": now,
            }
            change = update(WebhookDelivery).where(WebhookDelivery.id == delivery_id, WebhookDelivery.webhook_id == webhook_id)
            if self._session.execute(change.values(values).returning(WebhookDelivery.id)).scalar_one_or_none() is None:
                return None
        query = select(WebhookDelivery, PublishedEvent.type).join(PublishedEvent, PublishedEvent.id == WebhookDelivery.event_id)
        query = query.where(WebhookDelivery.id == delivery_id).execution_options(populate_existing=True)
        return ShownDelivery(*self._session.execute(query).one())

    def add_test(self, webhook: Webhook, *, event_type: str, data: Mapping[str, Any]) -> ShownDelivery | None:
        """Add an event for this webhook only, make it due, and commit; None if one of this type and webhook is pending."""
        now = clock.now()
        with own_transaction(self._session):
            # The lock of the dispatcher: readers rely on ids that grow in the order of the commits.
            self._session.execute(select(EventCursor.id).where(EventCursor.id == 1).with_for_update())
            if self._is_pending(webhook, event_type):
                return None
            event = insert(PublishedEvent).values(
                owner_id=webhook.owner_id, type=event_type, at=now, subject=f"webhook:{webhook.id}", data=data
            )
            event_id = self._session.execute(event.returning(PublishedEvent.id)).scalar_one()
            added = insert(WebhookDelivery).values(webhook_id=webhook.id, event_id=event_id, next_attempt_at=now)
            delivery = self._session.execute(added.returning(WebhookDelivery)).scalar_one()
            due = update(Webhook).where(Webhook.id == webhook.id)
            self._session.execute(due.values(next_due_at=func.least(func.coalesce(Webhook.next_due_at, now), now)))
        return ShownDelivery(delivery, event_type)

    def _is_pending(self, webhook: Webhook, event_type: str) -> bool:
        event = PublishedEvent
        query = select(WebhookDelivery.id).join(event, event.id == WebhookDelivery.event_id)
        query = query.where(event.owner_id == webhook.owner_id, event.type == event_type, WebhookDelivery.webhook_id == webhook.id)
        pending = query.where(WebhookDelivery.status == DeliveryStatus.PENDING.value).limit(1)
        return self._session.execute(pending).scalar_one_or_none() is not None
