"""The table of grants: who else may read or edit a file."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.accounts.users import EMAIL_MAX_LENGTH
from lambda_app.models.base import Base

GRANTS_PER_FILE = 100


class GrantRole(StrEnum):
    """What a grantee may do with an available file."""

    VIEWER = "viewer"
    """Read the metadata and download the file."""
    EDITOR = "editor"
    """Also change the name and description."""


class FileGrant(Base):
    """A user's role on another user's file. Deleting the file or either user deletes it."""

    __tablename__ = "file_grant"
    __table_args__ = (
        CheckConstraint(f"role IN ({', '.join(repr(role.value) for role in GrantRole)})", name="role"),
        Index("ix_file_grant_user_id_file_created_at", "user_id", text("file_created_at DESC"), text("file_id DESC")),
        Index("ix_file_grant_owner_id_file_created_at", "owner_id", text("file_created_at DESC"), text("file_id DESC")),
    )

    file_id: Mapped[UUID] = mapped_column(ForeignKey("file.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    owner_id: Mapped[UUID]
    """The file's owner, repeated here so that an index finds the files that a user has shared."""
    file_created_at: Mapped[datetime]
    """When the file was created, which never changes. Repeated here so that lists of shared files are read in order of the index."""
    role: Mapped[str] = mapped_column(String(16))
    email: Mapped[str | None] = mapped_column(String(EMAIL_MAX_LENGTH))
    """The address, if the owner entered one. None after an id: ids are public and must not reveal addresses."""
    is_pending: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether it was given to an address that the user has not confirmed. It permits nothing until the user does."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
