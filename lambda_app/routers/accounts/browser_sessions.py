"""Routes for the sessions of browsers: the refresh token is in a cookie that scripts cannot read."""

from fastapi import Request, Response

from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.dependencies.auth import TokenDep, get_caller
from lambda_app.dependencies.browser_sessions import SAME_ORIGIN_SESSION, BindingCookieDep, SessionCookie, SessionCookieDep
from lambda_app.dependencies.mail import OutgoingMailDep
from lambda_app.dependencies.services import IdentitiesDep, ServicesDep, SessionDep, SessionsDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.accounts.identities import AssertionSignIn
from lambda_app.schemas.accounts.sessions import BrowserSession, SignIn
from lambda_app.services.accounts.sessions import SignedIn

router = Router(prefix="/session", tags=["login"])


class NoSessionError(NotAuthenticatedError):
    """The request has no session cookie."""

    code = "no_session"
    message = "This browser has no session; sign in"


@router.post(
    "",
    response_model=BrowserSession,
    responses=problem_responses(
        "bad_credentials",
        "email_not_verified",
        "second_factor_required",
        "bad_second_factor",
        "account_deletion_pending",
        "too_many_attempts",
        "password_sign_in_closed",
    ),
    dependencies=[SAME_ORIGIN_SESSION],
)
def start_session(credentials: SignIn, sessions: SessionsDep, cookie: SessionCookieDep, response: Response) -> BrowserSession:
    """Sign in a browser: return an access token, and set a cookie with the refresh token. The rules of `POST /login/token` apply.

    All routes of browser sessions need the header `X-We-Upload-Session: 1` and accept requests of pages of the same origin only. A
    session that the browser had before ends.
    """
    signed_in = sessions.sign_in(
        email=credentials.email, password=credentials.password, otp=credentials.otp, keeps_account=credentials.keep_account
    )
    if cookie.value is not None:
        sessions.sign_out(cookie.value)
    return _browser_session(signed_in, cookie, response)


@router.post(
    "/assertion",
    response_model=BrowserSession,
    responses=problem_responses(
        "bad_assertion",
        "no_account",
        "email_not_verified",
        "second_factor_required",
        "bad_second_factor",
        "account_deletion_pending",
        "email_taken",
        "identity_taken",
        "too_many_attempts",
        "too_many_registrations",
    ),
    dependencies=[SAME_ORIGIN_SESSION],
)
def start_session_with_assertion(
    sign_in: AssertionSignIn,
    outgoing: OutgoingMailDep,
    identities: IdentitiesDep,
    sessions: SessionsDep,
    cookie: SessionCookieDep,
    binding: BindingCookieDep,
    services: ServicesDep,
    response: Response,
) -> BrowserSession:
    """Sign in a browser that came back from a sign-in provider: as `POST /session`, with an assertion instead of a password.

    The assertion is accepted only in the browser that started the sign-in. If the answer is 403 `second_factor_required` or
    `account_deletion_pending`, send it again with `otp` or `keep_account`.
    """
    signed_in = identities.sign_in(sign_in.assertion, binding=binding.value, otp=sign_in.otp, keeps_account=sign_in.keep_account)
    if cookie.value is not None:
        sessions.sign_out(cookie.value)
    binding.clear(response)
    if signed_in.mail is not None and services.settings.can_send_mail:
        outgoing.add(signed_in.mail)
    return _browser_session(signed_in.signed_in, cookie, response)


@router.post(
    "/refresh",
    response_model=BrowserSession,
    responses=problem_responses(
        "no_session", "bad_refresh_token", "refresh_token_reused", "refresh_token_superseded", "too_many_refreshes"
    ),
    dependencies=[SAME_ORIGIN_SESSION],
)
def refresh_session(sessions: SessionsDep, cookie: SessionCookieDep, response: Response) -> BrowserSession:
    """Return a new access token, and replace the refresh token in the cookie. The rules of `POST /login/refresh` apply."""
    if cookie.value is None:
        raise NoSessionError
    return _browser_session(sessions.refresh(cookie.value), cookie, response)


@router.delete("", status_code=204, responses=problem_responses(), dependencies=[SAME_ORIGIN_SESSION])
def end_session(
    request: Request,
    response: Response,
    token: TokenDep,
    session: SessionDep,
    sessions: SessionsDep,
    cookie: SessionCookieDep,
) -> None:
    """Sign out: end the session of the cookie, or without a cookie the session of the access token, and delete the cookie."""
    if cookie.value is not None:
        sessions.sign_out(cookie.value)
    elif (caller := get_caller(request, token, session)) is not None:
        sessions.sign_out_current(caller)
    cookie.clear(response)
    response.headers["Cache-Control"] = "no-store"


def _browser_session(signed_in: SignedIn, cookie: SessionCookie, response: Response) -> BrowserSession:
    cookie.set(response, signed_in.refresh_token, expires_at=signed_in.session_expires_at)
    response.headers["Cache-Control"] = "no-store"
    access_token = signed_in.access_token
    return BrowserSession(access_token=access_token.value, expires_in=access_token.expires_in, expires_at=access_token.expires_at)
