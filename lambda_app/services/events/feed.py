"""The feed: the events of a caller by cursor, as the JSON of the response."""

from lambda_app.repositories.events.feed import CallerEventRepository
from lambda_app.schemas.events import EventType
from lambda_app.services.accounts.callers import CallerService, SubmittedCredential


class CallerEventService:
    """Lists events for callers that are authenticated in the same flush."""

    def __init__(self, *, events: CallerEventRepository, callers: CallerService) -> None:
        self._events = events
        self._callers = callers

    def page_events(self, submitted: SubmittedCredential, *, after: int | None, limit: int, event_type: EventType | None) -> str:
        """Return a page of events as JSON, oldest first, with the cursor of the next one. None asks for the cursor of the newest event.

        Raises NotAuthenticatedError, ScopeMissingError.
        """
        credential = self._callers.read(submitted)
        page = self._events.page(credential, after=after, limit=limit, event_type=event_type)
        self._callers.accept(submitted, credential, page.caller)
        cursor = page.events[-1][0] if page.events else after or 0
        shown = [] if after is None else [text for _, text in page.events]
        return f'{{"events":[{",".join(shown)}],"next":"{cursor}"}}'
