"""The table of the files, and their schemas.

`tests/benchmarks/candidates.py` copies this module for plain apps with more tables and schemas.
"""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base

TABLE = "file"


class File(Base):
    """A file."""

    __tablename__ = TABLE

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


class FileIn(BaseModel):
    """The metadata of a new file."""

    filename: str
    content_type: str
    size_bytes: int
    description: str | None = None
    is_public: bool = False


class FileChange(BaseModel):
    """Changes to a file."""

    filename: str | None = None
    description: str | None = None
    is_public: bool | None = None


class FileOut(FileIn):
    """A file in responses."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    s3_key: str
    owner_id: UUID
    status: str
    created_at: datetime
    updated_at: datetime
