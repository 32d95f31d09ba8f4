"""The table of files: the metadata that the client declared, and the state of the object in S3."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import DDL, BigInteger, CheckConstraint, ForeignKey, Index, String, Text, collate, event, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, query_expression

from lambda_app.models.base import Base, Timestamps


class FileStatus(StrEnum):
    """The state of a file; only an `available` one can be downloaded."""

    PENDING = "pending"
    AVAILABLE = "available"
    TRASHED = "trashed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DELETING = "deleting"


class ScanStatus(StrEnum):
    """The result of the malware scan of a file's object."""

    NONE = "none"
    """Not scanned: the file became available while scans were off."""
    PENDING = "pending"
    CLEAN = "clean"
    INFECTED = "infected"
    UNSCANNABLE = "unscannable"
    """Encrypted, too large, or the scan failed."""


CHARGED = (FileStatus.PENDING, FileStatus.AVAILABLE, FileStatus.TRASHED)
"""The states that count against the owner's quota: an object is stored, or may still be uploaded."""
SLOWEST_UPLOAD_BYTES_PER_SECOND = 128 * 1024
"""S3 checks the signature when a PUT starts. A PUT that started before the URL expired and sends at least at this speed is not expired
by the sweep."""


class File(Timestamps, Base):
    """A file. Its object is stored under `s3_key`, which contains ids only."""

    __tablename__ = "file"
    __table_args__ = (
        CheckConstraint(f"status IN ({', '.join(repr(status.value) for status in FileStatus)})", name="status"),
        CheckConstraint("size_bytes >= 0", name="size_bytes"),
        CheckConstraint(f"scan_status IN ({', '.join(repr(status.value) for status in ScanStatus)})", name="scan_status"),
        Index("ix_file_owner_id_created_at_id", "owner_id", text("created_at DESC"), text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    filename: Mapped[str] = mapped_column(String(255))
    content_type: Mapped[str] = mapped_column(String(100))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    """Size that the client declared. S3 rejects any other length, and completion checks it again."""
    sha256: Mapped[str | None] = mapped_column(String(64))
    """Digest that the client declared, in lower-case hex; None if it declared none."""
    description: Mapped[str | None] = mapped_column(String(2000))
    is_public: Mapped[bool] = mapped_column(server_default=text("false"))
    s3_key: Mapped[str] = mapped_column(String(255), unique=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="RESTRICT"))
    status: Mapped[str] = mapped_column(String(16), server_default=FileStatus.PENDING.value)
    upload_expires_at: Mapped[datetime]
    """When a pending upload counts as abandoned. For an upload by one PUT: the expiry of the last URL, plus the slowest transfer."""
    upload_id: Mapped[str | None] = mapped_column(String(1024))
    """S3's id of the multipart upload in progress; None for a single PUT and after the upload."""
    part_size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Length of every part of a multipart upload except the last."""
    has_part_digests: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether the client sends the SHA-256 of every part."""
    detected_content_type: Mapped[str | None] = mapped_column(String(100))
    """Type recognised from the first bytes, if it differs from the declared type."""
    scan_status: Mapped[str] = mapped_column(String(12), server_default=ScanStatus.NONE.value)
    is_withheld: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether the content must not be served: its scan has no result yet, or a result for which no administrator has released it."""
    purge_at: Mapped[datetime | None]
    """When a file in the trash is deleted permanently."""
    file_request_id: Mapped[UUID | None] = mapped_column(ForeignKey("file_request.id", ondelete="SET NULL"))
    """The file request through which a guest uploaded it."""
    guest_token_hash: Mapped[str | None] = mapped_column(String(64))
    """SHA-256 of the token with which only that guest can complete the upload."""
    revision: Mapped[int] = mapped_column(server_default=text("1"))
    """Incremented with every change; the entity tag is derived from it."""
    owner_display_name: Mapped[str | None] = query_expression()
    """The name that the owner shows to others, where a query reads it: in lists of files that are shared with the caller. Not a column."""


NAME_SORT = collate(func.lower(func.normalize(File.filename)), "C")
"""The name as lists search and sort it: Unicode normalization form C (macOS sends form D), lower case, in byte order, which does not
depend on the server's locale. The name is stored as the client sent it."""
NAME_TRIGRAMS = func.trigrams(NAME_SORT, type_=ARRAY(Text))
"""The trigrams of the name, for substring search."""
TYPE_SORT = collate(File.content_type, "C")
"""The declared type, for prefix search."""

# An index of expressions needs the columns, hence after the class. One index per filter and order of a list; each ends with the
# columns of the page cursor.
Index("ix_file_owner_id_status", File.owner_id, File.status, File.created_at.desc(), File.id.desc())
Index("ix_file_owner_id_name", File.owner_id, NAME_SORT, File.id)
Index("ix_file_name_trigrams", NAME_TRIGRAMS, postgresql_using="gin", postgresql_with={"fastupdate": "off"})
Index("ix_file_owner_id_content_type", File.owner_id, TYPE_SORT, File.created_at.desc(), File.id.desc())
Index("ix_file_owner_id_size_bytes", File.owner_id, File.size_bytes, File.id)
Index("ix_file_owner_id_updated_at", File.owner_id, File.updated_at.desc(), File.id.desc())
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

Index("ix_file_withheld", File.created_at.desc(), File.id.desc(), postgresql_where=text("is_withheld AND scan_status <> 'pending'"))

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
"""In PL/pgSQL: the same function in SQL takes three times as long (docs/adr/0008-trigram-name-search.md)."""

event.listen(File.__table__, "before_create", DDL(TRIGRAMS_FUNCTION))  # type: ignore[no-untyped-call]  # SQLAlchemy does not annotate DDL
