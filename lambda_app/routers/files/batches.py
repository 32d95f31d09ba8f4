"""Routes about many files at once. Each file has a result of its own, as the route for one file would return it."""

from collections.abc import Sequence
from uuid import UUID

from fastapi import Response

from lambda_app.core.errors import AppError
from lambda_app.dependencies.auth import CallerDep, CurrentUserDep
from lambda_app.dependencies.services import FileBatchChangesDep, FileBatchesDep, UploadBatchesDep, UploadCompletionDep
from lambda_app.routers.files.uploads import IdempotencyKeyHeader
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.files.batches import (
    DownloadResult,
    DownloadResults,
    EmptiedTrash,
    FileBatch,
    FileResult,
    FileResults,
    FileState,
    FileStates,
    ItemError,
    UploadBatch,
    UploadResult,
    UploadResults,
    VisibilityBatch,
)
from lambda_app.schemas.files.files import FileDownloadResponse, FileUploadResponse
from lambda_app.services.files.batch_changes import ChangeResult
from lambda_app.services.files.files import Download
from lambda_app.services.files.idempotency import KeyedRequest
from lambda_app.services.files.upload_batches import StartedBatchUpload

router = Router(prefix="/files", tags=["files"])


@router.post(
    "/uploads",
    response_model=UploadResults,
    responses=problem_responses(
        "single_upload_too_large", "quota_exceeded", "deletion_allowance_used", "idempotent_file_gone", "store_unavailable", "unavailable"
    ),
)
def start_uploads(
    batch: UploadBatch,
    user: CurrentUserDep,
    uploads: UploadBatchesDep,
    response: Response,
    idempotency_key: IdempotencyKeyHeader = None,
) -> UploadResults:
    """Start up to 100 uploads, each in one request, as `POST /files/upload` does.

    Each file has its own result. Those that fit in the quota are started, in the order of the request; the others have the error
    `quota_exceeded`. With `all_or_nothing`, the request fails with the first error, and starts nothing. Files become available by the
    events of the storage too: `POST /files/status` returns their states.
    """
    keyed = None
    if idempotency_key is not None:
        keyed = KeyedRequest.of(user_id=user.id, route="POST /files/uploads", key=idempotency_key, body=batch.model_dump_json())
    started = uploads.start_uploads(user, batch.files, all_or_nothing=batch.all_or_nothing, keyed=keyed)
    response.headers["Cache-Control"] = "no-store"
    return UploadResults(results=[_upload_result(result) for result in started])


@router.post("/complete", response_model=FileResults, responses=problem_responses())
def complete_uploads(batch: FileBatch, user: CurrentUserDep, completion: UploadCompletionDep) -> FileResults:
    """Complete up to 100 uploads, each as `POST /files/{file_id}/complete` does.

    Of files with the type `application/octet-stream` and a digest that one `POST /files/uploads` started, one request to the storage finds
    all objects; the others are looked up one by one. A file with the status `pending` was not reached in time: repeat the request with it.
    """
    return _file_results(batch, completion.complete_many(user, batch.file_ids))


@router.post("/status", response_model=FileStates, responses=problem_responses())
def list_statuses(batch: FileBatch, user: CurrentUserDep, files: FileBatchesDep) -> FileStates:
    """Return the status of up to 100 files: `not_found` for an id of no file, or of a file that the caller may not read."""
    statuses = files.list_statuses(user, batch.file_ids)
    return FileStates(files=[FileState(id=id_, status=status or "not_found") for id_, status in zip(batch.file_ids, statuses, strict=True)])


