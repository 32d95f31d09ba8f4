"""The dispatcher: turns sealed events of the audit log into events of the users they concern."""

from dataclasses import dataclass
from time import monotonic

from lambda_app.repositories.events.dispatch import EventDispatchRepository, LogPosition
from lambda_app.services.events.mapping import events_of, subjects_of

BATCH_EVENTS = 1000
"""Events of the log in one transaction."""


@dataclass(frozen=True, slots=True)
class DispatchReport:
    """The result of a run."""

    read: int
    """Events of the log that the run has read."""
    published: int
    """Events of users that the run has written."""
    is_finished: bool
    """False if sealed events are left, or another dispatcher is at work."""


class EventDispatcher:
    """Publishes sealed events. Each run continues where the last one ended, also after it was killed: cursor and events commit together."""

    def __init__(self, *, events: EventDispatchRepository) -> None:
        self._events = events

    def run(self, *, budget_seconds: float) -> DispatchReport:
        """Publish all sealed events, one transaction per batch, within the time budget."""
        ends_at = monotonic() + budget_seconds
        read = published = 0
        while True:
            with self._events.dispatching() as cursor:
                if cursor is None:
                    return DispatchReport(read, published, is_finished=False)
                batch = self._events.list_sealed(cursor, limit=BATCH_EVENTS)
                if batch:
                    objects = self._events.find_objects({subject for event in batch for subject in subjects_of(event)})
                    published += self._events.add([new for event in batch for new in events_of(event, objects)])
                    self._events.move_cursor(LogPosition(*batch[-1][:3]))
                elif (era := self._events.next_era(cursor.era)) is not None:
                    self._events.move_cursor(LogPosition(era, 0, 0))
                else:
                    return DispatchReport(read, published, is_finished=True)
            read += len(batch)
            if monotonic() >= ends_at:
                return DispatchReport(read, published, is_finished=False)
