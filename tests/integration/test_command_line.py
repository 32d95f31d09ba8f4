"""The command `we-upload`, run from its source against the API, its workers and the S3 emulator; and the examples of docs/clients.md."""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import uvicorn
from we_upload import Client

from infra.local.object_store import ObjectStoreServer
from infra.local.workers import running_workers
from lambda_app import models
from lambda_app.application import create_app
from lambda_app.core.security.totp import totp_code
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from tests.support.counting_store import CountingStore
from tests.support.second_factor import current_step

CHECKOUT = Path(__file__).parents[2]
SOURCE = CHECKOUT / "clients" / "python" / "src"
PART_BYTES = 8 * 1024**2
PASSWORD = "correct horse battery"
DOCUMENTED_ADDRESS = "http://127.0.0.1:8000"
TESTED_ELSEWHERE = ("Generated clients", "Stock Uppy 6")
"""Sections of docs/clients.md that `make test-clients` and `make test-browser` cover."""


@dataclass
class Site:
    """A running API, and the proxy through which clients reach its object store."""

    address: str
    store: CountingStore
    services: Services


class Person:
    """A user of the command, with a folder and credentials of their own."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.address = address
        self.email = f"{folder.name}-{os.urandom(4).hex()}@example.com"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(SOURCE),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_STATE_HOME": str(folder / "state"),
        }
        folder.mkdir()

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "we_upload", *arguments]

    def run(self, *arguments: str, stdin: bytes = b"", status: int = 0) -> str:
        """Run the command and return its standard output."""
        run = subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environment, input=stdin, capture_output=True, timeout=120, check=False
        )
        assert run.returncode == status, run.stderr.decode()
        if status == 0 and arguments[0] not in ("login", "logout", "links", "verify"):
            assert run.stderr == b""
        return run.stdout.decode().strip()

    def sign_in(self) -> None:
        with Client(self.address) as client:
            client.api.call("POST", "/users/", json_body={"email": self.email, "password": PASSWORD})
        self.run("login", self.address, "--email", self.email, stdin=f"{PASSWORD}\n".encode())


@pytest.fixture(scope="module")
def site(settings: Settings, s3_server: ObjectStoreServer) -> Iterator[Site]:
    """The API and its workers, served on 127.0.0.1."""
    with CountingStore(s3_server.endpoint_url) as store, socket.create_server(("127.0.0.1", 0)) as listener:
        settings = settings.model_copy(update={"s3_public_endpoint_url": store.endpoint_url})
        services = Services.build(settings)
        server = uvicorn.Server(uvicorn.Config(create_app(settings, services), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
            environment.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
            with running_workers(services):
                thread.start()
                while not server.started:
                    time.sleep(0.01)
                yield Site(f"http://127.0.0.1:{listener.getsockname()[1]}", store, services)
                server.should_exit = True
                thread.join()
        services.engine.dispose()


@pytest.fixture
def ada(site: Site, tmp_path: Path) -> Person:
    """A signed-in user."""
    person = Person(tmp_path / "ada", site.address)
    person.sign_in()
    return person


@pytest.fixture
def ben(site: Site, tmp_path: Path) -> Person:
    """A person without an account."""
    return Person(tmp_path / "ben", site.address)


def wait_until(is_met: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_met():
        assert time.monotonic() < deadline, "timeout"
        time.sleep(0.02)


def make_large_file(path: Path, parts: int) -> None:
    """Write a file of so many parts, the last one short, with different content in each."""
    with path.open("wb") as file:
        for _ in range(parts - 1):
            file.write(os.urandom(1024) * (PART_BYTES // 1024))
        file.write(os.urandom(12_345))


def test_shared_file_opens_without_an_account(ada: Person, ben: Person) -> None:
    content = os.urandom(100_000)
    (ada.folder / "photo.png").write_bytes(content)

    url = ada.run("up", "--share", "--expires", "7d", "--max-downloads", "5", "photo.png")

    assert re.fullmatch(rf"{ada.address}/s/[\w-]{{22}}", url)
    assert ben.run("ls", url).split("\t")[1:] == ["100000", "photo.png"]
    assert ben.run("down", url) == "photo.png"
    assert (ben.folder / "photo.png").read_bytes() == content
    assert "1 file, 1 of 5 downloads, until " in ada.run("links")


def test_password_of_a_link_is_required_and_accepted(ada: Person, ben: Person) -> None:
    (ada.folder / "secret").write_text("swordfish\n")
    (ada.folder / "file").write_bytes(b"content")
    (ben.folder / "secret").write_text("swordfish\n")
    (ben.folder / "wrong").write_text("guppy\n")

    url = ada.run("up", "--share", "--password-file", "secret", "file")

    ben.run("down", url, status=4)
    ben.run("down", url, "--password-file", "wrong", status=4)
    ben.run("down", url, "--password-file", "secret")
    assert (ben.folder / "file").read_bytes() == b"content"


@pytest.mark.slow
def test_killed_upload_sends_no_finished_part_again(site: Site, ada: Person, ben: Person) -> None:
    source = ada.folder / "big.bin"
    make_large_file(source, parts=13)
    site.store.hold(after=6)

    first = subprocess.Popen(ada.command("up", "--share", "big.bin"), cwd=ada.folder, env=ada.environment, stdout=subprocess.PIPE)
    wait_until(lambda: len(site.store.answered) == 6)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    finished = set(site.store.answered)
    # The requests that were held at the kill may store their parts now, as in S3.
    site.store.release()
    time.sleep(0.5)
    site.store.answered.clear()
    url = ada.run("up", "--share", "big.bin")

    assert len(finished) == 6
    assert not finished & set(site.store.answered)
    assert len(site.store.answered) <= 13 - 6
    ben.run("down", url)
    assert (ben.folder / "big.bin").read_bytes() == source.read_bytes()


@pytest.mark.slow
def test_killed_upload_of_many_files_sends_no_finished_file_again(site: Site, ada: Person) -> None:
    (ada.folder / "many").mkdir()
    for number in range(60):
        (ada.folder / "many" / f"{number:03}").write_bytes(os.urandom(100))
    site.store.hold(after=30)

    first = subprocess.Popen(ada.command("up", "many"), cwd=ada.folder, env=ada.environment, stdout=subprocess.PIPE)
    wait_until(lambda: len(site.store.answered) == 30)
    time.sleep(0.5)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    finished = set(site.store.answered)
    site.store.release()
    time.sleep(0.5)
    site.store.answered.clear()
    ids = ada.run("up", "many").split()

    assert len(set(ids)) == 60
    assert not finished & set(site.store.answered)
    listed = [line.split("\t") for line in ada.run("ls", "--status", "available").splitlines()]
    assert sorted(fields[0] for fields in listed) == sorted(ids)


@pytest.mark.slow
def test_killed_download_continues(site: Site, ada: Person) -> None:
    make_large_file(ada.folder / "big.bin", parts=9)
    file_id = ada.run("up", "big.bin")
    partial = ada.folder / ".copy.bin.we-upload-part"

    first = subprocess.Popen(ada.command("down", file_id, "-o", "copy.bin"), cwd=ada.folder, env=ada.environment)
    wait_until(partial.exists)
    first.kill()
    first.wait()
    ada.run("down", file_id, "-o", "copy.bin")

    assert (ada.folder / "copy.bin").read_bytes() == (ada.folder / "big.bin").read_bytes()
    assert not partial.exists()


def test_guest_sends_files_to_a_request(ada: Person, ben: Person) -> None:
    (ben.folder / "a.txt").write_text("from ben")
    url = ada.run("request", "Your text", "--expires", "2d", "--max-files", "3", "--type", "text/*")

    first = ben.run("send-to", url, "a.txt")
    second = ben.run("up", "--request", url, "-", "--name", "b.txt", stdin=b"piped")

    listed = {line.split("\t")[0]: line.split("\t")[3] for line in ada.run("ls").splitlines()}
    assert listed == {first: "a.txt", second: "b.txt"}
    assert ada.run("down", first, "-o", "-") == "from ben"
    ada.run("links", "--revoke", json.loads(ada.run("links", "--json"))["file_requests"][0]["id"])
    ben.run("send-to", url, "a.txt", status=4)


def test_pipe_goes_in_and_comes_out_unchanged(ada: Person) -> None:
    content = os.urandom(PART_BYTES)

    file_id = ada.run("up", "-", "--name", "dump.bin", stdin=content)
    run = subprocess.run(ada.command("down", file_id, "-o", "-"), cwd=ada.folder, env=ada.environment, capture_output=True, check=True)

    assert hashlib.sha256(run.stdout).digest() == hashlib.sha256(content).digest()


def test_sync_uploads_what_is_new_or_changed_and_deletes_on_request(ada: Person) -> None:
    folder = ada.folder / "notes"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.txt", "sub/b.txt", "skip.tmp"):
        (folder / name).write_text(name)

    def sync(*options: str) -> list[tuple[str, str]]:
        return [
            (line.split("\t")[0], line.split("\t")[2]) for line in ada.run("sync", "notes", "--exclude", "*.tmp", *options).splitlines()
        ]

    assert sync("--dry-run") == [("upload", "a.txt"), ("upload", "sub/b.txt")]
    assert sync() == [("upload", "a.txt"), ("upload", "sub/b.txt")]
    assert sync() == []
    (folder / "a.txt").write_text("a new version")
    (folder / "sub" / "b.txt").unlink()
    assert sync("--delete") == [("upload", "a.txt"), ("delete", "sub/b.txt")]
    [line] = ada.run("ls").splitlines()
    assert ada.run("down", line.split("\t")[0], "-o", "-") == "a new version"
    ada.run("rm", line.split("\t")[0])
    assert sync() == [("upload", "a.txt")]


def test_expired_access_token_is_renewed_and_stored(ada: Person) -> None:
    path = ada.folder / "config" / "we-upload" / "credentials.json"
    content = json.loads(path.read_text())
    content["servers"][ada.address]["access_token"] = "expired"
    path.write_text(json.dumps(content))

    ada.run("ls")

    renewed = json.loads(path.read_text())["servers"][ada.address]
    assert renewed["access_token"] != "expired"
    assert renewed["refresh_token"] != content["servers"][ada.address]["refresh_token"]


def test_logout_ends_the_session_on_the_server(ada: Person) -> None:
    path = ada.folder / "config" / "we-upload" / "credentials.json"
    kept = path.read_text()

    ada.run("logout")

    ada.run("ls", status=3)
    path.write_text(kept)
    ada.run("ls", status=3)


def test_api_key_signs_in(ada: Person, ben: Person) -> None:
    token = json.loads((ada.folder / "config" / "we-upload" / "credentials.json").read_text())["servers"][ada.address]["access_token"]
    with Client(ada.address, token=token) as client:
        body = {"name": "laptop", "scopes": ["files:read", "files:write", "shares"]}
        key = client.api.call("POST", "/users/me/api-keys", json_body=body).json()["key"]

    ben.run("login", ada.address, "--api-key", stdin=f"{key}\n".encode())
    (ben.folder / "file").write_bytes(b"content")

    assert ben.run("up", "--share", "file").startswith(f"{ada.address}/s/")


def test_account_with_a_second_factor_signs_in_with_a_code(ada: Person, ben: Person) -> None:
    with Client(ada.address) as client:
        client.sign_in(ada.email, PASSWORD)
        factor = "/users/me/second-factor"
        secret = client.api.call("POST", factor, json_body={"current_password": PASSWORD}).json()["secret"]
        code = totp_code(secret, current_step(-1))
        [recovery, *_] = client.api.call("POST", f"{factor}/confirm", json_body={"otp": code}).json()["recovery_codes"]

    ben.run("login", ada.address, "--email", ada.email, stdin=f"{PASSWORD}\n{code}\n".encode(), status=3)
    ben.run("login", ada.address, "--email", ada.email, stdin=f"{PASSWORD}\n{recovery}\n".encode())

    assert ben.run("ls") == ""


def test_quota_and_wrong_credentials_have_their_own_status(site: Site, ada: Person, ben: Person) -> None:
    with Client(ada.address) as client:
        user = client.sign_in(ada.email, PASSWORD)
    with site.services.unit_of_work() as session:
        row = session.get(models.User, UUID(user.id))
        assert row is not None
        row.quota_bytes = 10
    (ada.folder / "file").write_bytes(b"more than ten bytes")

    ada.run("up", "file", status=6)
    ben.run("login", ada.address, "--email", ada.email, stdin=b"wrong\n", status=3)


def test_public_file_is_downloaded_by_its_link(ada: Person, ben: Person) -> None:
    (ada.folder / "open.txt").write_text("public")

    file_id = ada.run("up", "--public", "open.txt")
    ben.run("down", f"{ada.address}/p/{file_id}")

    assert (ben.folder / "open.txt").read_text() == "public"


@pytest.mark.slow
def test_fresh_environment_installs_the_command(ada: Person, ben: Person, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    # A copy, because the build writes into the folder of the package.
    package = shutil.copytree(CHECKOUT / "clients" / "python", tmp_path / "package")
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(package)]
    subprocess.run(pip, check=True, timeout=300)
    (ada.folder / "big.bin").write_bytes(os.urandom(1_000_000))
    variables = {name: value for name, value in ada.environment.items() if name != "PYTHONPATH"}

    command = [str(environment / "bin" / "we-upload"), "up", "--share", "big.bin"]
    run = subprocess.run(command, cwd=ada.folder, env=variables, capture_output=True, text=True, check=True)

    page = httpx.get(run.stdout.strip(), headers={"Accept": "text/html"}, trust_env=False)
    assert page.status_code == 200
    assert "big.bin" in page.text


INTERRUPTED_CURL = """\
sent=0; curl() { case "$*" in *" -T "*) sent=$((sent + 1)); [ $sent = 1 ] || exit 9 ;; esac; command curl "$@"; }"""
"""Ends a shell at the second upload by curl."""
INTERRUPTED_PYTHON = """\
import runpy, sys, urllib.request
send, sent = urllib.request.urlopen, []
def urlopen(request):
    sent.extend([1] if request.method == "PUT" else [])
    return send(request) if len(sent) < 2 else sys.exit(9)
