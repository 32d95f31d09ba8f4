"""The `local` stage for LocalStack, deployed to the emulator without changes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
from sqlalchemy.engine import make_url

from infra.package.artifact import Artifact
from tests.e2e.deploy.cloud import ACCOUNT, CDK, REGION, ROOT, running_cloud
from tests.e2e.deploy.walk import walk


def test_local_stage_works_through_its_rest_api(
    machine_package: Artifact, app_password: str, fresh_database: Callable[[], str], tmp_path: Path
) -> None:
    owner = fresh_database()
    app = make_url(owner).set(username="we_upload", password=app_password).render_as_string(hide_password=False)
    with running_cloud() as cloud:
        context = {"stage": "local", "package": str(machine_package.zip.parent), "app_database": app, "owner_database": owner}
        context |= {"aws": cloud.endpoint_url, "public_s3": cloud.endpoint_url}
        command = [str(CDK), "synth", "--quiet", "--output", str(tmp_path), "--app", f"{sys.executable} -m infra.app", "--no-notices"]
        command += [part for name, value in context.items() for part in ("--context", f"{name}={value}")]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        cloud.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}")
        cloud.cdk("deploy", "--all", "--app", str(tmp_path), "--require-approval", "never")

        api_id = cloud.outputs("WeUpload-local-Api")["ApiId"]
        with httpx.Client(base_url=f"{cloud.endpoint_url}/_aws/execute-api/{api_id}/local", timeout=60, trust_env=False) as api:
            walk(api, bucket=cloud.outputs("WeUpload-local-Data")["Bucket"])
            assert json.loads(api.get("/openapi.json").text)["info"]["title"] == "We-Upload"
