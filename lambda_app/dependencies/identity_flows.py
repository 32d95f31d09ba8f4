"""What the routes of the sign-in at identity providers need. The function that serves only them has no database and no other services."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from lambda_app.core.identity.assertions import ASSERTION_MAX_LENGTH
from lambda_app.core.identity.flow_cookies import COOKIE_MAX_LENGTH
from lambda_app.core.settings import Settings
from lambda_app.dependencies.cookies import Cookie, read_cookie
from lambda_app.factory import IdentityServices

FLOW_COOKIE = "we-upload-flow"
"""Holds the started sign-in while the person is at the provider. SameSite=Lax: the way back is a navigation from another site."""
BINDING_COOKIE = "we-upload-binding"
"""Holds the secret to which an assertion is bound."""
BINDING_MAX_LENGTH = 64
LINK_COOKIE = "we-upload-link"
"""Holds the assertion of a visitor of a share link, and the secret to which it is bound. SameSite=Lax, as the page has no script: the
browser opens it on the way back from the provider."""


@dataclass(frozen=True, slots=True)
class FlowRequest:
    """The services, the cookies of the request, and the public address of the API."""

    services: IdentityServices
    flow_cookie: Cookie
    binding_cookie: Cookie
    link_cookie: Cookie
    base_url: str

    def redirect_uri(self, provider_id: str) -> str:
        """Return the callback URL that is registered at the provider."""
        return f"{self.base_url}/sign-in/{provider_id}/callback"

    @property
    def sign_in_page(self) -> str:
        """The page of the web app to which a provider returns after a sign-out."""
        return f"{self.base_url}/sign-in"


async def get_flow_request(request: Request) -> FlowRequest:
    """Collect what a route of the flow needs."""
    services: IdentityServices = request.app.state.identity
    settings = services.settings
    cookie = read_cookie(request, settings, FLOW_COOKIE, local_path="/sign-in", same_site="lax", max_length=COOKIE_MAX_LENGTH)
    # Only a local instance may lack API_URL. Elsewhere the address never comes from the Host header, which the caller controls.
    base_url = settings.api_url or str(request.base_url).rstrip("/")
    return FlowRequest(services, cookie, binding_cookie(request, settings), link_cookie(request, settings), base_url)


def binding_cookie(request: Request, settings: Settings) -> Cookie:
    """Return the cookie that binds an assertion to the browser."""
    path = settings.api_v1_str
    return read_cookie(request, settings, BINDING_COOKIE, local_path=path, same_site="strict", max_length=BINDING_MAX_LENGTH)


def link_cookie(request: Request, settings: Settings) -> Cookie:
    """Return the cookie with the sign-in of a visitor of a share link at a provider."""
    length = ASSERTION_MAX_LENGTH + BINDING_MAX_LENGTH + 1
    return read_cookie(request, settings, LINK_COOKIE, local_path="/s", same_site="lax", max_length=length)


FlowRequestDep = Annotated[FlowRequest, Depends(get_flow_request)]
