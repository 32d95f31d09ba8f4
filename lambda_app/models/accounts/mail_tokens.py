"""The table of tokens sent by e-mail, stored as their SHA-256. A token proves that its holder can read mail to the address."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.accounts.users import EMAIL_MAX_LENGTH
from lambda_app.models.base import Base


class MailPurpose(StrEnum):
    """What a mailed token authorises."""

    RESET_PASSWORD = "reset_password"  # noqa: S105 - a purpose, not a password
    VERIFY_EMAIL = "verify_email"


class MailToken(Base):
    """A mailed token: valid once, for one purpose, while the account still has the address it was sent to."""

    __tablename__ = "mail_token"
    __table_args__ = (
        CheckConstraint(f"purpose IN ({', '.join(repr(purpose.value) for purpose in MailPurpose)})", name="purpose"),
        Index("ix_mail_token_user_id_created_at", "user_id", "created_at"),
    )

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    purpose: Mapped[str] = mapped_column(String(20))
    email: Mapped[str] = mapped_column(String(EMAIL_MAX_LENGTH))
    token_epoch: Mapped[int]
    """The account's `token_epoch` when the mail was sent. Ending all sessions therefore invalidates mailed tokens too."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
