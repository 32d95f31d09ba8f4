"""Routes of uploads: in one request or in parts."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Body, Header, Request, Response
from pydantic import AfterValidator, BaseModel

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.callers import RequiredCredentialDep, run_statement, services_of
from lambda_app.dependencies.services import UploadsDep
from lambda_app.routers.http.problems import JSON_MEDIA_TYPE, problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.files.files import File, FileCreate, FileUploadResponse
from lambda_app.schemas.files.uploads import (
    MultipartCreate,
    MultipartUpload,
    Part,
    PartsRequest,
    PartUpload,
    PartUploads,
    UploadCompletion,
    UploadedParts,
)
from lambda_app.services.files.idempotency import KeyedRequest
from lambda_app.services.files.parts import SignedPart
from lambda_app.storage.parts import plan_parts

router = Router(prefix="/files", tags=["files"])


def _refuse_other_characters(value: str | None) -> str | None:
    if value is not None and not all("!" <= character <= "~" for character in value):
        raise ValueError("must consist of ASCII letters, digits and punctuation, without spaces")
    return value


IdempotencyKeyHeader = Annotated[
    str | None,
    AfterValidator(_refuse_other_characters),
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        json_schema_extra={"pattern": "^[!-~]+$"},
        description="A unique key that you choose. Repeating the request with the same key within 24 hours returns the first result.",
    ),
]


@router.post(
    "/upload",
    status_code=201,
    response_model=FileUploadResponse,
    responses=problem_responses(
        "single_upload_too_large", "quota_exceeded", "deletion_allowance_used", "idempotent_file_gone", "store_unavailable", "unavailable"
    ),
)
async def start_upload(
    declared: FileCreate, credential: RequiredCredentialDep, request: Request, idempotency_key: IdempotencyKeyHeader = None
) -> Response:
    """Start an upload in one request: create a pending file and return a presigned URL.

    Send the content to `upload_url` with `method` and exactly the returned `headers`, then call `POST /files/{file_id}/complete`.
    A 412 from `upload_url` means that an earlier attempt has stored the content: call `complete` too. Larger files are uploaded in parts:
    `POST /files/multipart`.
    """
    upload = await run_statement(services_of(request).caller_uploads().start_upload, credential, declared, key=idempotency_key)
    signed = upload.request
    started = FileUploadResponse(
        upload_url=signed.url, file_id=upload.file_id, method=signed.method, headers=signed.headers, expires_at=signed.expires_at
    )
    return Response(started.model_dump_json(), status_code=201, media_type=JSON_MEDIA_TYPE, headers={"Cache-Control": "no-store"})


@router.post(
    "/multipart",
    status_code=201,
    response_model=MultipartUpload,
    responses=problem_responses(
        "too_large", "quota_exceeded", "deletion_allowance_used", "idempotent_file_gone", "store_unavailable", "unavailable"
    ),
)
def start_multipart_upload(
    declared: MultipartCreate, user: CurrentUserDep, uploads: UploadsDep, idempotency_key: IdempotencyKeyHeader = None
) -> MultipartUpload:
    """Start a multipart upload: create a pending file whose content is sent in parts.

    Get presigned URLs from `POST /files/{file_id}/parts` shortly before you send the parts, send each part, then call
    `POST /files/{file_id}/complete`. To resume, get the uploaded parts from `GET /files/{file_id}/parts`.
    """
    file = uploads.start_multipart(user, declared, keyed=_keyed_request(user, "POST /files/multipart", idempotency_key, declared))
    plan = plan_parts(file.size_bytes)
    return MultipartUpload(file_id=file.id, part_size_bytes=plan.part_size_bytes, part_count=plan.count, expires_at=file.upload_expires_at)


@router.post(
    "/{file_id}/parts",
    response_model=PartUploads,
    responses=problem_responses(
        "file_forbidden", "file_not_found", "not_in_parts", "upload_lost", "no_such_part", "part_digests_differ", "store_unavailable"
    ),
)
def sign_parts(file_id: UUID, parameters: PartsRequest, user: CurrentUserDep, uploads: UploadsDep, response: Response) -> PartUploads:
    """Return presigned URLs for these parts. A part can be signed and sent again, for example after an error."""
    signed = uploads.sign_parts(user, file_id, parameters.parts)
    response.headers["Cache-Control"] = "no-store"
    return present_parts(signed)


@router.get(
    "/{file_id}/parts",
    response_model=UploadedParts,
    responses=problem_responses("file_forbidden", "file_not_found", "not_in_parts", "upload_lost", "store_unavailable"),
)
def list_parts(file_id: UUID, user: CurrentUserDep, uploads: UploadsDep) -> UploadedParts:
    """List the parts that have been uploaded."""
    plan, parts = uploads.list_parts(user, file_id)
    return UploadedParts(part_size_bytes=plan.part_size_bytes, part_count=plan.count, parts=[Part.model_validate(part) for part in parts])


@router.post(
    "/{file_id}/complete",
    response_model=File,
    responses=problem_responses(
        "file_forbidden",
        "file_not_found",
        "upload_rejected",
        "upload_missing",
        "parts_missing",
        "upload_lost",
        "upload_withheld",
        "file_not_available",
        "store_unavailable",
    ),
)
def complete_upload(
    file_id: UUID, user: CurrentUserDep, uploads: UploadsDep, completion: Annotated[UploadCompletion | None, Body()] = None
) -> models.File:
    """Complete an upload: verify that the uploaded content matches the declared size and digest, and make the file available.

    Idempotent.
    """
    return uploads.complete_upload(user, file_id, crc64nvme=completion.crc64nvme if completion else None)


def present_parts(signed: Sequence[SignedPart]) -> PartUploads:
    """Return the presigned requests of parts as responses have them."""
    return PartUploads(
        parts=[
            PartUpload(
                number=part.number,
                size_bytes=part.size_bytes,
                upload_url=part.request.url,
                method=part.request.method,
                headers=part.request.headers,
                expires_at=part.request.expires_at,
            )
            for part in signed
        ]
    )


def _keyed_request(user: models.User, route: str, key: str | None, body: BaseModel) -> KeyedRequest | None:
    return None if key is None else KeyedRequest.of(user_id=user.id, route=route, key=key, body=body.model_dump_json())
