"""The operator's name, logo and accent, as the pages and the web app show them (settings `BRAND_*`)."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import FastAPI, Request
from starlette.responses import Response

from lambda_app.core.colours import dark_tones, light_tones
from lambda_app.core.settings import DEFAULT_BRAND_NAME, Settings

LOGO_PATH = "/brand/logo"
_LOGO_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
_LOGO_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""An SVG that is opened on its own runs no script and loads nothing. Pages show it as an image, where scripts never run."""


@dataclass(frozen=True)
class Branding:
    """What the operator chose. The defaults are those of the product."""

    name: str = DEFAULT_BRAND_NAME
    accent: str | None = None
    logo: bytes | None = None
    logo_type: str = ""
    host: str | None = None
    abuse_email: str | None = None

    @classmethod
    def read(cls, settings: Settings) -> "Branding":
        """Read the settings and the logo's file."""
        logo = settings.brand_logo_file
        return cls(
            name=settings.brand_name,
            accent=settings.brand_accent,
            logo=None if logo is None else logo.read_bytes(),
            logo_type="" if logo is None else _LOGO_TYPES[logo.suffix.lower()],
            host=None if settings.api_url is None else urlsplit(settings.api_url).netloc,
            abuse_email=settings.abuse_email,
        )

    @cached_property
    def logo_path(self) -> str | None:
        """The path of the logo below the API's root, with its digest, so that a new logo is not taken from a cache."""
        return None if self.logo is None else f"{LOGO_PATH}?{hashlib.sha256(self.logo).hexdigest()[:16]}"

    def abuse_url(self, path: str) -> str | None:
        """Return the address of a mail that reports the link at this path; None where the operator receives no reports."""
        return None if self.abuse_email is None else f"mailto:{quote(self.abuse_email, safe='@')}?subject={quote(f'Abuse report: {path}')}"

    @cached_property
    def style(self) -> str:
        """Design tokens that replace those of `tokens.css`; empty for the default accent."""
        if self.accent is None:
            return ""
        light, dark = (
            f"--accent:{tones.accent};--accent-hover:{tones.hover};--on-accent:{tones.on_accent};--accent-soft:{tones.soft}"
            for tones in (light_tones(self.accent), dark_tones(self.accent))
        )
        return (
            f':root{{{light}}}@media (prefers-color-scheme:dark){{:root:not([data-theme="light"]){{{dark}}}}}[data-theme="dark"]{{{dark}}}'
        )


_DEFAULT = Branding()


def branding_of(scope: Any) -> Branding:
    """Return the branding of the application that serves the request; the default for an application without one."""
    app = scope.get("app")
    found = None if app is None else getattr(app.state, "branding", None)
    return found if isinstance(found, Branding) else _DEFAULT


def add_branding(app: FastAPI, settings: Settings) -> Branding:
    """Keep the branding with the application, and register the route of the logo if there is one."""
    branding = app.state.branding = Branding.read(settings)
    if branding.logo is None:
        return branding
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "Content-Security-Policy": _LOGO_POLICY,
        "Cross-Origin-Resource-Policy": "same-origin",
    }

    async def get_logo(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type=branding.logo_type, headers={**headers, "Content-Length": str(len(branding.logo or b""))})
        return Response(branding.logo, media_type=branding.logo_type, headers=headers)

    app.router.add_api_route(LOGO_PATH, get_logo, methods=["GET", "HEAD"], include_in_schema=False, response_class=Response)
    return branding
