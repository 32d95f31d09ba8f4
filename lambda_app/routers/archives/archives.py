"""Routes of the caller's archives: several files as one zip."""

from uuid import UUID

from fastapi import Request, Response

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import ArchivesDep
from lambda_app.routers.http.openapi.headers import LOCATION
from lambda_app.routers.http.paging import CursorQuery, LimitQuery, set_page_headers
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.archives import Archive, ArchiveCreate, ArchiveState
from lambda_app.schemas.page import Cursor

router = Router(prefix="/archives", tags=["archives"])


@router.post(
    "",
    status_code=202,
    response_model=Archive,
    responses={
        202: LOCATION,
        **problem_responses(
            "files_not_found",
            "files_not_available",
            "quota_exceeded",
            "archive_too_large",
            "too_many_archives",
            "store_unavailable",
            "unavailable",
        ),
    },
)
def create_archive(
    parameters: ArchiveCreate, request: Request, user: CurrentUserDep, archives: ArchivesDep, response: Response
) -> models.Archive:
    """Start building a zip of files that the caller can download. Poll the address in `Location` until it is ready.

    A repeated request for the same files returns the existing archive until it expires.
    """
    archive = archives.start(user, parameters)
    # Relative to the host, because the caller controls the Host header. The request's own path includes the stage.
    response.headers["Location"] = f"{request.scope['path'].rstrip('/')}/{archive.id}"
    return archive


@router.get("", response_model=list[Archive], responses=problem_responses())
def list_archives(
    request: Request, response: Response, user: CurrentUserDep, archives: ArchivesDep, limit: LimitQuery = 100, cursor: CursorQuery = None
) -> list[models.Archive]:
    """List the caller's archives, newest first. `X-Next-Cursor` and `Link` lead to the next page."""
    page = archives.page(user, limit=limit, after=None if cursor is None else Cursor.decode(cursor))
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return page.archives


@router.get(
    "/{archive_id}", response_model=ArchiveState, responses=problem_responses("archive_not_found", "archive_expired", "store_unavailable")
)
def get_archive(archive_id: UUID, user: CurrentUserDep, archives: ArchivesDep, response: Response) -> ArchiveState:
    """Return the status and progress of an archive, and a download URL once it is ready."""
    found = archives.get(user, archive_id)
    response.headers["Cache-Control"] = "no-store"
    state = ArchiveState.model_validate(found.archive).model_copy(update={"status": found.status, "error_code": found.error_code})
    if found.request is None:
        return state
    return state.model_copy(update={"download_url": found.request.url, "download_expires_at": found.request.expires_at})


@router.delete("/{archive_id}", status_code=204, responses=problem_responses("archive_not_found", "store_unavailable"))
def delete_archive(archive_id: UUID, user: CurrentUserDep, archives: ArchivesDep) -> None:
    """Delete an archive, or cancel building it. The files in it are not deleted."""
    archives.delete(user, archive_id)
