"""The SQLAlchemy tables."""

from lambda_app.models.base import Base
from lambda_app.models.file import File, FileStatus
from lambda_app.models.user import User

__all__ = ["Base", "File", "FileStatus", "User"]
