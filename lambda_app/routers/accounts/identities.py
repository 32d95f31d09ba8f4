"""Routes of linked identities and of fresh proofs."""

from uuid import UUID

from fastapi import Response

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.browser_sessions import BindingCookieDep
from lambda_app.dependencies.mail import OutgoingMailDep
from lambda_app.dependencies.services import IdentitiesDep, ServicesDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.accounts.identities import IdentityLink, LinkedIdentity, SignInMethods, UserProof

router = Router(prefix="/users/me", tags=["sign-in providers"])


@router.get("/identities", response_model=SignInMethods, responses=problem_responses())
def list_identities(user: CurrentUserDep, identities: IdentitiesDep) -> SignInMethods:
    """Return the ways to sign in to the caller's account."""
    linked = [LinkedIdentity.model_validate(identity) for identity in identities.list_identities(user)]
    return SignInMethods(has_password=user.hashed_password is not None, identities=linked)


@router.post(
    "/identities",
    status_code=201,
    response_model=LinkedIdentity,
    responses=problem_responses("bad_assertion", "fresh_sign_in_required", "identity_taken", "too_many_identities"),
)
def link_identity(
    link: IdentityLink,
    outgoing: OutgoingMailDep,
    user: CurrentUserDep,
    identities: IdentitiesDep,
    cookie: BindingCookieDep,
    services: ServicesDep,
    response: Response,
) -> models.UserIdentity:
    """Link an identity to the caller's account. Needs a proof in the same session, at most five minutes old (`POST /users/me/proof`).

    The owner receives a mail.
    """
    identity, mail = identities.link(user, link.assertion, binding=cookie.value)
    cookie.clear(response)
    if services.settings.can_send_mail:
        outgoing.add(mail)
    return identity


@router.delete(
    "/identities/{identity_id}",
    status_code=204,
    responses=problem_responses("fresh_sign_in_required", "identity_not_found", "last_sign_in_method"),
)
def unlink_identity(identity_id: UUID, user: CurrentUserDep, identities: IdentitiesDep) -> None:
    """Unlink an identity from the caller's account. Needs a proof in the same session, at most five minutes old."""
    identities.unlink(user, identity_id)


@router.post(
    "/proof",
    status_code=204,
    responses=problem_responses(
        "permission_denied",
        "bad_assertion",
        "current_password_required",
        "second_factor_required",
        "bad_second_factor",
        "too_many_attempts",
    ),
)
def prove_user(proof: UserProof, user: CurrentUserDep, identities: IdentitiesDep, cookie: BindingCookieDep, response: Response) -> None:
    """Prove who the caller is, by the password or by a new sign-in at a linked provider. Not with an API key.

    For five minutes, changes of the account in this session then need no `current_password`.
    """
    identities.prove(user, current_password=proof.current_password, otp=proof.otp, token=proof.assertion, binding=cookie.value)
    if proof.assertion is not None:
        cookie.clear(response)
