"""Models of previews: the worker's report, and what the API returns."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from lambda_app.schemas.base import ResponseModel
from lambda_app.schemas.files.batches import ItemError
from lambda_app.schemas.text import Timestamp

_Pixels = Annotated[int, Field(strict=True, ge=1, le=10**6)]


class ReadyReport(BaseModel):
    """The worker's report of a finished preview. It decodes hostile files, so nothing in it is trusted."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["ready"]
    width: _Pixels
    height: _Pixels
    small_size: tuple[_Pixels, _Pixels]
    large_size: tuple[_Pixels, _Pixels]
    duration_seconds: Annotated[float, Field(strict=True, ge=0, le=1e9, allow_inf_nan=False)] | None
    page_count: Annotated[int, Field(strict=True, ge=1, le=10**9)] | None


class FailedReport(BaseModel):
    """The worker's report of a file that has no preview."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["failed"]
    reason: Annotated[str, Field(pattern=r"^[a-z_]{1,20}$")]


PreviewReport = Annotated[ReadyReport | FailedReport, Field(discriminator="state")]


class PreviewImage(ResponseModel):
    """One size of a preview, a WebP image."""

    url: str = Field(description="The presigned URL of the image.")
    width: int = Field(description="Width of the image in pixels.")
    height: int = Field(description="Height of the image in pixels.")


class Preview(ResponseModel):
    """The preview of a file: its state, and, once it is ready, its images and what the file is."""

    state: Literal["none", "pending", "ready", "failed"] = Field(
        description="`none`: files of this type have no preview. `pending`: it is being made. `failed`: it could not be made."
    )
    width: int | None = Field(description="Width of the original in pixels; of a document, that of its first page in points.")
    height: int | None = Field(description="Height of the original.")
    duration_seconds: float | None = Field(description="Duration of a video; null for other files and if it is unknown.")
    page_count: int | None = Field(description="Number of pages of a document; null for other files.")
    small: PreviewImage | None = Field(description="The preview for lists, at most 256 pixels wide and high; null unless it is ready.")
    large: PreviewImage | None = Field(description="The preview of 1,600 pixels; null unless it is ready, and in results about many files.")
    expires_at: Timestamp | None = Field(description="Until when the URLs are valid; null without URLs.")


class PreviewResult(ResponseModel):
    """The preview of a file, or why the caller cannot see it. The other member is null."""

    id: UUID = Field(description="Id of the file.")
    preview: Preview | None = Field(description="The preview; null if the file was refused.")
    error: ItemError | None = Field(description="Why it was refused; null if it was not.")


class PreviewResults(ResponseModel):
    """One result for each requested file, in the same order."""

    results: list[PreviewResult] = Field(description="The results, in the order of the request.")
