"""What guests do with the link of a file request: JSON for programs, and a page for browsers. No credential is looked at."""

from typing import Any
from uuid import UUID

from fastapi import Request

from lambda_app.dependencies.services import PublicUploadsDep, ServicesDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.request_classification import prefers_html
from lambda_app.routers.http.router import Router
from lambda_app.routers.sharing.file_request_pages import request_page
from lambda_app.schemas.files.files import DeclaredFile
from lambda_app.schemas.sharing.file_requests import GuestCompletion, GuestFile, GuestUpload, OpenRequest
from lambda_app.services.sharing.public_uploads import NoOpenRequestError
from lambda_app.storage.s3 import bucket_url

router = Router(prefix="/r/{token}", tags=["guests"])


@router.get(
    "",
    response_model=OpenRequest,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **problem_responses(404)},
)
def open_file_request(token: str, request: Request, guests: PublicUploadsDep, services: ServicesDep) -> Any:
    """Return what is asked for, and what is taken: JSON, or a page to send files from where `Accept` asks for `text/html`."""
    found = guests.look(token)
    asked = OpenRequest(
        title=found.title,
        note=found.note,
        max_size_bytes=found.max_size_bytes,
        allowed_content_types=found.allowed_content_types,
        expires_at=found.expires_at,
        files_left=max(0, found.max_files - found.file_count),
    )
    wants_page = prefers_html(request.headers.get("accept", ""))
    return request_page(asked, bucket_url=bucket_url(services.settings)) if wants_page else asked


@router.post("/files", status_code=201, response_model=GuestUpload, responses=problem_responses(404, 409, 413, 429, 503))
def start_guest_upload(token: str, declared: DeclaredFile, guests: PublicUploadsDep) -> GuestUpload:
    """Declare a file and sign the one request that may fill it, as `POST /files/upload` does for those with an account."""
    upload = guests.start(token, declared)
    request = upload.request
    return GuestUpload(
        upload_url=request.url,
        file_id=upload.file.id,
        method=request.method,
        headers=request.headers,
        expires_at=request.expires_at,
        guest_token=upload.guest_token,
    )


@router.post("/files/{file_id}/complete", response_model=GuestFile, responses=problem_responses(404, 409, 503))
def complete_guest_upload(token: str, file_id: str, completion: GuestCompletion, guests: PublicUploadsDep) -> GuestFile:
    """Check what S3 holds against what was declared. Safe to repeat."""
    file = guests.complete(token, _require_id(file_id), completion.guest_token)
    return GuestFile.model_validate({"file_id": file.id, "status": file.status})


def _require_id(text: str) -> UUID:
    # A parameter of type UUID would answer 422, and say that other texts are something.
    try:
        return UUID(text)
    except ValueError as error:
        raise NoOpenRequestError from error
