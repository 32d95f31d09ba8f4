"""The table of idempotency keys: which request of a user created which resource."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base


class IdempotencyKey(Base):
    """A user's key on one route. The row holds the id of the resource before it is created, so that at most one is created."""

    __tablename__ = "idempotency_key"
    __table_args__ = (Index("ix_idempotency_key_created_at", "created_at"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    route: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the request's body, in hex."""
    resource_id: Mapped[UUID]
    """Id of the resource, reserved before it is created."""
    is_done: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether the resource was created."""
    created_at: Mapped[datetime]
    locked_until: Mapped[datetime]
    """Until then, no other request with this key may create the resource."""
