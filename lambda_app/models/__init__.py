"""The SQLAlchemy tables."""

from lambda_app.models.accounts.api_keys import ApiKey
from lambda_app.models.accounts.device_logins import DeviceLogin
from lambda_app.models.accounts.identities import UsedAssertion, UserIdentity
from lambda_app.models.accounts.invitations import Invitation
from lambda_app.models.accounts.mail_allowances import MailAllowance
from lambda_app.models.accounts.mail_tokens import MailPurpose, MailToken
from lambda_app.models.accounts.recovery_codes import RecoveryCode
from lambda_app.models.accounts.sessions import RefreshToken, UserSession
from lambda_app.models.accounts.sign_in_attempts import AttemptKind, SignInAttempt
from lambda_app.models.accounts.transfers import OwnershipTransfer, TransferStatus
from lambda_app.models.accounts.users import User
from lambda_app.models.archives import UNFINISHED, Archive, ArchiveFile, ArchiveStatus, ShareArchiveDownload
from lambda_app.models.audit import AuditChainEvent, AuditCheckpoint, AuditEra, AuditEvent, AuditHead, AuditLogKey, AuditTile
from lambda_app.models.base import Base
from lambda_app.models.events import EventCursor, PublishedEvent
from lambda_app.models.files.files import CHARGED, NAME_SORT, NAME_TRIGRAMS, TYPE_SORT, File, FileStatus, ScanStatus
from lambda_app.models.files.idempotency import IdempotencyKey
from lambda_app.models.files.previews import FilePreview, PreviewState
from lambda_app.models.files.sweep import SweepPosition
from lambda_app.models.files.tombstones import Tombstone
from lambda_app.models.files.upload_hours import UploadHour
from lambda_app.models.files.upload_tokens import UploadToken, UploadTokenFile
from lambda_app.models.notifications import (
    Notification,
    NotificationCursor,
    NotificationDigest,
    NotificationKind,
    NotificationSetting,
    SignInPlace,
)
from lambda_app.models.sharing.file_requests import FileRequest, OpenFileRequest
from lambda_app.models.sharing.grants import FileGrant, GrantRole
from lambda_app.models.sharing.shares import (
    LinkSummary,
    OpenShare,
    Share,
    ShareAudience,
    ShareDetails,
    ShareDownload,
    ShareFile,
    ShareRecipient,
)
from lambda_app.models.webhooks import DeliveryStatus, ShownDelivery, Webhook, WebhookDelivery

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
    "AuditChainEvent",
    "AuditCheckpoint",
    "AuditEra",
    "AuditEvent",
    "AuditHead",
    "AuditLogKey",
    "AuditTile",
    "Base",
    "DeliveryStatus",
    "DeviceLogin",
    "EventCursor",
    "File",
    "FileGrant",
    "FilePreview",
    "FileRequest",
    "FileStatus",
    "GrantRole",
    "IdempotencyKey",
    "Invitation",
    "LinkSummary",
    "MailAllowance",
    "MailPurpose",
    "MailToken",
    "Notification",
    "NotificationCursor",
    "NotificationDigest",
    "NotificationKind",
    "NotificationSetting",
    "OpenFileRequest",
    "OpenShare",
    "OwnershipTransfer",
    "PreviewState",
    "PublishedEvent",
    "RecoveryCode",
    "RefreshToken",
    "ScanStatus",
    "Share",
    "ShareArchiveDownload",
    "ShareAudience",
    "ShareDetails",
    "ShareDownload",
    "ShareFile",
    "ShareRecipient",
    "ShownDelivery",
    "SignInAttempt",
    "SignInPlace",
    "SweepPosition",
    "Tombstone",
    "TransferStatus",
    "UploadHour",
    "UploadToken",
    "UploadTokenFile",
    "UsedAssertion",
    "User",
    "UserIdentity",
    "UserSession",
    "Webhook",
    "WebhookDelivery",
]
