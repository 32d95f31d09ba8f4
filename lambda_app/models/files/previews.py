"""The table of previews: what the preview worker has reported about a file. Not columns of the file, which every request reads."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base


class PreviewState(StrEnum):
    """The state of a preview. A file whose type has none has no row."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


class FilePreview(Base):
    """A preview that was requested, and its result. Sizes in pixels, as displayed."""

    __tablename__ = "file_preview"
    __table_args__ = (
        CheckConstraint(f"state IN ({', '.join(repr(state.value) for state in PreviewState)})", name="state"),
        CheckConstraint("state <> 'ready' OR (width > 0 AND height > 0)", name="size"),
        Index("ix_file_preview_pending", "requested_at", "file_id", postgresql_where=text("state = 'pending'")),
    )

    file_id: Mapped[UUID] = mapped_column(ForeignKey("file.id", ondelete="CASCADE"), primary_key=True)
    state: Mapped[str] = mapped_column(String(8))
    requested_at: Mapped[datetime]
    request_count: Mapped[int] = mapped_column(server_default=text("1"))
    """How often the preview was requested. The sweep repeats a request without a result, and makes the first one of an earlier file."""
    reason: Mapped[str | None] = mapped_column(String(20))
    """Why there is no preview, in the worker's words."""
    width: Mapped[int | None]
    """Width of the original image or video; of the first page of a document in points."""
    height: Mapped[int | None]
    small_width: Mapped[int | None]
    small_height: Mapped[int | None]
    large_width: Mapped[int | None]
    large_height: Mapped[int | None]
    duration_seconds: Mapped[float | None]
    page_count: Mapped[int | None]
