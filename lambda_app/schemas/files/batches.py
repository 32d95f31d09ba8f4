"""Models of requests about many files at once."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from lambda_app.models.files.files import FileStatus
from lambda_app.schemas.base import RequestModel, ResponseModel
from lambda_app.schemas.files.files import FileCreate, FileDownloadResponse, FileUploadResponse

BATCH_MAX_FILES = 100
"""Maximum number of files of one request."""


def _once_each(value: list[UUID]) -> list[UUID]:
    if len(set(value)) != len(value):
        raise ValueError("must not contain a file more than once")
    return value


FileIds = Annotated[list[UUID], Field(min_length=1, max_length=BATCH_MAX_FILES), AfterValidator(_once_each)]


class FileBatch(RequestModel):
    """The files of the request."""

    file_ids: FileIds


class VisibilityBatch(FileBatch):
    """The files of the request, and who can read them afterwards."""

    is_public: bool = Field(strict=True, description="Whether anyone who knows the id of the file can read it.")


class UploadBatch(RequestModel):
    """The declarations of files to upload, each in one request."""

    files: Annotated[list[FileCreate], Field(min_length=1, max_length=BATCH_MAX_FILES)]
    all_or_nothing: bool = Field(
        default=False, strict=True, description="Whether no upload is started if one of them is refused; the request then fails."
    )


class ItemError(ResponseModel):
    """Why one file was refused: what the request about this file alone would return."""

    status: int
    """The HTTP status of that response."""
    code: str
    detail: str
    extra: dict[str, Any]
    """Further members of that response, for example `bytes_left` and `files_left` for `quota_exceeded`."""


class UploadResult(ResponseModel):
    """A started upload, or why it was refused. The other member is null."""

    upload: FileUploadResponse | None
    error: ItemError | None


class UploadResults(ResponseModel):
    """One result for each declared file, in the same order."""

    results: list[UploadResult]


class FileState(ResponseModel):
    """The state of a file, or `not_found` if there is no file with this id that the caller may read."""

    id: UUID
    status: FileStatus | Literal["not_found"]


class FileStates(ResponseModel):
    """The state of each requested file, in the same order."""

    files: list[FileState]


class DownloadResult(ResponseModel):
    """A presigned download URL, or why there is none. The other member is null."""

    id: UUID
    download: FileDownloadResponse | None
    error: ItemError | None


class DownloadResults(ResponseModel):
    """One result for each requested file, in the same order."""

    results: list[DownloadResult]


class FileResult(ResponseModel):
    """The status of a file after the change, or why it was not changed. The other member is null."""

    id: UUID
    status: FileStatus | Literal["deleted"] | None
    error: ItemError | None


class FileResults(ResponseModel):
    """One result for each requested file, in the same order."""

    results: list[FileResult]


class EmptiedTrash(ResponseModel):
    """What was deleted from the trash."""

    deleted_files: int
    has_more: bool
    """Whether the trash still has files; repeat the request."""
