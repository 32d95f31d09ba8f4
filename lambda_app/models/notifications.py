"""The tables of notifications by mail: settings, cursor of the collector, waiting notifications (docs/adr/0039-notifications.md)."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, SmallInteger, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base

SUBJECT_MAX_LENGTH = 100
NETWORK_HASH_LENGTH = 64


class NotificationKind(StrEnum):
    """The reason for a notification. Each is a column of `notification_setting`."""

    LINK_DOWNLOADS = "link_downloads"
    REQUEST_UPLOADS = "request_uploads"
    LINK_EXPIRY = "link_expiry"
    NEW_SIGN_INS = "new_sign_ins"


class NotificationSetting(Base):
    """The choices of an account. A missing row has the defaults: only new sign-ins are notified."""

    __tablename__ = "notification_setting"
    __table_args__ = (Index("ix_notification_setting_link_expiry", "user_id", postgresql_where=text("link_expiry")),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    link_downloads: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether new links begin with `notify_on_download`."""
    request_uploads: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether new file requests begin with `notify_on_upload`."""
    link_expiry: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether a mail announces that a link or a file request expires within a day."""
    new_sign_ins: Mapped[bool] = mapped_column(server_default=text("true"))
    """Whether a mail announces a sign-in from a new network or browser."""


class NotificationCursor(Base):
    """What the collector has read, in one row. Its lock admits one collector at a time."""

    __tablename__ = "notification_cursor"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    event_id: Mapped[int] = mapped_column(BigInteger)
    """The last published event that was read."""
    expiry_until: Mapped[datetime]
    """Links and file requests that expire until this time have been announced."""
    expiry_share_id: Mapped[UUID | None]
    """Of those that expire at this time, the last one that was announced; None: all of them were. The id of a link or of a file request."""


class Notification(Base):
    """What the next mail to a user tells about one link, file request or account. Later events add to the same row."""

    __tablename__ = "notification"
    __table_args__ = (CheckConstraint(f"kind IN ({', '.join(repr(kind.value) for kind in NotificationKind)})", name="kind"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    subject: Mapped[str] = mapped_column(String(SUBJECT_MAX_LENGTH), primary_key=True)
    """The object, as `share:<id>`."""
    count: Mapped[int] = mapped_column(BigInteger)
    """Events in all."""
    items: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """The first different items, by file id or place: `{"name", "count"}`, and what else the mail shows."""
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]


class NotificationDigest(Base):
    """When a user gets the next mail, and the mail that is being sent."""

    __tablename__ = "notification_digest"
    __table_args__ = (Index("ix_notification_digest_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    due_at: Mapped[datetime | None]
    """None: nothing waits."""
    sent_at: Mapped[datetime | None]
    """When the last mail was sent."""
    claimed_until: Mapped[datetime | None]
    """Until then, one sender has the mail. After a crash, another one sends it."""
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    content: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    """The notifications of the claimed mail. A retry sends the same ones."""


class SignInPlace(Base):
    """A network and a browser from which a user has signed in, as a hash."""

    __tablename__ = "sign_in_place"
    __table_args__ = (Index("ix_sign_in_place_seen_at", "seen_at"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    place_hash: Mapped[str] = mapped_column(String(NETWORK_HASH_LENGTH), primary_key=True)
    seen_at: Mapped[datetime]
