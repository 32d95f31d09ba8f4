"""What guests do with the link of a file request. No credential is looked at."""

from uuid import UUID

from fastapi import Response

from lambda_app.dependencies.services import GuestUploadsDep
from lambda_app.routers.problems import problem_responses
from lambda_app.routers.routes import Router
from lambda_app.schemas.file import DeclaredFile
from lambda_app.schemas.file_request import GuestCompletion, GuestFile, GuestUpload, OpenRequest
from lambda_app.services.guest_uploads import NoOpenRequestError

router = Router(prefix="/r/{token}", tags=["guests"])

PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
"""The address is a secret: nobody keeps the answer, passes the address on, or lists it."""


@router.get("", response_model=OpenRequest, responses=problem_responses(404))
def open_file_request(token: str, guests: GuestUploadsDep, response: Response) -> OpenRequest:
    """Return what is asked for, and what is taken."""
    request = guests.look(token)
    response.headers.update(PRIVATE)
    return OpenRequest(
        title=request.title,
        note=request.note,
        max_size_bytes=request.max_size_bytes,
        allowed_content_types=request.allowed_content_types,
        expires_at=request.expires_at,
        files_left=max(0, request.max_files - request.file_count),
    )


@router.post("/files", status_code=201, response_model=GuestUpload, responses=problem_responses(404, 409, 413, 429, 503))
def start_guest_upload(token: str, declared: DeclaredFile, guests: GuestUploadsDep, response: Response) -> GuestUpload:
    """Declare a file and sign the one request that may fill it, as `POST /files/upload` does for those with an account."""
    upload = guests.start(token, declared)
    request = upload.request
    response.headers.update(PRIVATE)
    return GuestUpload(
        upload_url=request.url,
        file_id=upload.file.id,
        method=request.method,
        headers=request.headers,
        expires_at=request.expires_at,
        guest_token=upload.guest_token,
    )


@router.post("/files/{file_id}/complete", response_model=GuestFile, responses=problem_responses(404, 409, 503))
def complete_guest_upload(token: str, file_id: str, completion: GuestCompletion, guests: GuestUploadsDep, response: Response) -> GuestFile:
    """Check what S3 holds against what was declared. Safe to repeat."""
    file = guests.complete(token, _require_id(file_id), completion.guest_token)
    response.headers.update(PRIVATE)
    return GuestFile.model_validate({"file_id": file.id, "status": file.status})


def _require_id(text: str) -> UUID:
    # A parameter of type UUID would answer 422, and say that other texts are something.
    try:
        return UUID(text)
    except ValueError as error:
        raise NoOpenRequestError from error
