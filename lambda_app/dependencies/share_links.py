"""Who opens a link, and with which proof."""

import json
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from lambda_app.core.errors import MalformedRequestError, PermissionDeniedError
from lambda_app.dependencies.auth import CallerDep
from lambda_app.schemas.sharing.shares import ShareCredentials
from lambda_app.services.sharing.share_links import Visitor

PASS_HEADER = "X-Share-Pass"  # noqa: S105 - a header's name
FORM_TYPE = "application/x-www-form-urlencoded"
FORM_FIELDS_MAX = 10


class CrossSiteFormError(PermissionDeniedError):
    """A form on somebody else's page was sent to us."""

    code = "cross_site_form"
    message = "This form can only be sent from our own page"


@dataclass(frozen=True, slots=True)
class SubmittedCredentials:
    """What somebody typed, and whether into the form of our page."""

    proof: ShareCredentials
    is_form: bool


def pass_cookie(request: Request) -> str:
    """Return the name of the cookie that holds a pass. Over TLS its prefix keeps plain connections from setting it (RFC 6265bis)."""
    return "__Secure-share-pass" if request.url.scheme == "https" else "share-pass"


async def get_visitor(request: Request, caller: CallerDep) -> Visitor:
    """Return who opens the link: the signed-in user, and the pass of the header or of the page's cookie."""
    return Visitor(caller, request.headers.get(PASS_HEADER) or request.cookies.get(pass_cookie(request)))


def require_own_page(request: Request) -> None:
    """Let pass what our own page sent, or no page. Raises CrossSiteFormError."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise CrossSiteFormError


async def get_proof(request: Request) -> SubmittedCredentials:
    """Read a JSON body or the page's form. Raises RequestValidationError, MalformedRequestError, CrossSiteFormError."""
    body = await request.body()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_form = media_type == FORM_TYPE
    if media_type != "application/json":
        # Only for that one does a browser ask us before it sends what a stranger's page has written.
        require_own_page(request)
    try:
        typed: Any = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)) if is_form else json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedRequestError from error
    try:
        return SubmittedCredentials(ShareCredentials.model_validate(typed), is_form)
    except ValidationError as error:
        raise RequestValidationError([{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors()]) from error


VisitorDep = Annotated[Visitor, Depends(get_visitor, scope="function")]
ProofDep = Annotated[SubmittedCredentials, Depends(get_proof)]
