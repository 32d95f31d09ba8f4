"""Routes for signing in and out, refreshing tokens, resetting a password and verifying an e-mail address."""

from typing import Annotated

from fastapi import Depends, Form, Request, Response
from fastapi.security import OAuth2PasswordRequestForm

from lambda_app import models
from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.core.mail import MailNotConfiguredError
from lambda_app.dependencies.auth import CallerDep, CurrentUserDep, TokenDep, get_caller
from lambda_app.dependencies.mail import OutgoingMailDep
from lambda_app.dependencies.same_origin import require_trusted_origin
from lambda_app.dependencies.services import RecoveryDep, ServicesDep, SessionDep, SessionsDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.accounts.sessions import EmailConfirmation, EmailOnly, MailRequested, PasswordReset, Refresh
from lambda_app.schemas.accounts.users import OneTimeCode, Token, User
from lambda_app.services.accounts.sessions import SignedIn

OneTimeCodeForm = Annotated[
    OneTimeCode | None,
    Form(description="For accounts with a second factor: code of the authenticator app, or a recovery code."),
]
KeepAccountForm = Annotated[bool, Form(description="Cancel the deletion of the account that its owner requested.")]

router = Router(prefix="/login", tags=["login"])


@router.post(
    "/token",
    response_model=Token,
    responses=problem_responses(
        "bad_credentials",
        "email_not_verified",
        "second_factor_required",
        "bad_second_factor",
        "account_deletion_pending",
        "too_many_attempts",
        "password_sign_in_closed",
    ),
    dependencies=[Depends(require_trusted_origin)],
)
def sign_in(
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    sessions: SessionsDep,
    response: Response,
    otp: OneTimeCodeForm = None,
    keep_account: KeepAccountForm = False,
) -> Token:
    """Exchange an e-mail address (as `username`) and a password for an access token and a refresh token.

    403 `second_factor_required`: the account has a second factor; send a code as `otp`. 403 `account_deletion_pending`: the user asked to
    delete the account; `keep_account=true` cancels that.
    """
    signed_in = sessions.sign_in(email=form.username, password=form.password, otp=otp, keeps_account=keep_account)
    return _token(signed_in, response)


@router.post(
    "/refresh",
    response_model=Token,
    responses=problem_responses("bad_refresh_token", "refresh_token_reused", "refresh_token_superseded", "too_many_refreshes"),
)
def refresh_tokens(refresh: Refresh, sessions: SessionsDep, response: Response) -> Token:
    """Exchange a refresh token for a new access token and a new refresh token.

    For 30 seconds, while the new refresh token is unused, the same request returns it again. Any other reuse ends the session, because the
    token may have been stolen.
    """
    return _token(sessions.refresh(refresh.refresh_token), response)


@router.post("/logout", status_code=204, responses=problem_responses())
def sign_out(request: Request, token: TokenDep, session: SessionDep, sessions: SessionsDep, refresh: Refresh | None = None) -> None:
    """End the session of the refresh token in the body. Without a body, end the session of the access token."""
    if refresh is not None:
        # The access token is not checked: it may have expired after ten minutes, while the session lasts for days.
        sessions.sign_out(refresh.refresh_token)
    elif (caller := get_caller(request, token, session)) is not None:
        sessions.sign_out_current(caller)
    else:
        raise NotAuthenticatedError("Not authenticated")


@router.post("/logout-everywhere", status_code=204, responses=problem_responses())
def sign_out_everywhere(user: CurrentUserDep, sessions: SessionsDep) -> None:
    """End all sessions of the caller and revoke all access tokens and API keys."""
    sessions.sign_out_everywhere(user)


@router.post("/test-token", response_model=User, responses=problem_responses())
async def get_token_owner(user: CurrentUserDep) -> models.User:
    """Return the user to whom the access token or API key belongs."""
    return user


@router.post(
    "/forgot-password",
    status_code=202,
    response_model=MailRequested,
    responses=problem_responses("mail_not_configured", "password_sign_in_closed"),
)
def request_password_reset(parameters: EmailOnly, outgoing: OutgoingMailDep, recovery: RecoveryDep, services: ServicesDep) -> MailRequested:
    """Send a mail with a link for resetting the password, if the address belongs to an account.

    The response is the same, and takes as long, if no account has the address.
    """
    _require_mail(services)
    outgoing.add(recovery.start_password_reset(parameters.email))
    return MailRequested(detail="If the address belongs to an account, it receives a mail with a link to reset the password")


@router.post("/reset-password", status_code=204, responses=problem_responses("link_expired", "weak_password", "password_sign_in_closed"))
def reset_password(reset: PasswordReset, recovery: RecoveryDep) -> None:
    """Set a new password with the token from the mail. This ends all sessions and revokes all API keys of the account.

    It also confirms the address. If that was never done before, the share links, file requests, grants and public files of the
    account are closed: another person may have registered the address.
    """
    recovery.complete_password_reset(reset.token, reset.password)


@router.post("/verification", status_code=202, response_model=MailRequested, responses=problem_responses("mail_not_configured"))
def request_email_verification(
    parameters: EmailOnly, outgoing: OutgoingMailDep, recovery: RecoveryDep, services: ServicesDep
) -> MailRequested:
    """Send a mail with a link for verifying the address, if an account with this address needs it. Can be repeated.

    The response is the same, and takes as long, if no account has the address.
    """
    _require_mail(services)
    outgoing.add(recovery.start_email_verification(parameters.email))
    return MailRequested(detail="If the address belongs to an account and is not confirmed, it receives a mail with a link to confirm it")


@router.post(
    "/verify-email",
    status_code=204,
    responses=problem_responses("password_required", "link_expired", "weak_password", "password_sign_in_closed"),
)
def verify_email(confirmation: EmailConfirmation, caller: CallerDep, recovery: RecoveryDep) -> None:
    """Confirm an e-mail address with the token from the mail.

    Send either the access token of the account or a `password`. The account's current password, too, keeps the account as it is. Any
    other password becomes the new one. Because another person may have registered the address, this ends all sessions and API keys
    and closes the share links, file requests, grants and public files of the account.
    """
    recovery.complete_email_verification(confirmation.token, caller=caller, password=confirmation.password)


def _token(signed_in: SignedIn, response: Response) -> Token:
    response.headers["Cache-Control"] = "no-store"  # RFC 6749, section 5.1
    access_token = signed_in.access_token
    return Token(access_token=access_token.value, expires_in=access_token.expires_in, refresh_token=signed_in.refresh_token)


def _require_mail(services: ServicesDep) -> None:
    if not services.settings.can_send_mail:
        raise MailNotConfiguredError
