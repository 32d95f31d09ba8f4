"""The table of sweep positions."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base


class SweepPosition(Base):
    """The last object key that a pass over the bucket has checked; the next run continues after it."""

    __tablename__ = "sweep_position"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    after_key: Mapped[str] = mapped_column(String(1024))
