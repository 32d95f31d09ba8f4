"""The events that users learn about, from the events of the audit log.

Only members that are named here leave the log, and only to the user whose object it is. The actor, the address of a visitor and tokens
never do.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from lambda_app.repositories.events.dispatch import NamedObject, NewEvent, SealedEvent
from lambda_app.schemas.events import EventType

Objects = Mapping[str, NamedObject]
"""Rows by subject, as `file:<id>`. A row that was deleted since is missing."""

_FILE_TYPES = {
    "file.available": EventType.FILE_AVAILABLE,
    "file.rejected": EventType.FILE_REJECTED,
    "file.trashed": EventType.FILE_TRASHED,
    "file.restored": EventType.FILE_RESTORED,
    "file.deleted": EventType.FILE_DELETED,
    "file.purged": EventType.FILE_PURGED,
}
_GRANT_TYPES = {"file.shared": EventType.GRANT_ADDED, "file.unshared": EventType.GRANT_REMOVED}
_LINK_TYPES = {
    "share.created": EventType.SHARE_CREATED,
    "share.updated": EventType.SHARE_UPDATED,
    "share.address_replaced": EventType.SHARE_UPDATED,
    "share.opened": EventType.SHARE_OPENED,
    "share.downloaded": EventType.SHARE_DOWNLOADED,
    "share.revoked": EventType.SHARE_REVOKED,
    "file_request.created": EventType.FILE_REQUEST_CREATED,
    "file_request.updated": EventType.FILE_REQUEST_UPDATED,
    "file_request.address_replaced": EventType.FILE_REQUEST_UPDATED,
    "file_request.revoked": EventType.FILE_REQUEST_REVOKED,
}
_ARCHIVE_TYPES = {"archive.ready": EventType.ARCHIVE_READY, "archive.failed": EventType.ARCHIVE_FAILED}
_USER_TYPES = {
    "password.changed": EventType.ACCOUNT_PASSWORD_CHANGED,
    "password.reset": EventType.ACCOUNT_PASSWORD_CHANGED,
    "user.email_changed": EventType.ACCOUNT_EMAIL_CHANGED,
    "second_factor.enabled": EventType.ACCOUNT_SECOND_FACTOR_ENABLED,
    "second_factor.disabled": EventType.ACCOUNT_SECOND_FACTOR_DISABLED,
    "second_factor.reset": EventType.ACCOUNT_SECOND_FACTOR_DISABLED,
    "user.deletion_requested": EventType.ACCOUNT_DELETION_REQUESTED,
    "user.deletion_cancelled": EventType.ACCOUNT_DELETION_CANCELLED,
}
_KEY_TYPES = {"api_key.created": EventType.ACCOUNT_API_KEY_CREATED, "api_key.revoked": EventType.ACCOUNT_API_KEY_REVOKED}


def subjects_of(event: SealedEvent) -> Iterator[str]:
    """Yield the subjects of the rows that `events_of` needs for this event."""
    details = _details(event)
    if event.action in _LINK_TYPES or event.action in _GRANT_TYPES or event.action in {"file.visibility_changed", "sign_in.succeeded"}:
        yield event.subject or ""
    for kind in ("file", "archive"):
        if event.action == "share.downloaded" and f"{kind}_id" in details:
            yield f"{kind}:{details[f'{kind}_id']}"
    if event.action == "file.available" and "file_request_id" in details:
        yield f"file_request:{details['file_request_id']}"


def events_of(event: SealedEvent, objects: Objects) -> Iterable[NewEvent]:
    """Return the events of users that follow from an event of the log: often none, at most two."""
    make = _MAKERS.get(event.action)
    return () if make is None or event.subject is None else make(event, event.subject, objects)


def _file_event(event: SealedEvent, subject: str, objects: Objects) -> Iterator[NewEvent]:
    details = _details(event)
    request_id = details.get("file_request_id")
    request = objects.get(f"file_request:{request_id}")
    owner_id = _uuid(details.get("owner_id")) or (request.owner_id if request else None)
    if owner_id is None:
        return
    data = {"file_id": _id_of(subject), **_chosen(details, "filename", "size_bytes", "file_request_id")}
    yield NewEvent(owner_id, _FILE_TYPES[event.action], event.at, subject, data)
    if event.action == "file.available" and request is not None:
        received = {**request.data, **data}
        yield NewEvent(owner_id, EventType.FILE_REQUEST_RECEIVED, event.at, f"file_request:{request_id}", received)


def _visibility_event(event: SealedEvent, subject: str, objects: Objects) -> Iterator[NewEvent]:
    details, file = _details(event), objects.get(subject)
    # The file of a new upload has no content yet.
    if file is not None and not details.get("is_new"):
        data = {**file.data, **_chosen(details, "is_public")}
        yield NewEvent(file.owner_id, EventType.FILE_VISIBILITY_CHANGED, event.at, subject, data)


def _grant_event(event: SealedEvent, subject: str, objects: Objects) -> Iterator[NewEvent]:
    details, file = _details(event), objects.get(subject)
    owner_id, grantee_id = _uuid(details.get("owner_id")), _uuid(details.get("user_id"))
    if owner_id is None or grantee_id is None:
        return
    kind = _GRANT_TYPES[event.action]
    data = {"file_id": _id_of(subject), **(file.data if file else {}), **_chosen(details, "role")}
    yield NewEvent(owner_id, kind, event.at, subject, {**data, "user_id": str(grantee_id), "is_recipient": False})
    # A grant to an address that the account has not confirmed is unknown to the account. The current values of the row are hidden
    # from a former recipient: the file may have been renamed since.
    if not details.get("is_pending"):
        shown = data if kind == EventType.GRANT_ADDED else {"file_id": _id_of(subject), **_chosen(details, "role")}
        yield NewEvent(grantee_id, kind, event.at, subject, {**shown, "is_recipient": True})


def _link_event(event: SealedEvent, subject: str, objects: Objects) -> Iterator[NewEvent]:
    link, details = objects.get(subject), _details(event)
    if link is None:
        return
    data = dict(link.data)
    for kind in ("file", "archive"):
        if event.action == "share.downloaded" and f"{kind}_id" in details:
            target = objects.get(f"{kind}:{details[f'{kind}_id']}")
            data |= {f"{kind}_id": details[f"{kind}_id"], **(target.data if target else {})}
    yield NewEvent(link.owner_id, _LINK_TYPES[event.action], event.at, subject, data)


def _archive_event(event: SealedEvent, subject: str, _objects: Objects) -> Iterator[NewEvent]:
    details = _details(event)
    # The archive of a link has no user: a visitor requested it.
    if (owner_id := _uuid(details.get("user_id"))) is not None:
        data = {"archive_id": _id_of(subject), **_chosen(details, "filename", "file_count", "size_bytes", "error_code")}
        yield NewEvent(owner_id, _ARCHIVE_TYPES[event.action], event.at, subject, data)


def _sign_in_event(event: SealedEvent, subject: str, objects: Objects) -> Iterator[NewEvent]:
    if event.actor_id is not None:
        session = objects.get(subject)
        data = {"session_id": _id_of(subject), "source_address": event.source_address, **(session.data if session else {})}
        yield NewEvent(event.actor_id, EventType.ACCOUNT_SIGNED_IN, event.at, f"user:{event.actor_id}", data)


def _fields_event(event: SealedEvent, subject: str, _objects: Objects) -> Iterator[NewEvent]:
    """Several fields of the account were changed at once."""
    user_id = _uuid(_id_of(subject))
    for field, kind in (("password", EventType.ACCOUNT_PASSWORD_CHANGED), ("email", EventType.ACCOUNT_EMAIL_CHANGED)):
        if user_id is not None and field in _details(event).get("fields", ()):
            yield NewEvent(user_id, kind, event.at, subject, {})


def _user_event(event: SealedEvent, subject: str, _objects: Objects) -> Iterator[NewEvent]:
    if (user_id := _uuid(_id_of(subject))) is not None:
        data = _chosen(_details(event), "deletion_at")
        yield NewEvent(user_id, _USER_TYPES[event.action], event.at, subject, data)


def _key_event(event: SealedEvent, subject: str, _objects: Objects) -> Iterator[NewEvent]:
    if event.actor_id is not None:
        data = {"api_key_id": _id_of(subject), **_chosen(_details(event), "scopes", "expires_at")}
        yield NewEvent(event.actor_id, _KEY_TYPES[event.action], event.at, subject, data)


def _webhook_event(event: SealedEvent, subject: str, _objects: Objects) -> Iterator[NewEvent]:
    details = _details(event)
    if (owner_id := _uuid(details.get("owner_id"))) is not None:
        data = {"webhook_id": _id_of(subject), **_chosen(details, "reason")}
        yield NewEvent(owner_id, EventType.WEBHOOK_DISABLED, event.at, subject, data)


_Maker = Callable[[SealedEvent, str, Objects], Iterator[NewEvent]]
_MAKERS: dict[str, _Maker] = {
    **dict.fromkeys(_FILE_TYPES, _file_event),
    "file.visibility_changed": _visibility_event,
    **dict.fromkeys(_GRANT_TYPES, _grant_event),
    **dict.fromkeys(_LINK_TYPES, _link_event),
    **dict.fromkeys(_ARCHIVE_TYPES, _archive_event),
    "sign_in.succeeded": _sign_in_event,
    **dict.fromkeys(_USER_TYPES, _user_event),
    "user.updated": _fields_event,
    "webhook.disabled": _webhook_event,
    **dict.fromkeys(_KEY_TYPES, _key_event),
}


def _details(event: SealedEvent) -> dict[str, Any]:
    # None after an erasure.
    details: dict[str, Any] = json.loads(event.details or "{}")
    return details


def _chosen(details: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: details[name] for name in names if name in details}


def _id_of(subject: str) -> str:
    return subject.partition(":")[2]


def _uuid(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)
