"""Files."""

import re
from typing import Annotated
from uuid import UUID

from fastapi import Header, Query, Request, Response

from lambda_app import models
from lambda_app.core.errors import PreconditionFailedError
from lambda_app.dependencies.auth import CallerDep, CurrentUserDep
from lambda_app.dependencies.services import FilesDep
from lambda_app.routers.files.file_lists import FileFilterDep, PageDep
from lambda_app.routers.http.paging import set_page_headers
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.files.files import File, FileDownloadResponse, FileUpdate

router = Router(prefix="/files", tags=["files"])

IfMatchHeader = Annotated[
    str | None, Header(alias="If-Match", max_length=64, description="The `ETag` that the file must still have; 412 when it has changed.")
]
PermanentQuery = Annotated[bool, Query(description="Delete at once, also from the trash.")]

_ENTITY_TAG = re.compile(r'"([0-9]{1,9})"')


@router.get("/download/{file_id}", response_model=FileDownloadResponse, responses=problem_responses(401, 403, 404, 409, 503))
def start_download(file_id: UUID, caller: CallerDep, files: FilesDep, response: Response) -> FileDownloadResponse:
    """Sign an address of the bytes. Public files need no token."""
    download = files.start_download(caller, file_id)
    response.headers["Cache-Control"] = "no-store"
    return FileDownloadResponse(
        download_url=download.request.url,
        filename=download.file.filename,
        content_type=download.content_type,
        expires_at=download.request.expires_at,
    )


@router.get("", response_model=list[File], responses=problem_responses(401))
def list_files(
    request: Request, response: Response, user: CurrentUserDep, files: FilesDep, wanted: FileFilterDep, page: PageDep
) -> list[models.File]:
    """List one's files, newest first unless `sort` says otherwise; a superuser's list holds everybody's.

    `X-Next-Cursor` and `Link` lead to the next page; a cursor stays fast and stable while files are added. The trash is listed by
    `status=trashed` only.
    """
    found = files.page_files(user, wanted, order=page.order, skip=page.skip, limit=page.limit, after=page.after, with_total=page.with_total)
    set_page_headers(request, response, limit=page.limit, next_cursor=found.next_cursor)
    if found.total is not None:
        response.headers["X-Total-Count"] = str(found.total)
    return found.files


@router.get("/{file_id}", response_model=File, responses=problem_responses(401, 403, 404))
def read_file(file_id: UUID, user: CurrentUserDep, files: FilesDep, response: Response) -> models.File:
    """Return a file's details. `ETag` names this state of them, for `If-Match`."""
    return _tagged(response, files.get_file(user, file_id))


@router.put("/{file_id}", response_model=File, responses=problem_responses(401, 403, 404, 412))
def update_file(
    file_id: UUID, update: FileUpdate, user: CurrentUserDep, files: FilesDep, response: Response, if_match: IfMatchHeader = None
) -> models.File:
    """Change a file's name, description or visibility; an absent field stays as it is."""
    return _tagged(response, files.update_file(user, file_id, update, revision=_revision(if_match)))


@router.delete("/{file_id}", status_code=204, responses=problem_responses(401, 403, 404, 503))
def delete_file(file_id: UUID, user: CurrentUserDep, files: FilesDep, permanent: PermanentQuery = False) -> None:
    """Delete a file in whatever state it is: into the trash, if there is one, else with its bytes."""
    files.delete_file(user, file_id, is_permanent=permanent)


@router.post("/{file_id}/restore", response_model=File, responses=problem_responses(401, 403, 404, 409))
def restore_file(file_id: UUID, user: CurrentUserDep, files: FilesDep, response: Response) -> models.File:
    """Take a file out of the trash. Safe to repeat."""
    return _tagged(response, files.restore_file(user, file_id))


def _tagged(response: Response, file: models.File) -> models.File:
    response.headers["ETag"] = f'"{file.revision}"'
    return file


def _revision(if_match: str | None) -> int | None:
    """Return the revision that an `If-Match` demands, None for any. Raises PreconditionFailedError for a tag that is not ours."""
    if if_match is None or if_match.strip() == "*":
        return None
    tag = _ENTITY_TAG.fullmatch(if_match.strip())
    if tag is None:
        raise PreconditionFailedError("The entity tag is not one of this file's", code="file_changed")
    return int(tag[1])


# The collection also answers with a slash; a redirect there would need the Host header.
router.add_api_route("/", list_files, methods=["GET"], response_model=list[File], include_in_schema=False)
