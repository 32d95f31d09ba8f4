"""The SQLAlchemy tables."""

from lambda_app.models.base import Base
from lambda_app.models.file import CHARGED, NAME_SORT, TYPE_SORT, File, FileStatus
from lambda_app.models.idempotency import IdempotencyKey
from lambda_app.models.sweep import SweepPosition
from lambda_app.models.user import User

__all__ = ["CHARGED", "NAME_SORT", "TYPE_SORT", "Base", "File", "FileStatus", "IdempotencyKey", "SweepPosition", "User"]
