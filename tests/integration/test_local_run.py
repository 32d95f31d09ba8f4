"""`make run` in a terminal: start, Ctrl-C, restart, crashes, refused settings, workers."""

import http.client
import io
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pg8000.dbapi  # type: ignore[import-untyped]  # ships no type information
import psutil
import pytest

from infra.local.application import GRACEFUL_SHUTDOWN_SECONDS
from infra.local.processes import free_port

CHECKOUT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CTRL_C = b"\x03"


class Run:
    """`python -m infra.local` in its own terminal."""

    def __init__(self, data: Path, *command: str, **variables: str) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._screen, terminal = pty.openpty()
        inherited = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        environment = {**inherited, "WE_UPLOAD_DATA": str(data), "PORT": str(self.port), **variables}
        # The first terminal that a session leader opens becomes its controlling terminal, whose Ctrl-C it receives.
        shell = ["/bin/sh", "-c", 'exec "$@" < "$0"', os.ttyname(terminal)]
        self.process = subprocess.Popen(
            [*shell, *(command or (sys.executable, "-m", "infra.local"))],
            cwd=CHECKOUT,
            env=environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        self.output = ""

    def read_until(self, text: str) -> str:
        """Return the output once it contains `text`."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            if select.select([self._screen], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self._screen, 65536).decode(errors="replace")
                except OSError:  # the terminal is closed once its last process has ended
                    break
        assert text in self.output
        return self.output

    def press(self, key: bytes) -> None:
        """Press a key; the terminal turns Ctrl-C into a signal to all of its foreground processes."""
        os.write(self._screen, key)

    def wait(self) -> int:
        """Wait for the end and return the exit status."""
        drain = threading.Thread(target=self._drain, daemon=True)
        drain.start()
        status = self.process.wait(DEADLINE_SECONDS)
        drain.join(DEADLINE_SECONDS)
        return status

    def close(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.wait()
        os.close(self._screen)

    def _drain(self) -> None:
        try:
            while part := os.read(self._screen, 65536):
                self.output += part.decode(errors="replace")
        except OSError:
            return


@contextmanager
def running(data: Path, *command: str, **variables: str) -> Iterator[Run]:
    run = Run(data, *command, **variables)
    with closing(run):
        run.read_until("We-Upload is running on")
        run.read_until("Data, logs, secrets")
        yield run


def shown_credentials(run: Run) -> dict[str, str]:
    """Return the form of the sign-in command that the first start prints."""
    line = re.search(r"curl \S+/login/token --data-urlencode username=(\S+) --data-urlencode password=(\S+)", run.output)
    assert line is not None, run.output
    return {"username": line[1], "password": line[2]}


def sign_in(run: Run, credentials: dict[str, str] | None = None) -> dict[str, Any]:
    """Sign in, by default as the first start shows."""
    answer = httpx.post(f"{run.address}/api/v1/login/token", data=credentials or shown_credentials(run), timeout=10)
    token: dict[str, Any] = answer.raise_for_status().json()
    return token


def get(run: Run, path: str, token: dict[str, Any] | None = None) -> Any:
    headers = {"Authorization": f"Bearer {token['access_token']}"} if token else {}
    return httpx.get(f"{run.address}{path}", headers=headers, timeout=10).raise_for_status().json()


def zip_of_one_file(run: Run, token: dict[str, Any], body: bytes) -> list[tuple[str, bytes]]:
    """Upload a file, have a zip made of it, and return what the zip holds."""
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    with httpx.Client(base_url=f"{run.address}/api/v1", headers=headers, timeout=10) as api:
        declared = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": len(body)}
        upload = api.post("/files/upload", json=declared).raise_for_status().json()
        httpx.put(upload["upload_url"], content=body, headers=upload["headers"]).raise_for_status()
        api.post(f"/files/{upload['file_id']}/complete").raise_for_status()
        archive = api.post("/archives", json={"file_ids": [upload["file_id"]]}).raise_for_status().json()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (state := api.get(f"/archives/{archive['id']}").raise_for_status().json())["status"] != "ready":
            assert time.monotonic() < deadline, state
            time.sleep(0.1)
        with zipfile.ZipFile(io.BytesIO(httpx.get(state["download_url"]).raise_for_status().content)) as found:
            return [(name, found.read(name)) for name in found.namelist()]


def servers_of(run: Run) -> list[psutil.Process]:
    return psutil.Process(run.process.pid).children(recursive=True)


@pytest.mark.slow
def test_data_survives_ctrl_c_and_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        assert get(first, "/health/db") == {"status": "ok"}
        credentials = shown_credentials(first)
        me = get(first, "/api/v1/users/me", sign_in(first))
        assert me["is_superuser"] is True
        assert zip_of_one_file(first, sign_in(first), b"the only one") == [("a.txt", b"the only one")]
        servers = servers_of(first)
        assert {"postgres", "python"} <= {re.sub(r"[\d.]+$", "", server.name()) for server in servers}

        first.press(CTRL_C)
        assert first.wait() == 0

    assert "Traceback" not in first.output
    assert not [server for server in servers if server.is_running()]
    with running(tmp_path) as second:
        assert get(second, "/api/v1/users/me", sign_in(second, credentials)) == me


@pytest.mark.slow
def test_request_in_flight_is_answered_after_ctrl_c(tmp_path: Path) -> None:
    with running(tmp_path) as run, socket.create_connection(("127.0.0.1", run.port), timeout=10) as slow:
        body = urllib.parse.urlencode({"username": "unknown@example.com", "password": "wrong password"}).encode()
        head = f"POST /api/v1/login/token HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        slow.sendall(f"{head}Content-Type: application/x-www-form-urlencoded\r\nExpect: 100-continue\r\n\r\n".encode())
        # The application has accepted the request and waits for its body.
        assert slow.recv(65536) == CONTINUE

        run.press(CTRL_C)
        time.sleep(1)
        slow.sendall(body)

        # The response needs the database, which must not stop first.
        assert slow.recv(65536).startswith(b"HTTP/1.1 401")
        assert run.wait() == 0


@pytest.mark.slow
def test_second_ctrl_c_does_not_wait_for_requests(tmp_path: Path) -> None:
    with running(tmp_path) as run, socket.create_connection(("127.0.0.1", run.port), timeout=10) as stuck:
        stuck.sendall(b"POST /api/v1/login/token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
        assert stuck.recv(65536) == CONTINUE
        servers = servers_of(run)

        run.press(CTRL_C)
        # The first one has been handled when the port is closed.
        wait_until(lambda: not accepts_connections(run))
        run.press(CTRL_C)
        second_at = time.monotonic()
        # Either form of a closed connection.
        with suppress(ConnectionResetError):
            assert stuck.recv(65536) == b""
        assert time.monotonic() - second_at < GRACEFUL_SHUTDOWN_SECONDS / 2
        run.wait()

    assert not [server for server in servers if server.is_running()]


@pytest.mark.slow
@pytest.mark.parametrize("fatal", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_killed_run_leaves_no_server_and_does_not_block_the_next_run(tmp_path: Path, fatal: signal.Signals) -> None:
    with running(tmp_path) as killed:
        servers, credentials = servers_of(killed), shown_credentials(killed)
        killed.process.send_signal(fatal)
        killed.wait()
        psutil.wait_procs(servers, timeout=DEADLINE_SECONDS)
        assert not [server for server in servers if server.is_running()]

    with running(tmp_path, PORT=str(killed.port)) as successor:
        successor.address = killed.address
        assert sign_in(successor, credentials)["access_token"]


@pytest.mark.slow
def test_second_run_of_the_same_folder_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as first, closing(Run(tmp_path)) as second:
        assert second.wait() == 1
        assert f"already running from this folder (process {first.process.pid})" in second.output


def test_taken_port_is_reported_before_a_server_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with closing(Run(tmp_path, PORT=str(port))) as run:
            assert run.wait() == 1

    assert f"Another program uses port {port} of 127.0.0.1" in run.output
    assert f"make run PORT={port + 1}" in run.output
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize(("name", "value"), [("PORT", "http"), ("PORT", "65536"), ("LOG_LEVEL", "LOUD"), ("WE_UPLOAD_DATE", "x")])
def test_invalid_variable_is_named(tmp_path: Path, name: str, value: str) -> None:
    with closing(Run(tmp_path, **{name: value})) as run:
        assert run.wait() == 1

    assert name in run.output
    assert "Traceback" not in run.output


@pytest.mark.slow
def test_end_of_a_server_ends_the_run_with_the_name_of_its_log(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        # The supervisor has the same name in its command line, but also a child.
        emulator = next(server for server in servers_of(run) if "emulator.py" in " ".join(server.cmdline()) and not server.children())
        emulator.kill()

        assert run.wait() == 1

    assert "The S3 emulator has ended unexpectedly" in run.output
    assert str(tmp_path / "logs/s3.log") in run.output


def declare(api: httpx.Client, body: bytes) -> dict[str, Any]:
    declared = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": len(body)}
    upload: dict[str, Any] = api.post("/files/upload", json=declared).raise_for_status().json()
    return upload


def client_of(run: Run, credentials: dict[str, str]) -> httpx.Client:
    headers = {"Authorization": f"Bearer {sign_in(run, credentials)['access_token']}"}
    return httpx.Client(base_url=f"{run.address}/api/v1", headers=headers, timeout=30)


def query(run: Run, statement: str) -> None:
    """Run a statement on the database that the greeting names."""
    url = re.search(r"postgresql://\S+", run.output)
    assert url is not None
    parts = urllib.parse.urlsplit(url[0])
    connection = pg8000.dbapi.connect(parts.username, host="127.0.0.1", port=parts.port, password=parts.password, database="we_upload")
    try:
        connection.cursor().execute(statement)
        connection.commit()
    finally:
        connection.close()


def accepts_connections(run: Run) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", run.port)) == 0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_workers_complete_and_sweep_and_presigned_urls_survive_a_restart(tmp_path: Path) -> None:
    body = b"bytes that arrive without a call of complete"
    with running(tmp_path) as first:
        credentials = shown_credentials(first)
        with client_of(first, credentials) as api:
            completed, late, abandoned = declare(api, body), declare(api, body), declare(api, b"1")
            httpx.put(completed["upload_url"], content=body, headers=completed["headers"]).raise_for_status()
            wait_until(lambda: api.get(f"/files/{completed['file_id']}").json()["status"] == "available")
            download = api.get(f"/files/download/{completed['file_id']}").json()["download_url"]
            multipart = {"filename": "b.bin", "content_type": "application/octet-stream", "size_bytes": 17_000_000}
            in_parts = api.post("/files/multipart", json=multipart).raise_for_status().json()
            numbers = range(1, in_parts["part_count"] + 1)
            signed = api.post(f"/files/{in_parts['file_id']}/parts", json={"parts": [{"number": number} for number in numbers]})
            parts = signed.raise_for_status().json()["parts"]
        size = in_parts["part_size_bytes"]
        bodies = [b"x" * min(size, 17_000_000 - start) for start in range(0, 17_000_000, size)]
        httpx.put(parts[0]["upload_url"], content=bodies[0], headers=parts[0]["headers"]).raise_for_status()
        query(first, "UPDATE file SET upload_expires_at = now() - interval '1 day' WHERE status = 'pending' AND size_bytes = 1")
        first.process.kill()
        first.wait()

    with running(tmp_path) as second, client_of(second, credentials) as api:
        assert credentials["password"] not in second.output
        # URLs of the first run: a download, an upload, and the remaining parts of an upload in parts.
        assert httpx.get(download).content == body
        httpx.put(late["upload_url"], content=body, headers=late["headers"]).raise_for_status()
        for part, content in zip(parts[1:], bodies[1:], strict=True):
            httpx.put(part["upload_url"], content=content, headers=part["headers"]).raise_for_status()
        assert api.post(f"/files/{in_parts['file_id']}/complete").raise_for_status().json()["status"] == "available"
        wait_until(lambda: api.get(f"/files/{late['file_id']}").json()["status"] == "available")
        wait_until(lambda: api.get(f"/files/{abandoned['file_id']}").status_code == 404)


@pytest.mark.slow
def test_superuser_with_another_address_is_kept_and_no_second_one_is_created(tmp_path: Path) -> None:
    with running(tmp_path) as first, client_of(first, shown_credentials(first)) as api:
        credentials = {"username": "me@example.com", "password": "another long password"}
        change = {"email": credentials["username"], "password": credentials["password"]}
        old = shown_credentials(first)["password"]
        api.put("/users/me", json={**change, "current_password": old}).raise_for_status()
        query(first, "UPDATE \"user\" SET email = 'me@example.com' WHERE is_superuser")
        first.press(CTRL_C)
        first.wait()

    with running(tmp_path) as second, client_of(second, credentials) as api:
        assert old not in second.output
        assert "admin@example.com" not in second.output
        assert [user["email"] for user in api.get("/users/").json()] == ["me@example.com"]


@pytest.mark.slow
def test_data_folder_is_closed_to_other_users(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data) as run, client_of(run, shown_credentials(run)) as api:
        upload = declare(api, b"private")
        httpx.put(upload["upload_url"], content=b"private", headers=upload["headers"]).raise_for_status()

        modes = {path: path.lstat().st_mode & 0o077 for path in (data, *data.rglob("*")) if not path.is_relative_to(data / "postgres")}

    assert {path: mode for path, mode in modes.items() if mode} == {}
    assert any(path.is_file() and path.read_bytes() == b"private" for path in (data / "s3").rglob("*"))


def make_command(*variables: str) -> list[str]:
    return ["/usr/bin/env", "make", "run", f"PYTHON={sys.executable}", *variables]


@pytest.mark.slow
def test_make_passes_settings_and_ends_the_api_when_it_is_killed(tmp_path: Path) -> None:
    # The shell stays, so that the end of make is not the end of the session, which would send SIGHUP.
    command = ("/bin/sh", "-c", '"$@"; sleep 60', "sh", *make_command("OPEN_REGISTRATION=false", "REQUIRE_VERIFIED_EMAIL=true"))
    with running(tmp_path, *command) as run:
        account = {"email": "me@example.com", "password": "a long enough password"}
        assert httpx.post(f"{run.address}/api/v1/users/", json=account).status_code == 403
        make, *servers = servers_of(run)
        assert make.name() == "make"
        assert len(servers) >= 4

        make.kill()

        _, alive = psutil.wait_procs(servers, timeout=DEADLINE_SECONDS)
        assert alive == []
        assert "The process that started this run has ended" in run.read_until("Stopping ...")


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("REQUIRE_VERIFED_EMAIL=true", "is not a variable of make run; did you mean REQUIRE_VERIFIED_EMAIL?"),
        ("DATABASE_URL=postgresql://theirs", "make run sets DATABASE_URL itself"),
    ],
)
def test_make_refuses_a_variable_that_it_cannot_use(tmp_path: Path, variable: str, message: str) -> None:
    with closing(Run(tmp_path, *make_command(variable))) as run:
        assert run.wait() != 0

    assert message in run.output
    assert "Traceback" not in run.output


@pytest.mark.slow
def test_idle_connections_stay_open_and_later_requests_are_not_delayed(tmp_path: Path) -> None:
    with running(tmp_path) as run, closing(http.client.HTTPConnection("127.0.0.1", run.port, timeout=10)) as connection:

        def seconds() -> float:
            started_at = time.perf_counter()
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b'{"status":"ok"}'
            return time.perf_counter() - started_at

        seconds()
        opened = connection.sock
        # With Nagle's algorithm each of them waits 40 ms for a delayed ACK.
        assert min(seconds() for _ in range(10)) < 0.03
        time.sleep(6)
        seconds()
        assert connection.sock is opened


@pytest.mark.slow
def test_admin_command_uses_the_running_instance(tmp_path: Path) -> None:
    def admin(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "WE_UPLOAD_DATA": str(tmp_path), "DATABASE_URL": "postgresql://theirs/production"}
        command = [sys.executable, "-m", "infra.local.admin", *arguments]
        return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)

    before = admin("sweep", "--dry-run")
    with running(tmp_path) as run:
        during = admin("sweep", "--dry-run")
        run.press(CTRL_C)
        run.wait()
    after = admin("sweep", "--dry-run")

    assert (during.returncode, during.stderr) == (0, "")
    assert re.search(r"^failed steps +0$", during.stdout, re.MULTILINE)
    for refused in (before, after):
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == f"No instance is running from {tmp_path}. Start it first, in another terminal: make run\n"
