"""The caller's own sessions and API keys."""

from uuid import UUID

from fastapi import Response

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import ApiKeysDep, SessionsDep
from lambda_app.routers.problems import problem_responses
from lambda_app.routers.routes import Router
from lambda_app.schemas.api_key import ApiKey, ApiKeyCreate, NewApiKey
from lambda_app.schemas.session import Session
from lambda_app.services.sessions import current_session_id

router = Router(prefix="/users/me", tags=["credentials"])


@router.get("/sessions", response_model=list[Session], responses=problem_responses(401, 403))
def list_sessions(user: CurrentUserDep, sessions: SessionsDep) -> list[Session]:
    """List one's live sessions, newest first."""
    current = current_session_id()
    columns = ("id", "created_at", "last_used_at", "expires_at", "source_address", "user_agent")
    rows = sessions.list_sessions(user)
    return [Session(**{name: getattr(row, name) for name in columns}, is_current=row.id == current) for row in rows]


@router.delete("/sessions/{session_id}", status_code=204, responses=problem_responses(401, 403, 404))
def revoke_session(session_id: UUID, user: CurrentUserDep, sessions: SessionsDep) -> None:
    """End one of one's sessions; its tokens are refused from the next request on."""
    sessions.revoke(user, session_id)


@router.post("/api-keys", status_code=201, response_model=NewApiKey, responses=problem_responses(401, 403, 409))
def create_api_key(wanted: ApiKeyCreate, user: CurrentUserDep, api_keys: ApiKeysDep, response: Response) -> NewApiKey:
    """Make a key for scripts, sent as `Authorization: Bearer wup_…`. It is shown this once."""
    made = api_keys.create(user, wanted)
    response.headers["Cache-Control"] = "no-store"
    return NewApiKey(**ApiKey.model_validate(made.row).model_dump(), key=made.key)


@router.get("/api-keys", response_model=list[ApiKey], responses=problem_responses(401, 403))
def list_api_keys(user: CurrentUserDep, api_keys: ApiKeysDep) -> list[models.ApiKey]:
    """List one's keys, newest first."""
    return api_keys.list_keys(user)


@router.delete("/api-keys/{key_id}", status_code=204, responses=problem_responses(401, 403, 404))
def revoke_api_key(key_id: UUID, user: CurrentUserDep, api_keys: ApiKeysDep) -> None:
    """End a key; it is refused from the next request on."""
    api_keys.revoke(user, key_id)
