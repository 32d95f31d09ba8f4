"""Everything that the database holds about a user, for the export of the account.

Each table is either in SECTIONS, or in NOT_EXPORTED with the reason; a test compares both with the models. Columns in `omitted` are
secrets, their hashes, or internal.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, and_, cast, exists, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from lambda_app.core import clock
from lambda_app.models import (
    ApiKey,
    Archive,
    ArchiveFile,
    ArchiveStatus,
    AuditChainEvent,
    AuditEvent,
    File,
    FileGrant,
    FileRequest,
    FileStatus,
    Invitation,
    MailToken,
    Notification,
    NotificationSetting,
    OwnershipTransfer,
    PublishedEvent,
    Share,
    ShareFile,
    ShareRecipient,
    UploadToken,
    User,
    UserIdentity,
    UserSession,
    Webhook,
)
from lambda_app.repositories.files.file_access import is_served
from lambda_app.repositories.statements import OWN_TRANSACTION, as_column, built_once

PAGE_ROWS = 1000
WITH_OBJECT = (FileStatus.AVAILABLE, FileStatus.TRASHED)
"""The states of files whose content is in the export."""


@dataclass(frozen=True, slots=True)
class Section:
    """The rows of one table about a user. `order` is unique and has an index that begins with the user."""

    name: str
    model: Any
    belongs_to: Callable[[UUID], ColumnElement[bool]]
    order: tuple[Any, ...]
    omitted: frozenset[str] = frozenset()
    more: tuple[ColumnElement[Any], ...] = ()

    @property
    def columns(self) -> list[ColumnElement[Any]]:
        """The columns that are exported."""
        return [column for column in self.model.__table__.c if column.key not in self.omitted]


def _files_of_share() -> ColumnElement[Any]:
    ids = func.coalesce(func.string_agg(cast(ShareFile.file_id, Text), aggregate_order_by(literal(","), ShareFile.position)), "")
    return select(ids).where(ShareFile.share_id == Share.id).scalar_subquery().label("file_ids")


def _recipients_of_share() -> ColumnElement[Any]:
    names = func.coalesce(func.string_agg(ShareRecipient.named_as, literal(",")), "")
    return select(names).where(ShareRecipient.share_id == Share.id).scalar_subquery().label("recipients")


def _audit(model: Any, name: str, *, is_own: bool) -> Section:
    omitted = {"era", "xid", "salts", "leaf", "erased", "previous_hash", "hash"} & set(model.__table__.c.keys())

    def belongs_to(user_id: UUID) -> ColumnElement[bool]:
        if is_own:
            return model.actor_id == user_id  # type: ignore[no-any-return]  # the model is not known statically
        return and_(model.subject == func.concat("user:", user_id), or_(model.actor_id.is_(None), model.actor_id != user_id))

    if not is_own:
        # Where other people were when they acted is about them.
        omitted |= {"credential", "source_address", "request_id"}
    return Section(name, model, belongs_to, (model.seq,), frozenset(omitted))


SECTIONS: Final = (
    Section(
        "account",
        User,
        lambda user_id: User.id == user_id,
        (User.id,),
        frozenset({"hashed_password", "totp_secret", "totp_last_step", "token_epoch"}),
    ),
    Section("sessions", UserSession, lambda user_id: UserSession.user_id == user_id, (UserSession.created_at, UserSession.id),
        frozenset({"token_epoch", "refresh_key_id"})),
    Section("api_keys", ApiKey, lambda user_id: ApiKey.user_id == user_id, (ApiKey.created_at, ApiKey.id),
        frozenset({"key_hash", "token_epoch"})),
    Section("identities", UserIdentity, lambda user_id: UserIdentity.user_id == user_id, (UserIdentity.created_at, UserIdentity.id)),
    Section("mails_with_links", MailToken, lambda user_id: MailToken.user_id == user_id, (MailToken.created_at, MailToken.token_hash),
        frozenset({"token_hash", "token_epoch"})),
    Section("files", File, lambda user_id: File.owner_id == user_id, (File.created_at, File.id),
        frozenset({"s3_key", "upload_id", "guest_token_hash"})),
    Section("share_links", Share, lambda user_id: Share.owner_id == user_id, (Share.created_at, Share.id),
        frozenset({"token_hash", "encrypted_token", "hashed_password"}), (_files_of_share(), _recipients_of_share())),
    Section("share_links_received", ShareRecipient,
        lambda user_id: and_(ShareRecipient.user_id == user_id, ShareRecipient.is_pending.is_(False)), (ShareRecipient.share_id,)),
    Section("file_requests", FileRequest, lambda user_id: FileRequest.owner_id == user_id, (FileRequest.created_at, FileRequest.id),
        frozenset({"token_hash", "encrypted_token"})),
    Section("grants_given", FileGrant, lambda user_id: FileGrant.owner_id == user_id,
        (FileGrant.file_created_at, FileGrant.file_id, FileGrant.user_id)),
    Section("grants_received", FileGrant, lambda user_id: and_(FileGrant.user_id == user_id, FileGrant.is_pending.is_(False)),
        (FileGrant.file_created_at, FileGrant.file_id)),
    Section("invitations", Invitation, lambda user_id: Invitation.inviter_id == user_id, (Invitation.created_at, Invitation.id),
        frozenset({"token_hash"})),
    Section("transfers_offered", OwnershipTransfer, lambda user_id: OwnershipTransfer.from_id == user_id,
        (OwnershipTransfer.created_at, OwnershipTransfer.id), frozenset({"token_epoch"})),
    Section("transfers_received", OwnershipTransfer, lambda user_id: OwnershipTransfer.to_id == user_id,
        (OwnershipTransfer.created_at, OwnershipTransfer.id), frozenset({"token_epoch"})),
    Section("upload_tokens", UploadToken, lambda user_id: UploadToken.owner_id == user_id, (UploadToken.created_at, UploadToken.id),
        frozenset({"token_hash", "token_epoch"})),
    Section("archives", Archive, lambda user_id: Archive.user_id == user_id, (Archive.created_at, Archive.id),
        frozenset({"s3_key", "fingerprint", "upload_id", "lease_id", "lease_until", "cut_crc32", "part_size_bytes", "number", "attempts"})),
    Section("webhooks", Webhook, lambda user_id: and_(Webhook.owner_id == user_id, Webhook.deleted_at.is_(None)), (Webhook.id,),
        frozenset({"encrypted_secret", "encrypted_previous_secret", "previous_secret_until", "lease_id", "leased_until", "next_due_at",
            "deleted_at"})),
    Section("notification_settings", NotificationSetting, lambda user_id: NotificationSetting.user_id == user_id,
        (NotificationSetting.user_id,)),
    Section("notifications", Notification, lambda user_id: Notification.user_id == user_id, (Notification.kind, Notification.subject)),
    Section("published_events", PublishedEvent, lambda user_id: PublishedEvent.owner_id == user_id, (PublishedEvent.id,)),
    _audit(AuditEvent, "audit_events", is_own=True),
    _audit(AuditEvent, "audit_events_by_others", is_own=False),
    _audit(AuditChainEvent, "earlier_audit_events", is_own=True),
    _audit(AuditChainEvent, "earlier_audit_events_by_others", is_own=False),
)  # fmt: skip
"""What an export contains, in the order of its JSON document."""
NOT_EXPORTED: Final = {
    "refresh_token": "hashes of secrets; the sessions are exported",
    "used_assertion": "ids of sign-ins at providers, for minutes; the identities are exported",
    "recovery_code": "hashes of secrets",
    "sign_in_attempt": "counters without names, for an hour",
    "mail_allowance": "counters without names, for half an hour",
    "device_login": "sign-ins of programs that wait for approval, for minutes; the sessions are exported",
    "webhook_delivery": "attempts to deliver published_events",
    "event_cursor": "state of the event feed",
    "notification_cursor": "state of the notifications",
    "notification_digest": "the mail that is sent next, made from published_events",
    "sign_in_place": "hashes of networks and browsers; the sessions are exported",
    "idempotency_key": "keys of the client's requests, for a day",
    "file_preview": "state of images that are made from the files",
    "share_file": "in share_links",
    "share_download": "hashes of visitors, for an hour",
    "share_archive_download": "hashes of visitors, for an hour",
    "archive_file": "the contents of zips",
    "upload_token_file": "links uploads to their token",
    "upload_hour": "totals of all users",
    "tombstone": "ids of deleted files",
    "sweep_position": "state of the sweep",
    "audit_era": "state of the audit log",
    "audit_checkpoint": "state of the audit log",
    "audit_tile": "state of the audit log",
    "audit_log_key": "state of the audit log",
    "audit_head": "state of the audit log",
}
"""The other tables, and why an export does not contain them."""


class ExportedFile(NamedTuple):
    """A file whose content is in an export."""

    id: UUID
    filename: str
    size_bytes: int
    created_at: datetime


class ExportRepository:
    """Reads what an export contains, and limits how often a user can request one."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_current(self, user_id: UUID) -> Archive | None:
        """Return the newest export of the user that is not being deleted and has not expired."""
        return self._session.execute(*_current(user_id=user_id, now=clock.now())).scalar_one_or_none()

    def has_withheld_file(self, archive: Archive) -> bool:
        """Whether a malware scan withholds a file of the export. A file that was deleted since is not withheld."""
        return bool(self._session.execute(*_withheld(archive_id=archive.id)).scalar_one_or_none())

    def claim(self, user_id: UUID, *, interval: timedelta, interval_after_failure: timedelta) -> datetime | None:
        """Record a request for an export and commit; return when the next one is allowed if this one is too early.

        After an export that has failed, or that a malware scan withholds, the shorter interval applies. One statement, so that of two
        concurrent requests one is admitted.
        """
        now = clock.now()
        due = _claim(user_id=user_id, now=now, before=now - interval, before_after_failure=now - interval_after_failure)
        if self._session.execute(*due).scalar_one_or_none() is not None:
            return None
        row = self._session.execute(*_last_request(user_id=user_id)).one_or_none()
        requested_at, is_after_failure = row or (None, False)
        return (requested_at or now) + (interval_after_failure if is_after_failure else interval)

    def list_files(self, user_id: UUID) -> Iterator[ExportedFile]:
        """Yield the user's files whose content is stored and not withheld by a malware scan, oldest first."""
        section = next(section for section in SECTIONS if section.model is File)
        columns = [File.id, File.filename, File.size_bytes, File.created_at]
        for rows in self._pages(section, user_id, columns, is_stored=True):
            yield from (ExportedFile(*row) for row in rows)

    def list_rows(self, section: Section, user_id: UUID) -> Iterator[dict[str, Any]]:
        """Yield the rows of a section, in its order. Each page is a query of its own, so rows may change in between."""
        columns = [*section.columns, *section.more]
        names = [str(column.key) for column in columns]
        for rows in self._pages(section, user_id, columns):
            yield from (dict(zip(names, row, strict=True)) for row in rows)

    def _pages(
        self, section: Section, user_id: UUID, columns: Sequence[Any], *, is_stored: bool = False
    ) -> Iterator[list[tuple[Any, ...]]]:
        after: tuple[Any, ...] | None = None
        width = len(section.order)
        while True:
            last = {} if after is None else {f"after_{number}": value for number, value in enumerate(after)}
            page = _rows(section, tuple(columns), is_stored, user_id=user_id, limit=PAGE_ROWS, **last)
            rows = [tuple(row) for row in self._session.execute(*page)]
            if rows:
                yield [row[width:] for row in rows]
                after = rows[-1][:width]
            if len(rows) < PAGE_ROWS:
                return


