"""The pages behind the links in notifications: they turn notifications off, and prolong a share link.

They work without a sign-in: the token is the only credential, and a cookie is neither read nor set. GET only shows a button, because mail
programs and scanners open links by themselves. POST acts, also for mail programs that unsubscribe with one click (RFC 8058).
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from lambda_app.core.security.notification_tokens import Unsubscription
from lambda_app.dependencies.services import LinkProlongationDep, NotificationSettingsDep
from lambda_app.models import NotificationKind
from lambda_app.routers.http.branding import Branding, branding_of
from lambda_app.routers.http.link_template import FORM_PAGE_HEADERS, link_page_headers
from lambda_app.routers.http.page_formats import exact_time
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.routers.http.templating import load_template, page_source
from lambda_app.services.notifications.prolongation import PROLONGED_BY
from lambda_app.services.notifications.settings import NotificationLinkError

router = Router(tags=["notifications"])

_NAMES = {
    NotificationKind.LINK_DOWNLOADS: "Downloads of your share links",
    NotificationKind.REQUEST_UPLOADS: "Files received through your file requests",
    NotificationKind.LINK_EXPIRY: "Share links that expire within a day",
    NotificationKind.NEW_SIGN_INS: "Sign-ins from a new network or browser",
}
_PAGE = {"text/html": {"schema": {"type": "string"}}}
_RESPONSES: dict[int | str, dict[str, Any]] = {200: {"content": _PAGE}, **problem_responses("link_expired")}
_RESPONSES[410]["content"] |= _PAGE


@router.get("/unsubscribe/{token}", response_class=HTMLResponse, responses=_RESPONSES)
def show_unsubscription(token: str, request: Request, settings: NotificationSettingsDep) -> HTMLResponse:
    """Show which notifications the link of a mail turns off, with a button. Changes nothing."""
    try:
        found = settings.require_unsubscription(token)
    except NotificationLinkError as error:
        return _refusal(request, error)
    return _page(request, "Turn these mails off?", items=_names(found), button="Turn off")


@router.post("/unsubscribe/{token}", response_class=HTMLResponse, responses=_RESPONSES)
def unsubscribe(token: str, request: Request, settings: NotificationSettingsDep) -> HTMLResponse:
    """Turn off the notifications that the link of a mail names. Mail programs call it with one click (RFC 8058). Idempotent."""
    try:
        found = settings.unsubscribe(token)
    except NotificationLinkError as error:
        return _refusal(request, error)
    return _page(request, "These mails are off", "You can turn them on again in the settings of your account.", items=_names(found))


@router.get("/prolong/{token}", response_class=HTMLResponse, responses=_RESPONSES)
def show_prolongation(token: str, request: Request, prolongation: LinkProlongationDep) -> HTMLResponse:
    """Show the share link that the link of a mail prolongs, with a button. Changes nothing."""
    try:
        expires_at = prolongation.require(token)
    except NotificationLinkError as error:
        return _refusal(request, error)
    text = f"Your share link expires on {exact_time(expires_at)}. It can stay open for {PROLONGED_BY.days} more days."
    return _page(request, "Keep the share link open?", text, button=f"Keep open for {PROLONGED_BY.days} more days")


@router.post("/prolong/{token}", response_class=HTMLResponse, responses=_RESPONSES)
def prolong_link(token: str, request: Request, prolongation: LinkProlongationDep) -> HTMLResponse:
    """Move the expiry of a share link by seven days. The link of a mail works once."""
    try:
        expires_at = prolongation.prolong(token)
    except NotificationLinkError as error:
        return _refusal(request, error)
    return _page(request, "The share link stays open", f"It now expires on {exact_time(expires_at)}.")


def _names(found: Unsubscription) -> list[str]:
    return [name for kind, name in _NAMES.items() if kind in found.kinds]


def _refusal(request: Request, error: NotificationLinkError) -> HTMLResponse:
    # One page for all reasons: it does not tell whether an account exists.
    return _page(request, "This link does not work any more", "Sign in and use the settings of your account.", status=error.status)


def _page(
    request: Request, title: str, *texts: str, items: Sequence[str] = (), button: str | None = None, status: int = 200
) -> HTMLResponse:
    branding = branding_of(request.scope)
    base = request.scope.get("root_path", "")
    page = _template(branding).render(base=base, title=title, texts=texts, items=items, button=button, report_path=None)
    return HTMLResponse(page, status_code=status, headers=link_page_headers(branding) | FORM_PAGE_HEADERS)


@cache
def _template(branding: Branding) -> Any:
    style = page_source("tokens.css", "share.css") + branding.style
    return load_template("notice.html", filters={}, sources={"style": style}, brand=branding)
