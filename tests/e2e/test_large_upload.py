"""Upload a large file whose process is killed half way; a new process resumes it. `make test-slow SIZE=full` uses 6 GiB."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.state import SUPERUSER_EMAIL, Folders, load_secrets

pytestmark = pytest.mark.slow

GIB = float(os.environ.get("LARGE_UPLOAD_GIB", "0.1"))
CHECKOUT = Path(__file__).parents[2]
UPLOADER = Path(__file__).with_name("uploader.py")


@dataclass
class RunningApi:
    """A running API, and the access token of its superuser."""

    api: str
    token: str
    environment: dict[str, str]

    def request(self, method: str, path: str, **parameters: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx.Client(base_url=self.api, headers=headers, timeout=300, trust_env=False) as client:
            return client.request(method, path, **parameters)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningApi]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "WE_UPLOAD_DATA": str(tmp_path / "data"), "PORT": str(port), "ACCESS_TOKEN_EXPIRE_MINUTES": "120"}
    log = (tmp_path / "run.log").open("w")
    server = subprocess.Popen([sys.executable, "-m", "infra.local"], cwd=CHECKOUT, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: is_healthy(f"{address}/health/db"), seconds=90)
        password = load_secrets(Folders(tmp_path / "data")).superuser_password
        form = {"username": SUPERUSER_EMAIL, "password": password}
        token = httpx.post(f"{address}/login/token", data=form, trust_env=False).raise_for_status().json()["access_token"]
        yield RunningApi(f"{address}/api/v1", token, environment)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
        log.close()


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until(is_met: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_met():
        assert time.monotonic() < deadline, "timeout"
        time.sleep(0.1)


def make_source(path: Path, size_bytes: int) -> str:
    """Write a sparse file with different content in every part, and return its SHA-256 digest."""
    with path.open("wb") as source:
        source.truncate(size_bytes)
        for at in range(0, size_bytes, 4 * 1024**2):
            source.seek(at)
            source.write(os.urandom(16)[: size_bytes - at])
    return digest_of(path)


def digest_of(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def sent_parts(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def test_killed_upload_is_resumed_by_a_new_process_and_downloads_unchanged(running: RunningApi, tmp_path: Path) -> None:
    size_bytes = int(GIB * 1024**3) + 12_345
    source, log = tmp_path / "source", tmp_path / "parts.log"
    digest = make_source(source, size_bytes)
    metadata = {"filename": "large.bin", "content_type": "application/octet-stream", "size_bytes": size_bytes}
    started = running.request("POST", "/files/multipart", json=metadata).json()
    command = [sys.executable, str(UPLOADER), running.api, running.token, started["file_id"], str(source), str(log)]

    uploader = subprocess.Popen(command)
    wait_until(lambda: len(sent_parts(log)) >= started["part_count"] // 2, seconds=900)
    uploader.kill()
    assert uploader.wait() == -signal.SIGKILL
    before = len(sent_parts(log))
    subprocess.run(command, check=True, timeout=900)

    sent = sent_parts(log)
    print(f"{started['part_count']} parts, {before} before the kill")
    assert 0 < before < started["part_count"]
    assert len(sent) == len(set(sent))
    assert started["part_count"] - len(sent) <= 1  # a part may have arrived although it was not logged before the kill
    url = running.request("GET", f"/files/download/{started['file_id']}").json()["download_url"]
    fetched = hashlib.sha256()
    received = 0
    with httpx.stream("GET", url, timeout=900, trust_env=False) as download:
        for chunk in download.iter_bytes(1024**2):
            fetched.update(chunk)
            received += len(chunk)
    assert (received, fetched.hexdigest()) == (size_bytes, digest)
