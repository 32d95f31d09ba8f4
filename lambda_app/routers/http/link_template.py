"""The page template that share links and HTML errors have in common."""

from functools import cache
from typing import Any

from lambda_app.routers.http.templating import load_template, page_source, source_digest
from lambda_app.storage.content import saved_filename

_DEFAULTS = {"opened": None, "archive": None, "asks": None, "action": "", "message": None, "may_go_back": False}


def render_link_page(**values: Any) -> str:
    """Render the template; a value that is not given is empty."""
    return str(_template().render(**{**_DEFAULTS, **values}))


@cache
def link_page_headers() -> dict[str, str]:
    """Return the security headers of the page, among them a policy that admits its style sheet and nothing else."""
    style = source_digest(page_source("link.css"))
    policy = f"default-src 'none'; style-src '{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    return {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Robots-Tag": "noindex, nofollow",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }


@cache
def _template() -> Any:
    return load_template("link.html", filters={"saved": saved_filename}, sources={"style": page_source("link.css")})
