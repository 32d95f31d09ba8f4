"""The page of a file request: what is asked for, and a form whose script sends files, for people at a browser.

The one script and the one style sheet are in the page, and the policy names them by their digests. The script may ask this API and
send to the bucket, and nobody else.
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from starlette.responses import HTMLResponse

from lambda_app.schemas.file_request import OpenRequest

PAGES = Path(__file__).with_name("pages")

_MARKS_OF_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def request_page(asked: OpenRequest, *, bucket_url: str) -> HTMLResponse:
    """Return the page of an open request, whose script may send to `bucket_url`. The other headers are those of all links."""
    return HTMLResponse(_template().render(asked=asked), headers={"Content-Security-Policy": _policy(bucket_url)})


@cache
def _policy(bucket_url: str) -> str:
    rules = (
        "default-src 'none'",
        f"script-src '{_digest(_script())}'",
        f"style-src '{_digest(_style())}'",
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


def _digest(source: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


@cache
def _style() -> str:
    # The looks of the share links' pages, and what those do not have.
    return "".join((PAGES / name).read_text(encoding="utf-8") for name in ("link.css", "guest.css"))


@cache
def _script() -> str:
    return (PAGES / "guest.js").read_text(encoding="utf-8")


@cache
def _template() -> Any:
    # Imported when the first page is shown: programs never see one.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["unturned"] = _unturned
    environment.globals["style"] = Markup(_style())  # noqa: S704 - our own file
    environment.globals["script"] = Markup(_script())  # noqa: S704 - our own file
    return environment.get_template("guest.html")


def _unturned(text: str) -> str:
    """Return the text without the marks that turn text round, which would show it as something else."""
    return _MARKS_OF_DIRECTION.sub("", text)
