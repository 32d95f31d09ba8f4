"""Routes of the caller's own sessions, and for superusers of those of all users."""

from collections.abc import Sequence
from uuid import UUID

from fastapi import Request, Response

from lambda_app import models
from lambda_app.core.devices import device_of, network_of
from lambda_app.core.request_context import current_session_id
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import ServicesDep, SessionsDep
from lambda_app.factory import Services
from lambda_app.routers.http.languages import preferred_language
from lambda_app.routers.http.paging import CursorQuery, LimitQuery, set_page_headers
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.accounts.sessions import Session
from lambda_app.schemas.page import Cursor

router = Router(prefix="/users/me", tags=["credentials"])
user_router = Router(prefix="/users/{user_id}", tags=["users"])

_COLUMNS = ("id", "created_at", "last_used_at", "expires_at", "source_address", "user_agent")


@router.get("/sessions", response_model=list[Session], responses=problem_responses())
def list_sessions(
    user: CurrentUserDep,
    sessions: SessionsDep,
    services: ServicesDep,
    request: Request,
    response: Response,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
) -> list[Session]:
    """List the caller's active sessions, newest first. `is_current` marks the session of this request.

    `X-Next-Cursor` and `Link` lead to the next page.
    """
    page = sessions.page_sessions(user, limit=limit, after=None if cursor is None else Cursor.decode(cursor))
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return _shown(page.sessions, services, locale=_locale(user, request))


@router.delete("/sessions/{session_id}", status_code=204, responses=problem_responses("session_not_found"))
def revoke_session(session_id: UUID, user: CurrentUserDep, sessions: SessionsDep) -> None:
    """End one of the caller's sessions. Its access and refresh tokens are refused from the next request on."""
    sessions.revoke(user, session_id)


@user_router.get("/sessions", response_model=list[Session], responses=problem_responses("permission_denied", "user_not_found"))
def list_user_sessions(
    user_id: UUID,
    user: CurrentUserDep,
    sessions: SessionsDep,
    services: ServicesDep,
    request: Request,
    response: Response,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
) -> list[Session]:
    """List the active sessions of a user, newest first. Superusers only."""
    page = sessions.page_sessions_of(user, user_id, limit=limit, after=None if cursor is None else Cursor.decode(cursor))
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return _shown(page.sessions, services, locale=_locale(user, request))


@user_router.delete("/sessions/{session_id}", status_code=204, responses=problem_responses("permission_denied", "session_not_found"))
def revoke_session_of_user(user_id: UUID, session_id: UUID, user: CurrentUserDep, sessions: SessionsDep) -> None:
    """End one session of a user. Superusers only."""
    sessions.revoke_of(user, user_id, session_id)


def _locale(user: models.User, request: Request) -> str | None:
    return user.locale or preferred_language(request.headers.get("accept-language"))


def _shown(rows: Sequence[models.UserSession], services: Services, *, locale: str | None) -> list[Session]:
    """Return sessions as the API shows them: with their devices, networks and places."""
    # Most sessions of a user have one of a few addresses.
    places = {address: services.places.name_of(address, locale) for address in {row.source_address for row in rows}}
    current = current_session_id()
    return [
        Session(
            **{name: getattr(row, name) for name in _COLUMNS},
            **device_of(row.user_agent)._asdict(),
            network=network_of(row.source_address),
            place=places[row.source_address],
            is_current=row.id == current,
        )
        for row in rows
    ]
