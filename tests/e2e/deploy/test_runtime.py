"""The packaged API under AWS's Lambda runtime interface emulator."""

import platform
import re
import secrets
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.object_store import ObjectStoreServer
from infra.local.processes import Server, base_environment, free_port
from infra.package.artifact import Artifact
from infra.toolchain import RUNTIME, RUNTIME_EMULATOR
from tests.e2e.deploy.walk import walk
from tests.support.gateway import GatewayTransport, payload_v1

MACHINES = {"x86_64": "x86_64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Runtime:
    """A running function and its log."""

    url: str
    log: Path

    def invoke(self, event: dict[str, Any], context: Any = None) -> dict[str, Any]:
        """Invoke the function. The emulator supports one invocation at a time."""
        del context
        answer = httpx.post(f"{self.url}/2015-03-31/functions/function/invocations", json=event, timeout=60, trust_env=False)
        return dict(answer.json())


@pytest.fixture(scope="module")
def runtime(machine_package: Artifact, migrated_database_url: str, s3_server: ObjectStoreServer) -> Iterator[Runtime]:
    """The API as Lambda starts it: only the package and the runtime client are on the path."""
    tree = machine_package.zip.parent / "tree"
    gateway, api = free_port(), free_port()
    environment = base_environment(
        LAMBDA_TASK_ROOT=str(tree),
        AWS_LAMBDA_FUNCTION_NAME="api",
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE="1769",
        AWS_LAMBDA_FUNCTION_TIMEOUT="20",
        AWS_REGION=s3_server.region,
        AWS_ACCESS_KEY_ID=s3_server.access_key_id,
        AWS_SECRET_ACCESS_KEY=s3_server.secret_access_key,
        ENVIRONMENT="local",
        DATABASE_URL=migrated_database_url,
        SECRET_KEY=secrets.token_urlsafe(48),
        S3_BUCKET_NAME=s3_server.bucket,
        AWS_ENDPOINT_URL=s3_server.endpoint_url,
        PYTHONPATH=str(tree),
        PYTHONDONTWRITEBYTECODE="1",
    )
    emulator = RUNTIME_EMULATOR / f"aws-lambda-rie-{MACHINES[platform.machine()]}"
    command: list[str | Path] = [emulator, "--runtime-interface-emulator-address", f"127.0.0.1:{gateway}"]
    command += ["--runtime-api-address", f"127.0.0.1:{api}", RUNTIME.interpreter, "-m", "awslambdaric", "lambda_app.main.handler"]
    with tempfile.TemporaryDirectory(prefix="we-upload-runtime-") as folder:
        log = Path(folder) / "log"
        server = Server("The runtime emulator", command, log=log, environment=environment)
        try:
            server.wait_until(lambda: _listens(gateway))
            yield Runtime(f"http://127.0.0.1:{gateway}", log)
        finally:
            server.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(params=["payload 2.0", "payload 1.0"])
def api(request: pytest.FixtureRequest, runtime: Runtime) -> Iterator[httpx.Client]:
    """A client whose requests reach the runtime as events of an HTTP API or a REST API."""
    transport = GatewayTransport(runtime.invoke) if request.param == "payload 2.0" else GatewayTransport(runtime.invoke, payload_v1)
    with httpx.Client(transport=transport, base_url="https://api.example.com") as client:
        yield client


def test_packaged_api_serves_the_whole_product(api: httpx.Client, s3_server: ObjectStoreServer) -> None:
    walk(api, bucket=s3_server.bucket)


def test_unknown_event_does_not_crash_the_runtime(runtime: Runtime, api: httpx.Client) -> None:
    assert runtime.invoke({"Records": []})["statusCode"] == HTTPStatus.BAD_REQUEST
    assert api.get("/health").status_code == HTTPStatus.OK


def test_start_takes_less_than_half_of_the_ten_seconds_that_lambda_allows(runtime: Runtime, api: httpx.Client) -> None:
    api.get("/health")

    # Not "Init Duration" of the REPORT line, which the emulator does not fill in.
    started = re.search(r"INIT REPORT\(durationMs: ([\d.]+)", runtime.log.read_text())

    assert started
    assert 50 < float(started[1]) < 5_000
