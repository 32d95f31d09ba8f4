"""What starting the application loads, and what it must not: every module is paid for at each cold start (docs/performance.md)."""

import json
import subprocess
import sys

import pytest
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
import gc, json, os, sys
os.environ.update(ENVIRONMENT="local", DATABASE_URL="postgresql://u:p@127.0.0.1/d", SECRET_KEY="k", S3_BUCKET_NAME="bucket")
os.environ.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_SESSION_TOKEN="c")
from lambda_app import main
handler = main.handler
before = {name.partition(".")[0] for name in sys.modules}
store = main.app.state.services.store
store.presign_upload(key="uploads/k", size_bytes=1, content_type="a/b", sha256=None)
store.presign_download(key="uploads/k", filename="f", content_type="a/b")
store.presign_part(key="uploads/k", upload_id="u", number=1, size_bytes=1, sha256=None)
after = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([sorted(before), sorted(after - before), gc.isenabled(), gc.get_freeze_count()]))
"""


def test_start_and_signing_load_nothing_that_can_wait() -> None:
    finished = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=False)

    assert finished.returncode == 0, finished.stderr
    loaded, by_signing, is_collecting, frozen = json.loads(finished.stdout.splitlines()[-1])
    assert {"fastapi", "sqlalchemy"} <= set(loaded)
    assert set(loaded) & LEFT_FOR_LATER.keys() == set()
    assert by_signing == []
    # The collector rests while we load, and works again afterwards.
    assert is_collecting
    assert frozen > 100_000


@pytest.fixture
def settings() -> Settings:
    fields = {"environment": "local", "database_url": "postgresql://u:p@127.0.0.1/d", "secret_key": "k", "s3_bucket_name": "bucket"}
    return Settings.model_validate(fields)


def test_every_route_is_built_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A router that is a plain APIRouter would have its routes built twice, and matched twice at each request."""
    built: list[str] = []
    build = APIRoute.__init__

    def count(self: APIRoute, path: str, *arguments: object, **options: object) -> None:
        built.append(path)
        build(self, path, *arguments, **options)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(APIRoute, "__init__", count)
    app = create_app(settings)

    assert {type(route).__name__ for route in app.routes} == {"APIRoute", "Route"}
    assert len(built) == sum(isinstance(route, APIRoute) for route in app.routes) > 40
