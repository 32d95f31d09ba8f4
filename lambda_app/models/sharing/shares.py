"""The tables of share links: files, audience and rules of each (docs/adr/0013-share-links.md)."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.core.security.link_tokens import ENCRYPTED_TOKEN_MAX_LENGTH
from lambda_app.models.accounts.users import EMAIL_MAX_LENGTH
from lambda_app.models.base import Base, Timestamps
from lambda_app.models.files.files import File

SLUG_MAX_LENGTH = 64
NOTE_MAX_LENGTH = 1000
SUMMARY_NAMES = 3
"""Number of file names in the summary of a link."""
SHARE_TITLE_MAX_LENGTH = 200


class ShareAudience(StrEnum):
    """Who may open a link, apart from knowing its address."""

    ANYONE = "anyone"
    SIGNED_IN = "signed_in"
    NAMED = "named"
    """The users of `share_recipient`."""


class Share(Timestamps, Base):
    """A share link. Every request checks every rule, so a change takes effect on the next request."""

    __tablename__ = "share"
    __table_args__ = (
        CheckConstraint("num_nonnulls(token_hash, slug) = 1 OR revoked_at IS NOT NULL", name="address"),
        CheckConstraint(f"audience IN ({', '.join(repr(audience.value) for audience in ShareAudience)})", name="audience"),
        CheckConstraint("max_downloads > 0", name="max_downloads"),
        CheckConstraint("download_count >= 0 AND open_count >= 0", name="counts"),
        Index("ix_share_owner_id_created_at_id", "owner_id", text("created_at DESC"), text("id DESC")),
        Index("ix_share_owner_id_live", "owner_id", postgresql_where=text("revoked_at IS NULL")),
        Index("ix_share_expires_at_live", "expires_at", postgresql_where=text("revoked_at IS NULL AND expires_at IS NOT NULL")),
        Index("ix_share_owner_id_slug", "owner_id", "revoked_at", postgresql_where=text("slug IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    """The user who created the link. It opens the files that this user may share at the time of the request."""
    needs_superuser: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether the owner needed the superuser role to share the files. Only such a link opens files of other users, only credentials with
    the role can read or change it, and losing the role revokes it."""
    token_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    """SHA-256 of the random token; None for a link with a slug."""
    encrypted_token: Mapped[str | None] = mapped_column(String(ENCRYPTED_TOKEN_MAX_LENGTH))
    """The token for its owner (`core/security/link_tokens`). None for a link with a slug, a revoked one, or one of an older version."""
    slug: Mapped[str | None] = mapped_column(String(SLUG_MAX_LENGTH), unique=True)
    """The address that the owner chose. A revoked link keeps its slug for `SLUG_RETENTION`, so that an old address does not lead to
    another user's files. None afterwards, once another link has the slug."""
    hashed_password: Mapped[str | None] = mapped_column(String(255))
    password_version: Mapped[int] = mapped_column(server_default=text("0"))
    """Incremented with every change of the password, which invalidates share tokens issued before."""
    expires_at: Mapped[datetime | None]
    max_downloads: Mapped[int | None]
    """Limit for the downloads of all files together; None is unlimited."""
    download_count: Mapped[int] = mapped_column(server_default=text("0"))
    open_count: Mapped[int] = mapped_column(server_default=text("0"))
    last_opened_at: Mapped[datetime | None]
    audience: Mapped[str] = mapped_column(String(16), server_default=ShareAudience.ANYONE.value)
    allows_download: Mapped[bool] = mapped_column(server_default=text("true"))
    """False: the link shows names and sizes only."""
    title: Mapped[str | None] = mapped_column(String(SHARE_TITLE_MAX_LENGTH))
    """The heading for the owner's list and for visitors."""
    note: Mapped[str | None] = mapped_column(String(NOTE_MAX_LENGTH))
    """The owner's message to the visitors of the link."""
    notify_on_download: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether downloads are announced to the owner by mail."""
    revoked_at: Mapped[datetime | None]


class ShareFile(Base):
    """A file of a link; `position` is the owner's order."""

    __tablename__ = "share_file"
    __table_args__ = (Index("ix_share_file_file_id", "file_id"),)

    share_id: Mapped[UUID] = mapped_column(ForeignKey("share.id", ondelete="CASCADE"), primary_key=True)
    file_id: Mapped[UUID] = mapped_column(ForeignKey("file.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int]


class ShareRecipient(Base):
    """A user who may open a link whose audience is `named`."""

    __tablename__ = "share_recipient"
    __table_args__ = (Index("ix_share_recipient_user_id", "user_id"),)

    share_id: Mapped[UUID] = mapped_column(ForeignKey("share.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    named_as: Mapped[str] = mapped_column(String(EMAIL_MAX_LENGTH))
    """What the owner entered: an address or an id. Showing the other one would disclose it to the owner."""
    is_pending: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether the owner entered an address that the user has not confirmed. The link stays closed to the user until then."""


class ShareDownload(Base):
    """A visitor's last counted download of a file; range requests that resume it are not counted again."""

    __tablename__ = "share_download"
    __table_args__ = (
        ForeignKeyConstraint(["share_id", "file_id"], ["share_file.share_id", "share_file.file_id"], ondelete="CASCADE"),
        Index("ix_share_download_at", "at"),
    )

    share_id: Mapped[UUID] = mapped_column(primary_key=True)
    file_id: Mapped[UUID] = mapped_column(primary_key=True)
    visitor: Mapped[str] = mapped_column(String(64), primary_key=True)
    """A hash of the visitor's network and user agent, kept for an hour."""
    at: Mapped[datetime]


class LinkSummary(NamedTuple):
    """What a link currently opens, in brief."""

    file_count: int
    size_bytes: int
    first_filenames: Sequence[str]
    """The names of the first `SUMMARY_NAMES` files, in the owner's order."""


class ShareDetails(NamedTuple):
    """A link with its files and its recipients."""

    share: Share
    file_ids: list[UUID]
    recipients: list[str]
    pending_recipients: list[str]
    """Those of the recipients who have not confirmed the address by which they are named."""
    summary: LinkSummary = LinkSummary(0, 0, ())


class OpenShare(NamedTuple):
    """A link and the files that it currently opens, in the owner's order."""

    share: Share
    files: list[File]
    sender_name: str | None
    """The owner's display name; None if the owner has none or does not show it on links."""
