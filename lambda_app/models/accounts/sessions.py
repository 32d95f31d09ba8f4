"""The tables of sessions and refresh tokens. A session is the family of all tokens issued after one sign-in."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base

ADDRESS_MAX_LENGTH = 45
"""The longest text of an IPv6 address."""
USER_AGENT_MAX_LENGTH = 200
KEY_ID_MAX_LENGTH = 64


class UserSession(Base):
    """A session of a user. It ends when it is revoked, when it expires, or when the user's `token_epoch` increases."""

    __tablename__ = "user_session"
    __table_args__ = (Index("ix_user_session_user_id", "user_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    token_epoch: Mapped[int]
    """The user's `token_epoch` at sign-in."""
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    """When it was last refreshed; other requests do not update it."""
    expires_at: Mapped[datetime]
    refresh_key_id: Mapped[str | None] = mapped_column(String(KEY_ID_MAX_LENGTH))
    """The id of the key that derived the newest refresh token; None before the first refresh."""
    refreshes_since: Mapped[datetime | None]
    """When the current window of refreshes began; None before the first refresh."""
    refresh_count: Mapped[int] = mapped_column(server_default=text("0"))
    """Refreshes in that window."""
    revoked_at: Mapped[datetime | None]
    proved_at: Mapped[datetime | None]
    """When the user last proved in this session who they are, for changes of the account."""
    source_address: Mapped[str | None] = mapped_column(String(ADDRESS_MAX_LENGTH))
    user_agent: Mapped[str | None] = mapped_column(String(USER_AGENT_MAX_LENGTH))


class RefreshToken(Base):
    """An issued refresh token, stored as its SHA-256. Used ones are kept to detect reuse."""

    __tablename__ = "refresh_token"
    __table_args__ = (Index("ix_refresh_token_session_id", "session_id"),)

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("user_session.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    successor_hash: Mapped[str | None] = mapped_column(String(64))
    """SHA-256 of the token that it was exchanged for; None while it is unused."""
    repeated_at: Mapped[datetime | None]
    """When the exchange was first repeated within the grace period; the audit log has one event for it."""
    reuse_recorded_at: Mapped[datetime | None]
    """When the audit log last got an event for a reuse after the grace period."""
