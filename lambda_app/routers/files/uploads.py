"""Uploads."""

from typing import Annotated
from uuid import UUID

from fastapi import Body, Header, Response
from pydantic import BaseModel

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import UploadsDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.files.files import File, FileCreate, FileUploadResponse
from lambda_app.schemas.files.uploads import (
    MultipartCreate,
    MultipartStarted,
    Part,
    PartsHeld,
    PartsWanted,
    PartUpload,
    PartUploads,
    UploadCompletion,
)
from lambda_app.services.files.idempotency import KeyedRequest
from lambda_app.storage.parts import plan_parts

router = Router(prefix="/files", tags=["files"])

IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
        description="Your own name for this request: sent again within 24 hours, it leads to what the first one made.",
    ),
]


@router.post("/upload", status_code=201, response_model=FileUploadResponse, responses=problem_responses(401, 409, 410, 413, 503))
def start_upload(
    declared: FileCreate, user: CurrentUserDep, uploads: UploadsDep, response: Response, idempotency_key: IdempotencyKeyHeader = None
) -> FileUploadResponse:
    """Create a pending file and sign the one request that may fill it.

    Send the bytes with `method` to `upload_url` with exactly `headers`, then call `POST /files/{file_id}/complete`.
    """
    upload = uploads.start_upload(user, declared, keyed=_keyed(user, "POST /files/upload", idempotency_key, declared))
    request = upload.request
    response.headers["Cache-Control"] = "no-store"
    return FileUploadResponse(
        upload_url=request.url, file_id=upload.file.id, method=request.method, headers=request.headers, expires_at=request.expires_at
    )


@router.post("/multipart", status_code=201, response_model=MultipartStarted, responses=problem_responses(401, 409, 410, 413, 503))
def start_multipart(
    declared: MultipartCreate, user: CurrentUserDep, uploads: UploadsDep, idempotency_key: IdempotencyKeyHeader = None
) -> MultipartStarted:
    """Create a pending file that takes its bytes in parts.

    Have parts signed by `POST /files/{file_id}/parts` when their turn comes, send each, then call `POST /files/{file_id}/complete`.
    `GET /files/{file_id}/parts` says what has arrived, so that the upload can go on from anywhere.
    """
    file = uploads.start_multipart(user, declared, keyed=_keyed(user, "POST /files/multipart", idempotency_key, declared))
    plan = plan_parts(file.size_bytes)
    return MultipartStarted(file_id=file.id, part_size_bytes=plan.part_size_bytes, part_count=plan.count, expires_at=file.upload_expires_at)


@router.post("/{file_id}/parts", response_model=PartUploads, responses=problem_responses(401, 403, 404, 409, 503))
def sign_parts(file_id: UUID, wanted: PartsWanted, user: CurrentUserDep, uploads: UploadsDep, response: Response) -> PartUploads:
    """Sign the requests that may send these parts. A part may be signed and sent again."""
    signed = uploads.sign_parts(user, file_id, wanted.parts)
    response.headers["Cache-Control"] = "no-store"
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


@router.get("/{file_id}/parts", response_model=PartsHeld, responses=problem_responses(401, 403, 404, 409, 503))
def list_parts(file_id: UUID, user: CurrentUserDep, uploads: UploadsDep) -> PartsHeld:
    """Return the parts that S3 holds."""
    plan, parts = uploads.list_parts(user, file_id)
    return PartsHeld(part_size_bytes=plan.part_size_bytes, part_count=plan.count, parts=[Part.model_validate(part) for part in parts])


@router.post("/{file_id}/complete", response_model=File, responses=problem_responses(401, 403, 404, 409, 503))
def complete_upload(
    file_id: UUID, user: CurrentUserDep, uploads: UploadsDep, completion: Annotated[UploadCompletion | None, Body()] = None
) -> models.File:
    """Check what S3 holds against what was declared and make the file available. Safe to repeat."""
    return uploads.complete_upload(user, file_id, crc64nvme=completion.crc64nvme if completion else None)


def _keyed(user: models.User, route: str, key: str | None, body: BaseModel) -> KeyedRequest | None:
    return None if key is None else KeyedRequest.of(user_id=user.id, route=route, key=key, body=body.model_dump_json())
