"""The table of tombstones: files that ended while a presigned URL could still store their object."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base

LATE_UPLOAD_MARGIN = timedelta(days=1)
"""How long a tombstone is stored after the slowest expected upload has ended."""


class Tombstone(Base):
    """A file that was deleted, rejected or expired. An object that arrives under its key is deleted.

    There are no foreign keys: the row outlives the file and the account of its owner.
    """

    __tablename__ = "tombstone"
    __table_args__ = (
        Index("ix_tombstone_owner_id_charged_until", "owner_id", "charged_until", postgresql_where=text("charged_until IS NOT NULL")),
        Index("ix_tombstone_expires_at", "expires_at"),
    )

    file_id: Mapped[UUID] = mapped_column(primary_key=True)
    """Id of the file, from which the key of its object is derived."""
    owner_id: Mapped[UUID]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    """Size that the upload URL allows."""
    charged_until: Mapped[datetime | None]
    """When the upload URL expires. Until the charge is released after this time, the size counts in the owner's quota; then None."""
    expires_at: Mapped[datetime]
    """When no upload can be in progress any more."""
