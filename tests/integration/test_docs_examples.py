"""The examples of the documentation, run in bash against the API as served."""

import re
import shlex
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from infra.local.object_store import ObjectStoreServer
from infra.local.workers import running_workers
from lambda_app.application import create_app
from lambda_app.cli import cli
from lambda_app.core.settings import Settings
from lambda_app.factory import Services

CHECKOUT = Path(__file__).parents[2]
WITH_EXAMPLES = ("README.md", "docs/sharing.md", "docs/accounts.md", "docs/api.md")
DOCUMENTED_ADDRESS = "http://127.0.0.1:8000"
FAILED = '"type": "about:blank"'
"""In a problem document, which curl prints like any other response."""


def examples(page: str) -> list[str]:
    """Return the shell blocks of a page."""
    return re.findall(r"^```sh\n(.*?)^```", (CHECKOUT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def address(settings: Settings, s3_server: ObjectStoreServer) -> Iterator[str]:
    """The API and its workers, served on 127.0.0.1."""
    listener = socket.create_server(("127.0.0.1", 0))
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
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True
            thread.join()
    services.engine.dispose()


@pytest.mark.slow
def test_all_curl_examples_succeed_as_printed(address: str, tmp_path: Path) -> None:
    blocks = [block for page in WITH_EXAMPLES for block in examples(page) if "curl" in block]
    script = "\n".join(["set -euo pipefail", *blocks]).replace(DOCUMENTED_ADDRESS, address)

    run = subprocess.run(
        [shutil.which("bash") or "bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert FAILED not in run.stdout.replace('":"', '": "'), run.stdout
    assert "identical" in run.stdout
    assert len(blocks) == 4
    assert (tmp_path / "photos.zip").read_bytes()[:2] == b"PK"


def test_all_operator_commands_of_the_examples_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = [line for page in WITH_EXAMPLES for block in examples(page) for line in block.splitlines()]
    # Without comments and redirections.
    texts = [line.partition("#")[0].partition(" > ")[0] for line in printed if line.startswith("we-upload-admin ")]
    lines = [shlex.split(text) for text in texts]
    commands = [line[1:] for line in lines if line[:1] == ["we-upload-admin"]]

    assert len(commands) >= 9
    # Parsing raises an error for an unknown command or option, and does not run the command.
    for name, *arguments in commands:
        for argument in arguments:
            # Some arguments are names of files, which parsing opens.
            if re.fullmatch(r"[\w.-]+", argument) and not argument.startswith("-"):
                (tmp_path / argument).touch()
        with cli.commands[name].make_context(name, arguments):
            pass
