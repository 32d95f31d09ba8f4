"""The routes of the files.

`tests/benchmarks/candidates.py` copies this module for plain apps with more routes.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, HTTPException, Query
from sqlalchemy import select
from sqlalchemy.orm import Session

from .base import BUCKET, URL_SECONDS, CurrentUser, Db, User, s3
from .file_models import File, FileChange, FileIn, FileOut

PREFIX = "/api/v1/files"

router = APIRouter(prefix=PREFIX)


def _require_readable(db: Session, file_id: UUID, user: User) -> File:
    file = db.get(File, file_id)
    if file is None:
        raise HTTPException(404, "File not found")
    if file.owner_id != user.id and not file.is_public and not user.is_superuser:
        raise HTTPException(403, "Not enough permissions to access this file")
    return file


@router.post("/upload", status_code=201)
def start_upload(metadata: FileIn, db: Db, user: CurrentUser) -> dict[str, Any]:
    """Create a file and sign its upload."""
    now = datetime.now(UTC)  # the peers do not use core.clock
    file_id = uuid4()
    file = File(
        **metadata.model_dump(),
        id=file_id,
        s3_key=f"files/{file_id}",
        owner_id=user.id,
        status="pending",
        upload_expires_at=now + timedelta(seconds=URL_SECONDS),
        created_at=now,
        updated_at=now,
    )
    db.add(file)
    db.commit()
    db.refresh(file)
    url = s3.generate_presigned_url(
        "put_object", Params={"Bucket": BUCKET, "Key": file.s3_key, "ContentType": file.content_type}, ExpiresIn=URL_SECONDS
    )
    return {"upload_url": url, "file_id": file.id}


@router.get("/download/{file_id}")
def start_download(file_id: UUID, db: Db, user: CurrentUser) -> dict[str, Any]:
    """Sign a download."""
    file = _require_readable(db, file_id, user)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": file.s3_key}, ExpiresIn=URL_SECONDS)
    return {"download_url": url, "filename": file.filename, "content_type": file.content_type}


@router.get("", response_model=list[FileOut])
def list_files(
    db: Db, user: CurrentUser, skip: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=100)] = 100
) -> list[File]:
    """List the caller's files."""
    query = select(File).where(File.owner_id == user.id).order_by(File.created_at.desc()).offset(skip).limit(limit)
    return list(db.scalars(query))


@router.get("/{file_id}", response_model=FileOut)
def read_file(file_id: UUID, db: Db, user: CurrentUser) -> File:
    """Return a file."""
    return _require_readable(db, file_id, user)


@router.put("/{file_id}", response_model=FileOut)
def update_file(file_id: UUID, change: FileChange, db: Db, user: CurrentUser) -> File:
    """Change a file."""
    file = _require_readable(db, file_id, user)
    for name, value in change.model_dump(exclude_unset=True).items():
        setattr(file, name, value)
    db.commit()
    db.refresh(file)
    return file
