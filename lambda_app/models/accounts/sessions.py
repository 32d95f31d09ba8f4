"""The tables of sessions and their refresh tokens: a session is the family of all tokens that descend from one sign-in."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base

ADDRESS_MAX_LENGTH = 45
"""The longest text of an IPv6 address."""
USER_AGENT_MAX_LENGTH = 200


class UserSession(Base):
    """One sign-in of a user, and what descends from it. It is over when it is revoked, has expired, or the user's epoch has moved on."""

    __tablename__ = "user_session"
    __table_args__ = (Index("ix_user_session_user_id", "user_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    token_epoch: Mapped[int]
    """The user's `token_epoch` at sign-in."""
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    """When it was last refreshed; not written at other requests."""
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    source_address: Mapped[str | None] = mapped_column(String(ADDRESS_MAX_LENGTH))
    user_agent: Mapped[str | None] = mapped_column(String(USER_AGENT_MAX_LENGTH))


class RefreshToken(Base):
    """A refresh token that was given out, as its SHA-256; used ones stay, so that a second use is recognised."""

    __tablename__ = "refresh_token"
    __table_args__ = (Index("ix_refresh_token_session_id", "session_id"),)

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("user_session.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
