"""The page template that share pages and HTML errors have in common."""

from functools import cache
from typing import Any

from lambda_app.routers.http.branding import Branding
from lambda_app.routers.http.page_formats import FILTERS
from lambda_app.routers.http.templating import load_template, page_source, source_digest
from lambda_app.storage.content import safe_filename

_DEFAULTS: dict[str, Any] = {
    "opened": None,
    "archive": None,
    "form": None,
    "action": "",
    "message": None,
    "is_closed": False,
    "has_back_link": False,
    "thumbnails": {},
    "providers": (),
    "takes_password": True,
    "has_provider_sign_in": False,
    "link": "",
}


def render_link_page(branding: Branding, *, root_path: str, **values: Any) -> str:
    """Render the template. Values that are not passed are empty. `root_path` is the path of the API's root, such as `/dev`."""
    # A page that shows only an error is no link of another person.
    path = values.get("action") if any(values.get(part) for part in ("opened", "archive", "form")) else None
    return str(_template(branding).render(**{**_DEFAULTS, "base": root_path, "report_path": path, **values}))


FORM_PAGE_HEADERS = {"Referrer-Policy": "same-origin"}
"""Additional headers of pages with forms. With the default, `no-referrer`, browsers send `Origin: null` with the form, so that it could
not be told from the form of another site. Other origins still receive no referrer."""


def link_page_policy(branding: Branding, *, images: str = "") -> str:
    """Return the Content-Security-Policy of the page. `images` is where it may load images, besides the operator's logo."""
    style = source_digest(_style(branding))
    sources = " ".join(part for part in ("" if branding.logo is None else "'self'", images) if part)
    shown = f" img-src {sources};" if sources else ""
    return f"default-src 'none'; style-src '{style}';{shown} form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


@cache
def link_page_headers(branding: Branding) -> dict[str, str]:
    """Return the security headers of the page, with a policy that allows its style sheet, the operator's logo and nothing else."""
    return {
        "Content-Security-Policy": link_page_policy(branding),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Robots-Tag": "noindex, nofollow",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }


def _style(branding: Branding) -> str:
    return page_source("tokens.css", "share.css") + branding.style


@cache
def _template(branding: Branding) -> Any:
    filters = {**FILTERS, "safe_filename": safe_filename}
    return load_template("share.html", filters=filters, sources={"style": _style(branding)}, brand=branding)
