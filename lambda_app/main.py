"""The HTTP entry points: `app` for an ASGI server and `handler` for AWS Lambda."""

from lambda_app.core import starting  # before all that it speeds up

# isort: split
with starting.leaving_validators():
    from fastapi import FastAPI

# isort: split
from functools import partial
from typing import Any

from lambda_app import __version__
from lambda_app.core.logs import configure_logs
from lambda_app.core.settings import Settings
from lambda_app.core.snapshot import prepare_for_snapshot
from lambda_app.factory import Services
from lambda_app.routers import (
    admin,
    archives,
    credentials,
    docs,
    file_requests,
    files,
    grants,
    guests,
    health,
    link_archives,
    login,
    public_files,
    share_links,
    shares,
    uploads,
    users,
)
from lambda_app.routers.cors import Cors
from lambda_app.routers.document import complete_document
from lambda_app.routers.edge import Edge
from lambda_app.routers.gateway import GatewayHandler
from lambda_app.routers.link_pages import LinkPages
from lambda_app.routers.problems import install_problem_handlers
from lambda_app.routers.routes import Application


def create_app(settings: Settings, services: Services | None = None) -> Application:
    """Build the application. Nothing connects before a request needs it, and no route is built before it is asked for."""
    configure_logs(settings.log_level)
    app = Application(
        title="We-Upload",
        version=__version__,
        description="Upload files straight to S3 and share them.",
        # A redirect would be built from the Host header, which is the caller's word.
        redirect_slashes=False,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    services = app.state.services = services or Services.build(settings)
    install_problem_handlers(app)
    complete_document(app)
    for prefix in (settings.api_v1_str, ""):
        app.include_router(login.router, prefix=prefix, include_in_schema=bool(prefix))
        app.include_router(health.router, prefix=prefix, include_in_schema=bool(prefix))
    app.include_router(docs.router)
    app.include_router(credentials.router, prefix=settings.api_v1_str)
    app.include_router(users.router, prefix=settings.api_v1_str)
    app.include_router(uploads.router, prefix=settings.api_v1_str)
    app.include_router(admin.router, prefix=settings.api_v1_str)
    app.include_router(archives.router, prefix=settings.api_v1_str)
    app.include_router(files.router, prefix=settings.api_v1_str)
    app.include_router(shares.router, prefix=settings.api_v1_str)
    app.include_router(grants.router, prefix=settings.api_v1_str)
    app.include_router(file_requests.router, prefix=settings.api_v1_str)
    # At the root: a link is read out, printed and typed.
    app.include_router(share_links.router)
    app.include_router(link_archives.router)
    app.include_router(public_files.router)
    app.include_router(guests.router)
    app.add_middleware(LinkPages)
    app.add_middleware(Edge, front_door=services.front_door)
    if settings.backend_cors_origins:
        # Outside Edge, so that errors carry the CORS headers too.
        app.add_middleware(Cors, origins=settings.backend_cors_origins)
    return app


def _gateway(app: FastAPI) -> GatewayHandler:
    services: Services = app.state.services
    return GatewayHandler(app, api_prefix=services.settings.api_v1_str)


def _warm_up(app: Application) -> None:
    """Do before a snapshot what would otherwise be done after each start from it."""
    app.build_routes()
    app.state.services.warm_up()


app: Application
handler: GatewayHandler


def __getattr__(name: str) -> Any:
    """Build `app` and `handler` from the environment when they are first asked for, and keep them.

    Lambda and uvicorn ask while they load the module. A test or a command that only wants `create_app` does not,
    and so needs no environment.
    """
    if name == "app":
        globals()[name] = create_app(Settings.from_environment())
        # A server starts once and has many requests at a time: none of them waits for another's route.
        globals()[name].build_routes()
    elif name == "handler":
        application: Application = globals().get("app") or create_app(Settings.from_environment())
        globals()["app"] = application
        prepare_for_snapshot(let_go=application.state.services.freeze, warm_up=partial(_warm_up, application))
        globals()[name] = _gateway(application)
        starting.finish()
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals()[name]


starting.finish()
