"""Renders refusals at share links and file requests as HTML pages for browsers, and adds the security headers of those pages."""

import json
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_app.core.errors import LinkNotFoundError
from lambda_app.core.identity.http import ProviderUnavailableError
from lambda_app.core.identity.id_tokens import BadIdTokenError
from lambda_app.dependencies.callers import services_of
from lambda_app.dependencies.cookies import Cookie
from lambda_app.dependencies.identity_flows import link_cookie
from lambda_app.routers.http.branding import branding_of
from lambda_app.routers.http.link_template import FORM_PAGE_HEADERS, link_page_headers, render_link_page
from lambda_app.routers.http.problems import PROBLEM_MEDIA_TYPE
from lambda_app.routers.http.request_classification import prefers_html
from lambda_app.schemas.sharing.shares import canonical_address
from lambda_app.services.accounts.identity_flows import SignInCancelledError, SignInExpiredError

_FORMS = {
    "share_password_required": "password",
    "wrong_share_password": "password",
    "not_authenticated": "sign_in",
    "bad_credentials": "sign_in",
    "email_not_verified": "sign_in",
    "account_deletion_pending": "sign_in",
    "password_sign_in_closed": "sign_in",
    "bad_assertion": "sign_in",
    "no_account": "sign_in",
    "second_factor_required": "sign_in_with_code",
    "bad_second_factor": "sign_in_with_code",
}
"""The form on the page, by error code."""
_PROMPTS = ("share_password_required", "not_authenticated")
"""Codes of responses that only request credentials; a browser that opens the link gets them as a page with status 200."""
_KEEPS_PROVIDER_SIGN_IN = ("not_authenticated", "second_factor_required", "bad_second_factor")
"""Codes after which a sign-in at a provider is still of use. After all others, its cookie is deleted, so that the page offers a new one."""
_SIGN_IN_PROBLEMS = {
    error.code: error.message for error in (SignInExpiredError, SignInCancelledError, BadIdTokenError, ProviderUnavailableError)
}
"""What the page shows when the browser comes back from a provider without a sign-in, by the code in its address."""
_CLOSED = ("link_not_found", "not_found")
"""Codes of links that are not open. One page for all reasons, so that it does not reveal which."""
_REFRESHED = ("database_starting", "file_not_scanned")
"""Codes of pages that reload after the seconds of Retry-After."""
_TITLES: dict[str | int, str] = {
    "password": "This link has a password",
    "sign_in": "Sign in to open this link",
    "sign_in_with_code": "Enter the code",
    "archive_not_found": "This zip does not exist",
    "archive_expired": "This zip has expired",
    "too_many_archives": "Too many zips at once",
    "no_room": "No zip of these files",
    "database_starting": "One moment",
    "file_not_scanned": "The file is being scanned",
    "file_infected": "The file is not safe",
    "file_unscannable": "The file cannot be scanned",
    404: "This link is not available",
    429: "Too many attempts",
    503: "Not available right now",
}
"""Page titles by form or error code, else by status."""


class HtmlErrorMiddleware:
    """ASGI middleware: adds missing security headers to each response at a link, and renders errors as HTML if the client prefers it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, with_html_errors(scope, send))


def with_html_errors(scope: Scope, send: Send) -> Send:
    """Wrap `send` to render HTML errors. RequestMiddleware also calls it for refusals that never reach HtmlErrorMiddleware."""
    path = _link_path(scope)
    if path is None:
        return send
    is_html = prefers_html(Headers(scope=scope).get("accept", ""))
    return _HtmlErrorResponse(send, scope, path, is_html=is_html).send


class _HtmlErrorResponse:
    """Sends one response. It holds the headers of a problem until the body has arrived, from which it renders the page."""

    def __init__(self, send: Send, scope: Scope, path: str, *, is_html: bool) -> None:
        self._send = send
        self._branding = branding_of(scope)
        self._root_path = scope.get("root_path", "")
        self._path = path
        self._scope = scope
        self._is_get = scope["method"] == "GET"
        self._is_html = is_html
        self._held: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in link_page_headers(self._branding).items():
                headers.setdefault(name, value)
            headers.add_vary_header("Accept")
            if self._is_html and headers.get("content-type") == PROBLEM_MEDIA_TYPE:
                self._held = message
                return
        if self._held is not None and message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_page(self._held, json.loads(self._body))
            return
        await self._send(message)

    async def _send_page(self, start: Message, problem: dict[str, Any]) -> None:
        status, code = problem["status"], problem["code"]
        is_prompt = self._is_get and code in _PROMPTS
        form = _FORMS.get(code)
        is_sign_in = form in ("sign_in", "sign_in_with_code")
        page = render_link_page(
            self._branding,
            root_path=self._root_path,
            title=_TITLES.get(_FORMS.get(code, code)) or _TITLES.get(status, "Something went wrong"),
            form=form,
            is_closed=code in _CLOSED,
            action=self._path,
            message=self._sign_in_problem() if is_prompt else LinkNotFoundError.message if code in _CLOSED else problem["detail"],
            has_back_link=code not in (*_FORMS, *_CLOSED),
            **(self._sign_in_options(code) if is_sign_in else {}),
        ).encode()
        headers = MutableHeaders(raw=[pair for pair in start["headers"] if pair[0] not in (b"content-type", b"content-length")])
        headers["Content-Type"] = "text/html; charset=utf-8"
        headers["Content-Length"] = str(len(page))
        headers.update(FORM_PAGE_HEADERS)
        if is_sign_in and self._provider_sign_in is not None and code not in _KEEPS_PROVIDER_SIGN_IN:
            deleted = Response()
            self._provider_sign_in.clear(deleted)
            headers.append("Set-Cookie", deleted.headers["Set-Cookie"])
        if self._is_get and code in _REFRESHED:
            # The browser repeats the request by itself, also where scripts are off. A form would have to be sent again.
            headers["Refresh"] = headers["Retry-After"]
        await self._send({**start, "status": 200 if is_prompt else status, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": page})

    @cached_property
    def _provider_sign_in(self) -> Cookie | None:
        """The cookie of a sign-in at a provider, if the request has one."""
        cookie = link_cookie(Request(self._scope), services_of(Request(self._scope)).settings)
        return cookie if cookie.value else None

    def _sign_in_options(self, code: str) -> dict[str, Any]:
        """Return the values of the sign-in form."""
        settings = services_of(Request(self._scope)).settings
        return {
            "has_provider_sign_in": self._provider_sign_in is not None and code in _KEEPS_PROVIDER_SIGN_IN,
            "providers": settings.identity_providers,
            "takes_password": settings.password_sign_in,
            "link": self._path.rpartition("/")[2],
        }

    def _sign_in_problem(self) -> str | None:
        """Return why the browser comes back from a provider without a sign-in. A text of ours: the address can have any code."""
        codes = parse_qs(self._scope["query_string"].decode("latin-1")).get("sign_in", [""])
        return _SIGN_IN_PROBLEMS.get(codes[-1])


def _link_path(scope: Scope) -> str | None:
    """Return the path of the share link or file request that the request is for, or None for other requests."""
    if scope["type"] != "http":
        return None
    root = scope.get("root_path", "")
    parts = scope["path"].removeprefix(root).split("/")
    if parts[:2] not in (["", "s"], ["", "r"]) or len(parts) == 2:
        return None
    return quote(f"{root}/{parts[1]}/{canonical_address(parts[2]) if parts[1] == 's' else parts[2]}")
