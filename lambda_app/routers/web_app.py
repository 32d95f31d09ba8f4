"""Serves the built web app (`web/dist`): its page at `/` and at the app's paths, and its assets.

The files are read once, when the application is created. Assets have a digest in their names and are immutable; the page is revalidated.
"""

import gzip
import hashlib
import html
import mimetypes
import re
from dataclasses import dataclass, replace
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import Response

from lambda_app.core.errors import NotFoundError
from lambda_app.core.settings import DEFAULT_BRAND_NAME
from lambda_app.routers.http.branding import Branding
from lambda_app.routers.http.gateway import WITHOUT_SLASH
from lambda_app.routers.http.templating import source_digest

APP_PATHS = (
    "/",
    "/sign-in",
    "/sign-up",
    "/files",
    "/shared",
    "/links",
    "/requests",
    "/trash",
    "/settings",
    "/admin",
    "/forgot-password",
    "/reset-password",
    "/verify-email",
    "/invitation",
)
"""Paths of the app's screens, in `web/src/core/router.ts`. None of them may hide a path of the API."""
PACKAGED_FOLDER = Path(__file__).parents[1] / "web_app"
"""Where the Lambda package contains the built app."""

_IMMUTABLE = "public, max-age=31536000, immutable"
_WORKER_PREFIX = "hash-worker-"
_WORKER_POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"
"""Policy of the worker that computes digests: the only script that may compile WebAssembly."""


@dataclass(frozen=True, slots=True)
class _WebFile:
    """A file of the build. `compressed` is its gzip form, made by the build (`NAME.gz`)."""

    content: bytes
    compressed: bytes | None
    media_type: str

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'

    def response(self, request: Request, headers: dict[str, str]) -> Response:
        """Return the file, compressed when the client accepts gzip, or 304 when the client has it."""
        headers = {"ETag": self.etag, "Vary": "Accept-Encoding", **headers}
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content = self.content
        if self.compressed is not None and "gzip" in request.headers.get("accept-encoding", "").lower():
            content, headers["Content-Encoding"] = self.compressed, "gzip"
        if request.method == "HEAD":
            # API Gateway forwards the body of a response to HEAD.
            return Response(media_type=self.media_type, headers={**headers, "Content-Length": str(len(content))})
        return Response(content, media_type=self.media_type, headers=headers)


def page_policy(bucket_url: str, branding: Branding) -> str:
    """Return the Content-Security-Policy of the page: own scripts and styles, this API, and the bucket of the uploads and previews."""
    # With the trailing slash the source matches this bucket only, also where its name is part of the path.
    bucket = f"{bucket_url}/"
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'self' '{source_digest(branding.style)}'" if branding.style else "style-src 'self'",
            f"connect-src 'self' {bucket}",
            f"img-src 'self' blob: {bucket}",
            f"media-src {bucket}",
            f"frame-src {bucket}",
            "worker-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types we-upload-worker",
        )
    )


def add_web_app(app: FastAPI, folder: Path | None, *, bucket_url: str, branding: Branding) -> bool:
    """Register the routes of the web app; return False when there is no build.

    `folder` is the build's folder (`web/dist`); None stands for the folder inside the Lambda package.
    """
    source = folder or PACKAGED_FOLDER
    if not (source / "index.html").is_file():
        return False
    page = _branded(_read(source / "index.html"), branding)
    assets = {path.name: _read(path) for path in (source / "assets").iterdir() if path.suffix != ".gz"}
    page_headers = {
        "Content-Security-Policy": page_policy(bucket_url, branding),
        "Cache-Control": "no-cache",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cross-Origin-Resource-Policy": "same-origin",
    }

    async def show_page(request: Request) -> Response:
        if request.scope.get(WITHOUT_SLASH):
            # Below /dev, relative addresses would lead outside the stage. The location is relative, because callers control `Host`.
            folder = request.scope["root_path"].rsplit("/", 1)[-1]
            query = f"?{request.url.query}" if request.url.query else ""
            return Response(status_code=307, headers={"Location": f"{folder}/{query}", "Cache-Control": "no-cache"})
        return page.response(request, page_headers)

    async def get_asset(name: str, request: Request) -> Response:
        asset = assets.get(name)
        if asset is None:
            raise NotFoundError
        policy = {"Content-Security-Policy": _WORKER_POLICY} if name.startswith(_WORKER_PREFIX) else {}
        return asset.response(request, {"Cache-Control": _IMMUTABLE, **policy})

    for path in APP_PATHS:
        app.router.add_api_route(path, show_page, methods=["GET", "HEAD"], include_in_schema=False, response_class=Response)
    app.router.add_api_route("/assets/{name}", get_asset, methods=["GET", "HEAD"], include_in_schema=False, response_class=Response)
    return True


def _branded(page: _WebFile, branding: Branding) -> _WebFile:
    """Return the page with the operator's name, logo and accent. The app reads name and logo from the page, so that it starts with them."""
    name = html.escape(branding.name)
    content = page.content.decode().replace(f"<title>{DEFAULT_BRAND_NAME}</title>", f"<title>{name}</title>")
    if branding.logo_path is not None:
        # Relative, as all addresses of the page.
        icon = f'<link rel="icon" href=".{branding.logo_path}" type="{branding.logo_type}" data-brand>'
        content = re.sub(r'<link rel="icon"[^>]*>', icon, content, count=1)
    if branding.style:
        content = content.replace("</head>", f"<style>{branding.style}</style></head>", 1)
    branded = content.encode()
    if branded == page.content:
        return page
    return replace(page, content=branded, compressed=gzip.compress(branded, mtime=0))


def _read(path: Path) -> _WebFile:
    media_type, _ = mimetypes.guess_type(path.name)
    compressed = path.with_name(f"{path.name}.gz")
    return _WebFile(
        content=path.read_bytes(),
        compressed=compressed.read_bytes() if compressed.is_file() else None,
        media_type={"text/javascript": "text/javascript; charset=utf-8"}.get(media_type or "", media_type or "application/octet-stream"),
    )
