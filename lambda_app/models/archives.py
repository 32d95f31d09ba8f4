"""The tables of archives: zips of several files, and the progress of building each."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, SmallInteger, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base, Timestamps


class ArchiveStatus(StrEnum):
    """The state of an archive; only a `ready` one can be downloaded."""

    QUEUED = "queued"
    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"


UNFINISHED = (ArchiveStatus.QUEUED, ArchiveStatus.BUILDING)
"""The states in which a worker still has to build the archive."""
IS_CURRENT = text("status IN ('queued', 'building', 'ready')")
"""The states in which a request for the same files returns the existing archive."""
IS_LINKED = text("(share_id IS NOT NULL)")
"""Archives that visitors of share links request have separate limits, so that visitors cannot exhaust the owner's."""


class Archive(Timestamps, Base):
    """A requested zip. Its object is stored under `s3_key` once the archive is ready."""

    __tablename__ = "archive"
    __table_args__ = (
        CheckConstraint("num_nonnulls(user_id, share_id) = 1", name="asker"),
        CheckConstraint(f"status IN ({', '.join(repr(status.value) for status in ArchiveStatus)})", name="status"),
        Index("ux_archive_holder_id_fingerprint", "holder_id", "fingerprint", unique=True, postgresql_where=IS_CURRENT),
        Index("ux_archive_holder_id_is_linked_number", "holder_id", IS_LINKED, "number", unique=True),
        Index("ix_archive_user_id_created_at_id", "user_id", text("created_at DESC"), text("id DESC")),
        Index("ix_archive_share_id", "share_id", postgresql_where=IS_LINKED),
        Index("ix_archive_status", "status", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    """The user who requested it, and the only one who may see it; None for an archive of a share link."""
    share_id: Mapped[UUID | None] = mapped_column(ForeignKey("share.id", ondelete="CASCADE"))
    """The share link through which a visitor requested it; None for an archive of a user."""
    is_export: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether it is the export of the requester's account, with a JSON document and all files. Exports count in no limit."""
    holder_id: Mapped[UUID]
    """The user whose limits it counts against: the user who requested it, or the owner of the share link."""
    number: Mapped[int]
    """Sequence number within the holder's limit. Two concurrent requests compute the same number, and the unique index admits one."""
    fingerprint: Mapped[str] = mapped_column(String(64))
    """SHA-256, in hex, of the request: the files with their versions, their order, the archive's name and the share link."""
    filename: Mapped[str] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(16), server_default=ArchiveStatus.QUEUED.value)
    s3_key: Mapped[str] = mapped_column(String(255), unique=True)
    file_count: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    """Length of the whole zip, known before it is built."""
    part_size_bytes: Mapped[int]
    """Length of every part of the multipart upload except the last."""
    done_bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Bytes uploaded so far; always the end of a part."""
    cut_crc32: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """CRC-32 of the bytes read so far of the file that crosses the end of the last uploaded part."""
    upload_id: Mapped[str | None] = mapped_column(String(1024))
    """S3's id of the multipart upload that receives the parts."""
    lease_id: Mapped[UUID | None]
    """Identifies the worker that holds the lease."""
    lease_until: Mapped[datetime]
    """When the lease expires. For a queued archive: when its queue message counts as lost."""
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """How many workers in a row claimed it without finishing a part."""
    error_code: Mapped[str | None] = mapped_column(String(64))
    """Why the build failed."""
    expires_at: Mapped[datetime | None]
    """When a ready or failed archive is deleted."""


class ArchiveFile(Base):
    """A file in an archive, as of the request. No foreign key: deleting the row of one file would shift the offsets of the others."""

    __tablename__ = "archive_file"

    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    file_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(String(255))
    """Name within the zip."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    modified_at: Mapped[datetime]
    crc32: Mapped[int | None] = mapped_column(BigInteger)
    """CRC-32 of the file, once all of its bytes were read."""


class ShareArchiveDownload(Base):
    """A visitor's last counted download of a share link's archive; range requests that resume it are not counted again."""

    __tablename__ = "share_archive_download"
    __table_args__ = (Index("ix_share_archive_download_at", "at"),)

    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id", ondelete="CASCADE"), primary_key=True)
    visitor: Mapped[str] = mapped_column(String(64), primary_key=True)
    """A hash, as in `share_download`; kept for an hour."""
    at: Mapped[datetime]
