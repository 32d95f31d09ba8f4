"""Creates the FastAPI application from the settings. Used by `main` and by the local server."""

from fastapi import FastAPI

from lambda_app import __version__
from lambda_app.core.logs import configure_logs
from lambda_app.core.settings import Settings
from lambda_app.dependencies.callers import create_loop_reader
from lambda_app.factory import IdentityServices, Services
from lambda_app.routers import admin, config, docs, events, health, receipts, webhooks
from lambda_app.routers.accounts import (
    api_keys,
    browser_sessions,
    deletions,
    device_logins,
    exports,
    identities,
    identity_flows,
    invitations,
    login,
    notification_pages,
    notifications,
    second_factors,
    sessions,
    transfers,
    users,
)
from lambda_app.routers.archives import archives, share_archives
from lambda_app.routers.files import batches, files, previews, public_files, upload_tokens, uploads, uppy
from lambda_app.routers.http.branding import add_branding
from lambda_app.routers.http.cors import Cors
from lambda_app.routers.http.html_errors import HtmlErrorMiddleware
from lambda_app.routers.http.openapi.document import complete_document, operation_id
from lambda_app.routers.http.problems import install_problem_handlers
from lambda_app.routers.http.request_middleware import RequestMiddleware
from lambda_app.routers.http.route_index import index_routes
from lambda_app.routers.http.trailing_slash import TrailingSlashMiddleware
from lambda_app.routers.sharing import file_requests, grants, public_uploads, share_links, shares
from lambda_app.routers.web_app import add_web_app
from lambda_app.storage.s3 import bucket_url

API_ROUTERS = (
    config.router,
    browser_sessions.router,
    sessions.router,
    sessions.user_router,
    api_keys.router,
    second_factors.router,
    deletions.router,
    identities.router,
    exports.router,
    admin.own_router,
    transfers.router,
    device_logins.router,
    notifications.router,
    users.router,
    batches.router,
    previews.router,
    uploads.router,
    upload_tokens.router,
    admin.router,
    archives.router,
    receipts.router,
    events.router,
    webhooks.router,
    files.router,
    shares.router,
    grants.router,
    invitations.router,
    file_requests.router,
    file_requests.user_router,
)
"""Served below the API prefix. A route with a literal segment must precede a route whose path parameter matches the same path."""
ROOT_ROUTERS = (
    docs.router,
    receipts.key_router,
    share_links.router,
    share_archives.router,
    public_files.router,
    public_uploads.router,
    uppy.router,
    notification_pages.router,
)
"""Served at the root, because people read, print and type these URLs."""


def create_app(settings: Settings, services: Services | None = None, *, reads_on_loop: bool = False) -> FastAPI:
    """Create the application. It connects to other servers on first use.

    With `reads_on_loop`, frequent reads need no worker thread under a server. It opens connections that no lifespan event closes, so it is
    for a process whose only event loop serves requests until its end.
    """
    configure_logs(settings.log_level)
    app = FastAPI(
        title="We-Upload",
        version=__version__,
        # Starlette would create the redirect from the Host header, which the caller controls.
        redirect_slashes=False,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=operation_id,
        # The access log replaces it. Traces would contain paths, and with them the tokens of links.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    services = app.state.services = services or Services.build(settings)
    app.state.loop_reader = create_loop_reader(services) if reads_on_loop else None
    install_problem_handlers(app)
    complete_document(app)
    for prefix in (settings.api_v1_str, ""):
        login.router.add_to(app, prefix=prefix, include_in_schema=bool(prefix), is_strict=True)
        health.router.add_to(app, prefix=prefix, include_in_schema=bool(prefix))
    for router in API_ROUTERS:
        router.add_to(app, prefix=settings.api_v1_str, is_strict=True)
    for router in ROOT_ROUTERS:
        router.add_to(app)
    if settings.serves_identity_routes:
        app.state.identity = IdentityServices.build(settings, services.aws)
        identity_flows.router.add_to(app)
    branding = add_branding(app, settings)
    add_web_app(app, settings.web_app_folder, bucket_url=bucket_url(settings), branding=branding)
    index_routes(app)
    app.add_middleware(TrailingSlashMiddleware)
    app.add_middleware(HtmlErrorMiddleware)
    app.add_middleware(RequestMiddleware, origin_verifier=lambda: app.state.services.origin_verifier)
    if settings.backend_cors_origins:
        # Outside RequestMiddleware, so that its errors carry the CORS headers too.
        app.add_middleware(Cors, origins=settings.backend_cors_origins)
    return app


def create_identity_app(settings: Settings, services: IdentityServices | None = None) -> FastAPI:
    """Create the application of the function outside the VPC, which serves only the sign-in at identity providers."""
    configure_logs(settings.log_level)
    app = FastAPI(redirect_slashes=False, openapi_url=None, docs_url=None, redoc_url=None)
    services = app.state.identity = services or IdentityServices.build(settings)
    install_problem_handlers(app)
    identity_flows.router.add_to(app)
    app.add_middleware(RequestMiddleware, origin_verifier=lambda: services.origin_verifier)
    return app


def create_app_from_environment() -> FastAPI:
    """Create the application from the environment variables, for ASGI servers (`uvicorn --factory`)."""
    return create_app(Settings.from_environment(), reads_on_loop=True)
