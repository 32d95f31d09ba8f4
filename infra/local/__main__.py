"""`make run`: start PostgreSQL, the S3 emulator, the workers and the API; stop them in order."""

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from infra.local import web_app
from infra.local.application import (
    STOP_SIGNALS,
    Superuser,
    application_environment,
    application_settings,
    bucket_origins,
    prepare_application,
    prepare_database,
    reserved_port,
    serve,
)
from infra.local.bootstrap import EMULATOR
from infra.local.object_store import AccessKey, start_object_store
from infra.local.overrides import read_overrides
from infra.local.postgres import start_postgres
from infra.local.processes import LocalError
from infra.local.state import (
    SUPERUSER_EMAIL,
    Folders,
    Secrets,
    exclusive_lock,
    load_ports,
    load_secrets,
    save_ports,
    write_private,
)
from infra.local.workers import local_workers

DEFAULT_PORT = 8000
DEFAULT_REGION = "us-east-1"
ALREADY_RUNNING = "We-Upload is already running from this folder (process {pid}). Stop it first, with Ctrl-C or: kill {pid}"
PRIVATE_UMASK = 0o077


def say(line: str) -> None:
    """Print a line, unless the terminal is closed."""
    with suppress(OSError):
        print(line, flush=True)


def read_port() -> int:
    """Return the port of the API. Raises LocalError when `PORT` is not a port number."""
    value = os.environ.get("PORT") or str(DEFAULT_PORT)
    if not value.isascii() or not value.isdigit() or not 0 < int(value) < 65536:
        raise LocalError(f"PORT={value} is not a port number from 1 to 65535")
    return int(value)


def run(folders: Folders, port: int, overrides: dict[str, str], *, parent: int) -> int:
    """Run until a stop signal or the end of the process `parent`. Return the exit status. Raises LocalError when a start fails."""
    losses: list[str] = []
    with ExitStack() as stack:
        folders.create()
        stack.enter_context(exclusive_lock(folders.lock, refusal=ALREADY_RUNNING))
        listener = stack.enter_context(reserved_port(port))
        secrets = load_secrets(folders)
        ports = load_ports(folders, say)

        web_app_folder = build_web_app()
        say("Starting PostgreSQL ...")
        postgres = start_postgres(
            folders.postgres, log=folders.logs / "postgres.log", password=secrets.postgres_password, port=ports["postgres"]
        )
        stack.callback(postgres.stop)
        save_ports(folders, {**ports, "postgres": postgres.port})
        database_url = prepare_database(postgres)

        say("Starting the S3 emulator ...")
        store = start_object_store(
            folders.objects,
            log=folders.logs / "s3.log",
            temporary=folders.temporary,
            interpreter=EMULATOR.interpreter,
            region=overrides.get("AWS_REGION", DEFAULT_REGION),
            origins=bucket_origins(overrides, port),
            port=ports["s3"],
            access_key=AccessKey(secrets.s3_key_id, secrets.s3_secret),
        )
        stack.callback(store.stop)

        say("Migrating the database ...")
        address = f"http://127.0.0.1:{port}"
        settings = {"PUBLIC_URL": address, "API_URL": address, "MAIL_FOLDER": str(folders.mail)}
        settings |= {"WEB_APP_FOLDER": str(web_app_folder)} if web_app_folder else {}
        settings |= application_settings(overrides, secrets, database_url, store)
        environment = application_environment(settings)
        # The API runs in this process and reads its settings from the environment.
        os.environ.clear()
        os.environ.update(environment)
        superuser = prepare_application(secrets.superuser_password)

        write_private(folders.environment, settings)
        stack.callback(folders.environment.unlink, missing_ok=True)
        stack.enter_context(local_workers(store.events, store.previews))
        greeting = welcome(address, folders, secrets, settings, superuser)
        serve(listener, (postgres.server, store.server), parent=parent, announce=lambda: say(greeting), on_loss=losses.append)
        for loss in losses:
            say(loss)
        say("Stopping ...")
    return 1 if losses else 0


def build_web_app() -> Path | None:
    """Build the web app; return its folder, or None with a message when the build fails: the API runs without the web app, too."""
    try:
        return web_app.build()
    except LocalError as error:
        say(f"{error}\nThe web app could not be built; the API runs without it.")
        return None


def welcome(address: str, folders: Folders, secrets: Secrets, settings: Mapping[str, str], superuser: Superuser) -> str:
    """Return the addresses of the instance. Only the start that creates the superuser shows its password."""
    api = f"{address}{settings.get('API_V1_STR', '/api/v1')}"
    sign_in = {
        Superuser.CREATED: f"curl {api}/login/token --data-urlencode username={SUPERUSER_EMAIL} "
        f"--data-urlencode password={secrets.superuser_password}",
        Superuser.UNCHANGED: f"as {SUPERUSER_EMAIL}; the password of the first start is in {folders.root}/secrets.json",
        Superuser.CHANGED: f"curl {api}/login/token --data-urlencode username=... --data-urlencode password=...",
    }[superuser]
    return f"""
We-Upload is running on {address}    (Ctrl-C stops it; the data stays)

  Web app                    {address}
  API documentation          {address}/docs
  Health                     curl {address}/health/db
  Sign in                    {sign_in}
  Operator command           make admin ARGS="--help"
  PostgreSQL                 {settings["DATABASE_URL"]}
  S3 (emulated)              {settings["AWS_ENDPOINT_URL"]}, bucket {settings["S3_BUCKET_NAME"]}
  Mail                       {folders.mail}; links in mail are also printed here
  Data, logs, secrets        {folders.root}    (make clean deletes them)
"""


def main(named: Iterable[str]) -> int:
    """Run as a program. `named` are the variables on make's command line. Expected failures print one message."""
    parent = os.getppid()
    os.umask(PRIVATE_UMASK)
    for signal_number in STOP_SIGNALS:
        signal.signal(signal_number, signal.default_int_handler)
    folders = Folders.from_environment()
    try:
        return run(folders, read_port(), read_overrides(named), parent=parent)
    except LocalError as error:
        print(error, file=sys.stderr)
    except PermissionError as error:
        path = error.filename or folders.root
        print(f"{path}: permission denied. If another user started an earlier run, run make clean as that user", file=sys.stderr)
    except KeyboardInterrupt:
        say("Interrupted.")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
