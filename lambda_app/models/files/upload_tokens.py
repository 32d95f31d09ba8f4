"""The tables of upload tokens: secrets in the path, with which an uploader without other credentials uploads for a user."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base


class UploadToken(Base):
    """An upload token and its limits, stored as the SHA-256 of the token."""

    __tablename__ = "upload_token"
    __table_args__ = (
        CheckConstraint("bytes_started >= 0 AND bytes_started <= max_bytes", name="bytes_started"),
        CheckConstraint("files_started <= max_files", name="files_started"),
        Index("ix_upload_token_owner_id", "owner_id"),
        Index("ix_upload_token_api_key_id", "api_key_id", postgresql_where=text("api_key_id IS NOT NULL")),
        Index("ix_upload_token_expires_at", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    api_key_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_key.id", ondelete="CASCADE"))
    """The API key that created it, if a session did not. The token ends with that key."""
    token_epoch: Mapped[int]
    """The user's `token_epoch` when the token was created."""
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    max_bytes: Mapped[int] = mapped_column(BigInteger)
    """Total size of the files that it can start."""
    max_files: Mapped[int]
    max_size_bytes: Mapped[int] = mapped_column(BigInteger)
    """Largest file that it accepts."""
    allowed_content_types: Mapped[list[str] | None] = mapped_column(ARRAY(String(100)))
    """Media types or ranges such as `image/*`, in lower case; None accepts any type."""
    bytes_started: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Total size of the uploads that were started and not cancelled."""
    files_started: Mapped[int] = mapped_column(server_default=text("0"))
    """Number of uploads that were started, also of those that were cancelled."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class UploadTokenFile(Base):
    """A file that was started with an upload token. No other token can reach it."""

    __tablename__ = "upload_token_file"
    __table_args__ = (Index("ix_upload_token_file_upload_token_id", "upload_token_id"),)

    file_id: Mapped[UUID] = mapped_column(ForeignKey("file.id", ondelete="CASCADE"), primary_key=True)
    upload_token_id: Mapped[UUID] = mapped_column(ForeignKey("upload_token.id", ondelete="CASCADE"))
