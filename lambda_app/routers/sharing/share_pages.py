"""HTML pages of share links: the files that a link offers, and the progress of its zip.

No script runs on these pages and nothing is loaded: the style sheet is inline, and the policy names it by its digest.
"""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import HTMLResponse

from lambda_app.models import ArchiveStatus
from lambda_app.models.archives import UNFINISHED
from lambda_app.routers.http.branding import branding_of
from lambda_app.routers.http.link_template import FORM_PAGE_HEADERS, render_link_page
from lambda_app.schemas.archives import LinkedArchive
from lambda_app.schemas.sharing.shares import OpenedShare
from lambda_app.schemas.text import DIRECTION_MARKS

_ARCHIVE_TITLES = {
    ArchiveStatus.QUEUED: "The zip is queued",
    ArchiveStatus.BUILDING: "The zip is being built",
    ArchiveStatus.READY: "The zip is ready",
    ArchiveStatus.FAILED: "The zip could not be built",
}
REFRESH_SECONDS = 4
"""Seconds after which the page of an unfinished zip reloads: it has no script that could poll."""


def files_page(request: Request, opened: OpenedShare, path: str) -> HTMLResponse:
    """Return the page of the files that the link at `path` offers."""
    title = DIRECTION_MARKS.sub("", opened.title or "").strip() or "Shared files"
    page = render_link_page(branding_of(request.scope), root_path=_root_path(request), title=title, opened=opened, action=path)
    return HTMLResponse(page, headers=FORM_PAGE_HEADERS)


def archive_page(request: Request, archive: LinkedArchive, filenames: Sequence[str], path: str, *, is_watching: bool) -> HTMLResponse:
    """Return the progress page of a zip of the link at `path`. While `is_watching` it reloads itself until the zip is finished."""
    is_unfinished = archive.status in UNFINISHED
    # Below 100 % until the zip is ready: after the last part S3 still has to complete the multipart upload.
    percent = min(99, 100 * archive.done_bytes // archive.size_bytes)
    # Screen readers announce the title after each reload.
    title = _ARCHIVE_TITLES[archive.status]
    if archive.status == ArchiveStatus.BUILDING:
        title = f"{title}: {percent} %"
    page = render_link_page(
        branding_of(request.scope),
        root_path=_root_path(request),
        title=title,
        archive=archive,
        is_unfinished=is_unfinished,
        is_watching=is_watching,
        refresh_seconds=REFRESH_SECONDS,
        percent=percent,
        filenames=filenames,
        action=path,
        has_back_link=True,
    )
    # A header instead of a meta element: accessibility checkers cannot know that the page offers a way to stop the reloads.
    refresh = {"Refresh": str(REFRESH_SECONDS)} if is_unfinished and is_watching else {}
    return HTMLResponse(page, headers=FORM_PAGE_HEADERS | refresh)


def _root_path(request: Request) -> str:
    return str(request.scope.get("root_path", ""))
