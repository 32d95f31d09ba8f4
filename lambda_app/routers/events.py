"""The route of the caller's events."""

from typing import Annotated

from fastapi import Query, Request, Response

from lambda_app.dependencies.callers import RequiredCredentialDep, run_statement, services_of
from lambda_app.routers.http.paging import LimitQuery
from lambda_app.routers.http.problems import JSON_MEDIA_TYPE, problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.events import EventPage, EventType

router = Router(tags=["events"])

LATEST = "latest"

AfterQuery = Annotated[
    str,
    Query(
        pattern=rf"^([0-9]{{1,18}}|{LATEST})$",
        description="The `next` of the previous answer. Without it, the list begins with the oldest event that is kept. `latest` returns "
        "no events, only the cursor from which to follow new ones.",
    ),
]
TypeQuery = Annotated[EventType | None, Query(alias="type", description="Only events of this type.")]


@router.get("/events", response_model=EventPage, responses=problem_responses())
async def list_events(
    request: Request, credential: RequiredCredentialDep, after: AfterQuery = "0", limit: LimitQuery = 100, event_type: TypeQuery = None
) -> Response:
    """List what happened to the caller's files, links, file requests, archives and account, oldest first.

    To follow what happens, repeat the request with `next` as `after`. An event appears about a minute after its action, when the audit
    log has sealed it, and is kept for 30 days.
    """
    page = await run_statement(
        services_of(request).caller_events().page_events,
        credential,
        after=None if after == LATEST else int(after),
        limit=limit,
        event_type=event_type,
    )
    return Response(page, media_type=JSON_MEDIA_TYPE, headers={"Cache-Control": "no-store"})
