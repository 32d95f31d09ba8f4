"""The pages behind the links in notifications: they turn notifications off, and prolong a share link or a file request.

They work without a sign-in: the token is the only credential, and a cookie is neither read nor set. GET only shows a button, because mail
programs and scanners open links by themselves. POST acts, also for mail programs that unsubscribe with one click (RFC 8058).
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from lambda_app.dependencies.services import NotificationSettingsDep, ProlongationDep
from lambda_app.routers.http.branding import Branding, branding_of
from lambda_app.routers.http.languages import preferred_language
from lambda_app.routers.http.link_template import FORM_PAGE_HEADERS, link_page_headers
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.routers.http.templating import load_template, page_source
from lambda_app.services.notifications.page_texts import PageTexts, page_texts_for
from lambda_app.services.notifications.prolongation import PROLONGED_BY, Expiry
from lambda_app.services.notifications.settings import AddressedUnsubscription, NotificationLinkError
from lambda_app.services.notifications.texts import exact_time

router = Router(tags=["notifications"])

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
    texts = _texts(request, found.locale)
    return _page(request, texts, texts.turn_off_question, items=_names(found, texts), button=texts.turn_off)


@router.post("/unsubscribe/{token}", response_class=HTMLResponse, responses=_RESPONSES)
def unsubscribe(token: str, request: Request, settings: NotificationSettingsDep) -> HTMLResponse:
    """Turn off the notifications that the link of a mail names. Mail programs call it with one click (RFC 8058). Idempotent."""
    try:
        found = settings.unsubscribe(token)
    except NotificationLinkError as error:
        return _refusal(request, error)
    texts = _texts(request, found.locale)
    return _page(request, texts, texts.is_off, texts.turn_on_again, items=_names(found, texts))


@router.get("/prolong/{token}", response_class=HTMLResponse, responses=_RESPONSES)
def show_prolongation(token: str, request: Request, prolongation: ProlongationDep) -> HTMLResponse:
    """Show the share link or file request that the link of a mail prolongs, with a button. Changes nothing."""
    try:
        found = prolongation.require(token)
    except NotificationLinkError as error:
        return _refusal(request, error)
    texts, days = _texts(request, found.owner.locale), PROLONGED_BY.days
    of_kind = texts.prolongation[found.kind]
    return _page(request, texts, of_kind.question, of_kind.expires(_time(found, texts), days), button=texts.keep_open(days))


@router.post("/prolong/{token}", response_class=HTMLResponse, responses=_RESPONSES)
def prolong_link(token: str, request: Request, prolongation: ProlongationDep) -> HTMLResponse:
    """Move the expiry of a share link or a file request by seven days. The link of a mail works once."""
    try:
        found = prolongation.prolong(token)
    except NotificationLinkError as error:
        return _refusal(request, error)
    texts = _texts(request, found.owner.locale)
    of_kind = texts.prolongation[found.kind]
    return _page(request, texts, of_kind.prolonged, of_kind.expires_now(_time(found, texts)))


def _texts(request: Request, locale: str | None = None) -> PageTexts:
    """Return the texts in the language of the account, as its mails have it; without one, in that of the browser, else in the default."""
    default: str = request.app.state.services.settings.default_language
    return page_texts_for(locale or preferred_language(request.headers.get("accept-language")) or default)


def _names(found: AddressedUnsubscription, texts: PageTexts) -> list[str]:
    return [name for kind, name in texts.names.items() if kind in found.kinds]


def _time(found: Expiry, texts: PageTexts) -> str:
    return exact_time(found.expires_at, texts.of_mails, found.owner.time_zone)


def _refusal(request: Request, error: NotificationLinkError) -> HTMLResponse:
    # One page for all reasons: it does not tell whether an account exists.
    texts = _texts(request)
    return _page(request, texts, texts.refusal, texts.refusal_advice, status=error.status)


def _page(
    request: Request,
    texts: PageTexts,
    title: str,
    *paragraphs: str,
    items: Sequence[str] = (),
    button: str | None = None,
    status: int = 200,
) -> HTMLResponse:
    branding = branding_of(request.scope)
    page = _template(branding).render(
        base=request.scope.get("root_path", ""),
        language=texts.language,
        footer=texts.footer,
        title=title,
        texts=paragraphs,
        items=items,
        button=button,
        report_path=None,
    )
    headers = {"Content-Language": texts.language, **link_page_headers(branding), **FORM_PAGE_HEADERS}
    return HTMLResponse(page, status_code=status, headers=headers)


@cache
def _template(branding: Branding) -> Any:
    style = page_source("tokens.css", "share.css") + branding.style
    return load_template("notice.html", filters={}, sources={"style": style}, brand=branding)
