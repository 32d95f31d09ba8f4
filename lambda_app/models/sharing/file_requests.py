"""The table of file requests: links through which people without an account upload files to the owner."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.core.security.link_tokens import ENCRYPTED_TOKEN_MAX_LENGTH
from lambda_app.models.base import Base, Timestamps

REQUEST_TITLE_MAX_LENGTH = 200
REQUEST_NOTE_MAX_LENGTH = 2000
CONTENT_TYPE_RULE_MAX_LENGTH = 100


class FileRequest(Timestamps, Base):
    """A file request and its limits. Guests find it by the SHA-256 of its token."""

    __tablename__ = "file_request"
    __table_args__ = (
        CheckConstraint("file_count >= 0", name="file_count"),
        Index("ix_file_request_owner_id_created_at_id", "owner_id", text("created_at DESC"), text("id DESC")),
        Index("ix_file_request_owner_id_live", "owner_id", postgresql_where=text("revoked_at IS NULL")),
        Index("ix_file_request_expires_at_live", "expires_at", "id", postgresql_where=text("revoked_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    encrypted_token: Mapped[str | None] = mapped_column(String(ENCRYPTED_TOKEN_MAX_LENGTH))
    """The token for its owner (`core/security/link_tokens`); None for a revoked request, or one that an older version created."""
    title: Mapped[str] = mapped_column(String(REQUEST_TITLE_MAX_LENGTH))
    note: Mapped[str | None] = mapped_column(String(REQUEST_NOTE_MAX_LENGTH))
    max_size_bytes: Mapped[int] = mapped_column(BigInteger)
    """Largest file that it accepts."""
    max_files: Mapped[int]
    allowed_content_types: Mapped[list[str] | None] = mapped_column(ARRAY(String(CONTENT_TYPE_RULE_MAX_LENGTH)))
    """Media types or ranges such as `image/*`, in lower case; None accepts any type."""
    expires_at: Mapped[datetime]
    notify_on_upload: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether received files are announced to the owner by mail."""
    revoked_at: Mapped[datetime | None]
    file_count: Mapped[int] = mapped_column(server_default=text("0"))
    """Uploads that were started and not rejected, expired or deleted while pending."""


class OpenFileRequest(NamedTuple):
    """A file request, and the owner's display name for its guests; None if the owner has none or does not show it."""

    request: FileRequest
    requester_name: str | None
