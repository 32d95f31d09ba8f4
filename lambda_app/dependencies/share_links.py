"""The visitor of a share link, and the credentials that the visitor submits."""

import json
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from lambda_app.core.errors import MalformedRequestError
from lambda_app.dependencies.auth import CallerDep
from lambda_app.dependencies.callers import CredentialDep
from lambda_app.dependencies.cookies import Cookie
from lambda_app.dependencies.identity_flows import link_cookie
from lambda_app.dependencies.same_origin import require_same_origin
from lambda_app.dependencies.services import ServicesDep
from lambda_app.schemas.sharing.shares import ShareCredentials
from lambda_app.services.accounts.callers import SubmittedCredential
from lambda_app.services.sharing.share_links import ProviderSignIn, Visitor

SHARE_TOKEN_HEADER = "X-Share-Pass"  # noqa: S105 - a header's name
FORM_TYPE = "application/x-www-form-urlencoded"
FORM_FIELDS_MAX = 10


@dataclass(frozen=True, slots=True)
class SubmittedCredentials:
    """Submitted credentials, and whether they come from the HTML form."""

    credentials: ShareCredentials
    is_form: bool


def share_token_cookie(request: Request) -> str:
    """Return the name of the cookie with the share token. The prefix stops plain HTTP connections from setting it (RFC 6265bis)."""
    return "__Secure-share-pass" if request.url.scheme == "https" else "share-pass"


async def get_visitor(request: Request, caller: CallerDep) -> Visitor:
    """Return the visitor: the signed-in user, and the share token from the header or from the page's cookie."""
    return Visitor(caller, submitted_share_token(request))


def submitted_share_token(request: Request) -> str | None:
    """Return the share token from the header or from the page's cookie, not verified."""
    return request.headers.get(SHARE_TOKEN_HEADER) or request.cookies.get(share_token_cookie(request))


async def get_link_visitor(request: Request, credential: CredentialDep) -> tuple[SubmittedCredential | None, str | None]:
    """Return the credential and the share token of a visitor that a statement authenticates."""
    return credential, submitted_share_token(request)


async def read_share_credentials(request: Request, services: ServicesDep) -> SubmittedCredentials:
    """Read the credentials from a JSON body or the HTML form. Raises RequestValidationError, MalformedRequestError, CrossSiteFormError."""
    body = await request.body()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_form = media_type == FORM_TYPE
    if media_type != "application/json":
        # Browsers send a CORS preflight only for JSON; other types reach the server from any page.
        require_same_origin(request, services.settings.api_url)
    try:
        content: Any = (
            dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)) if is_form else json.loads(body)
        )
    except (ValueError, RecursionError) as error:
        raise MalformedRequestError from error
    try:
        return SubmittedCredentials(ShareCredentials.model_validate(content), is_form)
    except ValidationError as error:
        raise RequestValidationError([{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors()]) from error


@dataclass(frozen=True, slots=True)
class ProviderSignInCookie:
    """The cookie with the sign-in of the visitor at an identity provider."""

    cookie: Cookie

    @property
    def value(self) -> ProviderSignIn | None:
        """The sign-in, not verified; None if the browser has none."""
        assertion, separator, binding = (self.cookie.value or "").partition("~")
        return ProviderSignIn(assertion, binding) if separator else None

    def clear(self, response: Response) -> None:
        """Delete the cookie, if the browser has one: a sign-in opens one link, once."""
        if self.cookie.value is not None:
            self.cookie.clear(response)


async def get_provider_sign_in(request: Request, services: ServicesDep) -> ProviderSignInCookie:
    """Return the cookie of this instance of the API."""
    return ProviderSignInCookie(link_cookie(request, services.settings))


LinkVisitorDep = Annotated[tuple[SubmittedCredential | None, str | None], Depends(get_link_visitor)]
VisitorDep = Annotated[Visitor, Depends(get_visitor, scope="function")]
ProviderSignInDep = Annotated[ProviderSignInCookie, Depends(get_provider_sign_in)]
ShareCredentialsDep = Annotated[SubmittedCredentials, Depends(read_share_credentials)]
