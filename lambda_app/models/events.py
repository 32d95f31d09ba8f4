"""The tables of published events: what the audit log tells the users it concerns (docs/adr/0038-published-events-and-webhooks.md)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, SmallInteger, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base

EVENT_TYPE_MAX_LENGTH = 64


class PublishedEvent(Base):
    """An event of one user. Its ids grow in the order of the commits, because one dispatcher at a time writes them."""

    __tablename__ = "published_event"
    __table_args__ = (
        Index("ix_published_event_owner_id_id", "owner_id", "id"),
        Index("ix_published_event_owner_id_type_id", "owner_id", "type", "id"),
        Index("ix_published_event_at", "at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    """The user whom it concerns, and the only one who may read it."""
    type: Mapped[str] = mapped_column(String(EVENT_TYPE_MAX_LENGTH))
    at: Mapped[datetime]
    """The time of the audit event."""
    subject: Mapped[str] = mapped_column(String(100))
    """The object, as `file:<id>`."""
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """Ids, names and sizes. Never the actor, the address of another person, a token or a secret."""


class EventCursor(Base):
    """The last audit event that the dispatcher has read, in one row. Its lock admits one dispatcher at a time."""

    __tablename__ = "event_cursor"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    era: Mapped[int]
    xid: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger)
