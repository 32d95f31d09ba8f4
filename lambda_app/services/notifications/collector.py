"""The collector: turns published events, links and file requests that expire soon into notifications for the next mail to each user."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.models import NotificationKind
from lambda_app.repositories.notifications.collection import (
    ABOUT,
    CollectedEvent,
    CollectionRepository,
    CursorPosition,
    NewNotification,
    Place,
)
from lambda_app.services.notifications.places import browser_of, network_of

BATCH_EVENTS = 1000
"""Events in one transaction."""
PAGE_LINKS = 1000
"""Links and file requests that expire soon, in one transaction."""
COLLECTION_TIME = timedelta(minutes=5)
"""Time from the first event to its mail, in which further events collect. A new sign-in is announced at once."""
MAIL_PAUSE = timedelta(hours=1)
"""Shortest time between two mails to a user."""
EXPIRY_NOTICE = timedelta(hours=24)
"""How long before its expiry a link or file request is announced."""
PLACE_MEMORY = timedelta(days=90)
"""Time after which a network and browser count as new again."""

DOWNLOADED, RECEIVED, SIGNED_IN = "share.downloaded", "file_request.received", "account.signed_in"


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """The result of a run."""

    read: int
    """Events that the run has read."""
    is_finished: bool
    """False if events are left, or another collector is at work."""


class NotificationCollector:
    """Collects notifications. Each run continues where the last one ended, also after it was killed: cursor and rows commit together."""

    def __init__(self, *, collection: CollectionRepository, can_send: bool) -> None:
        self._collection = collection
        self._can_send = can_send

    def run(self, *, budget_seconds: float) -> CollectionReport:
        """Read all events behind the cursor and the links that expire soon, one transaction per batch, within the time budget.

        Places of sign-ins that no longer count are deleted.
        """
        report = self._read(budget_seconds=budget_seconds)
        if report.is_finished:
            self._collection.purge_places(before=clock.now() - PLACE_MEMORY)
        return report

    def _read(self, *, budget_seconds: float) -> CollectionReport:
        ends_at = monotonic() + budget_seconds
        read = 0
        while True:
            with self._collection.collecting() as cursor:
                if cursor is None:
                    return CollectionReport(read, is_finished=False)
                if not self._can_send:
                    # Mail that is set up later must not announce what happened long before.
                    self._collection.move_cursor(
                        event_id=self._collection.newest_event(), expiry_until=clock.now() + EXPIRY_NOTICE, expiry_share_id=None
                    )
                    return CollectionReport(read, is_finished=True)
                events = self._collection.list_events(cursor.event_id, limit=BATCH_EVENTS)
                self._collect(events)
                if events:
                    self._collection.move_cursor(event_id=events[-1].id)
                read += len(events)
                if len(events) < BATCH_EVENTS and self._announce_expiries(cursor):
                    return CollectionReport(read, is_finished=True)
            if monotonic() >= ends_at:
                return CollectionReport(read, is_finished=False)

    def _collect(self, events: Sequence[CollectedEvent]) -> None:
        activity = self._downloads([event for event in events if event.type == DOWNLOADED])
        activity += self._receipts([event for event in events if event.type == RECEIVED])
        sign_ins = self._sign_ins([event for event in events if event.type == SIGNED_IN])
        self._store(activity, after=COLLECTION_TIME)
        self._store(sign_ins, after=timedelta(0))

    def _downloads(self, events: Sequence[CollectedEvent]) -> list[NewNotification]:
        links = self._collection.notifying_links({_id_of(event) for event in events}) if events else {}
        grouped: dict[str, NewNotification] = {}
        for event in events:
            if (about := links.get(_id_of(event))) is not None:
                group = _group(grouped, event, NotificationKind.LINK_DOWNLOADS)
                group.items[ABOUT] = about
                data = event.data
                group.add(event.at, data.get("file_id") or data.get("archive_id") or "", name=data.get("filename"))
        return list(grouped.values())

    def _receipts(self, events: Sequence[CollectedEvent]) -> list[NewNotification]:
        requests = self._collection.notifying_requests({_id_of(event) for event in events}) if events else {}
        grouped: dict[str, NewNotification] = {}
        for event in events:
            if (about := requests.get(_id_of(event))) is not None:
                group = _group(grouped, event, NotificationKind.REQUEST_UPLOADS)
                group.items[ABOUT] = about
                data = event.data
                group.add(event.at, data.get("file_id") or "", name=data.get("filename"), size_bytes=data.get("size_bytes"))
        return list(grouped.values())

    def _sign_ins(self, events: Sequence[CollectedEvent]) -> list[NewNotification]:
        if not events:
            return []
        places = {_place_of(event): event.at for event in events}
        new = self._collection.see_places(places, since=min(event.at for event in events) - PLACE_MEMORY)
        silent = self._collection.users_without_sign_in_mail({place.user_id for place in new}) if new else set()
        grouped: dict[str, NewNotification] = {}
        for event in events:
            place = _place_of(event)
            if place in new and place.user_id not in silent:
                group = _group(grouped, event, NotificationKind.NEW_SIGN_INS)
                data = event.data
                item = {"address": data.get("source_address"), "browser": browser_of(data.get("user_agent")), "at": event.at.isoformat()}
                group.add(event.at, place.place_hash, **item)
        return list(grouped.values())

    def _announce_expiries(self, cursor: CursorPosition) -> bool:
        """Announce the next links and file requests that expire soon; False if some are left."""
        now = clock.now()
        until = now + EXPIRY_NOTICE
        if until <= cursor.expiry_until:
            return True
        # What has expired meanwhile, while no collector ran, cannot be prolonged any more.
        after, after_id = max((cursor.expiry_until, cursor.expiry_share_id), (now, None), key=lambda place: place[0])
        expiring = self._collection.list_expiring(after=after, after_id=after_id, until=until, limit=PAGE_LINKS)
        self._store([each.notification for each in expiring], after=COLLECTION_TIME)
        is_end = len(expiring) < PAGE_LINKS
        last, last_id = (until, None) if is_end else (expiring[-1].expires_at, expiring[-1].id)
        self._collection.move_cursor(expiry_until=last, expiry_share_id=last_id)
        return is_end

    def _store(self, notifications: Sequence[NewNotification], *, after: timedelta) -> None:
        self._collection.schedule({each.user_id for each in notifications}, at=clock.now() + after, pause=MAIL_PAUSE)
        self._collection.add(notifications)


def _group(grouped: dict[str, NewNotification], event: CollectedEvent, kind: NotificationKind) -> NewNotification:
    key = f"{event.owner_id}|{event.subject}"
    if key not in grouped:
        grouped[key] = NewNotification(event.owner_id, kind, event.subject, event.at, event.at)
    return grouped[key]


def _id_of(event: CollectedEvent) -> UUID:
    return UUID(event.subject.partition(":")[2])


def _place_of(event: CollectedEvent) -> Place:
    network, browser = network_of(event.data.get("source_address")), browser_of(event.data.get("user_agent"))
    return Place(event.owner_id, hash_secret(f"{event.owner_id}|{network}|{browser}"))
