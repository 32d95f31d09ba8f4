"""A file as the API shows it, written as JSON by PostgreSQL: the fields of `schemas.files.files.File`, in their order."""

from sqlalchemy import ColumnElement, case, func, null

from lambda_app.models import File, FileStatus
from lambda_app.repositories.json_rows import json_object, json_time


def file_json() -> ColumnElement[str]:
    """Return the JSON object of a row of `file`."""
    is_open = File.is_public & (File.status == FileStatus.AVAILABLE)
    return json_object(
        File,
        id=File.id,
        filename=File.filename,
        content_type=File.content_type,
        size_bytes=File.size_bytes,
        sha256=File.sha256,
        description=File.description,
        is_public=File.is_public,
        s3_key=File.s3_key,
        owner_id=File.owner_id,
        status=File.status,
        detected_content_type=File.detected_content_type,
        purge_at=json_time(File.purge_at),
        file_request_id=File.file_request_id,
        created_at=json_time(File.created_at),
        updated_at=json_time(File.updated_at),
        public_path=case((is_open, func.concat("/p/", File.id)), else_=null()),
    )
