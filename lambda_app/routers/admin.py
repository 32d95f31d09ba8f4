"""Routes of the audit log, and of the statistics for superusers."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from lambda_app import models
from lambda_app.core.devices import network_of
from lambda_app.core.errors import MalformedRequestError
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import AdministrationDep, ScansDep
from lambda_app.routers.http.paging import CursorQuery, LimitQuery, set_page_headers
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.admin import (
    STATS_DAYS,
    STATS_DAYS_MAX,
    AuditEvent,
    AuditFilter,
    DayTotal,
    DayTraffic,
    FileTotals,
    OwnAuditEvent,
    Stats,
    UserTotals,
)
from lambda_app.schemas.files.files import File
from lambda_app.schemas.page import AuditCursor, Cursor
from lambda_app.schemas.text import ONE_LINE, ONLY_DIGITS, Instant

router = Router(prefix="/admin", tags=["admin"])
own_router = Router(prefix="/users/me", tags=["users"])

_Event = models.AuditEvent | models.AuditChainEvent

ActorQuery = Annotated[UUID | None, Query(description="Only events of this user.")]
SubjectQuery = Annotated[
    str | None, Query(min_length=1, max_length=100, description="Only events about this subject, for example `file:<id>`."), ONE_LINE
]
ActionQuery = Annotated[
    str | None, Query(min_length=1, max_length=100, description="Only events of this action, for example `file.deleted`."), ONE_LINE
]
SinceQuery = Annotated[Instant | None, Query(description="Only events at or after this time, with time zone: `2026-01-31T12:00:00Z`.")]
UntilQuery = Annotated[Instant | None, Query(description="Only events before this time, with time zone: `2026-01-31T12:00:00Z`.")]
DaysQuery = Annotated[int, Query(ge=1, le=STATS_DAYS_MAX, description="Number of days, in UTC: today and those before it."), ONLY_DIGITS]
SeqQuery = Annotated[
    int | None,
    Query(ge=1, le=2**63 - 1, description="The `seq` of the last event on the previous page. Returns older events."),
    ONLY_DIGITS,
]


@router.get("/stats", response_model=Stats, responses=problem_responses("permission_denied"))
def get_stats(user: CurrentUserDep, administration: AdministrationDep, days: DaysQuery = STATS_DAYS) -> Stats:
    """Return the number of users, the number and total size of files by status, and the traffic of each day. Superusers only."""
    stats = administration.get_stats(user, days=days)
    return Stats(
        users=UserTotals(**stats.users),
        files=[FileTotals.model_validate(total) for total in stats.files],
        uploads_by_day=[DayTotal(day=day.day, uploads=day.uploads) for day in stats.traffic_by_day if day.uploads],
        traffic_by_day=[DayTraffic.model_validate(day) for day in stats.traffic_by_day],
    )


@router.get("/withheld-files", response_model=list[File], responses=problem_responses("permission_denied"))
def list_withheld_files(
    request: Request, response: Response, user: CurrentUserDep, scans: ScansDep, limit: LimitQuery = 100, cursor: CursorQuery = None
) -> list[models.File]:
    """List the files of all users that a result of the malware scan withholds, newest first. Superusers only.

    Delete a file permanently with `DELETE /files/{file_id}?permanent=true`, or release it.
    """
    page = scans.page_withheld(user, limit=limit, after=None if cursor is None else Cursor.decode(cursor))
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return page.files


@router.post(
    "/withheld-files/{file_id}/release",
    response_model=File,
    responses=problem_responses("permission_denied", "file_not_found", "file_not_withheld", "store_unavailable"),
)
def release_withheld_file(file_id: UUID, user: CurrentUserDep, scans: ScansDep) -> models.File:
    """Serve a file in spite of the result of its malware scan, for example after a false alarm. Audited. Superusers only."""
    return scans.release(user, file_id)


@router.get("/audit", response_model=list[AuditEvent], responses=problem_responses("permission_denied", "before_with_cursor"))
def list_audit_events(  # noqa: PLR0913, PLR0917 - a filter has a parameter for each column
    request: Request,
    response: Response,
    user: CurrentUserDep,
    administration: AdministrationDep,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
    before: SeqQuery = None,
    actor_id: ActorQuery = None,
    subject: SubjectQuery = None,
    action: ActionQuery = None,
    since: SinceQuery = None,
    until: UntilQuery = None,
) -> list[AuditEvent]:
    """List audit events with the names of actors and subjects, newest first. Superusers only.

    `X-Next-Cursor` and `Link` lead to the next page; `before` with the `seq` of the last event also does. All filters that are set apply
    together.
    """
    if cursor is not None and before is not None:
        raise MalformedRequestError("before and cursor cannot be combined; send one of them", code="before_with_cursor")
    before = before if cursor is None else AuditCursor.decode(cursor).seq
    filters = AuditFilter(actor_id=actor_id, subject=subject, action=action, since=since, until=until, before_seq=before)
    page = administration.page_audit_events(user, filters, limit=limit)
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return [_named(event, page.names) for event in page.events]


@own_router.get("/audit", response_model=list[OwnAuditEvent], responses=problem_responses())
def list_own_audit_events(
    request: Request,
    response: Response,
    user: CurrentUserDep,
    administration: AdministrationDep,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
    since: SinceQuery = None,
    until: UntilQuery = None,
) -> list[OwnAuditEvent]:
    """List the events that the caller caused, and those about the caller's account, newest first.

    Of other users' events, the network is not returned. `X-Next-Cursor` and `Link` lead to the next page.
    """
    filters = AuditFilter(since=since, until=until, before_seq=None if cursor is None else AuditCursor.decode(cursor).seq)
    page = administration.page_own_audit_events(user, filters, limit=limit)
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return [_own(event, page.names, user.id) for event in page.events]


def _named(event: _Event, names: dict[str, str]) -> AuditEvent:
    found = {"actor_name": names.get(f"user:{event.actor_id}"), "subject_name": names.get(event.subject or "")}
    return AuditEvent.model_validate(event).model_copy(update=found)


def _own(event: _Event, names: dict[str, str], user_id: UUID) -> OwnAuditEvent:
    shown = AuditEvent.model_validate(event)
    is_own, is_anonymous = event.actor_id == user_id, event.actor_id is None
    return OwnAuditEvent(
        seq=shown.seq,
        at=shown.at,
        action=shown.action,
        is_own=is_own,
        credential=shown.credential if is_own else None,
        subject=shown.subject,
        subject_name=names.get(shown.subject or ""),
        details=shown.details,
        source_address=shown.source_address if is_own else None,
        network=network_of(shown.source_address) if is_own or is_anonymous else None,
    )
