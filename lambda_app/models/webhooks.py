"""The tables of webhooks and of their deliveries (docs/adr/0038-published-events-and-webhooks.md)."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base, Timestamps
from lambda_app.models.events import EVENT_TYPE_MAX_LENGTH

WEBHOOK_URL_MAX_LENGTH = 2000
WEBHOOK_DESCRIPTION_MAX_LENGTH = 200
ENCRYPTED_SECRET_MAX_LENGTH = 400


class DeliveryStatus(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """No attempt succeeded within three days."""


class Webhook(Timestamps, Base):
    """An address that receives the events of its owner, or of all users."""

    __tablename__ = "webhook"
    __table_args__ = (
        Index("ix_webhook_owner_id", "owner_id"),
        Index("ix_webhook_next_due_at", "next_due_at", postgresql_where=text("is_enabled")),
        Index("ix_webhook_leased_until", "leased_until", postgresql_where=text("leased_until IS NOT NULL")),
        Index("ix_webhook_for_all_users", "id", postgresql_where=text("for_all_users")),
        Index("ix_webhook_deleted_at", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    for_all_users: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether it receives the events of all users. It does so only while its owner is a superuser."""
    url: Mapped[str] = mapped_column(String(WEBHOOK_URL_MAX_LENGTH))
    description: Mapped[str | None] = mapped_column(String(WEBHOOK_DESCRIPTION_MAX_LENGTH))
    event_types: Mapped[list[str] | None] = mapped_column(ARRAY(String(EVENT_TYPE_MAX_LENGTH)))
    """The types that it receives; None: all."""
    is_enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    disabled_reason: Mapped[str | None] = mapped_column(String(32))
    """Why the server disabled it; None if the owner did, or if it is enabled."""
    failing_since: Mapped[datetime | None]
    """When the first attempt failed after the last one that succeeded."""
    failure_count: Mapped[int] = mapped_column(server_default=text("0"))
    """Failed attempts since the last one that succeeded."""
    next_due_at: Mapped[datetime | None]
    """When a delivery of this webhook is due; None if none is pending."""
    lease_id: Mapped[UUID | None]
    """Identifies the batch that is being sent. One at a time, so that a slow receiver occupies one sender."""
    leased_until: Mapped[datetime | None]
    """When that batch counts as lost."""
    encrypted_secret: Mapped[str] = mapped_column(String(ENCRYPTED_SECRET_MAX_LENGTH))
    """The key of the signature, encrypted for this row."""
    encrypted_previous_secret: Mapped[str | None] = mapped_column(String(ENCRYPTED_SECRET_MAX_LENGTH))
    """The key before the last rotation, which signs too until `previous_secret_until`."""
    previous_secret_until: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    """When its owner deleted it. It is disabled then, and maintenance deletes its deliveries and the row."""


class WebhookDelivery(Base):
    """An event on its way to a webhook. The id is the id of the message, the same in every attempt."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        CheckConstraint(f"status IN ({', '.join(repr(status.value) for status in DeliveryStatus)})", name="status"),
        UniqueConstraint("webhook_id", "event_id", name="uq_webhook_delivery_webhook_id_event_id"),
        Index("ix_webhook_delivery_event_id", "event_id"),
        Index("ix_webhook_delivery_webhook_id_status_event_id", "webhook_id", "status", "event_id"),
        Index("ix_webhook_delivery_pending", "webhook_id", "next_attempt_at", postgresql_where=text("status = 'pending'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    webhook_id: Mapped[UUID] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"))
    event_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("published_event.id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(String(16), server_default=DeliveryStatus.PENDING.value)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    first_attempt_at: Mapped[datetime | None]
    """The start of the three days. A replay starts them again."""
    next_attempt_at: Mapped[datetime]
    """When the next attempt is due."""
    attempted_at: Mapped[datetime | None]
    """When the last attempt ended."""
    response_status: Mapped[int | None]
    """The HTTP status of the last attempt; None without an answer."""
    response_body: Mapped[str | None] = mapped_column(Text)
    """The beginning of the last answer."""
    error: Mapped[str | None] = mapped_column(String(32))
    """Why the last attempt failed, as a code; None after a success."""
    duration_ms: Mapped[int | None]


class ShownDelivery(NamedTuple):
    """A delivery and the type of its event."""

    delivery: WebhookDelivery
    event_type: str
