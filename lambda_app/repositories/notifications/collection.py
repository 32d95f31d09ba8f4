"""What the collector of notifications reads, and what it stores for the next mail to each user."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnClause,
    ColumnElement,
    DateTime,
    Select,
    String,
    TableValuedAlias,
    Update,
    Uuid,
    and_,
    case,
    column,
    exists,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, Insert, insert
from sqlalchemy.orm import Session

from lambda_app.db.session import own_transaction
from lambda_app.models import (
    File,
    FileRequest,
    Notification,
    NotificationCursor,
    NotificationDigest,
    NotificationKind,
    NotificationSetting,
    PublishedEvent,
    Share,
    ShareFile,
    SignInPlace,
)
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.statements import as_column, built_once, ids_text, is_one_of, json_rows, json_text, table_of

ITEMS_MAX = 20
"""Different items that a mail names for one link or request. The others are only counted."""
ABOUT = "about"
"""Key of `Notification.items` under which the link or request is described."""


class CollectedEvent(NamedTuple):
    """A published event."""

    id: int
    owner_id: UUID
    type: str
    at: datetime
    subject: str
    data: dict[str, Any]


class CursorPosition(NamedTuple):
    """What the collector has read."""

    event_id: int
    expiry_until: datetime
    expiry_share_id: UUID | None
    """Of the links and file requests that expire at `expiry_until`, the last one that was announced; None: all of them were."""


class Place(NamedTuple):
    """A network and a browser of a sign-in, as a hash."""

    user_id: UUID
    place_hash: str


@dataclass(slots=True)
class NewNotification:
    """What a batch of events adds to a notification."""

    user_id: UUID
    kind: NotificationKind
    subject: str
    first_at: datetime
    last_at: datetime
    count: int = 0
    items: dict[str, Any] = field(default_factory=dict)

    def add(self, time: datetime, key: str, **item: Any) -> None:
        """Count one event about an item."""
        self.count += 1
        self.first_at, self.last_at = min(self.first_at, time), max(self.last_at, time)
        if key in self.items:
            self.items[key]["count"] += 1
        else:
            self.items[key] = {**item, "count": 1}


class Expiring(NamedTuple):
    """A link or file request that expires soon, and its announcement."""

    id: UUID
    expires_at: datetime
    notification: NewNotification


class CollectionRepository:
    """Reads published events behind the cursor, and writes notifications in the same transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @contextmanager
    def collecting(self) -> Iterator[CursorPosition | None]:
        """Open the collector's transaction, and commit it at the end. Yields the cursor; None if another collector is at work."""
        with own_transaction(self._session):
            row = self._session.execute(*_lock_cursor()).one_or_none()
            yield None if row is None else CursorPosition(*row)

    def move_cursor(self, **to: Any) -> None:
        """Set parts of the cursor."""
        self._session.execute(*_move_cursor(**to))

    def newest_event(self) -> int:
        """Return the id of the newest published event; 0 without one."""
        return int(self._session.execute(*_newest_event()).scalar_one())

    def list_events(self, after: int, *, limit: int) -> list[CollectedEvent]:
        """Return up to `limit` events behind the id. Ids grow in the order of the commits, because one dispatcher writes them."""
        return [CollectedEvent(*row) for row in self._session.execute(*_events(after=after, limit=limit))]

    def notifying_links(self, ids: Collection[UUID]) -> Mapping[UUID, dict[str, Any]]:
        """Return the description of those of the links whose downloads are announced."""
        return {row.id: _about(row) for row in self._session.execute(*_notifying_links(ids=ids_text(ids)))}

    def notifying_requests(self, ids: Collection[UUID]) -> Mapping[UUID, dict[str, Any]]:
        """Return the description of those of the file requests whose files are announced."""
        return {row.id: {"name": row.title} for row in self._session.execute(*_notifying_requests(ids=ids_text(ids)))}

    def users_without_sign_in_mail(self, ids: Collection[UUID]) -> set[UUID]:
        """Return the users who have turned the mail about new sign-ins off."""
        return set(self._session.execute(*_without_sign_in_mail(ids=ids_text(ids))).scalars())

    def see_places(self, places: Mapping[Place, datetime], *, since: datetime) -> set[Place]:
        """Store the places of sign-ins, in their order, and return those that are new: not seen since `since`, for a user with places.

        The first sign-in of an account is not new: there is nothing to compare it with.
        """
        users = {place.user_id for place in places}
        with_places = set(self._session.execute(*_users_with_places(users=ids_text(users), since=since)).scalars())
        given = json_text({**place._asdict(), "seen_at": at} for place, at in places.items())
        known = {Place(*row) for row in self._session.execute(*_known_places(places=given, since=since))}
        self._session.execute(*_store_places(places=given))
        new = set()
        for place in places:
            if place not in known and place.user_id in with_places:
                new.add(place)
            with_places.add(place.user_id)
        return new

    def list_expiring(self, *, after: datetime, after_id: UUID | None, until: datetime, limit: int) -> list[Expiring]:
        """Return up to `limit` announcements of open links and file requests that expire in this time, if their owners want to know.

        They are in the order of their expiry. Of those that expire at `after`, those whose id follows `after_id` belong to them. A file
        request that is full is not announced.
        """
        bounds: dict[str, Any] = {"after": after, "after_id": after_id, "until": until, "limit": limit}
        found = [_announced(row, "share", _about(row)) for row in self._session.execute(*_expiring_links(**bounds))]
        requests = self._session.execute(*_expiring_requests(**bounds))
        found += [_announced(row, "file_request", {"name": row.title}) for row in requests]
        return sorted(found, key=lambda each: (each.expires_at, each.id))[:limit]

    def add(self, notifications: Sequence[NewNotification]) -> None:
        """Add to the notifications that wait. Their digests are scheduled before: a sender locks the digest, then its notifications."""
        if not notifications:
            return
        keys = [(each.user_id, each.kind.value, each.subject) for each in notifications]
        wanted = json_text(dict(zip(("user_id", "kind", "subject"), key, strict=True)) for key in keys)
        waiting = {(row[0], row[1], row[2]): row[3] for row in self._session.execute(*_lock_waiting(wanted=wanted))}
        for each, its_key in zip(notifications, keys, strict=True):
            each.items = _merged(waiting.get(its_key, {}), each.items)
        self._session.execute(*_add(rows=json_text(asdict(each) for each in notifications)))

    def schedule(self, user_ids: Collection[UUID], *, at: datetime, pause: timedelta) -> None:
        """Have the next mail to these users sent at this time, but not within `pause` of their last one. An earlier time stays."""
        if not user_ids:
            return
        self._session.execute(*_schedule(users=ids_text(sorted(user_ids)), at=at, pause=pause))

    def purge_places(self, *, before: datetime) -> int:
        """Delete the places that were last seen before this time, in batches; return how many."""
        return delete_in_batches(self._session, SignInPlace, SignInPlace.seen_at < before)


