"""The table of ownership transfers: all files of an account, offered to another account."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.accounts.users import EMAIL_MAX_LENGTH
from lambda_app.models.base import Base


class TransferStatus(StrEnum):
    """The state of a transfer."""

    REQUESTED = "requested"
    """It waits for the recipient's consent."""
    MOVING = "moving"
    """The recipient has accepted, and the files are moved in batches."""
    DONE = "done"
    DECLINED = "declined"


class OwnershipTransfer(Base):
    """A transfer of all files, links and file requests of one account to another."""

    __tablename__ = "ownership_transfer"
    __table_args__ = (
        CheckConstraint(f"status IN ({', '.join(repr(status.value) for status in TransferStatus)})", name="status"),
        CheckConstraint("from_id <> to_id", name="two_accounts"),
        Index("ux_ownership_transfer_from_id", "from_id", unique=True, postgresql_where=text("status IN ('requested', 'moving')")),
        Index("ix_ownership_transfer_from_id_created_at_id", "from_id", text("created_at DESC"), text("id DESC")),
        Index("ix_ownership_transfer_to_id_created_at_id", "to_id", text("created_at DESC"), text("id DESC")),
        Index("ix_ownership_transfer_moving", "id", postgresql_where=text("status = 'moving'")),
        Index("ix_ownership_transfer_expires_at", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    from_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    to_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    from_email: Mapped[str] = mapped_column(String(EMAIL_MAX_LENGTH))
    """The addresses of both accounts at the offer. A later address of one account is not shown to the other."""
    to_email: Mapped[str] = mapped_column(String(EMAIL_MAX_LENGTH))
    status: Mapped[str] = mapped_column(String(16))
    token_epoch: Mapped[int]
    """The `token_epoch` of the giver at the offer. A reset of the password, for example, makes the offer invalid."""
    moved_files: Mapped[int] = mapped_column(server_default=text("0"))
    moved_bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    is_blocked: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether the next files do not fit into the recipient's quota; the sweep tries again."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    """Until when the recipient can accept."""
    accepted_at: Mapped[datetime | None]
    """Files that were created later stay."""
    ended_at: Mapped[datetime | None]
    """When it was done or declined."""
