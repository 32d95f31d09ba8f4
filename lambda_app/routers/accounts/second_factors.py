"""Routes of the second factor: setting it up, replacing its recovery codes, and turning it off."""

from uuid import UUID

from fastapi import Response

from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.mail import OutgoingMailDep
from lambda_app.dependencies.services import SecondFactorsDep, ServicesDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.accounts.second_factor import AccountProof, CodeProof, FactorProof, FactorSetup, PasswordProof, RecoveryCodes

router = Router(prefix="/users", tags=["second factor"])


@router.post(
    "/me/second-factor",
    response_model=FactorSetup,
    responses=problem_responses("current_password_required", "fresh_sign_in_required", "second_factor_on", "too_many_attempts"),
)
def start_second_factor(proof: PasswordProof, user: CurrentUserDep, factors: SecondFactorsDep, response: Response) -> FactorSetup:
    """Create the secret for an authenticator app. The second factor is off until `POST …/confirm` proves that the app has it.

    Calling it again replaces the secret.
    """
    response.headers["Cache-Control"] = "no-store"
    created = factors.start(user, current_password=proof.current_password)
    return FactorSetup(secret=created.secret, uri=created.uri, qr_code=created.qr_code)


@router.post(
    "/me/second-factor/confirm",
    response_model=RecoveryCodes,
    responses=problem_responses("bad_second_factor", "second_factor_on", "second_factor_off", "too_many_attempts"),
)
def confirm_second_factor(proof: CodeProof, user: CurrentUserDep, factors: SecondFactorsDep, response: Response) -> RecoveryCodes:
    """Turn the second factor on with a code of the authenticator app, and return the recovery codes.

    From then on a sign-in needs `otp`, and so does every change that needs `current_password`. A session that had to set it up can do
    everything after its next refresh.
    """
    response.headers["Cache-Control"] = "no-store"
    return RecoveryCodes(recovery_codes=factors.confirm(user, otp=proof.otp))


@router.post(
    "/me/second-factor/recovery-codes",
    response_model=RecoveryCodes,
    responses=problem_responses(
        "current_password_required",
        "fresh_sign_in_required",
        "second_factor_required",
        "bad_second_factor",
        "second_factor_off",
        "too_many_attempts",
    ),
)
def renew_recovery_codes(proof: FactorProof, user: CurrentUserDep, factors: SecondFactorsDep, response: Response) -> RecoveryCodes:
    """Replace the recovery codes. The earlier ones become invalid."""
    response.headers["Cache-Control"] = "no-store"
    codes = factors.renew_recovery_codes(user, current_password=proof.current_password, otp=proof.otp)
    return RecoveryCodes(recovery_codes=codes)


@router.post(
    "/me/second-factor/disable",
    status_code=204,
    responses=problem_responses(
        "current_password_required",
        "fresh_sign_in_required",
        "second_factor_required",
        "bad_second_factor",
        "second_factor_off",
        "second_factor_mandatory",
        "too_many_attempts",
    ),
)
def disable_second_factor(proof: FactorProof, user: CurrentUserDep, factors: SecondFactorsDep) -> None:
    """Turn the second factor off and delete the recovery codes. Not possible for an account that must have one."""
    factors.turn_off(user, current_password=proof.current_password, otp=proof.otp)


@router.post(
    "/{user_id}/second-factor/reset",
    status_code=204,
    responses=problem_responses(
        "permission_denied",
        "current_password_required",
        "fresh_sign_in_required",
        "second_factor_required",
        "bad_second_factor",
        "user_not_found",
        "own_second_factor",
        "second_factor_off",
        "too_many_attempts",
    ),
)
def reset_second_factor(
    user_id: UUID, proof: AccountProof, outgoing: OutgoingMailDep, user: CurrentUserDep, factors: SecondFactorsDep, services: ServicesDep
) -> None:
    """Turn off the second factor of an account whose owner has lost it. Superusers only.

    Needs the superuser's own password, and `otp` if the superuser has a second factor. The owner receives a mail.
    """
    mail = factors.reset(user, user_id, current_password=proof.current_password, otp=proof.otp)
    if services.settings.can_send_mail:
        outgoing.add(mail)