def _links() -> Any:
    """Return the query for links with the name of their first file and the number of all."""
    of_link = select(File.filename).join(ShareFile, ShareFile.file_id == File.id).where(ShareFile.share_id == Share.id)
    first = of_link.order_by(ShareFile.position, File.id).limit(1).scalar_subquery()
    count = select(func.count()).select_from(ShareFile).where(ShareFile.share_id == Share.id).scalar_subquery()
    return select(Share.id, Share.slug, first.label("filename"), count.label("file_count"))


@built_once
def _lock_cursor() -> Select[Any]:
    columns = [NotificationCursor.__table__.c[name] for name in CursorPosition._fields]
    return select(*columns).where(NotificationCursor.id == 1).with_for_update(skip_locked=True)


@built_once
def _move_cursor(**to: Any) -> Update:
    return update(table_of(NotificationCursor)).where(NotificationCursor.id == 1).values(to)


@built_once
def _newest_event() -> Select[int]:
    return select(func.coalesce(func.max(PublishedEvent.id), 0))


@built_once
def _events(*, after: int, limit: int) -> Select[Any]:
    query = select(*(PublishedEvent.__table__.c[name] for name in CollectedEvent._fields))
    return query.where(PublishedEvent.id > after).order_by(PublishedEvent.id).limit(limit)


@built_once
def _notifying_links(*, ids: str) -> Select[Any]:
    query: Select[Any] = _links().where(is_one_of(Share.id, ids), Share.notify_on_download)
    return query


@built_once
def _notifying_requests(*, ids: str) -> Select[UUID, str]:
    return select(FileRequest.id, FileRequest.title).where(is_one_of(FileRequest.id, ids), FileRequest.notify_on_upload)


@built_once
def _without_sign_in_mail(*, ids: str) -> Select[UUID]:
    query = select(NotificationSetting.user_id).where(is_one_of(NotificationSetting.user_id, ids))
    return query.where(NotificationSetting.new_sign_ins.is_(False))


@built_once
def _users_with_places(*, users: str, since: datetime) -> Select[UUID]:
    has_place = exists().where(SignInPlace.user_id == column("id"), SignInPlace.seen_at >= since)
    rows = json_rows("users", users, column("id", Uuid))
    return select(rows.c.id).where(has_place)


def _seen(places: str) -> TableValuedAlias:
    columns = (column("user_id", Uuid), column("place_hash", String), column("seen_at", DateTime(timezone=True)))
    return json_rows("seen", places, *columns)


@built_once
def _known_places(*, places: str, since: datetime) -> Select[UUID, str]:
    seen = _seen(places)
    pair = tuple_(SignInPlace.user_id, SignInPlace.place_hash).in_(select(seen.c.user_id, seen.c.place_hash))
    return select(SignInPlace.user_id, SignInPlace.place_hash).where(pair, SignInPlace.seen_at >= since)


