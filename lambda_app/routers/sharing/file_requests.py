"""File requests, on their owner's side."""

from uuid import UUID

from fastapi import Request, Response

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import FileRequestsDep
from lambda_app.routers.files.uploads import IdempotencyKeyHeader
from lambda_app.routers.http.paging import CursorQuery, LimitQuery, set_page_headers
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.routers.sharing.public_url import PublicUrlDep
from lambda_app.schemas.page import Cursor
from lambda_app.schemas.sharing.file_requests import FileRequest, FileRequestCreate, FileRequestUpdate, NewFileRequest
from lambda_app.services.files.idempotency import KeyedRequest

router = Router(prefix="/file-requests", tags=["file requests"])


@router.post("", status_code=201, response_model=NewFileRequest, responses=problem_responses(401, 403, 409, 410, 503))
def create_file_request(
    wanted: FileRequestCreate,
    user: CurrentUserDep,
    requests: FileRequestsDep,
    response: Response,
    base: PublicUrlDep,
    idempotency_key: IdempotencyKeyHeader = None,
) -> NewFileRequest:
    """Make a link by which people without an account send files to the caller. It is shown this once."""
    route, body = "POST /file-requests", wanted.model_dump_json()
    keyed = None if idempotency_key is None else KeyedRequest.of(user_id=user.id, route=route, key=idempotency_key, body=body)
    made = requests.create(user, wanted, keyed=keyed)
    response.headers["Cache-Control"] = "no-store"
    return NewFileRequest(**FileRequest.model_validate(made.row).model_dump(), token=made.token, url=f"{base}/r/{made.token}")


@router.get("", response_model=list[FileRequest], responses=problem_responses(401, 403))
def list_file_requests(
    request: Request,
    response: Response,
    user: CurrentUserDep,
    requests: FileRequestsDep,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
) -> list[models.FileRequest]:
    """List one's requests, newest first. What has come by one is listed by `GET /files?file_request_id=`."""
    page = requests.page(user, limit=limit, after=None if cursor is None else Cursor.decode(cursor))
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return page.requests


@router.get("/{request_id}", response_model=FileRequest, responses=problem_responses(401, 403, 404))
def read_file_request(request_id: UUID, user: CurrentUserDep, requests: FileRequestsDep) -> models.FileRequest:
    """Return one of one's requests."""
    return requests.require(user, request_id)


@router.patch("/{request_id}", response_model=FileRequest, responses=problem_responses(401, 403, 404))
def update_file_request(request_id: UUID, update: FileRequestUpdate, user: CurrentUserDep, requests: FileRequestsDep) -> models.FileRequest:
    """Change what a request takes; an absent field stays as it is. It holds from the next request of a guest on."""
    return requests.update(user, request_id, update)


@router.delete("/{request_id}", status_code=204, responses=problem_responses(401, 403, 404))
def revoke_file_request(request_id: UUID, user: CurrentUserDep, requests: FileRequestsDep) -> None:
    """End a request. What has come by it stays."""
    requests.revoke(user, request_id)
