"""The table of API keys: long-lived credentials for scripts, stored as their SHA-256."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base

API_KEY_NAME_MAX_LENGTH = 100


class ApiKey(Base):
    """An API key; `hint` is its first characters, shown to the owner."""

    __tablename__ = "api_key"
    __table_args__ = (
        Index("ix_api_key_user_id", "user_id"),
        Index("ix_api_key_user_id_live", "user_id", postgresql_where=text("revoked_at IS NULL")),
        Index("ix_api_key_created_by_id", "created_by_id", postgresql_where=text("created_by_id IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    created_by_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_key.id", ondelete="CASCADE"))
    """The key that created this key, if a session did not. Revoking that key revokes this one too."""
    token_epoch: Mapped[int]
    """The user's `token_epoch` when the key was created."""
    name: Mapped[str] = mapped_column(String(API_KEY_NAME_MAX_LENGTH))
    hint: Mapped[str] = mapped_column(String(16))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str] = mapped_column(String(200))
    """Separated by spaces (RFC 6749, section 3.3)."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """Accurate to an hour, so that not every request writes it."""
    revoked_at: Mapped[datetime | None]
