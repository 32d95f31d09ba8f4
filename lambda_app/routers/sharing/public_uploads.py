"""Routes for guests who upload files to a file request: JSON for programs, a page for browsers. Credentials are ignored."""

from typing import Any
from uuid import UUID

from fastapi import Request, Response

from lambda_app.dependencies.services import PublicUploadsDep, ReceiptsDep, ServicesDep
from lambda_app.routers.files.uploads import present_parts
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.request_classification import prefers_html
from lambda_app.routers.http.router import Router
from lambda_app.routers.sharing.file_request_pages import request_page
from lambda_app.schemas.files.files import DeclaredFile
from lambda_app.schemas.files.uploads import DeclaredMultipart, Part, PartUploads, UploadedParts
from lambda_app.schemas.receipts import Receipt
from lambda_app.schemas.sharing.file_requests import GuestCompletion, GuestFile, GuestMultipartUpload, GuestParts, GuestUpload, OpenRequest
from lambda_app.services.sharing.public_uploads import FileRequestClosedError
from lambda_app.storage.parts import plan_parts
from lambda_app.storage.s3 import bucket_url

router = Router(prefix="/r/{token}", tags=["public uploads"])


@router.get(
    "",
    response_model=OpenRequest,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **problem_responses("link_not_found")},
)
def get_public_file_request(token: str, request: Request, uploads: PublicUploadsDep, services: ServicesDep) -> Any:
    """Return the title and limits of a file request. Browsers (`Accept: text/html`) get an upload page, other clients JSON."""
    found, requester_name = uploads.get_request(token)
    file_request = OpenRequest(
        title=found.title,
        requester_name=requester_name,
        note=found.note,
        max_size_bytes=found.max_size_bytes,
        allowed_content_types=found.allowed_content_types,
        expires_at=found.expires_at,
        files_left=max(0, found.max_files - found.file_count),
    )
    if not prefers_html(request.headers.get("accept", "")):
        return file_request
    return request_page(request, file_request, bucket_url=bucket_url(services.settings))


@router.post(
    "/files",
    status_code=201,
    response_model=GuestUpload,
    responses=problem_responses(
        "link_not_found",
        "file_request_full",
        "content_type_refused",
        "no_room",
        "file_too_large",
        "too_large_for_one_upload",
        "too_many_uploads",
        "store_unavailable",
    ),
)
def start_public_upload(token: str, declared: DeclaredFile, uploads: PublicUploadsDep) -> GuestUpload:
    """Start an upload to a file request: declare a file and return a presigned URL.

    Send the content to `upload_url` with `method` and exactly the returned `headers`, then call `POST /r/{token}/files/{file_id}/complete`
    with `guest_token`, which is returned only in this response. A 412 from `upload_url` means that an earlier attempt has stored the
    content.
    """
    upload = uploads.start(token, declared)
    request = upload.request
    return GuestUpload(
        upload_url=request.url,
        file_id=upload.file.id,
        method=request.method,
        headers=request.headers,
        expires_at=request.expires_at,
        guest_token=upload.guest_token,
    )


@router.post(
    "/multipart",
    status_code=201,
    response_model=GuestMultipartUpload,
    responses=problem_responses(
        "link_not_found",
        "file_request_full",
        "content_type_refused",
        "no_room",
        "file_too_large",
        "too_large",
        "too_many_uploads",
        "store_unavailable",
    ),
)
def start_public_multipart_upload(
    token: str, declared: DeclaredMultipart, uploads: PublicUploadsDep, response: Response
) -> GuestMultipartUpload:
    """Start a multipart upload to a file request: declare a file whose content is sent in parts.

    Get presigned URLs from `POST /r/{token}/files/{file_id}/parts` shortly before you send the parts, send each part, then call
    `POST /r/{token}/files/{file_id}/complete`. To resume, get the uploaded parts from `POST /r/{token}/files/{file_id}/uploaded-parts`.
    """
    started = uploads.start_multipart(token, declared)
    response.headers["Cache-Control"] = "no-store"
    plan = plan_parts(started.file.size_bytes)
    return GuestMultipartUpload(
        file_id=started.file.id,
        part_size_bytes=plan.part_size_bytes,
        part_count=plan.count,
        expires_at=started.file.upload_expires_at,
        guest_token=started.guest_token,
    )


@router.post(
    "/files/{file_id}/parts",
    response_model=PartUploads,
    responses=problem_responses(
        "link_not_found", "not_in_parts", "upload_lost", "no_such_part", "part_digests_differ", "store_unavailable"
    ),
)
def sign_public_parts(token: str, file_id: str, parameters: GuestParts, uploads: PublicUploadsDep, response: Response) -> PartUploads:
    """Return presigned URLs for these parts of a guest's upload. A part can be signed and sent again, for example after an error."""
    signed = uploads.sign_parts(token, _require_id(file_id), parameters.guest_token, parameters.parts)
    response.headers["Cache-Control"] = "no-store"
    return present_parts(signed)


@router.post(
    "/files/{file_id}/uploaded-parts",
    response_model=UploadedParts,
    responses=problem_responses("link_not_found", "not_in_parts", "upload_lost", "store_unavailable"),
)
def list_public_parts(token: str, file_id: str, completion: GuestCompletion, uploads: PublicUploadsDep) -> UploadedParts:
    """List the parts that have been uploaded. POST, because URLs are logged and the `guest_token` is not."""
    plan, parts = uploads.list_parts(token, _require_id(file_id), completion.guest_token)
    return UploadedParts(part_size_bytes=plan.part_size_bytes, part_count=plan.count, parts=[Part.model_validate(part) for part in parts])


@router.post(
    "/files/{file_id}/abort",
    status_code=204,
    responses=problem_responses("link_not_found", "not_in_parts", "store_unavailable"),
)
def abort_public_upload(token: str, file_id: str, completion: GuestCompletion, uploads: PublicUploadsDep) -> None:
    """End a multipart upload in progress: delete its parts. It no longer counts for the file request or the owner's quota."""
    uploads.abort(token, _require_id(file_id), completion.guest_token)


@router.post(
    "/files/{file_id}/complete",
    response_model=GuestFile,
    responses=problem_responses(
        "link_not_found",
        "upload_rejected",
        "upload_missing",
        "parts_missing",
        "upload_lost",
        "upload_withheld",
        "file_not_available",
        "store_unavailable",
    ),
)
def complete_public_upload(token: str, file_id: str, completion: GuestCompletion, uploads: PublicUploadsDep) -> GuestFile:
    """Complete an upload: verify that the uploaded content matches the declared size and digest. Idempotent."""
    file = uploads.complete(token, _require_id(file_id), completion.guest_token)
    return GuestFile.model_validate({"file_id": file.id, "status": file.status})


@router.post(
    "/files/{file_id}/receipt",
    response_model=Receipt,
    response_model_exclude_none=True,
    responses=problem_responses("link_not_found", "receipt_not_found", "receipt_not_ready"),
)
def get_public_upload_receipt(
    token: str, file_id: str, completion: GuestCompletion, uploads: PublicUploadsDep, receipts: ReceiptsDep
) -> Receipt:
    """Return the receipt of a completed upload, for the holder of its `guest_token`. POST, because URLs are logged and the token is not.

    409 `receipt_not_ready` with `Retry-After` until the event is sealed, which takes about a minute.
    """
    return receipts.for_file(uploads.get_file(token, _require_id(file_id), completion.guest_token))


def _require_id(text: str) -> UUID:
    # A parameter of type UUID would return 422 and so reveal which texts are ids.
    try:
        return UUID(text)
    except ValueError as error:
        raise FileRequestClosedError from error
