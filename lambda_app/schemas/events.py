"""Models of published events."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from lambda_app.schemas.base import ResponseModel
from lambda_app.schemas.text import Timestamp


class EventType(StrEnum):
    """What happened. Later versions add types; ignore those that you do not know."""

    FILE_AVAILABLE = "file.available"
    FILE_REJECTED = "file.rejected"
    FILE_TRASHED = "file.trashed"
    FILE_RESTORED = "file.restored"
    FILE_DELETED = "file.deleted"
    FILE_PURGED = "file.purged"
    FILE_VISIBILITY_CHANGED = "file.visibility_changed"
    SHARE_CREATED = "share.created"
    SHARE_UPDATED = "share.updated"
    SHARE_OPENED = "share.opened"
    SHARE_DOWNLOADED = "share.downloaded"
    SHARE_REVOKED = "share.revoked"
    FILE_REQUEST_CREATED = "file_request.created"
    FILE_REQUEST_UPDATED = "file_request.updated"
    FILE_REQUEST_RECEIVED = "file_request.received"
    FILE_REQUEST_REVOKED = "file_request.revoked"
    GRANT_ADDED = "grant.added"
    GRANT_REMOVED = "grant.removed"
    ARCHIVE_READY = "archive.ready"
    ARCHIVE_FAILED = "archive.failed"
    ACCOUNT_SIGNED_IN = "account.signed_in"
    ACCOUNT_PASSWORD_CHANGED = "account.password_changed"  # noqa: S105 - a type, not a password
    ACCOUNT_EMAIL_CHANGED = "account.email_changed"
    ACCOUNT_SECOND_FACTOR_ENABLED = "account.second_factor_enabled"
    ACCOUNT_SECOND_FACTOR_DISABLED = "account.second_factor_disabled"
    ACCOUNT_API_KEY_CREATED = "account.api_key_created"
    ACCOUNT_API_KEY_REVOKED = "account.api_key_revoked"
    ACCOUNT_DELETION_REQUESTED = "account.deletion_requested"
    ACCOUNT_DELETION_CANCELLED = "account.deletion_cancelled"
    WEBHOOK_DISABLED = "webhook.disabled"
    WEBHOOK_TEST = "webhook.test"


class Event(ResponseModel):
    """Something that happened to the caller's files, links, requests, archives or account."""

    id: int = Field(description="Number of the event. Later events have higher numbers.")
    type: str = Field(description="What happened, such as `file.available`. Ignore types that you do not know.")
    at: Timestamp = Field(description="When it happened.")
    subject: str = Field(description="The object that it happened to, as `file:<id>`.")
    data: dict[str, Any] = Field(description="Ids, names and sizes, by type. docs/api.md lists the members.")


class EventPage(ResponseModel):
    """Events in their order, and the cursor with which to ask for later ones."""

    events: list[Event] = Field(description="The events after the cursor, oldest first. Empty if there are none yet.")
    next: str = Field(description="Send it as `after` in the next request, also if the list is empty.")
