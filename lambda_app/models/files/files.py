"""The table of files: what a user said of the bytes, and what S3 is known to hold."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import DDL, BigInteger, CheckConstraint, ForeignKey, Index, String, Text, collate, event, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base, Timestamps


class FileStatus(StrEnum):
    """Where a file stands in its life; only `available` can be downloaded."""

    PENDING = "pending"
    AVAILABLE = "available"
    TRASHED = "trashed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DELETING = "deleting"


CHARGED = (FileStatus.PENDING, FileStatus.AVAILABLE, FileStatus.TRASHED)
"""The states in which a file counts in its owner's quota: something is stored, or may still come."""


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
    """When the upload counts as abandoned, if nothing has come until then."""
    upload_id: Mapped[str | None] = mapped_column(String(1024))
    """S3's name of the multipart upload while it goes on; None for a single PUT and once the upload is over."""
    part_size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Length of every part but the last, of a multipart upload."""
    has_part_digests: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether every part comes with its SHA-256."""
    detected_content_type: Mapped[str | None] = mapped_column(String(100))
    """What the first bytes look like, when that is not the declared type."""
    purge_at: Mapped[datetime | None]
    """When a file in the trash is deleted for good."""
    file_request_id: Mapped[UUID | None] = mapped_column(ForeignKey("file_request.id", ondelete="SET NULL"))
    """The request by which a guest sent it to the owner."""
    guest_token_hash: Mapped[str | None] = mapped_column(String(64))
    """What is kept of the token by which that guest completes it, and nobody else."""
    revision: Mapped[int] = mapped_column(server_default=text("1"))
    """Grows by one with every change; the entity tag is made of it."""


NAME_SORT = collate(func.lower(File.filename), "C")
"""The name as lists search and sort it: case ignored, then byte order, which is the same on every server."""
NAME_TRIGRAMS = func.trigrams(NAME_SORT, type_=ARRAY(Text))
"""Every three letters in a row of the name: what a search for a piece of it goes by."""
TYPE_SORT = collate(File.content_type, "C")
"""The declared type as lists search it, by prefix."""

# Declared here because an index of expressions needs the columns. One for each filter and order of a list; each ends in what the
# pages continue from.
Index("ix_file_owner_id_status", File.owner_id, File.status, File.created_at.desc(), File.id.desc())
Index("ix_file_owner_id_name", File.owner_id, NAME_SORT, File.id)
Index("ix_file_name_trigrams", NAME_TRIGRAMS, postgresql_using="gin", postgresql_with={"fastupdate": "off"})
Index("ix_file_owner_id_content_type", File.owner_id, TYPE_SORT, File.created_at.desc(), File.id.desc())
Index("ix_file_owner_id_size_bytes", File.owner_id, File.size_bytes, File.id)
Index(
    "ix_file_file_request_id",
    File.file_request_id,
    File.created_at.desc(),
    File.id.desc(),
    postgresql_where=text("file_request_id IS NOT NULL"),
)
Index("ix_file_created_at_id", File.created_at.desc(), File.id.desc())
Index(
    "ix_file_unfinished",
    File.status,
    File.id,
    postgresql_where=text("status IN ('pending', 'trashed', 'rejected', 'expired', 'deleting')"),
)

TRIGRAMS_FUNCTION = """
CREATE FUNCTION trigrams(content text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    found text[] := '{}';
BEGIN
    FOR start IN 1..length(content) - 2 LOOP
        found := found || substr(content, start, 3);
    END LOOP;
    RETURN found;
END $$
"""
"""In PL/pgSQL, because in SQL it takes three times as long (docs/adr/0008-trigram-name-search.md)."""

event.listen(File.__table__, "before_create", DDL(TRIGRAMS_FUNCTION))  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
