"""A file as the API shows it, written as JSON by PostgreSQL: the fields of `schemas.files.files.File`, in their order."""

from typing import Any

from sqlalchemy import ColumnElement, Text, and_, case, cast, func, null

from lambda_app.models import File, FileStatus
from lambda_app.repositories.accounts.profiles import name_for_visitors
from lambda_app.repositories.json_rows import json_object, json_time


def file_json(file: Any = File, *, names_owner: bool = False) -> ColumnElement[str]:
    """Return the JSON object of a row of `file`, or of an alias of it; with `names_owner`, with the name that its owner shows to others."""
    is_open = and_(file.is_public, file.status == FileStatus.AVAILABLE)
    return json_object(
        file,
        id=file.id,
        filename=file.filename,
        content_type=file.content_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        description=file.description,
        is_public=file.is_public,
        s3_key=file.s3_key,
        owner_id=file.owner_id,
        owner_display_name=name_for_visitors(file.owner_id) if names_owner else cast(null(), Text),
        status=file.status,
        detected_content_type=file.detected_content_type,
        scan_status=file.scan_status,
        is_withheld=file.is_withheld,
        upload_expires_at=case((file.status == FileStatus.PENDING, json_time(file.upload_expires_at)), else_=null()),
        part_size_bytes=file.part_size_bytes,
        purge_at=json_time(file.purge_at),
        file_request_id=file.file_request_id,
        created_at=json_time(file.created_at),
        updated_at=json_time(file.updated_at),
        is_multipart=file.part_size_bytes.is_not(None),
        public_path=case((is_open, func.concat("/p/", file.id)), else_=null()),
    )