@router.post("/downloads", response_model=DownloadResults, responses=problem_responses("store_unavailable", "unavailable"))
def get_download_urls(batch: FileBatch, caller: CallerDep, files: FileBatchesDep, response: Response) -> DownloadResults:
    """Return presigned URLs from which up to 100 files can be downloaded. Public files need no credentials."""
    downloads = files.start_downloads(caller, batch.file_ids)
    response.headers["Cache-Control"] = "no-store"
    results = []
    for file_id, download in zip(batch.file_ids, downloads, strict=True):
        if isinstance(download, Download):
            results.append(DownloadResult(id=file_id, download=_download_response(download), error=None))
        else:
            results.append(DownloadResult(id=file_id, download=None, error=item_error(download)))
    return DownloadResults(results=results)


@router.post("/delete", response_model=FileResults, responses=problem_responses("store_unavailable", "unavailable"))
def delete_files(batch: FileBatch, user: CurrentUserDep, files: FileBatchChangesDep) -> FileResults:
    """Delete up to 100 files: available files move to the trash if the server has one, others are deleted with their content.

    The status is `trashed` or `deleted`. A file with the error `store_unavailable` is hidden already, and its content is deleted later;
    the request can be repeated.
    """
    return _file_results(batch, files.delete_files(user, batch.file_ids))


@router.post("/purge", response_model=FileResults, responses=problem_responses("store_unavailable", "unavailable"))
def purge_files(batch: FileBatch, user: CurrentUserDep, files: FileBatchChangesDep) -> FileResults:
    """Delete up to 100 files with their content at once, also from the trash."""
    return _file_results(batch, files.delete_files(user, batch.file_ids, is_permanent=True))


@router.post("/restore", response_model=FileResults, responses=problem_responses())
def restore_files(batch: FileBatch, user: CurrentUserDep, files: FileBatchChangesDep) -> FileResults:
    """Move up to 100 files out of the trash. Idempotent."""
    return _file_results(batch, files.restore_files(user, batch.file_ids))


@router.post("/visibility", response_model=FileResults, responses=problem_responses())
def set_visibility(batch: VisibilityBatch, user: CurrentUserDep, files: FileBatchChangesDep) -> FileResults:
    """Make up to 100 files public, or private. An API key also needs the scope `shares`."""
    return _file_results(batch, files.set_visibility(user, batch.file_ids, is_public=batch.is_public))


@router.delete("/trash", response_model=EmptiedTrash, responses=problem_responses("store_unavailable", "unavailable"))
def empty_trash(user: CurrentUserDep, files: FileBatchChangesDep) -> EmptiedTrash:
    """Delete the caller's files in the trash with their content. Repeat the request while `has_more` is true."""
    count, has_more = files.empty_trash(user)
    return EmptiedTrash(deleted_files=count, has_more=has_more)


def _file_results(batch: FileBatch, results: Sequence[ChangeResult]) -> FileResults:
    return FileResults(results=[_file_result(file_id, result) for file_id, result in zip(batch.file_ids, results, strict=True)])


def _file_result(file_id: UUID, result: ChangeResult) -> FileResult:
    if isinstance(result, AppError):
        return FileResult(id=file_id, status=None, error=item_error(result))
    return FileResult(id=file_id, status=result, error=None)


def _upload_result(result: StartedBatchUpload | AppError) -> UploadResult:
    if isinstance(result, AppError):
        return UploadResult(upload=None, error=item_error(result))
    request = result.request
    upload = FileUploadResponse(
        upload_url=request.url, file_id=result.file_id, method=request.method, headers=request.headers, expires_at=request.expires_at
    )
    return UploadResult(upload=upload, error=None)


def _download_response(download: Download) -> FileDownloadResponse:
    return FileDownloadResponse(
        download_url=download.request.url,
        filename=download.file.filename,
        content_type=download.content_type,
        disposition=download.disposition,
        expires_at=download.request.expires_at,
    )


def item_error(error: AppError) -> ItemError:
    """Return an error as the result of one file."""
    retry_after = error.headers.get("Retry-After")
    extra = error.extra if retry_after is None else {**error.extra, "retry_after_seconds": int(retry_after)}
    return ItemError(status=error.status, code=error.code, detail=error.message, extra=extra)
