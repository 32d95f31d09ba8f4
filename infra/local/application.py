"""The API of a local run: its settings, its database, its first superuser, and the server in this process."""

import gc
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from infra.local.object_store import BROWSER_ORIGINS, ObjectStoreServer
from infra.local.postgres import Postgres
from infra.local.processes import LocalError, Server, base_environment
from infra.local.state import SUPERUSER_EMAIL, Secrets
from lambda_app.core.settings import Environment, Settings

if TYPE_CHECKING:
    from lambda_app.factory import Services

DATABASE = "we_upload"
DATABASE_POOL_SIZE = 5
"""Requests are concurrent under uvicorn, unlike in Lambda."""
GRACEFUL_SHUTDOWN_SECONDS = 10
KEEP_ALIVE_SECONDS = 65
"""Longer than clients keep idle connections in their pools, so that they do not send a request on a closed connection."""
SERVER_OPTIONS: Mapping[str, Any] = {
    "log_config": None,
    "access_log": False,  # the application logs each request
    "log_level": "warning",
    "proxy_headers": False,
    "server_header": False,
    "lifespan": "off",
    "timeout_keep_alive": KEEP_ALIVE_SECONDS,
    "timeout_graceful_shutdown": GRACEFUL_SHUTDOWN_SECONDS,
}
"""The configuration of uvicorn. The benchmark of a request under a server has the same one."""
WATCH_SECONDS = 1.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, kill, and the end of the terminal."""
NO_PROXY = "127.0.0.1,localhost"


class Superuser(Enum):
    """What the start found out about the first superuser."""

    CREATED = auto()
    UNCHANGED = auto()
    """It still has the address and the password of the first start."""
    CHANGED = auto()
    """Its address or password was changed, or another superuser exists."""


def bucket_origins(overrides: Mapping[str, str], port: int) -> tuple[str, ...]:
    """Return the origins that may use the bucket: those that may call the API, and the API's own for its upload page."""
    named = tuple(filter(None, map(str.strip, overrides.get("BACKEND_CORS_ORIGINS", "").split(","))))
    return (*named, f"http://127.0.0.1:{port}", f"http://localhost:{port}") if named else BROWSER_ORIGINS


def application_settings(overrides: Mapping[str, str], secrets: Secrets, database_url: str, store: ObjectStoreServer) -> dict[str, str]:
    """Return the settings of the API as environment variables."""
    return {
        "DATABASE_POOL_SIZE": str(DATABASE_POOL_SIZE),
        "PREVIEWS_ENABLED": "true",
        "WEBHOOK_ALLOW_LOOPBACK": "true",
        **overrides,
        "ENVIRONMENT": Environment.LOCAL.value,
        "DATABASE_URL": database_url,
        "SECRET_KEY": secrets.secret_key,
        "LOG_SIGNING_KEY": secrets.log_signing_key,
        "IDENTITY_KEY": secrets.identity_key,
        "S3_BUCKET_NAME": store.bucket,
        "AWS_REGION": store.region,
        "AWS_ENDPOINT_URL": store.endpoint_url,
        "AWS_ACCESS_KEY_ID": store.access_key_id,
        "AWS_SECRET_ACCESS_KEY": store.secret_access_key,
        # A profile in the home folder may set a role, another endpoint or a proxy.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": NO_PROXY,
        "no_proxy": NO_PROXY,
    }


def application_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return `settings` with our environment, without settings of other projects and the developer's AWS account."""
    inherited = {name: value for name, value in base_environment().items() if name.lower() not in Settings.model_fields}
    return {**inherited, **settings}


def prepare_database(postgres: Postgres) -> str:
    """Return the URL of the application's database, which the first start creates. `prepare_application` migrates it."""
    return postgres.url(DATABASE) if postgres.has_database(DATABASE) else postgres.create_database(DATABASE)


def prepare_application(superuser_password: str) -> Superuser:
    """Migrate the database, and create the first superuser if there is no superuser."""
    from lambda_app.db import migrations
    from lambda_app.factory import Services

    services = Services.build(Settings.from_environment())
    try:
        migrations.upgrade(services.engine)
        return _ensure_superuser(services, superuser_password)
    finally:
        services.engine.dispose()


def _ensure_superuser(services: "Services", password: str) -> Superuser:
    from sqlalchemy import select

    from lambda_app.models import User
    from lambda_app.schemas.accounts.users import UserCreate

    with services.unit_of_work() as session:
        superusers = session.execute(select(User.email, User.hashed_password).where(User.is_superuser)).all()
        if not superusers:
            services.users(session).create_superuser(UserCreate(email=SUPERUSER_EMAIL, password=password))
            return Superuser.CREATED
    hashes = [hashed for email, hashed in superusers if email == SUPERUSER_EMAIL]
    is_unchanged = any(services.passwords.verify(password, hashed) for hashed in hashes)
    return Superuser.UNCHANGED if is_unchanged else Superuser.CHANGED


@contextmanager
def reserved_port(port: int) -> Iterator[socket.socket]:
    """Reserve the port of 127.0.0.1. Raises LocalError when another program uses it or it needs privileges."""
    # With IPPROTO_TCP, because asyncio turns off Nagle's algorithm only for sockets of that protocol. With it on, the second request of a
    # keep-alive connection waits 40 ms for a delayed ACK.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            # Binding alone does not show that no other program listens.
            listener.listen()
        except PermissionError:
            raise LocalError(f"Port {port} needs root privileges. Choose another: make run PORT=8001") from None
        except OSError:
            raise LocalError(f"Another program uses port {port} of 127.0.0.1. Choose another: make run PORT={port + 1}") from None
        yield listener


class ForceQuitServer(uvicorn.Server):
    """A uvicorn that ends at the second Ctrl-C. Since Python 3.12 closing a server waits for its last connection."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Finish requests in progress at the first signal; abort their connections at the second Ctrl-C."""
        super().handle_exit(sig, frame)
        if self.force_exit:
            for connection in list(self.server_state.connections):
                connection.transport.abort()


def _api_server() -> ForceQuitServer:
    return ForceQuitServer(uvicorn.Config("lambda_app.application:create_app_from_environment", factory=True, **SERVER_OPTIONS))


def serve(
    listener: socket.socket, servers: Iterable[Server], *, parent: int, announce: Callable[[], None], on_loss: Callable[[str], None]
) -> None:
    """Load the API, call `announce`, and serve until a stop signal.

    Serving also ends, after a call of `on_loss` with a message, when one of `servers` or the process `parent` has ended. The first Ctrl-C
    lets requests finish, the second does not.
    """
    api = _api_server()
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(WATCH_SECONDS):
            lost = [f"{server.name} has ended unexpectedly; its log is {server.log}" for server in servers if server.has_ended()]
            if os.getppid() != parent:
                lost.append("The process that started this run has ended")
            if lost:
                on_loss(lost[0])
                api.should_exit = True
                return

    watcher = threading.Thread(target=watch, daemon=True)
    # As in lambda_app/main.py: with Python's thresholds, a full collection of the modules' objects stops all requests for 50 ms.
    gc.set_threshold(50_000, 10, 10)
    api.config.load()
    # uvicorn sets its own handlers only while its loop runs, and then restores these.
    handlers = {number: signal.signal(number, api.handle_exit) for number in STOP_SIGNALS}
    watcher.start()
    try:
        announce()
        api.run(sockets=[listener])
    finally:
        finished.set()
        watcher.join()
        for number, handler in handlers.items():
            signal.signal(number, handler)
