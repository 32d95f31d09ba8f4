"""The table of idempotency keys: which request of a user made which resource."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base


class IdempotencyKey(Base):
    """One key of one user on one route. It names the resource before that is made, so that at most one ever is."""

    __tablename__ = "idempotency_key"
    __table_args__ = (Index("ix_idempotency_key_created_at", "created_at"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    route: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the request's body, in hex."""
    resource_id: Mapped[UUID]
    """Id that the resource has, or will have."""
    is_done: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether the resource was made."""
    created_at: Mapped[datetime]
    locked_until: Mapped[datetime]
    """While the resource is not made, nobody else tries before this."""
