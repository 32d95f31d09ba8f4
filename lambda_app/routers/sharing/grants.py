"""Sharing with people by name."""

from uuid import UUID

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import GrantsDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.sharing.grants import Grant, GrantCreate

router = Router(prefix="/files/{file_id}/grants", tags=["sharing"])


@router.put("", response_model=Grant, responses=problem_responses(401, 403, 404, 409, 429))
def grant_file(file_id: UUID, wanted: GrantCreate, user: CurrentUserDep, grants: GrantsDep) -> models.FileGrant:
    """Let somebody read or edit a file, or change which of the two. Safe to repeat."""
    return grants.grant(user, file_id, wanted)


@router.get("", response_model=list[Grant], responses=problem_responses(401, 403, 404))
def list_grants(file_id: UUID, user: CurrentUserDep, grants: GrantsDep) -> list[models.FileGrant]:
    """List who has a part in a file: everybody for its owner; somebody it is shared with sees their own part."""
    return grants.list_grants(user, file_id)


@router.delete("/{user_id}", status_code=204, responses=problem_responses(401, 403, 404))
def revoke_grant(file_id: UUID, user_id: UUID, user: CurrentUserDep, grants: GrantsDep) -> None:
    """Take a grant back, or as the one who has it, leave. It holds from the next request on."""
    grants.revoke(user, file_id, user_id)
