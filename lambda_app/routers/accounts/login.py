"""Signing in, staying signed in, signing out, and what is done by mail when one cannot."""

from typing import Annotated

from fastapi import Depends, Request, Response
from fastapi.security import OAuth2PasswordRequestForm

from lambda_app import models
from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.core.mail import MailNotConfiguredError
from lambda_app.dependencies.auth import CurrentUserDep, TokenDep, get_caller
from lambda_app.dependencies.mail import OutgoingMailDep
from lambda_app.dependencies.services import AuthenticationDep, RecoveryDep, ServicesDep, SessionsDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.accounts.sessions import EmailOnly, MailedToken, PasswordReset, Refresh
from lambda_app.schemas.accounts.users import Token, User
from lambda_app.services.accounts.sessions import SignedIn

router = Router(prefix="/login", tags=["login"])


@router.post("/token", response_model=Token, responses=problem_responses(401, 403, 429))
def create_token(form: Annotated[OAuth2PasswordRequestForm, Depends()], sessions: SessionsDep, response: Response) -> Token:
    """Exchange e-mail (as `username`) and password for an access token and a refresh token."""
    return _token(sessions.sign_in(email=form.username, password=form.password), response)


@router.post("/refresh", response_model=Token, responses=problem_responses(401))
def refresh_token(refresh: Refresh, sessions: SessionsDep, response: Response) -> Token:
    """Exchange a refresh token for the next pair. It is good once; used again, it ends the whole session."""
    return _token(sessions.refresh(refresh.refresh_token), response)


@router.post("/logout", status_code=204, responses=problem_responses(401))
def sign_out(
    request: Request, token: TokenDep, authentication: AuthenticationDep, sessions: SessionsDep, refresh: Refresh | None = None
) -> None:
    """End the session of the refresh token in the body, or without a body that of the access token."""
    if refresh is not None:
        # Whatever has become of the access token that a client sends along: it has ten minutes, a session has days.
        sessions.sign_out(refresh.refresh_token)
    elif (caller := get_caller(request, token, authentication)) is not None:
        sessions.sign_out_current(caller)
    else:
        raise NotAuthenticatedError("Not authenticated")


@router.post("/logout-everywhere", status_code=204, responses=problem_responses(401, 403))
def sign_out_everywhere(user: CurrentUserDep, sessions: SessionsDep) -> None:
    """End every session, access token and API key of the caller."""
    sessions.sign_out_everywhere(user)


@router.post("/test-token", response_model=User, responses=problem_responses(401))
async def read_token_owner(user: CurrentUserDep) -> models.User:
    """Return the user to whom the access token belongs."""
    return user


@router.post("/forgot-password", status_code=202, responses=problem_responses(503))
def forgot_password(asked: EmailOnly, outgoing: OutgoingMailDep, recovery: RecoveryDep, services: ServicesDep) -> None:
    """Send a link to the address, if there is an account. The answer is the same, and takes the same time, if there is none."""
    _require_mail(services)
    outgoing.equalize_response_time()
    outgoing.add(recovery.start_reset(asked.email))


@router.post("/reset-password", status_code=204, responses=problem_responses(410))
def reset_password(reset: PasswordReset, recovery: RecoveryDep) -> None:
    """Set a new password with the token of the mail; every session and API key ends."""
    recovery.finish_reset(reset.token, reset.password)


@router.post("/verification", status_code=202, responses=problem_responses(503))
def ask_for_verification(asked: EmailOnly, outgoing: OutgoingMailDep, recovery: RecoveryDep, services: ServicesDep) -> None:
    """Send the mail that confirms an address (again). The answer is the same whether there is an account or not."""
    _require_mail(services)
    outgoing.equalize_response_time()
    outgoing.add(recovery.start_verification(asked.email))


@router.post("/verify-email", status_code=204, responses=problem_responses(410))
def verify_email(mailed: MailedToken, recovery: RecoveryDep) -> None:
    """Confirm an address with the token of the mail."""
    recovery.finish_verification(mailed.token)


def _token(signed_in: SignedIn, response: Response) -> Token:
    response.headers["Cache-Control"] = "no-store"  # RFC 6749, section 5.1
    access_token = signed_in.access_token
    return Token(access_token=access_token.value, expires_in=access_token.expires_in, refresh_token=signed_in.refresh_token)


def _require_mail(services: ServicesDep) -> None:
    if not services.settings.can_send_mail:
        raise MailNotConfiguredError
