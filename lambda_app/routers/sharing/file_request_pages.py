"""The HTML page of a file request: what the owner requests, and a form whose script uploads files.

Script and style sheet are inline, and the policy names them by their digests. The script can send requests only to this API and to the
bucket.
"""

from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse

from lambda_app.routers.http.branding import Branding, branding_of
from lambda_app.routers.http.page_formats import FILTERS
from lambda_app.routers.http.templating import load_template, page_source, source_digest
from lambda_app.schemas.sharing.file_requests import OpenRequest
from lambda_app.schemas.text import DIRECTION_MARKS


def request_page(request: Request, file_request: OpenRequest, *, bucket_url: str) -> HTMLResponse:
    """Return the page of an open request, whose script may upload to `bucket_url`. HtmlErrorMiddleware adds the other headers."""
    branding = branding_of(request.scope)
    page = _template(branding).render(file_request=file_request, base=request.scope.get("root_path", ""), report_path=request.url.path)
    return HTMLResponse(page, headers={"Content-Security-Policy": _policy(branding, bucket_url)})


@cache
def _policy(branding: Branding, bucket_url: str) -> str:
    rules = (
        "default-src 'none'",
        f"script-src '{source_digest(_script())}'",
        f"style-src '{source_digest(_style(branding))}'",
        *(() if branding.logo is None else ("img-src 'self'",)),
        # The trailing slash limits the rule to this bucket where the bucket's name is part of the path.
        f"connect-src 'self' {bucket_url}/",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        # The script creates elements and sets their text; it never parses markup.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return "; ".join(rules)


@cache
def _template(branding: Branding) -> Any:
    return load_template(
        "file_request.html",
        filters={**FILTERS, "without_direction_marks": _without_direction_marks},
        sources={"style": _style(branding), "script": _script()},
        brand=branding,
    )


def _style(branding: Branding) -> str:
    # The style of the share pages, and the rules that only this page needs.
    return page_source("tokens.css", "share.css", "file_request.css") + branding.style


def _script() -> str:
    return page_source("file_request.js")


def _without_direction_marks(text: str) -> str:
    """Return the text without Unicode direction marks, which could make it read as something else."""
    return DIRECTION_MARKS.sub("", text)
