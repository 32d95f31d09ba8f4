"""The model of storage usage."""

from pydantic import Field

from lambda_app.schemas.base import ResponseModel


class Usage(ResponseModel):
    """Storage usage of a user. An upload counts from its start, and a file in the trash counts until it is deleted."""

    bytes_used: int = Field(description="Bytes that count against the quota.")
    files_count: int = Field(description="Files that count against the quota.")
    quota_bytes: int = Field(description="Maximum number of bytes.")
    quota_files: int = Field(description="Maximum number of files.")
    bytes_left: int = Field(description="Bytes that can still be uploaded.")
    files_left: int = Field(description="Files that can still be uploaded.")
    trash_bytes: int = Field(description="Bytes in the trash, which count too.")
    trash_files: int = Field(description="Files in the trash, which count too.")
