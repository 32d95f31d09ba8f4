"""Protection of routes that take a form or a cookie against requests from pages of other origins (CSRF)."""

from collections.abc import Collection
from urllib.parse import urlsplit

from fastapi import Request

from lambda_app.core.errors import PermissionDeniedError
from lambda_app.dependencies.services import ServicesDep


class CrossSiteFormError(PermissionDeniedError):
    """The form was submitted from a page of another origin."""

    code = "cross_site_form"
    message = "This form was sent by a page of another site; open the page of this service and try again"


def require_same_origin(request: Request, own_url: str | None, *, trusted_origins: Collection[str] = ()) -> None:
    """Raise CrossSiteFormError for a request that a browser sent from a page of another origin: see `is_same_origin`."""
    if not is_same_origin(request, own_url, trusted_origins=trusted_origins):
        raise CrossSiteFormError


def is_same_origin(request: Request, own_url: str | None, *, trusted_origins: Collection[str] = (), accepts_programs: bool = True) -> bool:
    """Whether the request comes from a page of the own origin or a trusted one, or from a program.

    `Sec-Fetch-Site` decides where the browser sends it. Older browsers do not, nor does any browser on plain HTTP outside localhost: then
    `Origin` decides, which every browser sends with a POST (Fetch, "append a request Origin header"). The page's own origin is that
    of `own_url` (`API_URL`), or the host that the request is addressed to, which a page of another site cannot choose. `null`, from
    a sandboxed page or one without a referrer, is another origin. Programs send neither header.

    Without `accepts_programs`, a page has to show that it is ours: one of the headers is required, neither may contradict, and a request
    that the user started outside of any page (`none`) is refused.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if origin is not None and origin in trusted_origins:
        return True
    is_own = origin is not None and origin.lower() in _own_origins(request, own_url)
    if accepts_programs:
        return site in ("same-origin", "none") or (site is None and (origin is None or is_own))
    return site in ("same-origin", None) and (is_own or (origin is None and site is not None))


async def require_trusted_origin(request: Request, services: ServicesDep) -> None:
    """Raise CrossSiteFormError unless the request comes from the own origin, one of `BACKEND_CORS_ORIGINS`, or a program."""
    settings = services.settings
    require_same_origin(request, settings.api_url, trusted_origins=settings.backend_cors_origins)


def _own_origins(request: Request, own_url: str | None) -> set[str]:
    # The Host header is the caller's, but a page cannot choose it. Behind CloudFront the gateway gets a Host header of its own.
    addressed = f"{request.url.scheme}://{request.headers.get('host', '')}".lower()
    if own_url is None:
        return {addressed}
    parts = urlsplit(own_url)
    return {addressed, f"{parts.scheme}://{parts.netloc}".lower()}
