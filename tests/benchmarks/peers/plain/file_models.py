"""The table and the schemas of one more resource of the plain app, the same as those of its files (see `plain_routes`)."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Mapped, mapped_column

from .plain import Base


class Item(Base):
    """An item."""

    __tablename__ = __name__

    id: Mapped[UUID] = mapped_column(primary_key=True)
    filename: Mapped[str]
    content_type: Mapped[str]
    size_bytes: Mapped[int]
    description: Mapped[str | None]
    is_public: Mapped[bool]
    s3_key: Mapped[str]
    owner_id: Mapped[UUID]
    status: Mapped[str]
    upload_expires_at: Mapped[datetime]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ItemIn(BaseModel):
    """The metadata of a new item."""

    filename: str
    content_type: str
    size_bytes: int
    description: str | None = None
    is_public: bool = False


class ItemChange(BaseModel):
    """Changes to an item."""

    filename: str | None = None
    description: str | None = None
    is_public: bool | None = None


class ItemOut(ItemIn):
    """An item in responses."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    s3_key: str
    owner_id: UUID
    status: str
    created_at: datetime
    updated_at: datetime
