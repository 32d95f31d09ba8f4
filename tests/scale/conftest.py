"""A database with a million files, and the application on it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from infra.local.object_store import ObjectStoreServer
from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.db import migrations
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.integration.conftest import event_loop  # noqa: F401  # the loop that Mangum uses
from tests.scale.block_reads import BlockReads
from tests.scale.fill import Sizes, fill
from tests.scale.plans import write_plans
from tests.support.accounts import make_account
from tests.support.authorisation import World
from tests.support.gateway import GatewayTransport

SCALE = float(os.environ.get("SCALE", "0.1"))
"""1.0 is a million files: `make test-slow SIZE=full`."""
PLANS = os.environ.get("PLANS")
"""File to which the plans of all statements are written, for a comparison with those of another size (`tests/scale/plans`)."""


@dataclass(frozen=True)
class ScaledApp:
    """The application on the filled database, its callers, and what its statements read."""

    app: FastAPI
    services: Services
    client: httpx.Client
    world: World
    sizes: Sizes
    reads: BlockReads


@pytest.fixture(scope="session")
def scaled(settings: Settings, s3_server: ObjectStoreServer, fresh_database: Callable[[], str]) -> Iterator[ScaledApp]:
    """Fill a database and build the application on it."""
    # Filling takes minutes: the tokens stay valid, and no statement of it times out.
    times = {"database_timeout_seconds": 3600.0, "access_token_expire_minutes": 1440}
    changes = {"database_url": SecretStr(fresh_database()), "user_quota_files": 2**31 - 1, "user_quota_bytes": 2**60}
    services = Services.build(settings.model_copy(update=times | changes))
    migrations.upgrade(services.engine)
    app = create_app(services.settings, services)
    sizes = Sizes().scaled(SCALE)
    transport = GatewayTransport(GatewayHandler(app))
    with pytest.MonkeyPatch.context() as environment, httpx.Client(transport=transport, base_url="https://api.test") as client:
        environment.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
        environment.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
        world = World(client, services, lambda **fields: make_account(services, **fields))
        fill(services.engine, sizes, owner=world.owner.id, viewer=world.viewer.id)
        with services.unit_of_work() as session:
            # As the scheduled sweep does four times an hour.
            services.maintenance(session).count_uploads()
        reads = BlockReads(services.engine)
        yield ScaledApp(app, services, client, world, sizes, reads)
        if PLANS:
            write_plans(Path(PLANS), reads.plans)
        reads.close()
    services.engine.dispose()
