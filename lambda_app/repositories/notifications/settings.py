"""Reads and writes the notification settings of accounts, and turns notifications off."""

import json
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Delete, Select, Update, cast, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import JSONPATH, Insert, insert
from sqlalchemy.orm import Session

from lambda_app.db.session import own_transaction
from lambda_app.models import FileRequest, Notification, NotificationDigest, NotificationKind, NotificationSetting, Share
from lambda_app.repositories.audit import add_event
from lambda_app.repositories.statements import built_once, json_parameter, table_of


def default_of(kind: NotificationKind, owner_id: Any) -> ColumnElement[bool]:
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
        row = self._session.execute(*_get(user_id=user_id)).one()
        return dict(zip(NotificationKind, row, strict=True))

    def change(self, user_id: UUID, changes: Mapping[NotificationKind, bool]) -> Mapping[NotificationKind, bool]:
        """Change settings of an account, audit it, and commit; return all settings."""
        with own_transaction(self._session):
            self._write(user_id, changes)
            details = {kind.value: value for kind, value in changes.items()}
            add_event(self._session, "notifications.changed", subject=f"user:{user_id}", details=details)
            return self.get(user_id)

    def turn_off(self, user_id: UUID, kinds: Collection[NotificationKind]) -> None:
        """Turn kinds of notifications off, for all links and file requests of the account too; drop those that wait; audit and commit.

        A mail that failed is sent again without these kinds. At most as many links and requests as an account may have are changed.
        Lock order: settings, links, requests, digest, notifications.
        """
        with own_transaction(self._session):
            self._write(user_id, dict.fromkeys(kinds, False))
            if NotificationKind.LINK_DOWNLOADS in kinds:
                self._session.execute(*_silence_links(owner_id=user_id))
            if NotificationKind.REQUEST_UPLOADS in kinds:
                self._session.execute(*_silence_requests(owner_id=user_id))
            names = {"kinds": [kind.value for kind in kinds]}
            self._session.execute(*_drop_composed(user_id=user_id, names=json.dumps(names)))
            self._session.execute(*_drop_waiting(user_id=user_id, kinds=names["kinds"]))
            details = {"kinds": sorted(kinds), "by": "mail"}
            add_event(self._session, "notifications.unsubscribed", subject=f"user:{user_id}", actor_id=user_id, details=details)

    def _write(self, user_id: UUID, changes: Mapping[NotificationKind, bool]) -> None:
        if not changes:
            return
        self._session.execute(*_write(user_id=user_id, **{kind.value: value for kind, value in changes.items()}))


@built_once
def _get(*, user_id: UUID) -> Select[*tuple[Any, ...]]:
    return select(*(default_of(kind, user_id).label(kind) for kind in NotificationKind))


@built_once
def _write(*, user_id: UUID, **changes: bool) -> Insert:
    table = table_of(NotificationSetting)
    return insert(table).values(user_id=user_id, **changes).on_conflict_do_update(index_elements=[table.c.user_id], set_=changes)


@built_once
def _silence_links(*, owner_id: UUID) -> Update:
    links = update(table_of(Share)).where(Share.owner_id == owner_id, Share.revoked_at.is_(None), Share.notify_on_download)
    return links.values(notify_on_download=False)


@built_once
def _silence_requests(*, owner_id: UUID) -> Update:
    requests = update(table_of(FileRequest)).where(FileRequest.owner_id == owner_id, FileRequest.revoked_at.is_(None))
    return requests.where(FileRequest.notify_on_upload).values(notify_on_upload=False)


@built_once
def _drop_composed(*, user_id: UUID, names: str) -> Update:
    """Return the statement that removes these kinds from the mail that waits for another attempt."""
    others = cast(literal("$[*] ? (!(@.kind == $kinds[*]))"), JSONPATH)
    content = func.jsonb_path_query_array(NotificationDigest.content, others, json_parameter(names))
    is_composed = func.jsonb_typeof(NotificationDigest.content) == "array"
    return update(table_of(NotificationDigest)).where(NotificationDigest.user_id == user_id, is_composed).values(content=content)


@built_once
def _drop_waiting(*, user_id: UUID, kinds: list[str]) -> Delete:
    return delete(table_of(Notification)).where(Notification.user_id == user_id, Notification.kind.in_(kinds))
