"""The page template that share pages and HTML errors have in common."""

from functools import cache
from typing import Any

from lambda_app.routers.http.templating import load_template, page_source, source_digest
from lambda_app.storage.content import safe_filename

_DEFAULTS = {"opened": None, "archive": None, "form": None, "action": "", "message": None, "has_back_link": False}


def render_link_page(**values: Any) -> str:
    """Render the template. Values that are not passed are empty."""
    return str(_template().render(**{**_DEFAULTS, **values}))


FORM_PAGE_HEADERS = {"Referrer-Policy": "same-origin"}
"""Additional headers of pages with forms. With the default, `no-referrer`, browsers send `Origin: null` with the form, so that it could
not be told from the form of another site. Other origins still receive no referrer."""


@cache
def link_page_headers() -> dict[str, str]:
    """Return the security headers of the page, with a policy that allows its style sheet and nothing else."""
    style = source_digest(page_source("share.css"))
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
    return load_template("share.html", filters={"safe_filename": safe_filename}, sources={"style": page_source("share.css")})
