"""The S3 object store satisfies the contract on LocalStack, which enforces S3's rules for multipart uploads (`make localstack`)."""

from collections.abc import Iterator

import httpx
import pytest

from infra.local.object_store import ObjectStoreServer
from tests.integration.storage.s3_world import S3World
from tests.support.localstack import INTERPRETER, running_localstack
from tests.support.object_store_contract import ObjectStoreContract

pytestmark = pytest.mark.skipif(not INTERPRETER.exists(), reason="LocalStack is not installed; `make localstack` does it")


class LocalStackWorld(S3World):
    """LocalStack."""

    demands_signatures = False
    checks_parts = True
    checks_size = True
    pages_uploads = True


@pytest.fixture(scope="module")
def localstack() -> Iterator[ObjectStoreServer]:
    with running_localstack() as server:
        yield server


@pytest.fixture(scope="module")
def world(localstack: ObjectStoreServer) -> Iterator[LocalStackWorld]:
    # LocalStack does not read a part that it rejects, so the connection cannot be reused.
    with httpx.Client(trust_env=False, timeout=20, limits=httpx.Limits(max_keepalive_connections=0)) as client:
        yield LocalStackWorld(localstack, client)


class TestS3ObjectStoreOnLocalStack(ObjectStoreContract):
    """The shared contract, with LocalStack."""
