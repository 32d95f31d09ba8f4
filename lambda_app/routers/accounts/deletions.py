"""Routes for the deletion of accounts."""

from uuid import UUID

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.mail import OutgoingMailDep
from lambda_app.dependencies.services import AccountDeletionsDep, ServicesDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.accounts.second_factor import AccountProof
from lambda_app.schemas.accounts.users import User

_DELETION_ERRORS = (
    "permission_denied",
    "current_password_required",
    "fresh_sign_in_required",
    "second_factor_required",
    "bad_second_factor",
    "last_superuser",
    "too_many_attempts",
)

router = Router(prefix="/users", tags=["users"])


@router.delete(
    "/me",
    status_code=202,
    response_model=User,
    responses=problem_responses(*_DELETION_ERRORS),
)
def delete_me(
    proof: AccountProof, outgoing: OutgoingMailDep, user: CurrentUserDep, deletions: AccountDeletionsDep, services: ServicesDep
) -> models.User:
    """Close the caller's account, and delete it with everything in it after a period of grace (`deletion_at`).

    All sessions and API keys end, and links, file requests and grants are closed at once. Until `deletion_at`, a sign-in with
    `keep_account` cancels the deletion. The last superuser cannot leave (409 `last_superuser`).
    """
    deleted, mail = deletions.request(user, user.id, current_password=proof.current_password, otp=proof.otp)
    if services.settings.can_send_mail:
        outgoing.add(mail)
    return deleted


@router.delete(
    "/{user_id}",
    status_code=202,
    response_model=User,
    responses=problem_responses(*_DELETION_ERRORS, "user_not_found"),
)
def delete_user(
    user_id: UUID,
    proof: AccountProof,
    outgoing: OutgoingMailDep,
    user: CurrentUserDep,
    deletions: AccountDeletionsDep,
    services: ServicesDep,
) -> models.User:
    """Close an account, and delete it with everything in it after a period of grace. Superusers only; users can delete their own.

    Only a superuser can cancel it then. Needs the caller's own password.
    """
    deleted, mail = deletions.request(user, user_id, current_password=proof.current_password, otp=proof.otp)
    if services.settings.can_send_mail:
        outgoing.add(mail)
    return deleted


@router.post(
    "/{user_id}/deletion/cancel",
    response_model=User,
    responses=problem_responses("permission_denied", "user_not_found", "no_deletion_pending"),
)
def cancel_deletion(user_id: UUID, user: CurrentUserDep, deletions: AccountDeletionsDep) -> models.User:
    """Enable an account again whose deletion was requested. Superusers only. Links that were closed by other means stay closed."""
    return deletions.cancel(user, user_id)
