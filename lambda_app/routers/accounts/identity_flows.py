"""Routes of the sign-in at an identity provider, to which browsers navigate. They use no database."""

import logging
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from lambda_app.core.errors import AppError, NotFoundError
from lambda_app.core.identity.assertions import CODE_LIFETIME, Purpose
from lambda_app.core.identity.flow_cookies import FLOW_LIFETIME
from lambda_app.dependencies.identity_flows import FlowRequestDep
from lambda_app.routers.http.router import Router
from lambda_app.services.accounts.identity_flows import SignInExpiredError

SAME_SITE_FETCHES = (None, "same-origin", "none")
"""Values of `Sec-Fetch-Site` with which a sign-in may start: from the own page, from the address bar, and from old browsers."""
_APP_PAGES = {Purpose.SIGN_IN: "/sign-in", Purpose.LINK: "/settings", Purpose.PROOF: "/settings"}
"""The page of the web app to which the browser returns. Never one that the request names: that would be an open redirect."""

logger = logging.getLogger(__name__)

# Not in the OpenAPI document: programs cannot use them.
router = Router(prefix="/sign-in", include_in_schema=False)


@router.get("/{provider}")
def start_flow(provider: str, flow: FlowRequestDep, request: Request, purpose: Annotated[Purpose, Query()] = Purpose.SIGN_IN) -> Response:
    """Redirect to the provider, and set the cookie of the flow."""
    if request.headers.get("sec-fetch-site") not in SAME_SITE_FETCHES:
        # A page of another site must not start a sign-in. The person can do so on the own page.
        return _to_app(request, purpose)
    try:
        started = flow.services.flows.start(provider, purpose, redirect_uri=flow.redirect_uri(provider))
    except NotFoundError:
        raise
    except AppError as error:
        return _to_app(request, purpose, error=error)
    response = _redirect(started.url)
    flow.flow_cookie.set(response, started.cookie, max_age_seconds=int(FLOW_LIFETIME.total_seconds()))
    return response


@router.get("/{provider}/callback")
def complete_flow(provider: str, flow: FlowRequestDep, request: Request) -> Response:
    """Take the response of the provider, and redirect to the web app with an assertion in the fragment, which servers do not see."""
    parameters = dict(request.query_params)
    flows = flow.services.flows
    try:
        if len(parameters) != len(request.query_params.multi_items()):
            raise SignInExpiredError
        started = flows.find_flow(provider, flow.flow_cookie.value, parameters)
    except NotFoundError:
        raise
    except AppError as error:
        return _to_app(request, Purpose.SIGN_IN, error=error)
    try:
        completed = flows.complete(started, parameters, redirect_uri=flow.redirect_uri(provider))
    except AppError as error:
        response = _to_app(request, started.purpose, error=error)
    else:
        response = _to_app(request, started.purpose, assertion=completed.assertion)
        flow.binding_cookie.set(response, completed.binding, max_age_seconds=int(CODE_LIFETIME.total_seconds()))
    # The code of the provider is used up, also if the sign-in failed.
    flow.flow_cookie.clear(response)
    return response


def _to_app(request: Request, purpose: Purpose, *, error: AppError | None = None, assertion: str | None = None) -> Response:
    members = {"purpose": purpose.value}
    if error is not None:
        logger.info("sign-in not completed", extra={"fields": {"code": error.code, "cause": type(error.__cause__).__name__}})
        members["error"] = error.code
    if assertion is not None:
        members["assertion"] = assertion
    # Only a path, so that the Host header has no influence.
    return _redirect(f"{request.scope.get('root_path', '')}{_APP_PAGES[purpose]}#{urlencode(members)}")


def _redirect(location: str) -> Response:
    # 303: the browser goes on with GET. `no-store` keeps the assertion out of caches.
    return Response(status_code=303, headers={"Location": location, "Cache-Control": "no-store"})
