"""What starting the application loads, and what it must not: every module is paid for at each cold start (docs/performance.md)."""

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from lambda_app.core.settings import Settings
from lambda_app.main import create_app

LEFT_FOR_LATER = {
    "alembic": "migrations",
    "argon2": "passwords",
    "boto3": "calls to AWS",
    "botocore": "calls to AWS",
    "click": "the command line",
    "jinja2": "nothing of ours",
    "mako": "migrations",
    "passlib": "passwords",
    "psycopg": "nothing of ours",
    "puremagic": "the end of an upload",
    "requests": "nothing of ours",
    "s3transfer": "calls to AWS",
    "urllib3": "calls to AWS",
    "uvicorn": "the laptop",
}
"""Packages that the first request need not wait for, and who needs them."""

START = """
import gc, json, os, sys, types
hooks = []
sys.modules["snapshot_restore_py"] = types.SimpleNamespace(register_before_snapshot=hooks.append, register_after_restore=id)
os.environ.update(ENVIRONMENT="local", DATABASE_URL="postgresql://u:p@127.0.0.1/d", SECRET_KEY="k", S3_BUCKET_NAME="bucket")
os.environ.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_SESSION_TOKEN="c")
from lambda_app import main
deferred = lambda app: sum(type(route).__name__ == "DeferredRoute" for route in app.router.routes)
served = main.app
deferred_by_server = deferred(served)
del main.app
handler = main.handler
before = {name.partition(".")[0] for name in sys.modules}
store = main.app.state.services.store
store.presign_upload(key="uploads/k", size_bytes=1, content_type="a/b", sha256=None)
store.presign_download(key="uploads/k", filename="f", content_type="a/b")
store.presign_part(key="uploads/k", upload_id="u", number=1, size_bytes=1, sha256=None)
after = {name.partition(".")[0] for name in sys.modules}
figures = [gc.isenabled(), gc.get_freeze_count()]
deferred_before = deferred(main.app)
[hook() for hook in reversed(hooks)]
print(json.dumps([sorted(before), sorted(after - before), *figures, deferred_by_server, deferred_before, deferred(main.app)]))
"""


def test_start_and_signing_load_nothing_that_can_wait() -> None:
    finished = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=False)

    assert finished.returncode == 0, finished.stderr
    loaded, by_signing, is_collecting, frozen, deferred_by_server, deferred, deferred_in_snapshot = json.loads(
        finished.stdout.splitlines()[-1]
    )
    assert {"fastapi", "sqlalchemy"} <= set(loaded)
    assert set(loaded) & LEFT_FOR_LATER.keys() == set()
    assert by_signing == []
    # The collector rests while we load, and works again afterwards.
    assert is_collecting
    assert frozen > 100_000
    assert deferred_by_server == 0
    # A snapshot is taken once and started from many times.
    assert deferred > 80
    assert deferred_in_snapshot == 0


@pytest.fixture
def settings() -> Settings:
    fields = {"environment": "local", "database_url": "postgresql://u:p@127.0.0.1/d", "secret_key": "k", "s3_bucket_name": "bucket"}
    return Settings.model_validate(fields)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the path of each route that FastAPI builds."""
    paths: list[str] = []
    build = APIRoute.__init__

    def note(self: APIRoute, path: str, *arguments: object, **options: object) -> None:
        paths.append(path)
        build(self, path, *arguments, **options)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(APIRoute, "__init__", note)
    return paths


def test_every_route_is_built_once(settings: Settings, built: list[str]) -> None:
    """A router that is a plain APIRouter would have its routes built twice, and matched twice at each request."""
    app = create_app(settings)

    assert built == []
    assert {type(route).__name__ for route in app.routes} == {"APIRoute", "Route"}
    assert len(built) == sum(isinstance(route, APIRoute) for route in app.routes) > 80


def test_requests_build_their_own_route_once_and_no_other(settings: Settings, built: list[str]) -> None:
    """In two applications at once, too: FastAPI changes the warning filters of the process meanwhile, and here a warning is an error."""
    apps = [create_app(settings), create_app(settings)]

    with ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(lambda number: _status(apps[number % 2], "GET", "/api/v1/files"), range(16)))

    assert statuses == {401}
    assert built == ["/api/v1/files"] * 2


def test_method_that_no_route_has_builds_none_of_the_others(settings: Settings, built: list[str]) -> None:
    app = create_app(settings)

    assert _status(app, "TRACE", "/api/v1/files/{file_id}/grants") == 405
    assert set(built) == {"/api/v1/files/{file_id}/grants"}


def _status(app: FastAPI, method: str, path: str) -> int:
    async def ask() -> int:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.request(method, path)).status_code

    # In a thread of its own: the event loop of this one may be somebody's.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, ask()).result()
