"""The table of files: what a user said of the bytes, and what S3 is known to hold."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base, Timestamps


class FileStatus(StrEnum):
    """Where a file stands in its life; only `available` can be downloaded."""

    PENDING = "pending"
    AVAILABLE = "available"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DELETING = "deleting"


class File(Timestamps, Base):
    """A file. Its bytes lie under `s3_key`, which holds ids only."""

    __tablename__ = "file"
    __table_args__ = (
        CheckConstraint(f"status IN ({', '.join(repr(status.value) for status in FileStatus)})", name="status"),
        CheckConstraint("size_bytes >= 0", name="size_bytes"),
        Index("ix_file_owner_id_created_at_id", "owner_id", text("created_at DESC"), text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    filename: Mapped[str] = mapped_column(String(255))
    content_type: Mapped[str] = mapped_column(String(100))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    """What the client declared; S3 refuses any other length, and completion checks it again."""
    sha256: Mapped[str | None] = mapped_column(String(64))
    """Declared digest in lower-case hex, when the client gave one."""
    description: Mapped[str | None] = mapped_column(String(2000))
    is_public: Mapped[bool] = mapped_column(server_default=text("false"))
    s3_key: Mapped[str] = mapped_column(String(255), unique=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="RESTRICT"))
    status: Mapped[str] = mapped_column(String(16), server_default=FileStatus.PENDING.value)
    upload_expires_at: Mapped[datetime]
    """When the upload URL dies; a pending row past it has been abandoned."""
