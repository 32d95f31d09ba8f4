"""The API under uvicorn on 127.0.0.1, and a headless browser."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from infra.local import web_app
from infra.local.object_store import ObjectStoreServer
from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from tests.support.places import write_places

HERE = Path(__file__).parent
FONTCONFIG = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/fonts-cache</cachedir></fontconfig>
"""
"""The browser unpacks its fonts below TMPDIR, but its own configuration names /tmp/fonts. Without fonts all text is invisible."""
BROWSER_SECONDS = 1_200
"""For one run of the browser. The steps have time limits of their own, so this one ends only a browser that hangs."""
SEAL_PERIOD_SECONDS = 0.5

Jobs = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Site:
    """The running API and its services."""

    url: str
    services: Services
    mail_folder: Path


@pytest.fixture(scope="session")
def site(settings: Settings, s3_server: ObjectStoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The API and the web app, served over HTTP."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    mail_folder = tmp_path_factory.mktemp("mail")
    changes = {
        "mail_folder": str(mail_folder),
        "public_url": url,
        "api_url": url,
        "database_pool_size": 5,
        "trash_retention_days": 30,
        "previews_enabled": True,
        "webhook_allow_loopback": True,
        "web_app_folder": web_app.build(),
        "places_file": write_places(tmp_path_factory.mktemp("places") / "places.mmdb"),
    }
    site_settings = settings.model_copy(update=changes)
    services = Services.build(site_settings)
    server = uvicorn.Server(uvicorn.Config(create_app(site_settings, services), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
        environment.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield Site(url, services, mail_folder)
        server.should_exit = True
        thread.join()
    services.engine.dispose()
    services.places.close()


@pytest.fixture(scope="session")
def client(site: Site) -> Iterator[httpx.Client]:
    """A client of the API."""
    with httpx.Client(base_url=site.url, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def sealing(site: Site) -> Callable[[], AbstractContextManager[None]]:
    """Return a context manager that seals the audit log in a thread, as a local run does, and at its start and end."""

    def seal() -> None:
        with site.services.unit_of_work() as session:
            site.services.sealer(session).run()

    @contextmanager
    def running() -> Iterator[None]:
        seal()
        finished = threading.Event()

        def repeat() -> None:
            while not finished.wait(SEAL_PERIOD_SECONDS):
                seal()

        thread = threading.Thread(target=repeat, daemon=True)
        thread.start()
        yield
        finished.set()
        thread.join()
        seal()

    return running


@pytest.fixture(scope="session")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Jobs], dict[str, Any]]:
    """Return a function that runs jobs in one headless Chromium and returns their results."""
    node = Path(sys.executable).parent / "node"
    if not node.is_file() or not (HERE / "node_modules").is_dir():
        pytest.fail("The browser is not installed; run: make test-browser")
    folder = tmp_path_factory.mktemp("browser")
    fontconfig = tmp_path_factory.mktemp("fontconfig")
    (fontconfig / "fonts.conf").write_text(FONTCONFIG.format(folder=folder))

    def run(jobs: Jobs) -> dict[str, Any]:
        (folder / "jobs.json").write_text(json.dumps(jobs))
        finished = subprocess.run(
            [node, HERE / "visit.mjs", folder / "jobs.json"],
            # The browser unpacks itself into TMPDIR, which is deleted after the tests.
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "TMPDIR": str(folder),
                "LANG": "C.UTF-8",
                "FONTCONFIG_PATH": str(fontconfig),
            },
            capture_output=True,
            text=True,
            timeout=BROWSER_SECONDS,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        results: dict[str, Any] = json.loads(finished.stdout)
        return results

    return run