@built_once
def _store_places(*, places: str) -> Insert:
    adding = insert(table_of(SignInPlace)).from_select(["user_id", "place_hash", "seen_at"], select(*_seen(places).c))
    later = func.greatest(SignInPlace.seen_at, adding.excluded.seen_at)
    keys = [SignInPlace.user_id, SignInPlace.place_hash]
    return adding.on_conflict_do_update(index_elements=keys, set_={"seen_at": later})


def _expiring(
    rows: Any, model: type[Share] | type[FileRequest], *, after: datetime, after_id: UUID | None, until: datetime, limit: int
) -> Select[Any]:
    begin: ColumnElement[bool] = model.expires_at > after
    if after_id is not None:
        last = tuple_(as_column(after, model.expires_at.type), as_column(after_id, model.id.type))
        begin = tuple_(model.expires_at, model.id) > last
    wanting = and_(NotificationSetting.user_id == model.owner_id, NotificationSetting.link_expiry)
    query: Select[Any] = rows.add_columns(model.owner_id, model.expires_at).join(NotificationSetting, wanting)
    query = query.where(model.revoked_at.is_(None), begin, model.expires_at <= until)
    return query.order_by(model.expires_at, model.id).limit(limit)


@built_once
def _expiring_links(*, after: datetime, after_id: UUID | None, until: datetime, limit: int) -> Select[Any]:
    return _expiring(_links(), Share, after=after, after_id=after_id, until=until, limit=limit)


@built_once
def _expiring_requests(*, after: datetime, after_id: UUID | None, until: datetime, limit: int) -> Select[Any]:
    requests = select(FileRequest.id, FileRequest.title).where(FileRequest.file_count < FileRequest.max_files)
    return _expiring(requests, FileRequest, after=after, after_id=after_id, until=until, limit=limit)


def _names() -> list[ColumnClause[Any]]:
    return [column("user_id", Uuid), column("kind", String), column("subject", String)]


@built_once
def _lock_waiting(*, wanted: str) -> Select[Any]:
    rows = json_rows("wanted", wanted, *_names())
    is_wanted = tuple_(Notification.user_id, Notification.kind, Notification.subject).in_(select(*rows.c))
    query = select(Notification.user_id, Notification.kind, Notification.subject, Notification.items).where(is_wanted)
    return query.with_for_update()


@built_once
def _add(*, rows: str) -> Insert:
    columns: list[ColumnClause[Any]] = [
        *_names(),
        column("count", BigInteger),
        column("items", JSONB),
        column("first_at", DateTime(timezone=True)),
        column("last_at", DateTime(timezone=True)),
    ]
    new = json_rows("rows", rows, *columns)
    adding = insert(table_of(Notification)).from_select([each.name for each in columns], select(*new.c))
    changes = {
        "count": Notification.count + adding.excluded.count,
        "items": adding.excluded["items"],
        "first_at": func.least(Notification.first_at, adding.excluded.first_at),
        "last_at": func.greatest(Notification.last_at, adding.excluded.last_at),
    }
    primary = [Notification.user_id, Notification.kind, Notification.subject]
    return adding.on_conflict_do_update(index_elements=primary, set_=changes)


@built_once
def _schedule(*, users: str, at: datetime, pause: timedelta) -> Insert:
    rows = json_rows("users", users, column("id", Uuid))
    table = NotificationDigest
    adding = insert(table_of(table)).from_select(["user_id", "due_at"], select(rows.c.id, as_column(at, table.due_at.type)))
    due_at = func.greatest(adding.excluded.due_at, table.sent_at + pause)
    # While a mail is being sent again, or waits because of a limit, its time stays.
    is_composed = func.jsonb_typeof(table.content) == "array"
    earlier = case((is_composed, table.due_at), else_=func.least(table.due_at, due_at))
    return adding.on_conflict_do_update(index_elements=[table.user_id], set_={"due_at": earlier})


def _announced(row: Any, kind: str, about: dict[str, Any]) -> Expiring:
    notification = NewNotification(row.owner_id, NotificationKind.LINK_EXPIRY, f"{kind}:{row.id}", row.expires_at, row.expires_at)
    notification.items[ABOUT] = {**about, f"{kind}_id": str(row.id), "expires_at": row.expires_at.isoformat()}
    notification.count = 1
    return Expiring(row.id, row.expires_at, notification)


def _about(link: Any) -> dict[str, Any]:
    return {"name": link.filename or link.slug or "", "more": max(0, link.file_count - 1)}


def _merged(waiting: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """Return the items of a notification with those that are added. The first `ITEMS_MAX` are named; of these, the count is exact."""
    merged = {key: dict(item) for key, item in waiting.items()}
    for key, item in added.items():
        if key == ABOUT:
            merged[ABOUT] = item
        elif key in merged:
            merged[key]["count"] += item["count"]
        elif len(merged.keys() - {ABOUT}) < ITEMS_MAX:
            merged[key] = item
    return merged
