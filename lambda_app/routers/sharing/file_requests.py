"""Routes of the caller's file requests: links by which people without an account upload files."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import FileRequestsDep
from lambda_app.routers.files.uploads import IdempotencyKeyHeader
from lambda_app.routers.http.paging import CursorQuery, LimitQuery, set_page_headers
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.routers.sharing.public_url import PublicUrlDep
from lambda_app.schemas.page import Cursor
from lambda_app.schemas.sharing.file_requests import FileRequest, FileRequestCreate, FileRequestUpdate, NewFileRequest
from lambda_app.schemas.sharing.states import LinkState
from lambda_app.services.files.idempotency import KeyedRequest
from lambda_app.services.sharing.file_requests import AddressedFileRequest, OwnedFileRequest

router = Router(prefix="/file-requests", tags=["file requests"])
user_router = Router(prefix="/users/{user_id}/file-requests", tags=["file requests"])

RequestStateQuery = Annotated[LinkState | None, Query(description="Only file requests in this state. By default all that are not revoked.")]


@router.post(
    "",
    status_code=201,
    response_model=NewFileRequest,
    responses=problem_responses("too_many_file_requests", "idempotent_request_gone", "bad_expiry", "unavailable"),
)
def create_file_request(
    parameters: FileRequestCreate,
    user: CurrentUserDep,
    file_requests: FileRequestsDep,
    response: Response,
    public_url: PublicUrlDep,
    idempotency_key: IdempotencyKeyHeader = None,
) -> NewFileRequest:
    """Create a link by which people without an account can upload files to the caller."""
    route, body = "POST /file-requests", parameters.identity()
    keyed = None if idempotency_key is None else KeyedRequest.of(user_id=user.id, route=route, key=idempotency_key, body=body)
    created = file_requests.create(user, parameters, keyed=keyed)
    response.headers["Cache-Control"] = "no-store"
    return _present_new(created, public_url)


@router.get("", response_model=list[FileRequest], responses=problem_responses())
def list_file_requests(
    request: Request,
    response: Response,
    user: CurrentUserDep,
    file_requests: FileRequestsDep,
    public_url: PublicUrlDep,
    state: RequestStateQuery = None,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
) -> list[FileRequest]:
    """List the caller's file requests, newest first. To list the uploaded files, use `GET /files?file_request_id=`."""
    page = file_requests.page(user, state=state, limit=limit, after=None if cursor is None else Cursor.decode(cursor))
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return [_present(found, public_url) for found in page.requests]


@router.get("/{request_id}", response_model=FileRequest, responses=problem_responses("file_request_not_found"))
def get_file_request(request_id: UUID, user: CurrentUserDep, file_requests: FileRequestsDep, public_url: PublicUrlDep) -> FileRequest:
    """Return one of the caller's file requests."""
    return _present(file_requests.require(user, request_id), public_url)


@router.patch("/{request_id}", response_model=FileRequest, responses=problem_responses("file_request_not_found", "bad_expiry"))
def update_file_request(
    request_id: UUID, update: FileRequestUpdate, user: CurrentUserDep, file_requests: FileRequestsDep, public_url: PublicUrlDep
) -> FileRequest:
    """Change the title, note or limits of a file request. Absent fields stay unchanged.

    The new limits apply to every upload that starts afterwards.
    """
    return _present(file_requests.update(user, request_id, update), public_url)


@router.post("/{request_id}/rotate", response_model=NewFileRequest, responses=problem_responses("file_request_not_found", "unavailable"))
def replace_file_request_address(
    request_id: UUID, user: CurrentUserDep, file_requests: FileRequestsDep, public_url: PublicUrlDep, response: Response
) -> NewFileRequest:
    """Give a file request a new random address. Its limits and files stay; the old address stops working at once."""
    response.headers["Cache-Control"] = "no-store"
    return _present_new(file_requests.replace_address(user, request_id), public_url)


@router.delete("/{request_id}", status_code=204, responses=problem_responses("file_request_not_found"))
def revoke_file_request(request_id: UUID, user: CurrentUserDep, file_requests: FileRequestsDep) -> None:
    """Revoke a file request: its link stops working. Files that were uploaded to it are not deleted."""
    file_requests.revoke(user, request_id)


@user_router.get("", response_model=list[FileRequest], responses=problem_responses("permission_denied"))
def list_user_file_requests(  # noqa: PLR0913, PLR0917 - the parameters of a page
    user_id: UUID,
    request: Request,
    response: Response,
    user: CurrentUserDep,
    file_requests: FileRequestsDep,
    public_url: PublicUrlDep,
    state: RequestStateQuery = None,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
) -> list[FileRequest]:
    """List the file requests of a user, newest first, without their addresses. Superusers only."""
    after = None if cursor is None else Cursor.decode(cursor)
    page = file_requests.page_of_user(user, user_id, state=state, limit=limit, after=after)
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return [_present(found, public_url) for found in page.requests]


@user_router.delete("/{request_id}", status_code=204, responses=problem_responses("permission_denied", "file_request_not_found"))
def revoke_file_request_of_user(user_id: UUID, request_id: UUID, user: CurrentUserDep, file_requests: FileRequestsDep) -> None:
    """Revoke a file request of a user. Superusers only. Files that were uploaded to it are not deleted."""
    file_requests.revoke_of_user(user, user_id, request_id)


def _present(found: OwnedFileRequest, public_url: str) -> FileRequest:
    url = None if found.token is None else f"{public_url}/r/{found.token}"
    columns = FileRequest.model_fields.keys() - {"url"}
    return FileRequest(**{column: getattr(found.row, column) for column in columns}, url=url)


def _present_new(found: AddressedFileRequest, public_url: str) -> NewFileRequest:
    return NewFileRequest(**{**_present(found, public_url).model_dump(), "token": found.token})
