"""The table of device sign-ins: a program without a browser signs in with the consent of a user at a browser (RFC 8628)."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base

CLIENT_MAX_LENGTH = 100


class DeviceLogin(Base):
    """A request of a program to sign in, open for minutes. The program knows the device code, the user reads the user code."""

    __tablename__ = "device_login"
    __table_args__ = (
        CheckConstraint("(decided_at IS NULL) = (user_id IS NULL)", name="decided"),
        Index("ix_device_login_network_expires_at", "network", "expires_at"),
        Index("ix_device_login_expires_at", "expires_at"),
        Index("ix_device_login_user_id", "user_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    device_code_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_code: Mapped[str] = mapped_column(String(9), unique=True)
    """Eight consonants with a dash in the middle."""
    client: Mapped[str] = mapped_column(String(CLIENT_MAX_LENGTH))
    """What the program calls itself."""
    source_address: Mapped[str | None] = mapped_column(String(45))
    """Network address of the program."""
    network: Mapped[str] = mapped_column(String(50))
    """The network by which open requests are limited."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    """The user who decided."""
    token_epoch: Mapped[int | None]
    """That user's `token_epoch`. Ending all sessions invalidates an approval too."""
    decided_at: Mapped[datetime | None]
    is_approved: Mapped[bool] = mapped_column(default=False)
