"""Packages that the start of the application must not load, because every module slows down cold starts (docs/performance.md)."""

import json
import subprocess
import sys

DEFERRED = {
    "alembic": "migrations",
    "argon2": "passwords",
    "boto3": "calls to AWS",
    "botocore": "calls to AWS",
    "click": "the command line",
    "jinja2": "not used",
    "mako": "migrations",
    "maxminddb": "PLACES_FILE",
    "passlib": "passwords",
    "psycopg": "not used",
    "puremagic": "the completion of an upload",
    "requests": "not used",
    "s3transfer": "calls to AWS",
    "urllib3": "calls to AWS",
    "uvicorn": "the local server",
}
"""Packages that the first request must not load, and what needs them."""

START = """
import json, os, sys, types
sys.modules["snapshot_restore_py"] = types.SimpleNamespace(register_before_snapshot=id, register_after_restore=id)
os.environ.update(ENVIRONMENT="local", DATABASE_URL="postgresql://u:p@127.0.0.1/d", SECRET_KEY="k", S3_BUCKET_NAME="bucket")
os.environ.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_SESSION_TOKEN="c")
from lambda_app import main
before = {name.partition(".")[0] for name in sys.modules}
store = main.app.state.services.store
store.presign_upload(key="uploads/k", size_bytes=1, content_type="a/b", sha256=None)
store.presign_download(key="uploads/k", filename="f", content_type="a/b")
store.presign_part(key="uploads/k", upload_id="u", number=1, size_bytes=1, sha256=None)
after = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([sorted(before), sorted(after - before)]))
"""

APPLICATION = """
import anyio.to_thread
original = anyio.to_thread.run_sync
import lambda_app.application
assert anyio.to_thread.run_sync is original
from lambda_app.routers.http.gateway import GatewayHandler
GatewayHandler(lambda *_: None)
assert anyio.to_thread.run_sync is not original
"""


def test_start_and_signing_load_no_deferrable_package() -> None:
    finished = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=False)

    assert finished.returncode == 0, finished.stderr
    loaded, by_signing = json.loads(finished.stdout.splitlines()[-1])
    assert {"fastapi", "sqlalchemy"} <= set(loaded)
    assert set(loaded) & DEFERRED.keys() == set()
    assert by_signing == []


def test_only_the_lambda_handler_replaces_the_thread_pool() -> None:
    finished = subprocess.run([sys.executable, "-c", APPLICATION], capture_output=True, text=True, check=False)

    assert finished.returncode == 0, finished.stderr
