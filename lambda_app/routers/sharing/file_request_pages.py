"""The HTML page of a file request: what the owner requests, and a form whose script uploads files.

Script and style sheet are inline, and the policy names them by their digests. The script can send requests only to this API and to the
bucket.
"""

from functools import cache
from typing import Any

from starlette.responses import HTMLResponse

from lambda_app.routers.http.templating import load_template, page_source, source_digest
from lambda_app.schemas.sharing.file_requests import OpenRequest
from lambda_app.schemas.text import DIRECTION_MARKS


def request_page(file_request: OpenRequest, *, bucket_url: str) -> HTMLResponse:
    """Return the page of an open request, whose script may upload to `bucket_url`. HtmlErrorMiddleware adds the other headers."""
    return HTMLResponse(_template().render(file_request=file_request), headers={"Content-Security-Policy": _policy(bucket_url)})


@cache
def _policy(bucket_url: str) -> str:
    rules = (
        "default-src 'none'",
        f"script-src '{source_digest(_script())}'",
        f"style-src '{source_digest(_style())}'",
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
def _template() -> Any:
    return load_template(
        "file_request.html",
        filters={"without_direction_marks": _without_direction_marks},
        sources={"style": _style(), "script": _script()},
    )


def _style() -> str:
    # The style of the share pages, and the rules that only this page needs.
    return page_source("share.css", "file_request.css")


def _script() -> str:
    return page_source("file_request.js")


def _without_direction_marks(text: str) -> str:
    """Return the text without Unicode direction marks, which could make it read as something else."""
    return DIRECTION_MARKS.sub("", text)
