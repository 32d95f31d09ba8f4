"""Routes of the archives of a share link: all its files as one zip."""

from typing import Any
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from lambda_app.dependencies.same_origin import require_same_origin
from lambda_app.dependencies.services import ArchivesDep, ServicesDep, ShareLinksDep
from lambda_app.dependencies.share_links import VisitorDep, share_token_cookie
from lambda_app.models import ArchiveStatus
from lambda_app.routers.http.openapi.headers import LOCATION
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.request_classification import is_range_resume, prefers_html
from lambda_app.routers.http.router import Router
from lambda_app.routers.sharing.share_links import (
    DOWNLOAD_RESPONSES,
    AutomatedRequestError,
    RangeHeader,
    download_response,
    is_automated,
    link_path,
)
from lambda_app.routers.sharing.share_pages import archive_page
from lambda_app.schemas.archives import LinkedArchive
from lambda_app.schemas.error_codes import WITHHELD
from lambda_app.schemas.sharing.shares import LinkAddress
from lambda_app.services.archives.archives import ArchiveDownload

router = Router(prefix="/s/{token}/archives", tags=["share links"])


@router.post(
    "",
    status_code=202,
    response_model=LinkedArchive,
    responses={
        202: LOCATION,
        303: {"description": "See Other: for browsers (`Accept: text/html`), `Location` is the progress page of the zip"},
        **problem_responses(
            "link_not_found",
            "share_password_required",
            "share_listing_only",
            "robots_get_no_files",
            "cross_site_form",
            *WITHHELD,
            "no_room",
            "archive_too_large",
            "too_many_archives",
            "store_unavailable",
            "unavailable",
        ),
    },
)
def create_share_archive(
    token: LinkAddress,
    request: Request,
    visitor: VisitorDep,
    links: ShareLinksDep,
    archives: ArchivesDep,
    services: ServicesDep,
    response: Response,
) -> Any:
    """Start building a zip of all files of the link. Poll the address in `Location` until it is ready.

    This does not count as a download.
    """
    if is_automated(request):
        raise AutomatedRequestError
    is_form = prefers_html(request.headers.get("accept", ""))
    # The body is empty, so its media type cannot tell the page's form from a script: the check also applies to requests with its cookie.
    if is_form or share_token_cookie(request) in request.cookies:
        require_same_origin(request, services.settings.api_url)
    opened = links.open_for_download(token, visitor)
    started = archives.start_for_link(opened.share, opened.files)
    archive = _linked_archive(ArchiveDownload(started, ArchiveStatus(started.status), started.error_code), link_path(request, token))
    location = f"{link_path(request, token)}/archives/{archive.id}"
    if is_form:
        return RedirectResponse(location, status_code=303)
    response.headers["Location"] = location
    return archive


@router.get(
    "/{archive_id}",
    response_model=LinkedArchive,
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        **problem_responses("link_not_found", "share_password_required", "share_listing_only", "archive_not_found", "archive_expired"),
    },
)
def get_share_archive(
    token: LinkAddress, archive_id: UUID, request: Request, visitor: VisitorDep, links: ShareLinksDep, archives: ArchivesDep
) -> Any:
    """Return the status and progress of a zip of the link, and a download URL once it is ready.

    Browsers (`Accept: text/html`) get a page, other clients JSON.
    """
    opened = links.open_for_download(token, visitor)
    archive = _linked_archive(archives.get_for_link(opened.share, archive_id), link_path(request, token))
    if not prefers_html(request.headers.get("accept", "")):
        return archive
    filenames = [file.filename for file in opened.files]
    return archive_page(request, archive, filenames, link_path(request, token), is_watching="still" not in request.query_params)


@router.get(
    "/{archive_id}/download",
    status_code=302,
    response_class=RedirectResponse,
    responses={
        **DOWNLOAD_RESPONSES,
        **problem_responses(
            "link_not_found",
            "share_password_required",
            "share_listing_only",
            "robots_get_no_files",
            "archive_not_found",
            "archive_expired",
            "store_unavailable",
        ),
    },
)
def download_share_archive(
    token: LinkAddress, archive_id: UUID, request: Request, visitor: VisitorDep, links: ShareLinksDep, range_: RangeHeader = None
) -> Any:
    """Redirect to the zip, or return its URL to clients with `Accept: application/json`.

    This counts as one download of the link. Requests of the same visitor in the next 60 seconds, and resuming it with `Range`, do not
    count again.
    """
    if is_automated(request):
        raise AutomatedRequestError
    signed = links.start_archive_download(token, archive_id, visitor, is_resumption=is_range_resume(range_))
    return download_response(request, signed)


def _linked_archive(found: ArchiveDownload, path: str) -> LinkedArchive:
    url = f"{path}/archives/{found.archive.id}/download" if found.status is ArchiveStatus.READY else None
    changes = {"status": found.status, "error_code": found.error_code, "download_url": url}
    return LinkedArchive.model_validate(found.archive).model_copy(update=changes)
