"""The page of a file request: what is asked for, and a form whose script sends files, for people at a browser.

The one script and the one style sheet are in the page, and the policy names them by their digests. The script may ask this API and
send to the bucket, and nobody else.
"""

import re
from functools import cache
from typing import Any

from starlette.responses import HTMLResponse

from lambda_app.routers.http.templating import load_template, page_source, source_digest
from lambda_app.schemas.sharing.file_requests import OpenRequest

_DIRECTION_MARKS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def request_page(asked: OpenRequest, *, bucket_url: str) -> HTMLResponse:
    """Return the page of an open request, whose script may send to `bucket_url`. The other headers are those of all links."""
    return HTMLResponse(_template().render(asked=asked), headers={"Content-Security-Policy": _policy(bucket_url)})


@cache
def _policy(bucket_url: str) -> str:
    rules = (
        "default-src 'none'",
        f"script-src '{source_digest(_script())}'",
        f"style-src '{source_digest(_style())}'",
        # With the slash it is this bucket, also where its name stands in the path.
        f"connect-src 'self' {bucket_url}/",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        # The script makes elements and fills in text, and never reads markup.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return "; ".join(rules)


@cache
def _template() -> Any:
    return load_template("guest.html", filters={"unturned": _without_direction_marks}, sources={"style": _style(), "script": _script()})


def _style() -> str:
    # The looks of the share links' pages, and what those do not have.
    return page_source("link.css", "guest.css")


def _script() -> str:
    return page_source("guest.js")


def _without_direction_marks(text: str) -> str:
    """Return the text without the marks that turn text round, which would show it as something else."""
    return _DIRECTION_MARKS.sub("", text)
