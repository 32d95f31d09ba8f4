"""Models of requests about many files at once."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from lambda_app.models.files.files import FileStatus
from lambda_app.schemas.base import RequestModel, ResponseModel, examples
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

    model_config = examples(
        {"file_ids": ["6f1c2f7e-6d5e-4b7c-9a55-0d3f6f0a7d11"]},
        {"file_ids": ["6f1c2f7e-6d5e-4b7c-9a55-0d3f6f0a7d11", "0b0e5b0a-3c51-4f0e-8f0f-6a0a3a1c9b22"]},
    )

    file_ids: FileIds = Field(description="Ids of up to 100 files, each once.")


class VisibilityBatch(FileBatch):
    """The files of the request, and who can read them afterwards."""

    model_config = examples(
        {"file_ids": ["6f1c2f7e-6d5e-4b7c-9a55-0d3f6f0a7d11"], "is_public": True},
        {"file_ids": ["6f1c2f7e-6d5e-4b7c-9a55-0d3f6f0a7d11", "0b0e5b0a-3c51-4f0e-8f0f-6a0a3a1c9b22"], "is_public": False},
    )

    is_public: bool = Field(strict=True, description="Whether anyone who knows the id of the file can read it.")


class UploadBatch(RequestModel):
    """The declarations of files to upload, each in one request."""

    model_config = examples(
        {"files": [{"filename": "a.png", "content_type": "image/png", "size_bytes": 25000}]},
        {
            "files": [
                {"filename": "a.png", "content_type": "image/png", "size_bytes": 25000},
                {"filename": "b.txt", "content_type": "text/plain", "size_bytes": 120},
            ],
            "all_or_nothing": True,
        },
    )

    files: Annotated[list[FileCreate], Field(min_length=1, max_length=BATCH_MAX_FILES)] = Field(
        description="Up to 100 declarations, each as for `POST /files/upload`."
    )
    all_or_nothing: bool = Field(
        default=False, strict=True, description="Whether no upload is started if one of them is refused; the request then fails."
    )


class ItemError(ResponseModel):
    """Why one file was refused: what the request about this file alone would return."""

    status: int = Field(description="The HTTP status of that response.")
    code: str = Field(description="The error code of that response.")
    detail: str = Field(description="What went wrong, as a sentence.")
    extra: dict[str, Any] = Field(
        description="Further members of that response, for example `bytes_left` and `files_left` for `quota_exceeded`."
    )


class UploadResult(ResponseModel):
    """A started upload, or why it was refused. The other member is null."""

    upload: FileUploadResponse | None = Field(description="The started upload; null if it was refused.")
    error: ItemError | None = Field(description="Why it was refused; null if it was started.")


class UploadResults(ResponseModel):
    """One result for each declared file, in the same order."""

    results: list[UploadResult] = Field(description="The results, in the order of the request.")


class FileState(ResponseModel):
    """The state of a file, or `not_found` if there is no file with this id that the caller may read."""

    id: UUID = Field(description="Id of the file.")
    status: FileStatus | Literal["not_found"] = Field(description="Its status; `not_found` if the caller may read no such file.")


class FileStates(ResponseModel):
    """The state of each requested file, in the same order."""

    files: list[FileState] = Field(description="The states, in the order of the request.")


class DownloadResult(ResponseModel):
    """A presigned download URL, or why there is none. The other member is null."""

    id: UUID = Field(description="Id of the file.")
    download: FileDownloadResponse | None = Field(description="The download URL; null if there is none.")
    error: ItemError | None = Field(description="Why there is none; null if there is one.")


class DownloadResults(ResponseModel):
    """One result for each requested file, in the same order."""

    results: list[DownloadResult] = Field(description="The results, in the order of the request.")


class FileResult(ResponseModel):
    """The status of a file after the change, or why it was not changed. The other member is null."""

    id: UUID = Field(description="Id of the file.")
    status: FileStatus | Literal["deleted"] | None = Field(description="The status after the change; null if it was not changed.")
    error: ItemError | None = Field(description="Why it was not changed; null if it was.")


class FileResults(ResponseModel):
    """One result for each requested file, in the same order."""

    results: list[FileResult] = Field(description="The results, in the order of the request.")


class EmptiedTrash(ResponseModel):
    """What was deleted from the trash."""

    deleted_files: int = Field(description="Number of files that this request deleted.")
    has_more: bool = Field(description="Whether the trash still has files; repeat the request.")
