"""The deployment package: complete, small and reproducible."""

import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

from infra.package import archive
from infra.package.__main__ import build_previews
from infra.package.artifact import Artifact
from infra.package.contents import DATABASE_AUTHORITIES
from tests.support.preview_samples import document, picture, video

UNZIPPED_BUDGET_BYTES = 60_000_000
PREVIEWS_BUDGET_BYTES = 180_000_000
LAMBDA_LIMIT_BYTES = 250 * 1024 * 1024

IMPORTS = """
import sys
sys.path = [path for path in sys.path if "site-packages" not in path]
assert not [path for path in sys.path if not path.startswith(sys.base_prefix)], sys.path
sys.path.insert(0, sys.argv[1])
import importlib, pathlib
root = pathlib.Path(sys.argv[1])
names = [path.relative_to(root).with_suffix("").as_posix().replace("/", ".") for path in root.glob("lambda_app/**/*.py")]
for name in sorted(names):
    # cli is the operator command and env belongs to Alembic; neither is imported in Lambda.
    if name.partition(".")[2] not in ("cli", "db.migrations.env"):
        importlib.import_module(name.removesuffix(".__init__"))
from lambda_app.core.aws import AwsAccess, AwsCredentials
from lambda_app.core.settings import Settings
settings = Settings(database_url="postgresql://u@h/d", secret_key_arn="arn", s3_bucket_name="bucket")
access = AwsAccess(settings, AwsCredentials("key", "secret"))
for service in ("s3", "secretsmanager", "sqs", "sts"):
    access.client(service)
import argon2.low_level, cryptography.hazmat.bindings._rust, pydantic_core
from lambda_app.core.security.passwords import PasswordHasher
assert PasswordHasher().verify("a password", PasswordHasher().hash("a password"))
from lambda_app.db.migrations import head_revision
print("complete", head_revision())
"""


def test_package_needs_only_python(machine_package: Artifact, tmp_path: Path) -> None:
    tree = machine_package.zip.parent / "tree"
    # The import of lambda_app.main reads these settings.
    environment = {"DATABASE_URL": "postgresql://u@h/d", "SECRET_KEY_ARN": "arn", "S3_BUCKET_NAME": "bucket", "AWS_REGION": "us-east-1"}

    finished = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", IMPORTS, str(tree)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )

    assert finished.stdout.startswith("complete 0"), finished.stderr


PREVIEW_IMPORTS = """
import sys
sys.path = [path for path in sys.path if "site-packages" not in path]
sys.path.insert(0, sys.argv[1])
from lambda_preview import handler
from lambda_preview.decoder import render
from lambda_preview.source import BlockFile
for content in (bytes.fromhex(part) for part in sys.argv[2:]):
    print(render(BlockFile(len(content), lambda at, length: content[at : at + length]), confine=lambda: None).width)
"""


def test_package_of_the_preview_worker_needs_only_python(machine_package: Artifact, tmp_path: Path) -> None:
    package = build_previews(architecture=machine_package.architecture, python_version=machine_package.python_version, output=tmp_path)
    files = [picture("HEIF", size=(16, 16)), picture("AVIF", size=(16, 16)), document(pages=1), video(seconds=1, size=(16, 16))]

    command = [sys.executable, "-I", "-S", "-B", "-c", PREVIEW_IMPORTS, package.tree, *(content.hex() for content in files)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env={})

    assert finished.stdout.split() == ["16", "16", "595", "16"], finished.stderr
    assert package.unzipped_bytes < PREVIEWS_BUDGET_BYTES < LAMBDA_LIMIT_BYTES
    assert not (Path(package.tree) / "lambda_app").exists()


def test_build_is_reproducible(machine_package: Artifact, second_build: Future[Artifact]) -> None:
    again = second_build.result()

    assert again.zip != machine_package.zip
    assert again.digest == machine_package.digest
    assert again.zip.read_bytes() == machine_package.zip.read_bytes()


def test_package_is_within_its_size_budget(machine_package: Artifact) -> None:
    tree = machine_package.zip.parent / "tree"
    boto3 = sum(archive.size_bytes(tree / name) for name in ("boto3", "botocore", "s3transfer"))

    assert archive.size_bytes(tree) - boto3 < UNZIPPED_BUDGET_BYTES
    assert archive.size_bytes(tree) < LAMBDA_LIMIT_BYTES
    assert boto3 < 6_000_000


def test_every_module_is_compiled(machine_package: Artifact) -> None:
    tree = machine_package.zip.parent / "tree"
    sources = list(tree.rglob("*.py"))
    tag = sys.implementation.cache_tag

    without = [path for path in sources if not (path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc").is_file()]

    assert without == []
    assert {path.relative_to(tree).parts[0] for path in sources} == {"lambda_app"}


def test_package_contains_no_tests_and_the_rds_authorities(machine_package: Artifact) -> None:
    tree = machine_package.zip.parent / "tree"

    assert [path for path in tree.rglob("*") if path.is_dir() and path.name in ("tests", "test")] == []
    assert (tree / DATABASE_AUTHORITIES).read_text().count("BEGIN CERTIFICATE") > 50
