"""The API of a local run: its environment, its database, its first superuser, and the server that runs it in this process."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from pydantic import ValidationError

from infra.local.object_store import BROWSER_ORIGINS, ObjectStoreServer
from infra.local.postgres import Postgres
from infra.local.processes import LocalError, Server, base_environment
from infra.local.state import SUPERUSER_EMAIL, Secrets
from lambda_app.core.settings import Environment, Settings

if TYPE_CHECKING:
    from lambda_app.factory import Services

DATABASE = "we_upload"
KNOBS = frozenset(
    {
        "ACCESS_TOKEN_EXPIRE_MINUTES",
        "API_V1_STR",
        "ARCHIVE_RETENTION_HOURS",
        "AWS_REGION",
        "BACKEND_CORS_ORIGINS",
        "DATABASE_POOL_SIZE",
        "LOG_LEVEL",
        "REFRESH_TOKEN_EXPIRE_DAYS",
        "OPEN_REGISTRATION",
        "PRESIGNED_URL_EXPIRATION",
        "TRASH_RETENTION_DAYS",
        "USER_DELETION_BYTES",
        "USER_QUOTA_BYTES",
        "USER_QUOTA_FILES",
    }
)
"""Settings that the developer may turn; the others say where our own servers are."""
DATABASE_POOL_SIZE = 5
"""Requests overlap under uvicorn, as they do not in Lambda."""
GRACEFUL_SHUTDOWN_SECONDS = 10
WATCH_SECONDS = 1.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a polite kill, and the end of the terminal."""
WITHOUT_PROXY = "127.0.0.1,localhost"


def read_knobs() -> dict[str, str]:
    """Return the knobs that the environment sets, checked. Raises LocalError, naming the variable, for a value that cannot be."""
    knobs = {name: os.environ[name] for name in KNOBS if os.environ.get(name)}
    stand_ins = {"ENVIRONMENT": "local", "DATABASE_URL": "stand-in", "SECRET_KEY": "stand-in", "S3_BUCKET_NAME": "stand-in"}
    try:
        Settings.from_environment({**knobs, **stand_ins})
    except ValidationError as error:
        lines = (f"{'.'.join(str(part) for part in item['loc'][:1]).upper()}: {item['msg']}" for item in error.errors(include_input=False))
        raise LocalError("\n".join(lines)) from None
    return knobs


def bucket_origins(knobs: dict[str, str], port: int) -> tuple[str, ...]:
    """Return the origins whose pages may use the bucket: those that may call the API, and that of its own page for guests."""
    named = tuple(filter(None, map(str.strip, knobs.get("BACKEND_CORS_ORIGINS", "").split(","))))
    return (*named, f"http://127.0.0.1:{port}", f"http://localhost:{port}") if named else BROWSER_ORIGINS


def application_environment(knobs: dict[str, str], secrets: Secrets, database_url: str, store: ObjectStoreServer) -> dict[str, str]:
    """Return the environment of the API: ours, without a trace of the developer's own AWS account and other projects' settings."""
    inherited = {name: value for name, value in base_environment().items() if name.lower() not in Settings.model_fields}
    return {
        **inherited,
        "DATABASE_POOL_SIZE": str(DATABASE_POOL_SIZE),
        **knobs,
        "ENVIRONMENT": Environment.LOCAL.value,
        "DATABASE_URL": database_url,
        "SECRET_KEY": secrets.secret_key,
        "S3_BUCKET_NAME": store.bucket,
        "AWS_REGION": store.region,
        "AWS_ENDPOINT_URL": store.endpoint_url,
        "AWS_ACCESS_KEY_ID": store.access_key_id,
        "AWS_SECRET_ACCESS_KEY": store.secret_access_key,
        # A profile in the home folder may name a role, another endpoint or a proxy.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": WITHOUT_PROXY,
        "no_proxy": WITHOUT_PROXY,
    }


def prepare_database(postgres: Postgres) -> str:
    """Return the address of the application's database, made when it is missing. Migrations come with `prepare_application`."""
    return postgres.url(DATABASE) if postgres.has_database(DATABASE) else postgres.create_database(DATABASE)


def prepare_application(superuser_password: str) -> None:
    """Migrate the database, and make the first superuser unless there is one."""
    from lambda_app.db import migrations
    from lambda_app.factory import Services

    services = Services.build(Settings.from_environment())
    try:
        migrations.upgrade(services.engine)
        _make_superuser(services, superuser_password)
    finally:
        services.engine.dispose()


def _make_superuser(services: "Services", password: str) -> None:
    from lambda_app.core.errors import ConflictError
    from lambda_app.schemas.accounts.users import UserCreate

    with suppress(ConflictError), services.unit_of_work() as session:
        services.users(session).create_superuser(UserCreate(email=SUPERUSER_EMAIL, password=password))


@contextmanager
def reserved_port(port: int) -> Iterator[socket.socket]:
    """Hold the port of 127.0.0.1 from now on. Raises LocalError when it is taken or forbidden."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            # Bound but silent until the server listens; only listening tells that no other program does.
            listener.listen()
        except PermissionError:
            raise LocalError(f"Port {port} is reserved for the administrator. Choose another: make run PORT=8001") from None
        except OSError:
            raise LocalError(f"Port {port} of 127.0.0.1 is taken by another program. Choose another: make run PORT={port + 1}") from None
        yield listener


class ImpatientServer(uvicorn.Server):
    """A uvicorn whose second Ctrl-C does end it: from Python 3.12 on, closing a server waits for its last connection."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal: finish requests at the first, cut them at the second Ctrl-C."""
        super().handle_exit(sig, frame)
        if self.force_exit:
            for connection in list(self.server_state.connections):
                connection.transport.abort()


def _api_server() -> ImpatientServer:
    return ImpatientServer(
        uvicorn.Config(
            "lambda_app.application:create_app_from_environment",
            factory=True,
            log_config=None,
            access_log=False,  # the application writes its own
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
        )
    )


def serve(listener: socket.socket, servers: Iterable[Server], *, announce: Callable[[], None], on_loss: Callable[[Server], None]) -> None:
    """Load the API, `announce` it, and serve until a signal asks to stop or one of `servers` ends, which `on_loss` is told.

    The first Ctrl-C lets requests finish, the second does not.
    """
    api = _api_server()
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(WATCH_SECONDS):
            for server in servers:
                if server.has_ended():
                    on_loss(server)
                    api.should_exit = True
                    return

    watcher = threading.Thread(target=watch, daemon=True)
    api.config.load()
    # uvicorn takes two of these itself, but only once its loop runs, and gives back what it found.
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
