"""`make run` as the developer meets it: in a terminal, with Ctrl-C, twice, and with a port that is taken."""

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
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from infra.local.application import GRACEFUL_SHUTDOWN_SECONDS
from infra.local.processes import free_port

CHECKOUT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CTRL_C = b"\x03"


class Run:
    """`python -m infra.local` in a terminal of its own."""

    def __init__(self, data: Path, **knobs: str) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._screen, terminal = pty.openpty()
        environment = {**os.environ, "WE_UPLOAD_DATA": str(data), "PORT": str(self.port), **knobs}
        # The first terminal that the leader of a new session opens is the one whose Ctrl-C it gets.
        command = ["/bin/sh", "-c", 'exec "$@" < "$0"', os.ttyname(terminal), sys.executable, "-m", "infra.local"]
        self.process = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
        )
        os.close(terminal)
        self.output = ""

    def read_until(self, text: str) -> str:
        """Return what the screen shows, once `text` is on it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
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
        status = self.process.wait(PATIENCE_SECONDS)
        drain.join(PATIENCE_SECONDS)
        return status

    def close(self) -> None:
        """End it, whatever state it is in."""
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
def running(data: Path, **knobs: str) -> Iterator[Run]:
    run = Run(data, **knobs)
    with closing(run):
        run.read_until("We-Upload is running on")
        run.read_until("Data, logs, secrets")
        yield run


def sign_in(run: Run) -> dict[str, Any]:
    """Sign in as the line on the screen says."""
    line = re.search(r"curl (\S+/login/token) -d username=(\S+) -d password=(\S+)", run.output)
    assert line is not None, run.output
    url, username, password = line.groups()
    answer = httpx.post(url, data={"username": username, "password": password}, timeout=10)
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
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (state := api.get(f"/archives/{archive['id']}").raise_for_status().json())["status"] != "ready":
            assert time.monotonic() < deadline, state
            time.sleep(0.1)
        with zipfile.ZipFile(io.BytesIO(httpx.get(state["download_url"]).raise_for_status().content)) as found:
            return [(name, found.read(name)) for name in found.namelist()]


def servers_of(run: Run) -> list[psutil.Process]:
    return psutil.Process(run.process.pid).children(recursive=True)


def test_one_command_serves_and_its_data_survives_ctrl_c(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        assert get(first, "/health/db") == {"status": "ok"}
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
        assert get(second, "/api/v1/users/me", sign_in(second)) == me


def test_request_in_flight_is_answered_after_ctrl_c(tmp_path: Path) -> None:
    with running(tmp_path) as run, socket.create_connection(("127.0.0.1", run.port), timeout=10) as slow:
        body = urllib.parse.urlencode({"username": "nobody@example.com", "password": "wrong password"}).encode()
        head = f"POST /api/v1/login/token HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        slow.sendall(f"{head}Content-Type: application/x-www-form-urlencoded\r\nExpect: 100-continue\r\n\r\n".encode())
        # The application has taken the request and waits for its body.
        assert slow.recv(65536) == CONTINUE

        run.press(CTRL_C)
        time.sleep(1)
        slow.sendall(body)

        # Answering needs the database: it must not have been stopped first.
        assert slow.recv(65536).startswith(b"HTTP/1.1 401")
        assert run.wait() == 0


def test_second_ctrl_c_waits_for_nobody(tmp_path: Path) -> None:
    with running(tmp_path) as run, socket.create_connection(("127.0.0.1", run.port), timeout=10) as stuck:
        stuck.sendall(b"POST /api/v1/login/token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
        assert stuck.recv(65536) == CONTINUE
        servers = servers_of(run)

        run.press(CTRL_C)
        time.sleep(0.5)
        run.press(CTRL_C)
        second_at = time.monotonic()
        # The connection is cut, by whichever of its two signs.
        with suppress(ConnectionResetError):
            assert stuck.recv(65536) == b""
        assert time.monotonic() - second_at < GRACEFUL_SHUTDOWN_SECONDS / 2
        run.wait()

    assert not [server for server in servers if server.is_running()]


@pytest.mark.parametrize("fatal", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_killed_run_leaves_no_server_and_does_not_block_the_next(tmp_path: Path, fatal: signal.Signals) -> None:
    with running(tmp_path) as killed:
        servers = servers_of(killed)
        killed.process.send_signal(fatal)
        killed.wait()
        psutil.wait_procs(servers, timeout=PATIENCE_SECONDS)
        assert not [server for server in servers if server.is_running()]

    with running(tmp_path, PORT=str(killed.port)) as successor:
        successor.port = killed.port
        assert sign_in(successor)["access_token"]


def test_second_run_of_the_same_folder_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as first, closing(Run(tmp_path)) as second:
        assert second.wait() == 1
        assert f"running from this folder already (process {first.process.pid})" in second.output


def test_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with closing(Run(tmp_path, PORT=str(port))) as run:
            assert run.wait() == 1

    assert f"Port {port} of 127.0.0.1 is taken" in run.output
    assert f"make run PORT={port + 1}" in run.output
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize(("name", "value"), [("PORT", "http"), ("PORT", "0"), ("PORT", "65536"), ("LOG_LEVEL", "LOUD")])
def test_senseless_knob_is_named(tmp_path: Path, name: str, value: str) -> None:
    with closing(Run(tmp_path, **{name: value})) as run:
        assert run.wait() == 1

    assert name in run.output
    assert "Traceback" not in run.output


def test_server_that_dies_ends_the_run_with_the_name_of_its_log(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        # The leash, too, has the name in its command; only the emulator itself has no child.
        emulator = next(server for server in servers_of(run) if "emulator.py" in " ".join(server.cmdline()) and not server.children())
        emulator.kill()

        assert run.wait() == 1

    assert "The S3 emulator has ended by itself" in run.output
    assert str(tmp_path / "logs/s3.log") in run.output
