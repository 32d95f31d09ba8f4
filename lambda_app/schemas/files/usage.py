"""The model of storage usage."""

from lambda_app.schemas.base import ResponseModel


class Usage(ResponseModel):
    """Storage usage of a user. An upload counts from its start, and a file in the trash counts until it is deleted."""

    bytes_used: int
    files_count: int
    quota_bytes: int
    quota_files: int
    bytes_left: int
    files_left: int
    trash_bytes: int
    trash_files: int
