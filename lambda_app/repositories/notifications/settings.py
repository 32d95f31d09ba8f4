"""Reads and writes the notification settings of accounts, and turns notifications off."""

from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy import ColumnElement, Table, Update, cast, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH, insert
from sqlalchemy.orm import Session

from lambda_app.db.session import own_transaction
from lambda_app.models import FileRequest, Notification, NotificationDigest, NotificationKind, NotificationSetting, Share
from lambda_app.repositories.audit import audit_entry, audit_insert


def default_of(kind: NotificationKind, owner_id: UUID) -> ColumnElement[bool]:
    """Return the expression for a setting of an account."""
    column = NotificationSetting.__table__.c[kind]
    fallback = literal(kind is NotificationKind.NEW_SIGN_INS)
    return func.coalesce(select(column).where(NotificationSetting.user_id == owner_id).scalar_subquery(), fallback)


class NotificationSettingRepository:
    """Reads and writes the rows of `notification_setting`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, user_id: UUID) -> Mapping[NotificationKind, bool]:
        """Return all settings of an account."""
        row = self._session.execute(select(*(default_of(kind, user_id).label(kind) for kind in NotificationKind))).one()
        return dict(zip(NotificationKind, row, strict=True))

    def change(self, user_id: UUID, changes: Mapping[NotificationKind, bool]) -> Mapping[NotificationKind, bool]:
        """Change settings of an account, audit it, and commit; return all settings."""
        with own_transaction(self._session):
            self._write(user_id, changes)
            details = {kind.value: value for kind, value in changes.items()}
            self._session.execute(audit_insert(audit_entry("notifications.changed", subject=f"user:{user_id}", details=details)))
            return self.get(user_id)

    def turn_off(self, user_id: UUID, kinds: Collection[NotificationKind]) -> None:
        """Turn kinds of notifications off, for all links and file requests of the account too; drop those that wait; audit and commit.

        A mail that failed is sent again without these kinds. At most as many links and requests as an account may have are changed.
        Lock order: settings, links, requests, digest, notifications.
        """
        with own_transaction(self._session):
            self._write(user_id, dict.fromkeys(kinds, False))
            if NotificationKind.LINK_DOWNLOADS in kinds:
                links = update(Share).where(Share.owner_id == user_id, Share.revoked_at.is_(None), Share.notify_on_download)
                self._session.execute(links.values(notify_on_download=False).execution_options(synchronize_session=False))
            if NotificationKind.REQUEST_UPLOADS in kinds:
                requests = update(FileRequest).where(
                    FileRequest.owner_id == user_id, FileRequest.revoked_at.is_(None), FileRequest.notify_on_upload
                )
                self._session.execute(requests.values(notify_on_upload=False).execution_options(synchronize_session=False))
            self._session.execute(_composed_without(user_id, kinds).execution_options(synchronize_session=False))
            waiting = delete(Notification).where(Notification.user_id == user_id, Notification.kind.in_(kinds))
            self._session.execute(waiting.execution_options(synchronize_session=False))
            entry = audit_entry(
                "notifications.unsubscribed", subject=f"user:{user_id}", actor_id=user_id, details={"kinds": sorted(kinds), "by": "mail"}
            )
            self._session.execute(audit_insert(entry))

    def _write(self, user_id: UUID, changes: Mapping[NotificationKind, bool]) -> None:
        if not changes:
            return
        table = NotificationSetting.__table__
        assert isinstance(table, Table)  # noqa: S101 - for the type checker
        values = {kind.value: value for kind, value in changes.items()}
        statement = insert(table).values(user_id=user_id, **values)
        self._session.execute(statement.on_conflict_do_update(index_elements=[table.c.user_id], set_=values))


def _composed_without(user_id: UUID, kinds: Collection[NotificationKind]) -> Update:
    """Return the statement that removes these kinds from the mail that waits for another attempt."""
    others = cast(literal("$[*] ? (!(@.kind == $kinds[*]))"), JSONPATH)
    names = literal({"kinds": [kind.value for kind in kinds]}, JSONB)
    content = func.jsonb_path_query_array(NotificationDigest.content, others, names)
    is_composed = func.jsonb_typeof(NotificationDigest.content) == "array"
    return update(NotificationDigest).where(NotificationDigest.user_id == user_id, is_composed).values(content=content)
