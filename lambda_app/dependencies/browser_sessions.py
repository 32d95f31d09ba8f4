"""Browser sessions: the cookie with the refresh token, and the checks against cross-site requests (docs/adr/0023-browser-sessions.md)."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from lambda_app.core import clock
from lambda_app.core.errors import PermissionDeniedError
from lambda_app.dependencies.same_origin import is_same_origin
from lambda_app.dependencies.services import ServicesDep
from lambda_app.schemas.accounts.sessions import SECRET_MAX_LENGTH

SESSION_HEADER = "X-We-Upload-Session"
SESSION_HEADER_VALUE = "1"
COOKIE_NAME = "we-upload-session"
HOST_PREFIX = "__Host-"
"""Browsers store a cookie with this prefix only if it is Secure, has `Path=/` and no domain (RFC 6265bis), so no other host can set it."""

_LOOPBACK = re.compile(r"localhost|127\.0\.0\.1|\[::1\]")
_HOST = re.compile(r"([^:\[\]]*|\[[0-9a-f:.]*\])(?::([0-9]{1,5}))?", re.IGNORECASE)


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
    """The name and attributes of the cookie, and its value in this request."""

    name: str
    path: str
    is_secure: bool
    value: str | None

    def set(self, response: Response, refresh_token: str, *, expires_at: datetime) -> None:
        """Set the cookie. The browser deletes it when the session ends."""
        self._set(response, refresh_token, max_age_seconds=max(0, int((expires_at - clock.now()).total_seconds())))

    def clear(self, response: Response) -> None:
        """Delete the cookie."""
        self._set(response, "", max_age_seconds=0)

    def _set(self, response: Response, value: str, *, max_age_seconds: int) -> None:
        response.set_cookie(
            self.name, value, max_age=max_age_seconds, path=self.path, secure=self.is_secure, httponly=True, samesite="strict"
        )


async def get_session_cookie(request: Request, services: ServicesDep) -> SessionCookie:
    """Return the cookie of this instance of the API.

    Cookies do not distinguish ports, and with the prefix not paths either: the name contains the stage and the port, so that two
    instances on one host do not share it. Over plain HTTP, which only a local instance on a loopback address serves, browsers would not
    store a Secure cookie.
    """
    host, port = _host_and_port(request)
    stage = request.scope.get("root_path", "").strip("/").replace("/", "+")
    name = ".".join(part for part in (COOKIE_NAME, stage, port) if part)
    if services.settings.is_local and request.url.scheme == "http" and _LOOPBACK.fullmatch(host):
        path, is_secure = f"{request.scope.get('root_path', '')}{services.settings.api_v1_str}/session", False
    else:
        name, path, is_secure = f"{HOST_PREFIX}{name}", "/", True
    value = request.cookies.get(name)
    return SessionCookie(name, path, is_secure, value if value and len(value) <= SECRET_MAX_LENGTH else None)


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


def _host_and_port(request: Request) -> tuple[str, str]:
    match = _HOST.fullmatch(request.headers.get("host", ""))
    return ("", "") if match is None else (match[1].lower(), match[2] or "")


SessionCookieDep = Annotated[SessionCookie, Depends(get_session_cookie)]
SAME_ORIGIN_SESSION = Depends(require_same_origin_session)
