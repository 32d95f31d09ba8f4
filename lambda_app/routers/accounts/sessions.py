"""Routes of the caller's own sessions."""

from uuid import UUID

from fastapi import Request, Response

from lambda_app.core.request_context import current_session_id
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import SessionsDep
from lambda_app.routers.http.paging import CursorQuery, LimitQuery, set_page_headers
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.accounts.sessions import Session
from lambda_app.schemas.page import Cursor

router = Router(prefix="/users/me", tags=["credentials"])

_COLUMNS = Session.model_fields.keys() - {"is_current"}


@router.get("/sessions", response_model=list[Session], responses=problem_responses())
def list_sessions(
    user: CurrentUserDep,
    sessions: SessionsDep,
    request: Request,
    response: Response,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
) -> list[Session]:
    """List the caller's active sessions, newest first. `is_current` marks the session of this request.

    `X-Next-Cursor` and `Link` lead to the next page.
    """
    current = current_session_id()
    page = sessions.page_sessions(user, limit=limit, after=None if cursor is None else Cursor.decode(cursor))
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return [Session(**{name: getattr(row, name) for name in _COLUMNS}, is_current=row.id == current) for row in page.sessions]


@router.delete("/sessions/{session_id}", status_code=204, responses=problem_responses("session_not_found"))
def revoke_session(session_id: UUID, user: CurrentUserDep, sessions: SessionsDep) -> None:
    """End one of the caller's sessions. Its access and refresh tokens are refused from the next request on."""
    sessions.revoke(user, session_id)
