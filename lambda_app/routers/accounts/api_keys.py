"""Routes of the caller's own API keys."""

from uuid import UUID

from fastapi import Response

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import ApiKeysDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.accounts.api_keys import ApiKey, ApiKeyCreate, NewApiKey

router = Router(prefix="/users/me", tags=["credentials"])


@router.post("/api-keys", status_code=201, response_model=NewApiKey, responses=problem_responses("too_many_api_keys"))
def create_api_key(parameters: ApiKeyCreate, user: CurrentUserDep, api_keys: ApiKeysDep, response: Response) -> NewApiKey:
    """Create an API key for scripts. Send it as `Authorization: Bearer wup_…`.

    The key is returned only in this response; store it now.
    """
    created = api_keys.create(user, parameters)
    response.headers["Cache-Control"] = "no-store"
    return NewApiKey(**ApiKey.model_validate(created.row).model_dump(), key=created.key)


@router.get("/api-keys", response_model=list[ApiKey], responses=problem_responses())
def list_api_keys(user: CurrentUserDep, api_keys: ApiKeysDep) -> list[models.ApiKey]:
    """List the caller's API keys, newest first. The keys themselves are not returned."""
    return api_keys.list_keys(user)


@router.delete("/api-keys/{key_id}", status_code=204, responses=problem_responses("api_key_not_found"))
def revoke_api_key(key_id: UUID, user: CurrentUserDep, api_keys: ApiKeysDep) -> None:
    """Revoke an API key. It is refused from the next request on."""
    api_keys.revoke(user, key_id)
