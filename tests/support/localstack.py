"""LocalStack's S3 without Docker, in its own virtual environment. It validates parts, which the emulator of `make run` does not."""

import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3  # type: ignore[import-untyped]  # ships no type information
from botocore.config import Config  # type: ignore[import-untyped]  # ships no type information

from infra.local.object_store import ObjectStoreServer
from infra.local.processes import Server, base_environment, free_port
from infra.local.state import CHECKOUT

INTERPRETER = CHECKOUT / ".venv-localstack" / "bin" / "python"
"""Created by `make localstack`."""
BUCKET = "we-upload-localstack"
REGION = "us-east-1"
KEY = "test"
"""Key id and secret. LocalStack verifies signatures only with these."""


@contextmanager
def running_localstack() -> Iterator[ObjectStoreServer]:
    """Run LocalStack with S3 in a temporary folder; both are deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="we-upload-localstack-") as name:
        folder = Path(name)
        port = free_port()
        environment = base_environment(
            GATEWAY_SERVER="hypercorn",
            GATEWAY_LISTEN=f"127.0.0.1:{port}",  # the default server listens on all interfaces
            SERVICES="s3",
            SKIP_SSL_CERT_DOWNLOAD="1",
            DISABLE_EVENTS="1",
            DNS_ADDRESS="0",
            FILESYSTEM_ROOT=str(folder / "files"),
            S3_SKIP_SIGNATURE_VALIDATION="0",
            TMPDIR=str(folder),
        )
        endpoint_url = f"http://127.0.0.1:{port}"
        server = Server("LocalStack", [INTERPRETER, "-m", "localstack.runtime.main"], log=folder / "log", environment=environment)
        try:
            server.wait_until(lambda: _answers(endpoint_url))
            session = boto3.Session(KEY, KEY, region_name=REGION)
            config = Config(proxies={}, s3={"addressing_style": "path"})
            session.client("s3", endpoint_url=endpoint_url, config=config).create_bucket(Bucket=BUCKET)
            yield ObjectStoreServer(endpoint_url, KEY, KEY, REGION, BUCKET, server)
        finally:
            server.stop()


def _answers(endpoint_url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{endpoint_url}/_localstack/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
