"""Routes of files: listing, reading, changing, deleting, restoring and downloading them."""

from typing import Annotated
from uuid import UUID

from fastapi import Header, Query, Request, Response

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.callers import CredentialDep, RequiredCredentialDep, run_statement, run_steps, services_of
from lambda_app.dependencies.services import FilesDep
from lambda_app.routers.files.file_lists import FileFilterDep, PageDep
from lambda_app.routers.http.paging import set_page_headers
from lambda_app.routers.http.preconditions import IfMatchDep
from lambda_app.routers.http.problems import JSON_MEDIA_TYPE, problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.error_codes import WITHHELD
from lambda_app.schemas.files.files import Disposition, File, FileDownloadResponse, FileUpdate

router = Router(prefix="/files", tags=["files"])

IfNoneMatchHeader = Annotated[
    str | None, Header(alias="If-None-Match", description="The `ETag` of the version that the caller has. If it is current: 304.")
]
DispositionQuery = Annotated[Disposition, Query(description="`inline` to show the file in a page instead of saving it.")]
PermanentQuery = Annotated[bool, Query(description="Delete the file at once instead of moving it to the trash; also from the trash.")]


@router.get(
    "/download/{file_id}",
    response_model=FileDownloadResponse,
    responses=problem_responses("file_forbidden", "file_not_found", "file_not_available", *WITHHELD, "store_unavailable"),
)
async def get_download_url(
    file_id: UUID, credential: CredentialDep, request: Request, disposition: DispositionQuery = Disposition.ATTACHMENT
) -> Response:
    """Return a presigned URL from which the file can be downloaded. Public files need no credentials.

    With `disposition=inline` the response of the URL can be shown in a page: images, PDF, audio and video with their types, every kind of
    text as plain text. Other files, and those whose bytes contradict their type, stay attachments, as `disposition` shows.
    """
    download = await run_statement(
        services_of(request).caller_files().start_download, credential, file_id, is_inline=disposition is Disposition.INLINE
    )
    signed = FileDownloadResponse(
        download_url=download.request.url,
        filename=download.file.filename,
        content_type=download.content_type,
        disposition=download.disposition,
        expires_at=download.request.expires_at,
    )
    return Response(signed.model_dump_json(), media_type=JSON_MEDIA_TYPE, headers={"Cache-Control": "no-store"})


@router.get(
    "",
    response_model=list[File],
    responses=problem_responses("permission_denied", "skip_with_cursor", "conflicting_filters", "list_too_long"),
)
async def list_files(request: Request, credential: RequiredCredentialDep, filters: FileFilterDep, page: PageDep) -> Response:
    """List the caller's files, newest first by default. Superusers can list those of another user (`owner_id`) or of all users (`all`).

    `X-Next-Cursor` and `Link` lead to the next page. Pages by cursor stay fast at any depth, and files that are added meanwhile do not
    shift them. Files in the trash are listed only with `status=trashed`.

    422 `list_too_long`: in a list of more than 5,000 files, no index supports these filters in this order. The message names what to send.
    """
    lists = services_of(request).caller_lists()
    if lists.is_one_flush(filters, page.order):
        found = await run_steps(request, credential, lists.page_files(credential, filters, page))
    else:
        found = await run_statement(lists.page_files_in_steps, credential, filters, page)
    response = Response(found.json, media_type=JSON_MEDIA_TYPE)
    set_page_headers(request, response, limit=page.limit, next_cursor=found.next_cursor)
    if found.total is not None:
        response.headers["X-Total-Count"] = str(found.total.files)
        response.headers["X-Total-Count-Relation"] = "eq" if found.total.is_exact else "gt"
    return response


@router.get(
    "/{file_id}",
    response_model=File,
    responses={304: {"description": "The caller's version is current"}, **problem_responses("file_forbidden", "file_not_found")},
)
async def get_file(file_id: UUID, credential: RequiredCredentialDep, request: Request, if_none_match: IfNoneMatchHeader = None) -> Response:
    """Return the details of a file. Send the returned `ETag` as `If-Match` to change exactly this version."""
    file = await run_steps(request, credential, services_of(request).caller_files().get_file(credential, file_id))
    etag = _etag(file.revision)
    if if_none_match is not None and (if_none_match.strip() == "*" or etag in if_none_match):
        return Response(status_code=304, headers={"ETag": etag})
    return Response(file.json, media_type=JSON_MEDIA_TYPE, headers={"ETag": etag})


@router.patch("/{file_id}", response_model=File, responses=problem_responses("file_forbidden", "file_not_found"))
@router.put(
    "/{file_id}", operation_id="updateFileWithPut", response_model=File, responses=problem_responses("file_forbidden", "file_not_found")
)
def update_file(
    file_id: UUID, update: FileUpdate, user: CurrentUserDep, files: FilesDep, response: Response, if_match: IfMatchDep
) -> models.File:
    """Change the name, description or visibility of a file. Absent fields stay unchanged; PUT and PATCH do the same."""
    return _with_etag(response, files.update_file(user, file_id, update, revisions=if_match))


@router.delete("/{file_id}", status_code=204, responses=problem_responses("file_forbidden", "file_not_found", "store_unavailable"))
def delete_file(file_id: UUID, user: CurrentUserDep, files: FilesDep, if_match: IfMatchDep, permanent: PermanentQuery = False) -> None:
    """Delete a file. An available file moves to the trash if the server has one; otherwise its content is deleted at once."""
    files.delete_file(user, file_id, is_permanent=permanent, revisions=if_match)


@router.post("/{file_id}/restore", response_model=File, responses=problem_responses("file_forbidden", "file_not_found", "not_in_trash"))
def restore_file(file_id: UUID, user: CurrentUserDep, files: FilesDep, response: Response, if_match: IfMatchDep) -> models.File:
    """Move a file out of the trash. Idempotent."""
    return _with_etag(response, files.restore_file(user, file_id, revisions=if_match))


def _with_etag(response: Response, file: models.File) -> models.File:
    response.headers["ETag"] = _etag(file.revision)
    return file


def _etag(revision: int) -> str:
    return f'"{revision}"'
