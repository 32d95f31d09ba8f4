"""Browser sessions: the cookie with the refresh token, and the checks against cross-site requests (docs/adr/0023-browser-sessions.md)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from lambda_app.core import clock
from lambda_app.core.errors import PermissionDeniedError
from lambda_app.dependencies.cookies import Cookie, read_cookie
from lambda_app.dependencies.identity_flows import binding_cookie
from lambda_app.dependencies.same_origin import is_same_origin
from lambda_app.dependencies.services import ServicesDep
from lambda_app.schemas.accounts.sessions import SECRET_MAX_LENGTH

SESSION_HEADER = "X-We-Upload-Session"
SESSION_HEADER_VALUE = "1"
COOKIE_NAME = "we-upload-session"


class SessionHeaderMissingError(PermissionDeniedError):
    """The request lacks the header that a page of another origin cannot send."""

    code = "session_header_missing"
    message = f"Send the header {SESSION_HEADER}: {SESSION_HEADER_VALUE}"


class CrossOriginSessionError(PermissionDeniedError):
    """A page of another origin sent the request."""

    code = "cross_origin_session"
    message = "Pages of other origins cannot use the sessions of this site; use /login/token instead"


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """The cookie with the refresh token, and its value in this request."""

    cookie: Cookie

    @property
    def value(self) -> str | None:
        """The refresh token; None if the browser has no session."""
        return self.cookie.value

    def set(self, response: Response, refresh_token: str, *, expires_at: datetime) -> None:
        """Set the cookie. The browser deletes it when the session ends."""
        self.cookie.set(response, refresh_token, max_age_seconds=max(0, int((expires_at - clock.now()).total_seconds())))

    def clear(self, response: Response) -> None:
        """Delete the cookie."""
        self.cookie.clear(response)


async def get_session_cookie(request: Request, services: ServicesDep) -> SessionCookie:
    """Return the session cookie of this instance of the API."""
    path = f"{services.settings.api_v1_str}/session"
    return SessionCookie(
        read_cookie(request, services.settings, COOKIE_NAME, local_path=path, same_site="strict", max_length=SECRET_MAX_LENGTH)
    )


async def get_binding_cookie(request: Request, services: ServicesDep) -> Cookie:
    """Return the cookie that binds an assertion to the browser that started the sign-in at an identity provider."""
    return binding_cookie(request, services.settings)


async def require_same_origin_session(
    request: Request,
    services: ServicesDep,
    session_header: Annotated[
        str | None, Header(alias=SESSION_HEADER, description="Always `1`. A page of another origin cannot send it.")
    ] = None,
) -> None:
    """Refuse a request that a page of another origin may have sent. Raises SessionHeaderMissingError, CrossOriginSessionError.

    Three independent checks: the cookie is SameSite=Strict, the header makes browsers ask with a CORS preflight first, and the browser
    itself names the origin of the page.
    """
    if session_header != SESSION_HEADER_VALUE:
        raise SessionHeaderMissingError
    settings = services.settings
    # A browser that sends neither header does not show that the page is ours.
    if not is_same_origin(request, settings.api_url, trusted_origins=settings.backend_cors_origins, accepts_programs=False):
        raise CrossOriginSessionError


SessionCookieDep = Annotated[SessionCookie, Depends(get_session_cookie)]
BindingCookieDep = Annotated[Cookie, Depends(get_binding_cookie)]
SAME_ORIGIN_SESSION = Depends(require_same_origin_session)
