"""The routes that stock Uppy 6 calls with its option `companionEndpoint`, below an upload token. Other credentials are ignored.

Their bodies and answers are Uppy's, not this API's. Uppy sends no headers of its own, shows only the status text of an error, and parses
the answer to DELETE.
"""

from typing import Annotated

from fastapi import Path, Query, Request, Response

from lambda_app.core import clock
from lambda_app.dependencies.services import ServicesDep, TokenUploadsDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.files.upload_tokens import (
    UppyCancelled,
    UppyCompleted,
    UppyCompletion,
    UppyFile,
    UppyPart,
    UppyRestrictions,
    UppySignedPart,
    UppyStart,
    UppyUpload,
)
from lambda_app.storage.parts import PARTS_MAX_COUNT

router = Router(prefix="/uppy/{token}", tags=["uppy"])

BUCKET = "we-upload"

UploadIdPath = Annotated[str, Path(description="The `uploadId` of the started upload.")]
KeyQuery = Annotated[str | None, Query(description="The `key` of the started upload. Ignored.")]
PartNumberPath = Annotated[int, Path(ge=1, le=PARTS_MAX_COUNT, description="Number of the part, from 1.")]


@router.get("", response_model=UppyRestrictions, responses=problem_responses("not_found"))
def get_uppy_restrictions(token: str, uploads: TokenUploadsDep) -> UppyRestrictions:
    """Return what can still be uploaded, as Uppy's option `restrictions`: Uppy then refuses files in words before it sends them."""
    return UppyRestrictions.model_validate(uploads.get_allowance(token))


@router.post(
    "/s3/multipart",
    response_model=UppyUpload,
    responses=problem_responses(
        "not_found",
        "file_too_large",
        "content_type_refused",
        "token_quota_exceeded",
        "too_large",
        "quota_exceeded",
        "deletion_allowance_used",
        "store_unavailable",
    ),
)
def start_uppy_upload(token: str, declared: UppyStart, uploads: TokenUploadsDep, response: Response) -> UppyUpload:
    """Start an upload. Uppy must cut the file into parts of the planned size: see `getChunkSize` in docs/clients.md."""
    content_type = str(declared.type)
    file = uploads.start(token, UppyFile(filename=declared.filename, content_type=content_type, size_bytes=declared.metadata.size))
    response.headers["Cache-Control"] = "no-store"
    return UppyUpload(key=str(file.id), upload_id=str(file.id), bucket=BUCKET)


@router.get(
    "/s3/multipart/{upload_id}",
    response_model=list[UppyPart],
    responses=problem_responses("not_found", "not_in_parts", "upload_lost", "store_unavailable"),
)
def list_uppy_parts(token: str, upload_id: UploadIdPath, uploads: TokenUploadsDep, key: KeyQuery = None) -> list[UppyPart]:  # noqa: ARG001 - Uppy sends it
    """List all parts that have been uploaded, with which Uppy resumes after a reload."""
    return [UppyPart.model_validate(part) for part in uploads.list_parts(token, upload_id)]


@router.post(
    "/s3/multipart/{upload_id}/complete",
    response_model=UppyCompleted,
    responses=problem_responses(
        "not_found",
        "parts_missing",
        "upload_missing",
        "upload_rejected",
        "upload_lost",
        "upload_withheld",
        "file_not_available",
        "file_not_found",
        "store_unavailable",
    ),
)
def complete_uppy_upload(
    token: str,
    upload_id: UploadIdPath,
    completion: UppyCompletion,  # noqa: ARG001 - the store knows the parts
    request: Request,
    uploads: TokenUploadsDep,
    services: ServicesDep,
    key: KeyQuery = None,  # noqa: ARG001 - Uppy sends it
) -> UppyCompleted:
    """Complete an upload: verify that the uploaded content matches the declared size, and make the file available. Idempotent."""
    file = uploads.complete(token, upload_id)
    path = f"{request.scope.get('root_path', '')}{services.settings.api_v1_str}/files/{file.id}"
    return UppyCompleted(location=path, key=str(file.id), bucket=BUCKET)


@router.get(
    "/s3/multipart/{upload_id}/{part_number}",
    response_model=UppySignedPart,
    responses=problem_responses("not_found", "not_in_parts", "no_such_part", "upload_lost", "store_unavailable"),
)
def sign_uppy_part(
    token: str,
    upload_id: UploadIdPath,
    part_number: PartNumberPath,
    uploads: TokenUploadsDep,
    response: Response,
    key: KeyQuery = None,  # noqa: ARG001 - Uppy sends it
) -> UppySignedPart:
    """Return a presigned URL for a part. The store accepts only a part of the planned size."""
    request = uploads.sign_part(token, upload_id, part_number).request
    response.headers["Cache-Control"] = "no-store"
    return UppySignedPart(url=request.url, expires=max(0, int((request.expires_at - clock.now()).total_seconds())))


@router.delete(
    "/s3/multipart/{upload_id}",
    response_model=UppyCancelled,
    responses=problem_responses("not_found", "not_in_parts", "file_not_found", "file_changed", "store_unavailable"),
)
def cancel_uppy_upload(token: str, upload_id: UploadIdPath, uploads: TokenUploadsDep, key: KeyQuery = None) -> UppyCancelled:  # noqa: ARG001 - Uppy sends it
    """Cancel an upload in progress, and give its bytes back to the token. A completed file stays."""
    uploads.cancel(token, upload_id)
    return UppyCancelled()
