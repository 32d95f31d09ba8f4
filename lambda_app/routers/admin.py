"""What administrators see."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import AdministrationDep
from lambda_app.repositories.audit import AuditFilter
from lambda_app.routers.http.paging import LimitQuery
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.admin import AuditEvent, DayTotal, FileTotals, Stats, UserTotals
from lambda_app.schemas.text import ONE_LINE, ONLY_DIGITS, Instant

router = Router(prefix="/admin", tags=["admin"])

WordQuery = Annotated[str | None, Query(min_length=1, max_length=100), ONE_LINE]
TimeQuery = Annotated[Instant | None, Query(description="With a time zone, as 2026-01-31T12:00:00Z.")]
SeqQuery = Annotated[int | None, Query(ge=1, le=2**63 - 1, description="The `seq` of the last event of the page before."), ONLY_DIGITS]


@router.get("/stats", response_model=Stats, responses=problem_responses(401, 403))
def read_stats(user: CurrentUserDep, administration: AdministrationDep) -> Stats:
    """Count users, files and bytes by state, and uploads by day. Superusers only."""
    numbers = administration.count(user)
    return Stats(
        users=UserTotals(**numbers.users),
        files=[FileTotals.model_validate(total) for total in numbers.files],
        uploads_by_day=[DayTotal(day=day, uploads=uploads) for day, uploads in numbers.uploads_by_day],
    )


@router.get("/audit", response_model=list[AuditEvent], responses=problem_responses(401, 403))
def list_audit_events(  # noqa: PLR0913, PLR0917 - a filter has a parameter for each column
    user: CurrentUserDep,
    administration: AdministrationDep,
    limit: LimitQuery = 100,
    before: SeqQuery = None,
    actor_id: UUID | None = None,
    subject: WordQuery = None,
    action: WordQuery = None,
    since: TimeQuery = None,
    until: TimeQuery = None,
) -> list[models.AuditEvent]:
    """List the audit log, newest first; `before` leads to the next page. Superusers only."""
    wanted = AuditFilter(actor_id=actor_id, subject=subject, action=action, since=since, until=until, before_seq=before)
    return administration.page_audit(user, wanted, limit=limit)
