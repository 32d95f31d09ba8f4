"""Routes of the sign-in at an identity provider, to which browsers navigate. They use no database."""

import logging
import re
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from lambda_app.core.errors import AppError, NotFoundError
from lambda_app.core.identity.assertions import CODE_LIFETIME, Purpose
from lambda_app.core.identity.flow_cookies import FLOW_LIFETIME
from lambda_app.dependencies.identity_flows import FlowRequest, FlowRequestDep
from lambda_app.routers.http.router import Router
from lambda_app.services.accounts.identity_flows import SignInExpiredError

SAME_SITE_FETCHES = (None, "same-origin", "none")
"""Values of `Sec-Fetch-Site` with which a sign-in may start: from the own page, from the address bar, and from old browsers."""
_APP_PAGES = {Purpose.SIGN_IN: "/sign-in", Purpose.LINK: "/settings", Purpose.PROOF: "/settings", Purpose.OPEN_LINK: "/sign-in"}
"""The page of the web app to which the browser returns. Never one that the request names: that would be an open redirect."""
_LINK = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The last segment of a share link: a token or a slug. The browser returns to this link, or to the web app if it is malformed."""

logger = logging.getLogger(__name__)

# Not in the OpenAPI document: programs cannot use them.
router = Router(prefix="/sign-in", include_in_schema=False)


@router.get("/{provider}")
def start_flow(
    provider: str,
    flow: FlowRequestDep,
    request: Request,
    purpose: Annotated[Purpose | Literal["sign_out"], Query()] = Purpose.SIGN_IN,
    link: Annotated[str, Query()] = "",
) -> Response:
    """Redirect to the provider, and set the cookie of the flow. With `sign_out`, redirect to the provider's sign-out."""
    if purpose == "sign_out":
        return _sign_out(provider, flow, request)
    link = link if purpose is Purpose.OPEN_LINK and _LINK.fullmatch(link) else ""
    if request.headers.get("sec-fetch-site") not in SAME_SITE_FETCHES:
        # A page of another site must not start a sign-in. The person can do so on the own page.
        return _back(request, purpose, link)
    try:
        started = flow.services.flows.start(provider, purpose, redirect_uri=flow.redirect_uri(provider), link=link)
    except NotFoundError:
        raise
    except AppError as error:
        return _back(request, purpose, link, error=error)
    response = _redirect(started.url)
    flow.flow_cookie.set(response, started.cookie, max_age_seconds=int(FLOW_LIFETIME.total_seconds()))
    return response


def _sign_out(provider: str, flow: FlowRequest, request: Request) -> Response:
    if request.headers.get("sec-fetch-site") not in SAME_SITE_FETCHES:
        return _back(request, Purpose.SIGN_IN)
    try:
        return _redirect(flow.services.flows.sign_out_url(provider, return_uri=flow.sign_in_page))
    except NotFoundError:
        raise
    except AppError as error:
        return _back(request, Purpose.SIGN_IN, error=error)


@router.get("/{provider}/callback")
def complete_flow(provider: str, flow: FlowRequestDep, request: Request) -> Response:
    """Take the response of the provider, and redirect to the web app with an assertion in the fragment, which servers do not see.

    The page of a share link has no script that could read a fragment: it gets the assertion in a cookie.
    """
    parameters = dict(request.query_params)
    flows = flow.services.flows
    try:
        if len(parameters) != len(request.query_params.multi_items()):
            raise SignInExpiredError
        started = flows.find_flow(provider, flow.flow_cookie.value, parameters)
    except NotFoundError:
        raise
    except AppError as error:
        return _back(request, Purpose.SIGN_IN, error=error)
    try:
        completed = flows.complete(started, parameters, redirect_uri=flow.redirect_uri(provider))
    except AppError as error:
        response = _back(request, started.purpose, started.link, error=error)
    else:
        max_age = int(CODE_LIFETIME.total_seconds())
        if started.purpose is Purpose.OPEN_LINK:
            response = _back(request, started.purpose, started.link)
            flow.link_cookie.set(response, f"{completed.assertion}~{completed.binding}", max_age_seconds=max_age)
        else:
            response = _back(request, started.purpose, assertion=completed.assertion)
            flow.binding_cookie.set(response, completed.binding, max_age_seconds=max_age)
    # The code of the provider is used up, also if the sign-in failed.
    flow.flow_cookie.clear(response)
    return response


def _back(request: Request, purpose: Purpose, link: str = "", *, error: AppError | None = None, assertion: str | None = None) -> Response:
    """Redirect to the page that started the sign-in: of the web app, or of a share link."""
    members = {"purpose": purpose.value}
    if error is not None:
        logger.info("sign-in not completed", extra={"fields": {"code": error.code, "cause": type(error.__cause__).__name__}})
        members["error"] = error.code
    if assertion is not None:
        members["assertion"] = assertion
    # Only a path, so that the Host header has no influence.
    if link:
        query = f"?{urlencode({'sign_in': error.code})}" if error is not None else ""
        return _redirect(f"{request.scope.get('root_path', '')}/s/{link}{query}")
    return _redirect(f"{request.scope.get('root_path', '')}{_APP_PAGES[purpose]}#{urlencode(members)}")


def _redirect(location: str) -> Response:
    # 303: the browser goes on with GET. `no-store` keeps the assertion out of caches.
    return Response(status_code=303, headers={"Location": location, "Cache-Control": "no-store"})
