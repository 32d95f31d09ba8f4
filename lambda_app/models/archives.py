"""The tables of archives: zips of several files, and how far the building of each has come."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, SmallInteger, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base, Timestamps


class ArchiveStatus(StrEnum):
    """Where an archive stands; only a `ready` one can be downloaded."""

    QUEUED = "queued"
    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"


UNFINISHED = (ArchiveStatus.QUEUED, ArchiveStatus.BUILDING)
"""The states in which there is work to do."""
IS_WANTED = text("status IN ('queued', 'building', 'ready')")
"""The states in which asking for the same files leads to the same archive."""
IS_LINKED = text("(share_id IS NOT NULL)")
"""What visitors of links ask for has limits of its own: it must not keep the owner from theirs."""


class Archive(Timestamps, Base):
    """A zip that was asked for. Its bytes lie under `s3_key` once it is ready."""

    __tablename__ = "archive"
    __table_args__ = (
        CheckConstraint("num_nonnulls(user_id, share_id) = 1", name="asker"),
        CheckConstraint(f"status IN ({', '.join(repr(status.value) for status in ArchiveStatus)})", name="status"),
        Index("ux_archive_holder_id_fingerprint", "holder_id", "fingerprint", unique=True, postgresql_where=IS_WANTED),
        Index("ux_archive_holder_id_is_linked_number", "holder_id", IS_LINKED, "number", unique=True),
        Index("ix_archive_user_id_created_at_id", "user_id", text("created_at DESC"), text("id DESC")),
        Index("ix_archive_status", "status", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    """Who asked for it, and may see it."""
    share_id: Mapped[UUID | None] = mapped_column(ForeignKey("share.id", ondelete="CASCADE"))
    """The share link that it was asked for at instead, by whoever could open it."""
    holder_id: Mapped[UUID]
    """Whose limit it counts in: the user who asked, or whoever owns the link, for all of their links together."""
    number: Mapped[int]
    """One more than the last in that limit. Of two requests that do not see each other, both take the same one, and one gets it."""
    fingerprint: Mapped[str] = mapped_column(String(64))
    """SHA-256, in hex, of what was asked for: the same files, unchanged, in the same order and under the same name, at the same link."""
    filename: Mapped[str] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(16), server_default=ArchiveStatus.QUEUED.value)
    s3_key: Mapped[str] = mapped_column(String(255), unique=True)
    file_count: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    """Length of the whole zip, known before it is built."""
    part_size_bytes: Mapped[int]
    """Length of every part that it is sent to S3 in, but the last."""
    done_bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """How far the building has come: to the end of a part."""
    cut_crc32: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """CRC-32 of that file's bytes so far which the end of that part cuts in two."""
    upload_id: Mapped[str | None] = mapped_column(String(1024))
    """S3's name of the multipart upload that the parts go to."""
    lease_id: Mapped[UUID | None]
    """Which worker's turn it is."""
    lease_until: Mapped[datetime]
    """When the worker counts as dead; for a queued archive, when the word that it waits counts as lost."""
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """How many workers in a row took it up without finishing a part."""
    error_code: Mapped[str | None] = mapped_column(String(64))
    """Why it failed."""
    expires_at: Mapped[datetime | None]
    """When a ready or failed archive is over."""


class ArchiveFile(Base):
    """A file in an archive, as it was when it was asked for; without a foreign key, because where the others lie depends on it."""

    __tablename__ = "archive_file"

    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    file_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(String(255))
    """Its name in the zip."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    modified_at: Mapped[datetime]
    crc32: Mapped[int | None] = mapped_column(BigInteger)
    """Checksum of its bytes, once all were read."""


class ShareArchiveDownload(Base):
    """The last download of a link's archive that a visitor was granted; the rest of the same one (a Range) is not counted again."""

    __tablename__ = "share_archive_download"
    __table_args__ = (Index("ix_share_archive_download_at", "at"),)

    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id", ondelete="CASCADE"), primary_key=True)
    visitor: Mapped[str] = mapped_column(String(64), primary_key=True)
    """As in `share_download`: a hash, kept for an hour."""
    at: Mapped[datetime]
