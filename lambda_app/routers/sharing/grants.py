"""Routes of grants: sharing a file with other users."""

from uuid import UUID

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import GrantsDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.sharing.grants import Grant, GrantCreate

router = Router(prefix="/files/{file_id}/grants", tags=["sharing"])


@router.put(
    "",
    response_model=Grant,
    responses=problem_responses("file_forbidden", "file_not_found", "user_not_found", "own_file", "too_many_grants", "too_many_attempts"),
)
def grant_access(file_id: UUID, parameters: GrantCreate, user: CurrentUserDep, grants: GrantsDep) -> models.FileGrant:
    """Share a file with a user as viewer or editor, or change the user's role. Idempotent."""
    return grants.grant(user, file_id, parameters)


@router.get("", response_model=list[Grant], responses=problem_responses("file_forbidden", "file_not_found"))
def list_grants(file_id: UUID, user: CurrentUserDep, grants: GrantsDep) -> list[models.FileGrant]:
    """List the users with whom a file is shared. The owner sees all grants; other users see only their own."""
    return grants.list_grants(user, file_id)


@router.delete("/{user_id}", status_code=204, responses=problem_responses("file_forbidden", "file_not_found", "grant_not_found"))
def revoke_grant(file_id: UUID, user_id: UUID, user: CurrentUserDep, grants: GrantsDep) -> None:
    """Stop sharing a file with a user. The owner can revoke any grant; other users can give up their own.

    The user is refused from the next request on.
    """
    grants.revoke(user, file_id, user_id)
