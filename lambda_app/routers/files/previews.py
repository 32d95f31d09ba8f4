"""Routes of previews: small images of files, for lists and pages."""

from uuid import UUID

from fastapi import Response

from lambda_app.core.errors import AppError
from lambda_app.dependencies.auth import CallerDep
from lambda_app.dependencies.services import PreviewsDep
from lambda_app.routers.files.batches import item_error
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.files.batches import FileBatch
from lambda_app.schemas.files.previews import Preview, PreviewImage, PreviewResult, PreviewResults
from lambda_app.services.files.previews import SignedPreview

router = Router(prefix="/files", tags=["files"])


@router.get(
    "/{file_id}/preview",
    response_model=Preview,
    responses=problem_responses("file_forbidden", "file_not_found", "store_unavailable", "unavailable"),
)
def get_preview(file_id: UUID, caller: CallerDep, previews: PreviewsDep, response: Response) -> Preview:
    """Return the preview of a file: presigned URLs of two images, and what the file is. Public files need no credentials.

    While it is `pending`, ask again after some seconds.
    """
    response.headers["Cache-Control"] = "no-store"
    return _preview(previews.get_preview(caller, file_id))


@router.post("/previews", response_model=PreviewResults, responses=problem_responses("store_unavailable", "unavailable"))
def list_previews(batch: FileBatch, caller: CallerDep, previews: PreviewsDep, response: Response) -> PreviewResults:
    """Return the small previews of up to 100 files. Public files need no credentials."""
    found = previews.list_previews(caller, batch.file_ids)
    response.headers["Cache-Control"] = "no-store"
    results = []
    for file_id, result in zip(batch.file_ids, found, strict=True):
        if isinstance(result, AppError):
            results.append(PreviewResult(id=file_id, preview=None, error=item_error(result)))
        else:
            results.append(PreviewResult(id=file_id, preview=_preview(result), error=None))
    return PreviewResults(results=results)


def _preview(signed: SignedPreview) -> Preview:
    row, small, large = signed.preview, signed.small, signed.large
    return Preview(
        state="none" if row is None else row.state,
        width=row and row.width,
        height=row and row.height,
        duration_seconds=row and row.duration_seconds,
        page_count=row and row.page_count,
        small=PreviewImage(url=small.url, width=row.small_width, height=row.small_height) if row and small else None,
        large=PreviewImage(url=large.url, width=row.large_width, height=row.large_height) if row and large else None,
        expires_at=small.expires_at if small else None,
    )
