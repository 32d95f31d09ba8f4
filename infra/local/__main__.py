"""`make run`: start PostgreSQL, the S3 emulator and the API, say where they are, and end them in order."""

import os
import signal
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

from infra.local.application import (
    STOP_SIGNALS,
    application_environment,
    bucket_origins,
    prepare_application,
    prepare_database,
    read_knobs,
    reserved_port,
    serve,
)
from infra.local.archives import archive_worker
from infra.local.bootstrap import EMULATOR
from infra.local.object_store import start_object_store
from infra.local.postgres import start_postgres
from infra.local.processes import LocalError, Server
from infra.local.state import CHECKOUT, SUPERUSER_EMAIL, Folders, Secrets, exclusive_lock, kept_secrets

DATA_VARIABLE = "WE_UPLOAD_DATA"
DEFAULT_PORT = 8000
DEFAULT_REGION = "us-east-1"
RUNNING_ALREADY = "We-Upload is running from this folder already (process {pid}). Stop that one first, with Ctrl-C or: kill {pid}"


def say(line: str) -> None:
    """Print a line, unless the terminal has gone."""
    with suppress(OSError):
        print(line, flush=True)


def read_port() -> int:
    """Return the port that `PORT` asks for. Raises LocalError when it is not one."""
    asked = os.environ.get("PORT") or str(DEFAULT_PORT)
    if not asked.isascii() or not asked.isdigit() or not 0 < int(asked) < 65536:
        raise LocalError(f"PORT={asked} is not a port: a number from 1 to 65535")
    return int(asked)


def run(folders: Folders, port: int) -> int:
    """Run until asked to stop; return the exit status. Raises LocalError when something cannot start."""
    knobs = read_knobs()
    lost: list[Server] = []
    with ExitStack() as stack:
        folders.logs.mkdir(parents=True, exist_ok=True)
        stack.enter_context(exclusive_lock(folders.root / "run.lock", refusal=RUNNING_ALREADY))
        listener = stack.enter_context(reserved_port(port))
        secrets = kept_secrets(folders)

        say("Starting PostgreSQL ...")
        postgres = start_postgres(folders.postgres, log=folders.logs / "postgres.log", password=secrets.postgres_password)
        stack.callback(postgres.stop)
        database_url = prepare_database(postgres)

        say("Starting the S3 emulator ...")
        store = start_object_store(
            folders.objects,
            log=folders.logs / "s3.log",
            temporary=folders.temporary,
            interpreter=EMULATOR.interpreter,
            region=knobs.get("AWS_REGION", DEFAULT_REGION),
            origins=bucket_origins(knobs, port),
        )
        stack.callback(store.stop)

        say("Bringing the database up to date ...")
        environment = application_environment(knobs, secrets, database_url, store)
        environment["MAIL_FOLDER"] = str(folders.mail)
        environment["PUBLIC_URL"] = environment["API_URL"] = f"http://127.0.0.1:{port}"
        # The API reads its settings from the environment of its process, and that is ours.
        os.environ.clear()
        os.environ.update(environment)
        prepare_application(secrets.superuser_password)

        stack.enter_context(archive_worker())
        greeting = welcome(port, folders.root, secrets, environment)
        serve(listener, (postgres.server, store.server), announce=lambda: say(greeting), on_loss=lost.append)
        for server in lost:
            say(f"{server.name} has ended by itself; its log is {server.log}")
        say("Stopping ...")
    return 1 if lost else 0


def welcome(port: int, data: Path, secrets: Secrets, environment: dict[str, str]) -> str:
    """Return what the developer wants to know first."""
    address = f"http://127.0.0.1:{port}"
    api = f"{address}{environment.get('API_V1_STR', '/api/v1')}"
    return f"""
We-Upload is running on {address}    (Ctrl-C stops it; the data stays)

  The API, to read and try   {address}/docs
  Is it well?                curl {address}/health/db
  Sign in                    curl {api}/login/token -d username={SUPERUSER_EMAIL} -d password={secrets.superuser_password}
  PostgreSQL                 {environment["DATABASE_URL"]}
  S3 (emulated)              {environment["AWS_ENDPOINT_URL"]}, bucket {environment["S3_BUCKET_NAME"]}
  Mail it would send         {data}/mail, and its links are printed here
  Data, logs, secrets        {data}    (make clean forgets them)
"""


def main() -> int:
    """Run as a program: every expected failure is one message."""
    for signal_number in STOP_SIGNALS:
        signal.signal(signal_number, signal.default_int_handler)
    try:
        data = Path(os.environ.get(DATA_VARIABLE) or CHECKOUT / ".local")
        return run(Folders(data.resolve()), read_port())
    except LocalError as error:
        print(error, file=sys.stderr)
    except PermissionError as error:
        print(f"{error.filename}: no permission. If an earlier run was another user's: make clean, as that user", file=sys.stderr)
    except KeyboardInterrupt:
        say("Interrupted.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
