"""The package for this machine, and its deployment to the emulator with the real command line."""

import json
import platform
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.postgres import Postgres
from infra.package import archive
from infra.package.__main__ import build
from infra.package.artifact import Artifact
from tests.e2e.deploy.assembly import adapt
from tests.e2e.deploy.cloud import ACCOUNT, CDK, REGION, ROOT, Cloud, DeployError, running_cloud
from tests.support.pausing import PausingProxy

STACK = "WeUpload-dev"
MIGRATIONS = "lambda_app/db/migrations/versions"


@dataclass(frozen=True)
class Deployment:
    """A stage in the emulated account, and the PostgreSQL that replaces RDS."""

    cloud: Cloud
    postgres: Postgres
    database: str
    app_password: str
    package: Artifact
    folder: Path
    stage: str = "dev"
    proxy: PausingProxy | None = None
    """What the application connects to instead of PostgreSQL itself."""

    def deploy(self, package: Artifact, **settings: str) -> str:
        """Synthesise the app with these settings, adapt it to the emulator and deploy all stacks. Return the command's output."""
        assembly = self.folder / f"assembly-{package.digest[:12]}"
        shutil.rmtree(assembly, ignore_errors=True)
        command = [str(CDK), "synth", "--quiet", "--output", str(assembly), "--app", f"{sys.executable} -m infra.app", "--no-notices"]
        context = {"stage": self.stage, "package": str(package.zip.parent), **settings}
        command += [part for name, value in context.items() for part in ("--context", f"{name}={value}")]
        synthesis = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if synthesis.returncode:
            raise DeployError(f"cdk synth\n{synthesis.stdout}")
        here = {"ENVIRONMENT": "local", "AWS_ENDPOINT_URL": self.cloud.endpoint_url, "S3_PUBLIC_ENDPOINT_URL": self.cloud.endpoint_url}
        as_owner = self.postgres.url(self.database)
        as_app = as_owner.replace(f"postgres:{self.postgres.password}@", f"we_upload:{self.app_password}@")
        if self.proxy is not None:
            as_app = self.proxy.url_for(as_app)
        owner = here | {"DATABASE_URL": as_owner, "DATABASE_SECRET_ARN": None, "DATABASE_IAM_AUTH": None}
        app = here | {"DATABASE_URL": as_app, "DATABASE_IAM_AUTH": None}
        handlers = {path.stem for path in (ROOT / "lambda_app" / "handlers").glob("[!_]*.py")}
        environments = {f"lambda_app.handlers.{name}.handler": app for name in handlers}
        adapt(assembly, environments | {"lambda_app.main.handler": app, "lambda_app.handlers.migrate.handler": owner})
        return self.cloud.cdk("deploy", "--all", "--app", str(assembly), "--require-approval", "never")

    def destroy(self, package: Artifact) -> str:
        """Destroy all stacks."""
        assembly = self.folder / f"assembly-{package.digest[:12]}"
        return self.cloud.cdk("destroy", "--all", "--app", str(assembly), "--force")

    def variant(self, migrations: Mapping[str, str]) -> Artifact:
        """Return the package with additional migrations, given as source by revision."""
        folder = self.folder / "-".join(migrations)
        shutil.copytree(self.package.zip.parent / "tree", folder / "tree")
        for revision, source in migrations.items():
            (folder / "tree" / MIGRATIONS / f"{revision}.py").write_text(source)
        target = folder / "package.zip"
        archive.write_zip(folder / "tree", target)
        changed = Artifact(target, archive.digest_of(folder / "tree"), self.package.architecture, self.package.python_version)
        (folder / "package.json").write_text(json.dumps(asdict(changed) | {"zip": str(target)}))
        return changed

    def api(self, **headers: str) -> httpx.Client:
        """Return a client of the API, through the emulated gateway, with these headers on every request."""
        (api,) = self.cloud.client("apigatewayv2").get_apis()["Items"]
        # By path: the host name of the API would need the emulator's DNS server.
        return httpx.Client(
            base_url=f"{self.cloud.endpoint_url}/_aws/execute-api/{api['ApiId']}/$default", headers=headers, timeout=60, trust_env=False
        )

    def invoke(self, handler: str) -> dict[str, Any]:
        """Invoke the function with this handler once, as its schedule would, and return its response."""
        functions = self.cloud.client("lambda").list_functions()["Functions"]
        (name,) = [function["FunctionName"] for function in functions if function["Handler"] == handler]
        answer: dict[str, Any] = json.loads(self.cloud.client("lambda").invoke(FunctionName=name, Payload="{}")["Payload"].read())
        return answer

    def api_function(self) -> dict[str, Any]:
        """Return the configuration of the API function."""
        functions = self.cloud.client("lambda").list_functions()["Functions"]
        (found,) = [function for function in functions if function["Handler"] == "lambda_app.main.handler"]
        return dict(found)

    def live_version(self) -> str:
        """Return the version of the API function that takes traffic."""
        name = self.api_function()["FunctionName"]
        return str(self.cloud.client("lambda").get_alias(FunctionName=name, Name="live")["FunctionVersion"])


def build_for_this_machine(folder: Path) -> Artifact:
    """Build the deployment package for this machine and this Python."""
    machine = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
    build(architecture=machine, python_version=".".join(platform.python_version_tuple()[:2]), output=folder)
    return Artifact.read(folder)


@pytest.fixture(scope="session")
def second_build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Artifact]]:
    """A second build of the same package, in the background."""
    with ThreadPoolExecutor(1) as background:
        yield background.submit(build_for_this_machine, tmp_path_factory.mktemp("again"))


@pytest.fixture(scope="session")
def machine_package(tmp_path_factory: pytest.TempPathFactory, second_build: Future[Artifact]) -> Artifact:
    """The deployment package for this machine and this Python."""
    return build_for_this_machine(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def app_password(postgres_server: Postgres) -> str:
    """The password of the application's role. In AWS the role signs in with IAM and has none."""
    password = secrets.token_hex(8)
    for role in (f"we_upload LOGIN PASSWORD '{password}'", "rds_iam"):
        postgres_server._run(f"CREATE ROLE {role}")
    return password


@pytest.fixture(scope="module")
def deployment(
    machine_package: Artifact,
    postgres_server: Postgres,
    app_password: str,
    fresh_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    """The first deployment."""
    database = fresh_database().rpartition("/")[2]
    with running_cloud() as cloud:
        deployment = Deployment(cloud, postgres_server, database, app_password, machine_package, tmp_path_factory.mktemp("assemblies"))
        cloud.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}")
        deployment.deploy(machine_package)
        yield deployment
