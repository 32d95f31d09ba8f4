"""The tables of linked identities and of used assertions."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.accounts.users import EMAIL_MAX_LENGTH
from lambda_app.models.base import Base

PROVIDER_MAX_LENGTH = 32
ISSUER_MAX_LENGTH = 255
SUBJECT_MAX_LENGTH = 255


class UserIdentity(Base):
    """A person at an identity provider who can sign in to an account.

    The issuer is part of the key: if the settings give a provider's id to another issuer, its subjects do not match those of the old one.
    """

    __tablename__ = "user_identity"
    __table_args__ = (
        UniqueConstraint("provider", "issuer", "subject", name="uq_user_identity_subject"),
        Index("ix_user_identity_user_id", "user_id", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    provider: Mapped[str] = mapped_column(String(PROVIDER_MAX_LENGTH))
    issuer: Mapped[str] = mapped_column(String(ISSUER_MAX_LENGTH))
    subject: Mapped[str] = mapped_column(String(SUBJECT_MAX_LENGTH))
    """The provider's id of the person (`sub`), which never changes. Addresses can be given to other people."""
    email: Mapped[str | None] = mapped_column(String(EMAIL_MAX_LENGTH))
    """The address at the last sign-in, only to show to the user."""
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]


class UsedAssertion(Base):
    """An assertion that was used, so that it is not accepted again. Needed until it would have expired."""

    __tablename__ = "used_assertion"
    __table_args__ = (Index("ix_used_assertion_expires_at", "expires_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]