urllib.request.urlopen = urlopen
runpy.run_path(sys.argv[1])
"""
"""Ends an example at its second PUT."""


@pytest.mark.slow
def test_examples_of_the_documentation_run_as_printed_and_continue_after_an_interruption(site: Site, ada: Person) -> None:
    page = (CHECKOUT / "docs" / "clients.md").read_text(encoding="utf-8")
    sections = [section for section in page.split("\n## ") if section.partition("\n")[0] not in TESTED_ELSEWHERE]
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```", "\n## ".join(sections), re.DOTALL | re.MULTILINE)
    script = ["set -euo pipefail"]
    for number, (language, block) in enumerate(blocks):
        example = ada.folder / f"example{number}.{language}"
        example.write_text(block.replace(DOCUMENTED_ADDRESS, ada.address))
        is_in_parts = "/parts" in block
        if language == "sh":
            script += [f"({INTERRUPTED_CURL}; . ./{example.name}) && exit 1"] if is_in_parts else []
            script.append(block)
        else:
            script += [f"python -c '{INTERRUPTED_PYTHON}' {example.name} && exit 1"] if is_in_parts else []
            script.append(f"python {example.name}")
    binaries = ada.folder / "bin"
    binaries.mkdir()
    for name, command in (("we-upload", '-m we_upload "$@"'), ("python", '"$@"'), ("python3", '"$@"')):
        (binaries / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command}\n')
        (binaries / name).chmod(0o755)
    environment = {**ada.environment, "PATH": f"{binaries}:{os.environ['PATH']}"}

    run = subprocess.run(
        [shutil.which("bash") or "bash", "-c", "\n".join(script).replace(DOCUMENTED_ADDRESS, ada.address)],
        cwd=ada.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert len(blocks) == 6
    with site.store.lock:
        parts = [answered for answered in site.store.answered if answered[1]]
    # The examples in parts were interrupted after their first part, and sent it only once.
    assert len([number for _, number in parts if number == "1"]) >= 2
    assert len(parts) == len(set(parts))
    # A link of the command, one of the library and one of curl; both examples in parts end with a verified file.
    assert len(re.findall(r"/s/[\w-]{22}$", run.stdout, re.MULTILINE)) == 3
    assert run.stdout.count("available") >= 2
    assert "identical" in run.stdout
    assert not list(ada.folder.glob("big.bin.*"))
