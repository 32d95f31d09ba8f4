"""Files."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from lambda_app import models
from lambda_app.core.errors import MalformedRequestError
from lambda_app.dependencies.auth import CallerDep, CurrentUserDep
from lambda_app.dependencies.services import FilesDep
from lambda_app.routers.paging import CursorQuery, LimitQuery, SkipQuery, set_page_headers
from lambda_app.routers.problems import problem_responses
from lambda_app.schemas.file import File, FileCreate, FileDownloadResponse, FileUpdate, FileUploadResponse
from lambda_app.schemas.page import Cursor

router = APIRouter(prefix="/files", tags=["files"])


@router.post("/upload", status_code=201, response_model=FileUploadResponse, responses=problem_responses(401, 413, 503))
def start_upload(declared: FileCreate, user: CurrentUserDep, files: FilesDep, response: Response) -> FileUploadResponse:
    """Create a pending file and sign the one request that may fill it.

    Send the bytes with `method` to `upload_url` with exactly `headers`, then call `POST /files/{file_id}/complete`.
    """
    upload = files.start_upload(user, declared)
    request = upload.request
    response.headers["Cache-Control"] = "no-store"
    return FileUploadResponse(
        upload_url=request.url, file_id=upload.file.id, method=request.method, headers=request.headers, expires_at=request.expires_at
    )


@router.post("/{file_id}/complete", response_model=File, responses=problem_responses(401, 403, 404, 409, 503))
def complete_upload(file_id: UUID, user: CurrentUserDep, files: FilesDep) -> models.File:
    """Check what S3 holds against what was declared and make the file available. Safe to repeat."""
    return files.complete_upload(user, file_id)


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
    request: Request,
    response: Response,
    user: CurrentUserDep,
    files: FilesDep,
    skip: SkipQuery = 0,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
) -> list[models.File]:
    """List one's files, newest first; a superuser's list holds everybody's.

    `X-Next-Cursor` and `Link` lead to the next page; a cursor stays fast and stable while files are added.
    """
    if cursor is not None and skip:
        raise MalformedRequestError("skip and cursor exclude each other", code="skip_with_cursor")
    page = files.page_files(user, skip=skip, limit=limit, after=None if cursor is None else Cursor.decode(cursor))
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return page.files


@router.get("/{file_id}", response_model=File, responses=problem_responses(401, 403, 404))
def read_file(file_id: UUID, user: CurrentUserDep, files: FilesDep) -> models.File:
    """Return a file's details."""
    return files.get_file(user, file_id)


@router.put("/{file_id}", response_model=File, responses=problem_responses(401, 403, 404))
def update_file(file_id: UUID, update: FileUpdate, user: CurrentUserDep, files: FilesDep) -> models.File:
    """Change a file's name, description or visibility; an absent field stays as it is."""
    return files.update_file(user, file_id, update)


@router.delete("/{file_id}", status_code=204, responses=problem_responses(401, 403, 404, 503))
def delete_file(file_id: UUID, user: CurrentUserDep, files: FilesDep) -> None:
    """Delete a file and its bytes, in whatever state it is."""
    files.delete_file(user, file_id)


# The collection also answers with a slash; a redirect there would need the Host header.
router.add_api_route("/", list_files, methods=["GET"], response_model=list[File], include_in_schema=False)
