"""Supervised servers: they stop in order, by force, and when their starter is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from infra.local import processes
from infra.local.processes import LocalError, Server, base_environment

DEADLINE_SECONDS = 60.0
# Prints its pid, and then each stop signal; `stubborn` ignores stop signals.
SERVER = """
import os, signal, sys, time
def stop(number, frame):
    print("signal", signal.Signals(number).name, flush=True)
    if "stubborn" not in sys.argv:
        sys.exit(0)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, stop)
# In one write, so that the line of a signal cannot come in between.
os.write(1, f"pid {os.getpid()}\\n".encode())
time.sleep(60)
"""
STARTER = """
import sys, time
from pathlib import Path
from infra.local.processes import Server
server = Server("It", [sys.executable, "-c", sys.argv[2]], log=Path(sys.argv[1]))
time.sleep(60)
"""


def start(tmp_path: Path, *arguments: str, stop_signal: str = "SIGTERM") -> tuple[Server, Callable[[], str]]:
    log = tmp_path / "log"
    server = Server("It", [sys.executable, "-c", SERVER, *arguments], log=log, stop_signal=stop_signal)
    server.wait_until(lambda: "\n" in log.read_text())
    return server, log.read_text


def pid_in(log: str) -> int:
    return int(log.splitlines()[0].removeprefix("pid "))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.02)


@pytest.mark.parametrize("stop_signal", ["SIGTERM", "SIGINT"])
def test_server_receives_its_own_stop_signal(tmp_path: Path, stop_signal: str) -> None:
    server, log = start(tmp_path, stop_signal=stop_signal)
    assert not server.has_ended()

    server.stop()

    assert server.has_ended()
    assert log().splitlines()[1:] == [f"signal {stop_signal}"]
    assert not psutil.pid_exists(pid_in(log()))


def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    server, log = start(tmp_path)

    server.stop()
    server.stop()

    assert log().count("signal") == 1


def test_server_that_ignores_the_stop_signal_is_forced_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_GRACE_SECONDS", 0.5)
    server, log = start(tmp_path, "stubborn")

    server.stop()

    assert "signal" in log()
    assert not psutil.pid_exists(pid_in(log()))


def test_interrupted_stop_forces_the_end_at_once(tmp_path: Path) -> None:
    server, log = start(tmp_path, "stubborn")
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        started_at = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            server.stop()
    finally:
        signal.signal(signal.SIGALRM, previous)

    assert time.monotonic() - started_at < processes.STOP_GRACE_SECONDS / 2
    assert not psutil.pid_exists(pid_in(log()))


@pytest.mark.parametrize("fatal", [signal.SIGKILL, signal.SIGTERM])
def test_server_ends_when_its_starter_is_killed(tmp_path: Path, fatal: signal.Signals) -> None:
    log = tmp_path / "log"
    with subprocess.Popen([sys.executable, "-c", STARTER, log, SERVER]) as starter:
        wait_until(lambda: log.exists() and "\n" in log.read_text())
        server = psutil.Process(pid_in(log.read_text()))

        starter.send_signal(fatal)
        starter.wait()

        wait_until(lambda: not server.is_running())
    assert "signal SIGTERM" in log.read_text()


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(tmp_path: Path) -> None:
    server, log = start(tmp_path)
    try:
        assert os.getpgid(pid_in(log())) != os.getpgid(0)
        assert os.getsid(pid_in(log())) != os.getsid(0)
    finally:
        server.stop()


def test_server_that_ends_early_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    server = Server("The thing", [sys.executable, "-c", "raise SystemExit('no such disk')"], log=tmp_path / "log")

    with pytest.raises(LocalError, match=r"(?s)^The thing ended; .*no such disk"):
        server.wait_until(lambda: False)


def test_server_that_is_never_ready_is_stopped_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, log = start(tmp_path)
    monkeypatch.setattr(processes, "START_TIMEOUT_SECONDS", 0.1)

    with pytest.raises(LocalError, match="was not ready"):
        server.wait_until(lambda: False)

    assert server.has_ended()
    assert not psutil.pid_exists(pid_in(log()))


def test_environment_of_a_server_contains_no_aws_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "PGHOST", "PYTHONPATH"):
        monkeypatch.setenv(name, "the developer's own")
    monkeypatch.setenv("LANG", "C.UTF-8")

    environment = base_environment(AWS_ACCESS_KEY_ID="ours")

    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "PGHOST", "PYTHONPATH"} & environment.keys()
    assert (environment["AWS_ACCESS_KEY_ID"], environment["LANG"]) == ("ours", "C.UTF-8")
