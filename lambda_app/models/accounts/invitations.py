"""The table of invitations by mail: to create an account, or to use a file that is shared with the address."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.accounts.users import EMAIL_MAX_LENGTH
from lambda_app.models.base import Base
from lambda_app.models.sharing.grants import GrantRole


class Invitation(Base):
    """An invitation that was not accepted. It names an address; whether the address has an account is not recorded."""

    __tablename__ = "invitation"
    __table_args__ = (
        CheckConstraint("(file_id IS NULL) = (role IS NULL)", name="role_of_file"),
        CheckConstraint(f"role IN ({', '.join(repr(role.value) for role in GrantRole)})", name="role"),
        Index("ux_invitation_email", "email", unique=True, postgresql_where=text("file_id IS NULL")),
        Index("ux_invitation_email_file_id", "email", "file_id", unique=True, postgresql_where=text("file_id IS NOT NULL")),
        Index("ix_invitation_inviter_id_created_at_id", "inviter_id", text("created_at DESC"), text("id DESC")),
        Index("ix_invitation_created_at_id", text("created_at DESC"), text("id DESC")),
        Index("ix_invitation_file_id", "file_id", postgresql_where=text("file_id IS NOT NULL")),
        Index("ix_invitation_expires_at", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    inviter_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    email: Mapped[str] = mapped_column(String(EMAIL_MAX_LENGTH))
    file_id: Mapped[UUID | None] = mapped_column(ForeignKey("file.id", ondelete="CASCADE"))
    """The file that is shared with the address; None for an invitation of a superuser to create an account."""
    role: Mapped[str | None] = mapped_column(String(16))
    """The role on the file."""
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256 of the token in the newest mail."""
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime]
    """When the newest mail was sent."""
    expires_at: Mapped[datetime]
