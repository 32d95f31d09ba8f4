"""The API under uvicorn on 127.0.0.1, in a thread of the tests."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import uvicorn

from infra.local.object_store import ObjectStoreServer
from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.storage.object_store import ObjectStore


@contextmanager
def serving(
    settings: Settings, s3_server: ObjectStoreServer, *, wrap: Callable[[ObjectStore], Any] | None = None, **changes: Any
) -> Iterator[tuple[str, Services]]:
    """Serve the API with changed settings; yield its URL and its services. `wrap` replaces the object store."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    changed = settings.model_copy(update={"api_url": url, "database_pool_size": 5, **changes})
    services = Services.build(changed)
    if wrap is not None:
        services = replace(services, store=wrap(services.store))
    server = uvicorn.Server(uvicorn.Config(create_app(changed, services), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
        environment.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield url, services
        server.should_exit = True
        thread.join()
    services.engine.dispose()
