"""The shape of usage."""

from lambda_app.schemas.base import ResponseModel


class Usage(ResponseModel):
    """What a user keeps. Uploads under way count from their start, and the trash counts until it is emptied."""

    bytes_used: int
    files_count: int
    quota_bytes: int
    quota_files: int
    bytes_left: int
    files_left: int
    trash_bytes: int
    trash_files: int
