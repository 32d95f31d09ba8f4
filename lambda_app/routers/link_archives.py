"""All files of a share link as one zip."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from lambda_app import models
from lambda_app.dependencies.services import ArchivesDep, ShareLinksDep
from lambda_app.dependencies.share_links import VisitorDep
from lambda_app.models import ArchiveStatus
from lambda_app.routers.problems import problem_responses
from lambda_app.routers.share_links import RobotError, is_unasked, link_path
from lambda_app.schemas.archive import LinkedArchive

router = APIRouter(prefix="/s/{token}/archives", tags=["share links"])


@router.post("", status_code=202, response_model=LinkedArchive, responses=problem_responses(401, 403, 404, 413, 429, 503))
def start_link_archive(
    token: str, request: Request, visitor: VisitorDep, links: ShareLinksDep, archives: ArchivesDep, response: Response
) -> LinkedArchive:
    """Ask for a zip of all files that the link opens; `Location` says where to see how far it is. Nothing is counted yet."""
    if is_unasked(request):
        raise RobotError
    opened = links.open_for_download(token, visitor)
    archive = _shown(archives.start_for_link(opened.share, opened.files), link_path(request, token))
    response.headers["Location"] = f"{link_path(request, token)}/archives/{archive.id}"
    return archive


@router.get("/{archive_id}", response_model=LinkedArchive, responses=problem_responses(401, 403, 404, 410))
def read_link_archive(
    token: str, archive_id: UUID, request: Request, visitor: VisitorDep, links: ShareLinksDep, archives: ArchivesDep
) -> LinkedArchive:
    """Say how far a zip of the link's files is, and where to download it once it is ready."""
    opened = links.open_for_download(token, visitor)
    return _shown(archives.get_of_link(opened.share, archive_id), link_path(request, token))


@router.get(
    "/{archive_id}/download",
    status_code=302,
    response_class=RedirectResponse,
    responses={302: {"description": "Found: the bytes are at `Location` for a minute"}, **problem_responses(401, 403, 404, 503)},
)
def download_link_archive(token: str, archive_id: UUID, request: Request, visitor: VisitorDep, links: ShareLinksDep) -> Any:
    """Redirect to the zip. It counts as one download of the link."""
    if is_unasked(request):
        raise RobotError
    return RedirectResponse(links.start_archive_download(token, archive_id, visitor).url, status_code=302)


def _shown(archive: models.Archive, path: str) -> LinkedArchive:
    shown = LinkedArchive.model_validate(archive)
    if archive.status != ArchiveStatus.READY:
        return shown
    return shown.model_copy(update={"download_url": f"{path}/archives/{archive.id}/download"})
