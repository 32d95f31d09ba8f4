"""The table of uploads and downloads per hour, from which the statistics are summed."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base


class UploadHour(Base):
    """What happened in one hour that has ended (UTC). Counted once by the maintenance; None in hours that an earlier version counted."""

    __tablename__ = "upload_hour"

    hour: Mapped[datetime] = mapped_column(primary_key=True)
    uploads: Mapped[int] = mapped_column(BigInteger)
    """Number of uploads that were started."""
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Declared size of these uploads."""
    downloads: Mapped[int | None] = mapped_column(BigInteger)
    """Number of downloads by share links that were counted."""
    stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Bytes that all users are charged for when the hour is counted; None if it was counted late, together with later hours."""
