"""The application's services without a web framework: the statement, the token and the signature of each request, and nothing else.

What the application costs beyond this is FastAPI, Mangum, its middleware and its access log.
"""

import json
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.schemas.files.file_lists import FileFilter, FileOrder, Order
from lambda_app.schemas.files.files import Disposition, FileCreate, FileDownloadResponse, FileUploadResponse
from lambda_app.schemas.page import RequestedPage
from lambda_app.services.accounts.callers import SubmittedCredential

services = Services.build(Settings.from_environment())
NEWEST_FIRST = FileOrder.of(Order.NEWEST_FIRST)


def _sign_in(event: dict[str, Any]) -> str:
    form = parse_qs(event["body"])
    with services.unit_of_work() as session:
        signed_in = services.sessions(session).sign_in(email=form["username"][0], password=form["password"][0])
    return json.dumps({"access_token": signed_in.access_token.value, "refresh_token": signed_in.refresh_token})


def _start_upload(credential: SubmittedCredential, event: dict[str, Any]) -> str:
    started = services.caller_uploads().start_upload(credential, FileCreate.model_validate_json(event["body"]), key=None)
    url, method, headers, expires_at = started.request.url, started.request.method, started.request.headers, started.request.expires_at
    response = FileUploadResponse(upload_url=url, file_id=started.file_id, method=method, headers=headers, expires_at=expires_at)
    return response.model_dump_json()


def _start_download(credential: SubmittedCredential, file_id: UUID) -> str:
    found = services.caller_files().start_download(credential, file_id)
    url, expires_at = found.request.url, found.request.expires_at
    response = FileDownloadResponse(
        download_url=url,
        filename=found.file.filename,
        content_type=found.content_type,
        disposition=Disposition.ATTACHMENT,
        expires_at=expires_at,
    )
    return response.model_dump_json()


def _answer(event: dict[str, Any]) -> str | bytes:
    path = event["rawPath"].removeprefix("/api/v1")
    if path == "/login/token":
        return _sign_in(event)
    credential = SubmittedCredential(event["headers"]["authorization"].removeprefix("Bearer "), None)
    if path == "/users/me":
        return services.complete(services.callers().get_account(credential))
    if path == "/files/upload":
        return _start_upload(credential, event)
    if path == "/files":
        limit = int((event.get("queryStringParameters") or {}).get("limit", 100))
        lists = services.caller_lists()
        page = lists.page_files(credential, FileFilter(), RequestedPage(NEWEST_FIRST, skip=0, limit=limit, after=None, with_total=False))
        return services.complete(page).json
    file_id = UUID(path.rpartition("/")[2])
    if "/download/" in path:
        return _start_download(credential, file_id)
    return services.complete(services.caller_files().get_file(credential, file_id)).json


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Handle an HTTP API event (payload 2.0)."""
    status = 201 if event["rawPath"].endswith("/upload") else 200
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": _answer(event), "isBase64Encoded": False}
