"""An emulated AWS account, and the real `cdk` command line configured for it."""

import json
import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # ships no type information

from infra.local.bootstrap import EMULATOR
from infra.local.processes import Server, base_environment, free_port

ROOT = Path(__file__).resolve().parents[3]
CDK = ROOT / "node_modules" / ".bin" / "cdk"
ACCOUNT = "000000000000"
REGION = "us-east-1"
KEY = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}


class DeployError(AssertionError):
    """The command line failed; the message is its output."""


@dataclass(frozen=True)
class Cloud:
    """A running emulator with its own account."""

    endpoint_url: str
    folder: Path

    def client(self, service: str) -> Any:
        """Return a boto3 client of the account."""
        session = boto3.Session(KEY["AWS_ACCESS_KEY_ID"], KEY["AWS_SECRET_ACCESS_KEY"], region_name=REGION)
        return session.client(service, endpoint_url=self.endpoint_url)

    def cdk(self, *arguments: str) -> str:
        """Run the CDK's command line for the account and return its output. Raises DeployError when it fails."""
        environment = base_environment(
            **KEY,
            AWS_ENDPOINT_URL=self.endpoint_url,
            # The CDK caches the account of each key in the home folder.
            HOME=str(self.folder),
            CI="true",
            CDK_DISABLE_CLI_TELEMETRY="true",
            JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION="1",
        )
        # Not in the folder of cdk.json: the input is an assembly, not the app.
        finished = subprocess.run(
            [str(CDK), *arguments, "--no-notices"],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        if finished.returncode:
            raise DeployError(f"cdk {' '.join(arguments)}\n{finished.stdout}")
        return finished.stdout

    def outputs(self, stack: str) -> dict[str, str]:
        """Return the outputs of a deployed stack."""
        (described,) = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


@contextmanager
def running_cloud() -> Iterator[Cloud]:
    """Start the emulator with all services, without authentication: it does not emulate the CDK's roles."""
    with tempfile.TemporaryDirectory(prefix="we-upload-cloud-") as name:
        folder = Path(name)
        temporary = folder / "tmp"
        temporary.mkdir()
        port = free_port()
        environment = base_environment(
            BIND_HOST="127.0.0.1",
            GATEWAY_PORT=str(port),
            MINISTACK_HOST="127.0.0.1",
            PERSIST_STATE="0",
            IOT_MTLS_ENABLED="0",
            SFTP_ENABLED="0",
            # Every worker unpacks the package there and does not remove it.
            TMPDIR=str(temporary),
            MINISTACK_REGION=REGION,
            LOG_LEVEL="INFO",
            USE_SSL="0",
            **KEY,
        )
        command = [EMULATOR.interpreter.with_name("ministack")]
        server = Server("The AWS emulator", command, log=folder / "log", environment=environment)
        try:
            endpoint_url = f"http://127.0.0.1:{port}"
            server.wait_until(lambda: _answers(endpoint_url))
            yield Cloud(endpoint_url, folder)
        finally:
            server.stop()
            if log := os.environ.get("WE_UPLOAD_CLOUD_LOG"):
                Path(log).write_bytes((folder / "log").read_bytes())


def _answers(endpoint_url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{endpoint_url}/_ministack/health", timeout=5) as answer:
            return bool(json.load(answer))
    except OSError:
        return False
