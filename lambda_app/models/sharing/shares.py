"""The tables of share links: which files a link opens, to whom, and under which rules (docs/adr/0013-share-links.md)."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.accounts.users import EMAIL_MAX_LENGTH
from lambda_app.models.base import Base, Timestamps

SLUG_MAX_LENGTH = 64
NOTE_MAX_LENGTH = 1000


class ShareAudience(StrEnum):
    """Who may open a link, beside knowing it."""

    ANYONE = "anyone"
    SIGNED_IN = "signed_in"
    NAMED = "named"
    """The users of `share_recipient`."""


class Share(Timestamps, Base):
    """A share link. Every rule is looked at each time it is opened, so a change acts on the next request."""

    __tablename__ = "share"
    __table_args__ = (
        CheckConstraint("num_nonnulls(token_hash, slug) = 1", name="address"),
        CheckConstraint(f"audience IN ({', '.join(repr(audience.value) for audience in ShareAudience)})", name="audience"),
        CheckConstraint("max_downloads > 0", name="max_downloads"),
        CheckConstraint("download_count >= 0 AND open_count >= 0", name="counts"),
        Index("ix_share_owner_id_created_at_id", "owner_id", text("created_at DESC"), text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    """Who made the link; it opens what this user may share at that moment."""
    token_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    """SHA-256 of the random token; None for a link with a slug."""
    slug: Mapped[str | None] = mapped_column(String(SLUG_MAX_LENGTH), unique=True)
    """The address that the owner chose. A revoked link keeps its own: an old link must never lead to somebody else's files."""
    hashed_password: Mapped[str | None] = mapped_column(String(255))
    password_version: Mapped[int] = mapped_column(server_default=text("0"))
    """Raised with every change of the password, which ends what was proven before."""
    expires_at: Mapped[datetime | None]
    max_downloads: Mapped[int | None]
    """Downloads in all, of whichever files; None is any number."""
    download_count: Mapped[int] = mapped_column(server_default=text("0"))
    open_count: Mapped[int] = mapped_column(server_default=text("0"))
    last_opened_at: Mapped[datetime | None]
    audience: Mapped[str] = mapped_column(String(16), server_default=ShareAudience.ANYONE.value)
    allows_download: Mapped[bool] = mapped_column(server_default=text("true"))
    """False shows names and sizes only."""
    note: Mapped[str | None] = mapped_column(String(NOTE_MAX_LENGTH))
    """What the owner tells whoever opens the link."""
    revoked_at: Mapped[datetime | None]


class ShareFile(Base):
    """A file of a link, in the order in which the owner named them."""

    __tablename__ = "share_file"
    __table_args__ = (Index("ix_share_file_file_id", "file_id"),)

    share_id: Mapped[UUID] = mapped_column(ForeignKey("share.id", ondelete="CASCADE"), primary_key=True)
    file_id: Mapped[UUID] = mapped_column(ForeignKey("file.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int]


class ShareRecipient(Base):
    """A user who may open a link of the audience `named`."""

    __tablename__ = "share_recipient"
    __table_args__ = (Index("ix_share_recipient_user_id", "user_id"),)

    share_id: Mapped[UUID] = mapped_column(ForeignKey("share.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    named_as: Mapped[str] = mapped_column(String(EMAIL_MAX_LENGTH))
    """As the owner wrote it: an address or an id. To show the other one would tell the owner more than they knew."""


class ShareDownload(Base):
    """The last download of a file that a visitor was granted; the rest of the same one (a Range) is not counted again."""

    __tablename__ = "share_download"
    __table_args__ = (
        ForeignKeyConstraint(["share_id", "file_id"], ["share_file.share_id", "share_file.file_id"], ondelete="CASCADE"),
        Index("ix_share_download_at", "at"),
    )

    share_id: Mapped[UUID] = mapped_column(primary_key=True)
    file_id: Mapped[UUID] = mapped_column(primary_key=True)
    visitor: Mapped[str] = mapped_column(String(64), primary_key=True)
    """A hash of the network and the user agent, kept for an hour."""
    at: Mapped[datetime]
