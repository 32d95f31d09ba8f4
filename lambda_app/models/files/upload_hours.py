"""The table of uploads per hour, from which the statistics are summed."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base


class UploadHour(Base):
    """The number of uploads that were started in one hour that has ended (UTC). Counted once by the maintenance."""

    __tablename__ = "upload_hour"

    hour: Mapped[datetime] = mapped_column(primary_key=True)
    uploads: Mapped[int] = mapped_column(BigInteger)
