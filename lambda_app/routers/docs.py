"""The interactive API documentation: one page that needs no other server.

Script and style sheet are inline, and the policy names them by their digests. The script sends requests to this API only.
"""

from functools import cache
from typing import Any

from fastapi import Request
from starlette.responses import HTMLResponse

from lambda_app.routers.http.router import Router
from lambda_app.routers.http.templating import load_template, page_source, source_digest

router = Router(include_in_schema=False)


@router.get("/docs")
def show_docs(request: Request) -> HTMLResponse:
    """Return the page of the interactive documentation."""
    root_path = request.scope.get("root_path", "")
    page = _template().render(title=request.app.title, root_path=root_path, openapi_url=f"{root_path}{request.app.openapi_url}")
    return HTMLResponse(page, headers={"Content-Security-Policy": _policy()})


@cache
def _policy() -> str:
    rules = (
        "default-src 'none'",
        f"script-src '{source_digest(_script())}'",
        f"style-src '{source_digest(_style())}'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # The script creates elements and sets their text; it never parses markup.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return "; ".join(rules)


@cache
def _template() -> Any:
    return load_template("docs.html", filters={}, sources={"style": _style(), "script": _script()})


def _style() -> str:
    # The style of the share pages, and the rules that only this page needs.
    return page_source("tokens.css", "share.css", "docs.css")


def _script() -> str:
    return page_source("docs.js")
