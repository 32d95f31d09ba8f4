"""The SQLAlchemy tables."""

from lambda_app.models.api_key import ApiKey
from lambda_app.models.archive import UNFINISHED, Archive, ArchiveFile, ArchiveStatus, ShareArchiveDownload
from lambda_app.models.audit import AuditEvent, AuditHead
from lambda_app.models.base import Base
from lambda_app.models.file import CHARGED, NAME_SORT, NAME_TRIGRAMS, TYPE_SORT, File, FileStatus
from lambda_app.models.file_grant import FileGrant, GrantRole
from lambda_app.models.file_request import FileRequest
from lambda_app.models.idempotency import IdempotencyKey
from lambda_app.models.mail_allowance import MailAllowance
from lambda_app.models.mail_token import MailPurpose, MailToken
from lambda_app.models.session import RefreshToken, UserSession
from lambda_app.models.share import Share, ShareAudience, ShareDownload, ShareFile, ShareRecipient
from lambda_app.models.sign_in_attempt import AttemptKind, SignInAttempt
from lambda_app.models.sweep import SweepPosition
from lambda_app.models.user import User

__all__ = [
    "CHARGED",
    "NAME_SORT",
    "NAME_TRIGRAMS",
    "TYPE_SORT",
    "UNFINISHED",
    "ApiKey",
    "Archive",
    "ArchiveFile",
    "ArchiveStatus",
    "AttemptKind",
    "AuditEvent",
    "AuditHead",
    "Base",
    "File",
    "FileGrant",
    "FileRequest",
    "FileStatus",
    "GrantRole",
    "IdempotencyKey",
    "MailAllowance",
    "MailPurpose",
    "MailToken",
    "RefreshToken",
    "Share",
    "ShareArchiveDownload",
    "ShareAudience",
    "ShareDownload",
    "ShareFile",
    "ShareRecipient",
    "SignInAttempt",
    "SweepPosition",
    "User",
    "UserSession",
]