@built_once
def _current(*, user_id: UUID, now: datetime) -> Select[Archive]:
    is_unexpired = or_(Archive.expires_at.is_(None), Archive.expires_at > now)
    query = select(Archive).where(Archive.user_id == user_id, Archive.is_export, Archive.status != ArchiveStatus.DELETING, is_unexpired)
    return query.order_by(Archive.created_at.desc(), Archive.id.desc()).limit(1).execution_options(populate_existing=True)


@built_once
def _withheld(*, archive_id: UUID) -> Select[bool]:
    return select(_has_withheld_file()).where(Archive.id == archive_id)


def _has_failed() -> ColumnElement[bool]:
    """Whether the last export of the row of `user` has failed, or a malware scan withholds it."""
    return exists(
        select(Archive.id).where(
            Archive.user_id == User.id,
            Archive.is_export,
            or_(Archive.status == ArchiveStatus.FAILED, and_(Archive.status == ArchiveStatus.READY, _has_withheld_file())),
            Archive.created_at >= User.export_requested_at,
        )
    )


@built_once
def _claim(*, user_id: UUID, now: datetime, before: datetime, before_after_failure: datetime) -> ReturningUpdate[UUID]:
    is_due = or_(
        User.export_requested_at.is_(None),
        User.export_requested_at <= before,
        and_(_has_failed(), User.export_requested_at <= before_after_failure),
    )
    statement = update(User).where(User.id == user_id, is_due).values(export_requested_at=now).returning(User.id)
    return statement.execution_options(**OWN_TRANSACTION)


@built_once
def _last_request(*, user_id: UUID) -> Select[datetime | None, bool]:
    return select(User.export_requested_at, _has_failed()).where(User.id == user_id)


@built_once
def _rows(section: Section, columns: tuple[Any, ...], is_stored: bool, *, user_id: UUID, limit: int, **after: Any) -> Select[Any]:
    query = select(*section.order, *columns).where(section.belongs_to(user_id))
    if is_stored:
        query = query.where(File.status.in_(WITH_OBJECT), is_served())
    if after:
        last = [as_column(after[f"after_{number}"], column.type) for number, column in enumerate(section.order)]
        query = query.where(tuple_(*section.order) > tuple_(*last))
    return query.order_by(*section.order).limit(limit)


def _has_withheld_file() -> ColumnElement[bool]:
    """Whether a malware scan withholds a file of the row of `archive`."""
    return exists().where(ArchiveFile.archive_id == Archive.id, File.id == ArchiveFile.file_id, ~is_served()).correlate(Archive)
